"""Builds and opens the container with all parts of a process from its settings, and closes what it opened.

Other modules: `carrier_factory` makes a carrier from its settings; `installation` opens the store's server; `api_site`,
`worker_site` and `serve` the listeners; `sandbox` the simulated carriers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from alertd.common.errors import ConfigError
from alertd.common.resources import templates_dir
from alertd.config import settings as config
from alertd.config.sections import StoreSection
from alertd.rendering import Renderer
from alertd.runtime.carrier_factory import carriers_of, common_sms_settings, usable
from alertd.service.carriers.carriers import Carriers
from alertd.service.container import Container, next_key_file
from alertd.store.carriers.numbers import CarrierNumbers
from alertd.store.engine.clock import StoreClock
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.master_key.key_watch import KeyWatch
from alertd.store.master_key.schema import open_store
from channels.smpp.channel import SmppChannel
from geofences.errors import LibraryError
from geofences.regions import Library


@asynccontextmanager
async def joined(
    section: StoreSection, redis: Redis, codec: Codec
) -> AsyncIterator[tuple[Connection, StoreClock, KeyWatch]]:
    """Yields a checked connection to the store, its running clock, and the watch that notices new keys of the store.
    Raises StoreRefusedError if the store is not usable, and StoreUnavailableError.
    """
    async with AsyncExitStack() as stack:
        db = Connection(redis, codec, replicas_required=section.replicas_required)
        stack.push_async_callback(db.nodes.close)
        await open_store(db, sandbox=section.sandbox)
        clock = StoreClock(db)
        await stack.enter_async_context(clock.run())
        key_watch = KeyWatch(db, next_key_file(section))
        await stack.enter_async_context(key_watch.run(clock))
        yield db, clock, key_watch


@asynccontextmanager
async def opened(
    settings: config.Settings,
    redis: Redis,
    codec: Codec,
    *,
    sends: bool = True,
    loads: bool = True,
    library: Library | None = None,
    renderer: Renderer | None = None,
) -> AsyncIterator[Container]:
    """Yields the container with all parts and open carriers over a checked store. Closes them in reverse order.

    A caller that has loaded the `library` or the `renderer` passes it. Without `loads`, the library is loaded at its
    first use; a worker plans with region numbers and never uses it. Without `sends`, the process does not bind to SMS
    centres, because a centre limits the binds of an account. Raises StoreRefusedError, StoreUnavailableError, and
    ConfigError for unusable regions or carriers.
    """
    async with AsyncExitStack() as stack:
        db, clock, key_watch = await stack.enter_async_context(joined(settings.store, redis, codec))
        numbers = CarrierNumbers(db)
        carriers = carriers_of(settings, {name: await numbers.of(name) for name in settings.carriers}, clock)
        if loads:
            library = library or library_of(settings)
        sms = common_sms_settings(settings.carriers.values())
        renderer = renderer or Renderer(templates_dir(), settings.api.reached_at, sms)
        parts = Container(
            settings=settings, db=db, library=library, renderer=renderer, carriers=Carriers(carriers), key_watch=key_watch,
            clock=clock,
        )  # fmt: skip
        stack.callback(parts.audience.close)
        try:
            await parts.regions.agree()
        except LibraryError as error:
            raise ConfigError(str(error)) from None
        try:
            await parts.purging.restore()
            await parts.amendment.restore()
        except OSError as error:
            raise ConfigError(f"store.tombstones cannot be read: {error.strerror}") from None
        for carrier in carriers:
            if isinstance(carrier.channel, SmppChannel):
                carrier.channel.listener = parts.inbound(carrier.name)
            if sends or not isinstance(carrier.channel, SmppChannel):
                with usable(carrier.name):
                    await carrier.channel.open()
                stack.push_async_callback(carrier.channel.close)
            rate, domains = settings.carriers[carrier.name].rate, {one.name for one in carrier.domains.values()}
            parts.metrics.show_carrier(carrier.channel.name, carrier.name, rate, domains)
        yield parts


def library_of(settings: config.Settings) -> Library:
    """Returns the shipped regions together with those that were imported into the data directory. Raises ConfigError
    for damaged files.
    """
    added = settings.store.regions
    try:
        return Library.load(added=added)
    except LibraryError as error:
        raise ConfigError(f"the regions in {added} cannot be used: {error}") from None
