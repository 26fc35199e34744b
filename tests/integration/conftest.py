"""The whole engine in one process: real store, real carriers of the sandbox, the shipped regions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from alertd.common.clock import SystemClock
from alertd.common.ids import new_id
from alertd.config.carriers import FcmCarrier, SmtpCarrier, TwilioCarrier
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.master_key.schema import open_store
from alertd.store.people.audience import Audience
from alertd.store.people.subscribers import People
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import api_of, register
from tests.integration.batches import AREA, record
from tests.integration.clusters import a_cluster
from tests.integration.nights import Night
from tests.integration.organisations.operators import ana, console
from tests.unit.alertd.samples import MISSING_CHILD, changed

__all__ = ["ana", "console"]


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """Local carriers."""
    carriers = Sandbox(tmp_path)
    await carriers.start()
    yield carriers
    await carriers.stop()


def settings_for(sandbox: Sandbox) -> Settings:
    """Settings that send to the sandbox."""
    ends = sandbox.endpoints
    push, sms, mail = ends["push"], ends["sms"], ends["mail"]
    return Settings(
        store=StoreSection(tombstones=Path(push["credentials"]).with_name("tombstones")),
        carriers={
            "fcm": FcmCarrier(
                kind="fcm", credentials=push["credentials"], endpoint=push["endpoint"], ca_file=push["ca_file"],
                rate=0, ramp_s=0,
            ),
            "text": TwilioCarrier(
                kind="twilio", account=sms["account"], password=sms["secret"], sender=sms["sender"],
                endpoint=sms["endpoint"], ca_file=sms["ca_file"],
            ),
            "relay": SmtpCarrier(
                kind="smtp", host=mail["host"], port=mail["port"], ca_file=mail["ca_file"],
                sender="Alerts <alerts@centre.example>",
            ),
        }
    )  # fmt: skip


@pytest.fixture
async def parts(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, renderer: Renderer
) -> AsyncIterator[Container]:
    """Everything a process has, over the empty store."""
    async with opened(settings_for(sandbox), redis, codec, library=library, renderer=renderer) as made:
        yield made


@pytest.fixture
async def night(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, renderer: Renderer, sample: dict[str, Any]
) -> AsyncIterator[Night]:
    """Forty people in a city, people who are on call for it, and a clock that can be put forward."""
    clock = Later()
    async with opened(settings_for(sandbox), redis, codec, library=library, renderer=renderer) as made:
        parts = replace(made, library=library, clock=clock)
        await register(parts, 40)
        found = Night(parts, sandbox, clock, sample)
        await found.round()  # so that what waits from now on is found by its event alone
        yield found
        await parts.paging.close()


@pytest.fixture
async def client(parts: Container, aiohttp_client: Any) -> Any:
    """A client of its API."""
    return await aiohttp_client(api_of(parts))


@pytest.fixture
def work(store: Connection) -> Work:
    """Leases, gate and ledger of the empty store."""
    return Work(store)


@pytest.fixture
def people(store: Connection) -> People:
    """Its people."""
    return People(store, SystemClock())


@pytest.fixture
def audience(store: Connection, people: People) -> Audience:
    """Whom its queries find."""
    return Audience(BulkReads(store.nodes, timeout_s=5), store.codec.cells, people.authority, deadline_s=5)


@pytest.fixture
def alerts(store: Connection) -> Alerts:
    """Its alerts."""
    return Alerts(store)


@pytest.fixture
async def alert_id(alerts: Alerts) -> str:
    """An approved alert to people 1 to 1,200, not planned yet."""
    name = new_id(1_700_000_000_000)
    assert await alerts.create(record(name), AREA)
    done, _ = await alerts.approve(name, np.arange(1, 1201, dtype=np.uint64), "b")
    assert done
    return name


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The ports of one real cluster for the whole run."""
    with a_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest.fixture
async def cluster(masters: list[int], codec: Codec) -> AsyncIterator[Connection]:
    """A connection to the empty cluster."""
    for port in masters:
        async with Redis(port=port) as client:
            await client.flushall()
    async with Redis(port=masters[0]) as client:
        connection = Connection(client, codec)
        await open_store(connection)
        yield connection
        await connection.nodes.close()


@pytest.fixture
def sample() -> dict[str, Any]:
    """The sample alert, by its author, ending tomorrow."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    past = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    document = changed(MISSING_CHILD, "expires", tomorrow)
    document = changed(document, "case/last_seen/at", past)
    document = changed(document, "case/best_interests/at", past)
    document = changed(document, "case/verification/publication_risk/at", past)
    return changed(document, "author/subject", "ana@centre.example")
