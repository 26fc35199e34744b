"""Runs the API alone, or a whole installation, with its start and stop in order."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from alertd.config.carriers import SmtpCarrier
from alertd.config.settings import Settings
from alertd.runtime.api_site import API_OPTIONS, FirstWaysIn, announce, api_site, reserved, reserved_for_metrics, url_of
from alertd.runtime.installation import Store, parts_of, shared_store, store_of
from alertd.runtime.processes import Life, StartError, appeared, check_packages, kept_running, socket_folder, take_files
from alertd.runtime.sandbox import load_sample_people, sandbox_of
from alertd.service.container import Container
from alertd.store.embedded import backups
from alertd.store.engine.connection import StoreUnavailableError
from channels.bounces import BounceListener, MailReport

#: Minimum number of workers. With two, one continues if the other dies; one alone would use only one of two processors.
LEAST_WORKERS = 2
#: Threads of the API for geometry and files. Python's default is six on two processors: a few large targets would block
#: every other alert, while the processors share their time fairly among more threads.
THREADS = 32


async def run_all(settings: Settings, *, sandbox: bool, sample_people: int) -> None:
    """Runs the API, the workers and the store until SIGTERM or SIGINT. With `sandbox`, also runs the sandbox's carriers and registers
    `sample_people` invented subscribers. Raises StartError, and the exceptions of a store that cannot be opened.
    """
    check_packages()
    life = Life("alertd")
    await life.run(_all(life, settings, sample_people if sandbox else None))


async def run_api(settings: Settings) -> None:
    """Runs the API alone on the store of `store.url`, until SIGTERM or SIGINT. Raises StartError."""
    check_packages()
    life = Life("alertd api")
    await life.run(_api(life, settings, shared_store(settings.store)))


async def _all(life: Life, settings: Settings, sample_people: int | None) -> None:
    """Opens the store, starts the workers and serves the API until cancelled. `sample_people` None: no sandbox."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_of(settings))
        address = stack.enter_context(reserved(settings.api.host, settings.api.port, API_OPTIONS))
        metrics_address = stack.enter_context(reserved_for_metrics(settings.metrics.listen))
        settings = _listening_at(address, settings)
        environment = {**os.environ, **store.environment, "ALERTD_API__PORT": str(settings.api.port)}
        if settings.file is not None:
            environment["ALERTD_CONFIG"] = str(settings.file)
        if sample_people is not None:
            carriers = await stack.enter_async_context(sandbox_of(settings, environment))
            environment["ALERTD_CARRIERS"] = json.dumps(carriers)  # instead of those of the file
            environment["ALERTD_WEBHOOKS__LOOPBACK"] = environment["ALERTD_STORE__SANDBOX"] = "true"
            own = settings.model_dump()
            changed = {"webhooks": {**own["webhooks"], "loopback": True}, "store": {**own["store"], "sandbox": True}}
            settings = Settings.model_validate({**own, "carriers": carriers, **changed})
        parts = await stack.enter_async_context(parts_of(settings, store))
        await _settle_restored(parts, settings)
        await load_sample_people(parts, sample_people or 0)
        sockets = await stack.enter_async_context(_workers(settings, environment))
        await _serve(life, parts, store, sockets, (address, metrics_address))


async def _settle_restored(parts: Container, settings: Settings) -> None:
    """If the embedded store was restored from a backup and this was not done yet, stands down its open alerts and returns the pending ones
    to their authors, before anything is sent. Raises StartError if the file of tombstones cannot be written.
    """
    directory = settings.store.directory.resolve()
    if not settings.store.url and (mark := backups.marked(directory)):
        try:
            await parts.restoring.settle(mark.made, mark.put_back)
        except OSError as error:
            raise StartError(f"store.tombstones cannot be written: {error.strerror}") from None
        backups.settled(directory)


async def _api(life: Life, settings: Settings, store: Store) -> None:
    """Serves the API on this store until cancelled."""
    with (
        reserved(settings.api.host, settings.api.port, API_OPTIONS) as address,
        reserved_for_metrics(settings.metrics.listen) as metrics_address,
    ):
        async with parts_of(_listening_at(address, settings), store) as parts:
            await _serve(life, parts, store, [], (address, metrics_address))


def _listening_at(address: socket.socket, settings: Settings) -> Settings:
    """Returns the settings with the port of the bound socket, which differs if the setting is 0."""
    api = settings.api.model_copy(update={"port": address.getsockname()[1]})
    return settings.model_copy(update={"api": api})


async def _serve(
    life: Life,
    parts: Container,
    store: Store,
    worker_sockets: list[str],
    addresses: tuple[socket.socket, socket.socket | None],
) -> None:
    """Serves the API at the first of `addresses`, and the metrics at the second unless it is None, until cancelled."""
    take_files()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "api"))
    site = api_site(parts, store, worker_sockets, *addresses)
    async with (
        parts.regions.watched(),
        parts.region_imports.run(),
        parts.place_labels.run(),
        parts.reaches.run(lambda: parts.regions.library),
        parts.channel_coverage.run(),
        parts.memory.run(parts.clock),
        parts.key_rotation.run(),
        bounce_sites(parts),
        site,
    ):
        first = await _first_ways_in(parts)
        if not parts.carriers.channels:
            structlog.get_logger().warning("carrier.none_configured")
        announce(parts.settings.api.own_url, url_of(addresses[1]), first, parts.settings.store.directory.resolve())
        life.ready()
        await asyncio.Event().wait()  # until it is cancelled


async def _first_ways_in(parts: Container) -> FirstWaysIn | None:
    """Makes and returns the administrator's first API key and sign-in. None if the store already has a key."""
    org = parts.settings.alerts.organisation
    key = await parts.access.first(org)
    if key is None:
        return None
    code = await parts.operators.first(org)
    sign_in = parts.passkeys.relying.enrolment(code) if code else None
    return FirstWaysIn(key=key, sign_in=sign_in, minutes=parts.settings.sign_in.code_minutes)


def workers_of(settings: Settings) -> int:
    """Returns how many worker processes `alertd serve` starts."""
    return settings.worker.processes or max(LEAST_WORKERS, (os.cpu_count() or 1) - 1)


@asynccontextmanager
async def _workers(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[list[str]]:
    """Runs the worker processes until the end of the block. Yields the paths of the sockets that show their metrics, once all workers are
    ready.
    """
    with socket_folder() as folder:
        sockets = [f"{folder}/worker-{i}.sock" for i in range(workers_of(settings))]
        environments = [{**environment, "ALERTD_WORKER__METRICS": f"unix:{where}"} for where in sockets]
        async with kept_running(["worker"], environments):
            for where in sockets:
                await appeared(Path(where))  # a worker answers there once it is at work
            yield sockets


@asynccontextmanager
async def bounce_sites(parts: Container) -> AsyncIterator[list[int]]:
    """Runs a bounce server for each mail relay whose settings have `bounces_listen`, until the end of the block. Yields
    the ports. Raises StartError for a port in use.
    """
    listeners: list[BounceListener] = []
    try:
        for name, carrier in parts.settings.carriers.items():
            if isinstance(carrier, SmtpCarrier) and carrier.bounces_listen:
                listener = BounceListener(partial(_take_bounces, parts, name))
                host, _, port = carrier.bounces_listen.rpartition(":")
                try:
                    await listener.start(host.strip("[]"), int(port))
                except (OSError, OverflowError):
                    raise StartError(
                        f"cannot listen on {carrier.bounces_listen}, see carriers.{name}.bounces_listen"
                    ) from None
                listeners.append(listener)
        yield [listener.port for listener in listeners]
    finally:
        for listener in listeners:
            await listener.stop()


async def _take_bounces(parts: Container, carrier: str, reports: Sequence[MailReport]) -> bool:
    """Handles the reports in mails that a relay returned. Returns False if the store is unavailable: the relay must send them again."""
    try:
        await parts.mail_reports.take(reports, carrier)
    except StoreUnavailableError:
        return False
    return True
