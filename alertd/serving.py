"""The processes of an installation: the API, the workers, the embedded store, the sandbox; started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
from aiohttp import web
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import channels
import geofences
from alertd.api import create_app
from alertd.app import Parts, opened
from alertd.clock import SystemClock
from alertd.config import Settings
from alertd.metrics import merged_text
from alertd.processes import die_with_parent, kept_running, on_stop
from alertd.registrations import Registration
from alertd.samples import people
from alertd.service.registry import Entry
from alertd.store.alerts import Alerts
from alertd.store.codec import Codec, Keys
from alertd.store.connection import Connection, StoreUnavailableError, check_engine
from alertd.store.disk import DiskGuard, DiskSettings
from alertd.store.embedded import EmbeddedServer, EmbeddedSettings, Listener
from alertd.store.rewrite import RewritePolicy
from channels.sandbox import run as run_sandbox

_MB = 1024 * 1024
DISK_EVERY_S = 1.0
REWRITE_EVERY_S = 5.0
CHILD_START_S = 60.0  # a cold disk and a busy machine; two seconds are usual
SAMPLE_BATCH = 1_000


class StartError(Exception):
    """The installation cannot start; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store that is there, and how children reach it."""

    url: str
    keys: Keys
    environment: Mapping[str, str]
    guard: DiskGuard | None = None  # of the embedded store's disk

    def takes_writes(self) -> bool:
        return self.guard is None or self.guard.takes_writes


def check_packages() -> None:
    """Raises StartError when another package has taken the place of one of ours."""
    for package in (channels, geofences):
        if getattr(package, "OWNER", None) != "alertd":
            raise StartError(
                f"the package {package.__name__!r} in this environment is not alertd's: "
                f"install alertd in an environment of its own"
            )


def client_of(url: str) -> Redis:
    """A client that never repeats a command by itself: a script that was cut off may have run."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=5, socket_timeout=30)


@asynccontextmanager
async def store_of(settings: Settings) -> AsyncIterator[Store]:
    """The store of `store.url`, or the embedded one, running until the end."""
    section = settings.store
    if section.url:
        if section.master_key is None or section.hash_key is None:
            raise StartError("with store.url, store.master_key and store.hash_key are needed (or their *_file)")
        keys = Keys.from_text(section.master_key.get_secret_value(), section.hash_key.get_secret_value())
        yield Store(url=section.url, keys=keys, environment={})
        return
    directory = section.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    guard = DiskGuard(
        directory, DiskSettings(reserve_bytes=section.reserve_mb * _MB, ballast_bytes=section.ballast_mb * _MB)
    )
    guard.check()
    options = EmbeddedSettings(directory=directory, server=section.server, maxmemory_mb=section.maxmemory_mb)
    async with EmbeddedServer(options, Listener(on_down=lambda _code: _look(guard))) as server:
        url = f"unix://{server.socket}"
        environment = {
            "ALERTD_STORE__URL": url,
            "ALERTD_STORE__MASTER_KEY_FILE": str(directory / "master.key"),
            "ALERTD_STORE__HASH_KEY_FILE": str(directory / "hash.key"),
        }
        keys = Keys.load_or_make(directory)
        keeper = asyncio.create_task(_keep(directory, guard, url, Codec(keys)))
        try:
            yield Store(url=url, keys=keys, environment=environment, guard=guard)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)


def _look(guard: DiskGuard) -> None:
    guard.check()


async def _keep(directory: Path, guard: DiskGuard, url: str, codec: Codec) -> None:
    """Watch the disk, and rewrite the append-only file when no alert is under way, or when the disk demands it."""
    clock = SystemClock()
    async with client_of(url) as client:
        alerts, quiet, looked = Alerts(Connection(client, codec)), False, clock.monotonic()
        policy = RewritePolicy(client, directory, guard, lambda: quiet, clock)
        while True:
            await clock.sleep(DISK_EVERY_S)
            guard.check()
            if clock.monotonic() - looked >= REWRITE_EVERY_S:
                looked = clock.monotonic()
                with contextlib.suppress(StoreUnavailableError):
                    quiet = not await alerts.live()
                    await policy.check()


@asynccontextmanager
async def parts_of(settings: Settings, store: Store) -> AsyncIterator[Parts]:
    """The parts of this process over a store. Says when the store promises less than it should."""
    async with client_of(store.url) as client, opened(settings, client, Codec(store.keys)) as parts:
        for sentence in await check_engine(parts.db):
            structlog.get_logger().warning("weaker store", why=sentence)
        yield parts


async def run_worker(settings: Settings) -> None:
    """One worker, until SIGTERM or SIGINT; then it drains."""
    die_with_parent()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_of(settings))
        parts = await stack.enter_async_context(parts_of(settings, store))
        worker = parts.worker()
        if settings.worker.metrics:
            await stack.enter_async_context(_metrics_site(parts, settings.worker.metrics))
        on_stop(worker.stop)
        structlog.get_logger().info("worker started", pid=os.getpid())
        await worker.run()


async def run_api(settings: Settings) -> None:
    """The API alone, until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    on_stop(stopping.set)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_of(settings))
        parts = await stack.enter_async_context(parts_of(settings, store))
        await stack.enter_async_context(_api_site(parts, store, []))
        await stopping.wait()


async def run_all(settings: Settings, *, sandbox: bool, sample_people: int) -> None:
    """API, workers and embedded store in one, with the sandbox and sample people if wanted."""
    check_packages()
    stopping = asyncio.Event()
    on_stop(stopping.set)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_of(settings))
        environment = {**os.environ, **store.environment}
        run_directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="alertd-"))
        if sandbox:
            carriers = await stack.enter_async_context(_sandbox(settings, environment))
            environment["ALERTD_CARRIERS"] = json.dumps(carriers)
            environment.pop("ALERTD_CONFIG", None)  # its carriers would be added to the sandbox's
            settings = Settings.model_validate({**settings.model_dump(), "carriers": carriers})
        parts = await stack.enter_async_context(parts_of(settings, store))
        if sandbox:
            await load_sample_people(parts, sample_people)
        sockets = [f"{run_directory}/worker-{i}.sock" for i in range(_worker_count(settings))]
        for socket in sockets:
            child = {**environment, "ALERTD_WORKER__METRICS": f"unix:{socket}"}
            await stack.enter_async_context(kept_running(["worker"], child))
        for socket in sockets:
            await asyncio.to_thread(_appeared, Path(socket))  # a worker answers there once it is at work
        await stack.enter_async_context(_api_site(parts, store, sockets))
        await stopping.wait()


async def load_sample_people(parts: Parts, count: int) -> None:
    """The first `count` sample people, unless they are there already."""
    have = await parts.people.count()
    sample = [
        Entry(person.id, Registration.model_validate_json(json.dumps(person.document())))
        for person in people(count if have < count else 0)
    ]
    for start in range(0, len(sample), SAMPLE_BATCH):
        await parts.registry.put_many(sample[start : start + SAMPLE_BATCH])
        if start % (10 * SAMPLE_BATCH) == 0:
            structlog.get_logger().info("loading sample people", loaded=start, of=len(sample))


async def _greet(parts: Parts) -> None:
    """The one-time administrator's key of a new installation goes to standard output, for a person to read."""
    token = await parts.access.first(parts.settings.alerts.organisation)
    if token:
        sys.stdout.write(f"The administrator's key, told this once: {token}\n")
        sys.stdout.flush()


@asynccontextmanager
async def _api_site(parts: Parts, store: Store, sockets: list[str]) -> AsyncIterator[None]:
    async def is_ready() -> bool:
        return store.takes_writes() and await parts.db.answers()

    async def process_metrics() -> bytes:
        return merged_text([parts.metrics.text(), *[text for socket in sockets if (text := await _scrape(socket))]])

    section = parts.settings.api
    app = create_app(parts.services(is_ready, process_metrics, store.takes_writes))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, section.host, section.port)
    try:
        await site.start()
        host, port = runner.addresses[0][:2]
        sys.stdout.write(f"alertd listens on http://{host}:{port}\n")
        sys.stdout.flush()
        await _greet(parts)
        yield
    except OSError as error:
        raise StartError(f"cannot listen on {section.host}:{section.port}: {error.strerror}; see api.port") from None
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _metrics_site(parts: Parts, where: str) -> AsyncIterator[None]:
    """A worker's own series, at "unix:PATH" or "HOST:PORT"."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=parts.metrics.text(), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    kind, _, rest = where.partition(":")
    site = web.UnixSite(runner, rest) if kind == "unix" else web.TCPSite(runner, kind, int(rest))
    await site.start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _scrape(socket: str) -> bytes | None:
    """A worker's series; None while it starts."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session:
            return await (await session.get("http://worker/metrics")).read()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


@asynccontextmanager
async def _sandbox(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[dict[str, object]]:
    """The sandbox in a process of its own; answers the carriers' settings."""
    directory = settings.store.directory.resolve() / "sandbox"
    directory.mkdir(parents=True, exist_ok=True)
    ready = directory / "sandbox.json"
    ready.unlink(missing_ok=True)
    async with kept_running(["sandbox", "--directory", str(directory)], environment):
        await asyncio.to_thread(_appeared, ready)
        yield sandbox_carriers(json.loads(await asyncio.to_thread(ready.read_text, encoding="utf-8")))


def _appeared(file: Path) -> None:
    """Wait for what a child makes when it is ready."""
    deadline = time.monotonic() + CHILD_START_S
    while not file.exists():
        if time.monotonic() > deadline:
            raise StartError(f"a child did not start in {CHILD_START_S:.0f} s; its messages are above")
        time.sleep(0.05)


def sandbox_carriers(ends: dict[str, dict[str, object]]) -> dict[str, object]:
    """Carriers' settings for the endpoints of `sandbox.json`."""
    push, sms, mail = ends["push"], ends["sms"], ends["mail"]
    return {
        "sandbox-push": {"kind": "fcm", **{name: push[name] for name in ("credentials", "endpoint", "ca_file")}},
        "sandbox-sms": {
            "kind": "twilio", "password": sms["secret"],
            **{name: sms[name] for name in ("account", "sender", "endpoint", "ca_file")},
        },
        "sandbox-mail": {
            "kind": "smtp", "sender": "Alerts <alerts@alertd.example>",
            **{name: mail[name] for name in ("host", "port", "ca_file")},
        },
    }  # fmt: skip


async def serve_sandbox(directory: Path) -> None:
    """The local carriers alone, until SIGTERM or SIGINT."""
    die_with_parent()
    task = asyncio.ensure_future(run_sandbox(directory))
    on_stop(task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _worker_count(settings: Settings) -> int:
    return settings.worker.processes or max(1, (os.cpu_count() or 1) - 1)
