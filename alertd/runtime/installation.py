"""Opens the store of an installation (external or embedded), and the parts of a process that use it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from alertd.common.clock import SystemClock
from alertd.common.repetition import ended
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.runtime.assembly import opened
from alertd.runtime.processes import StartError
from alertd.service.container import Container
from alertd.store.alerts.alerts import Alerts
from alertd.store.embedded.aof_rewrite import RewritePolicy, is_quiet
from alertd.store.embedded.data_directory import DataDirectory
from alertd.store.embedded.server import EmbeddedServer, EmbeddedSettings
from alertd.store.embedded.space import DiskGuard, DiskSettings
from alertd.store.engine.capabilities import check_engine, until_loaded
from alertd.store.engine.codec import NEXT_KEY, Codec, Keys, SealError, next_key
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.engine.keys import SCHEMA
from alertd.store.engine.nodes import NO_NOTICES

_MB = 1024 * 1024
DISK_EVERY_S = 1.0
REWRITE_EVERY_S = 5.0
NO_ADDRESS = (
    "store.url is no address of a store: redis://, rediss:// or unix://, with %2F for a / in a password, and after a ? only options "
    "that there are, as ssl_ca_certs="
)


@dataclass(frozen=True, kw_only=True)
class Store:
    """An available store, its encryption keys, and the environment variables with which child processes reach it."""

    url: str
    keys: Keys
    environment: Mapping[str, str]
    disk: DiskGuard | None = None  # of the embedded store; None for another


@asynccontextmanager
async def parts_of(settings: Settings, store: Store, *, sends: bool = False) -> AsyncIterator[Container]:
    """Yields the container of this process's parts, opened on this store. Waits while the store loads its data. Logs a warning if the
    store's durability is too weak.

    A process that `sends` is a worker: it binds to SMS centres and loads no regions. Raises StartError if the store does not answer, and
    the exceptions of `opened`.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(store.url))
        await until_loaded(client, _tell_loading, SystemClock())
        try:
            codec = Codec(store.keys)
            parts = await stack.enter_async_context(opened(settings, client, codec, sends=sends, loads=not sends))
            weaker = await check_engine(parts.db)
        except StoreUnavailableError as error:
            raise StartError(f"{error.in_full} See store.url.") from None
        for sentence in weaker:
            structlog.get_logger().warning("store.settings_found_weak", why=sentence)
        yield parts


def _tell_loading() -> None:
    """Logs that the store still loads its data."""
    structlog.get_logger().info("store.load_awaited")


def shared_store(section: StoreSection) -> Store:
    """Returns the store of `store.url`. Raises StartError if the URL or its keys are missing or invalid."""
    if section.url is None:
        raise StartError("store.url is needed: alertd api and alertd worker share a store; alertd serve brings its own")
    if section.master_key is None:
        raise StartError("with store.url, store.master_key is needed (or store.master_key_file)")
    try:
        client_of(section.url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
        following = next_key(section.next_master_key_file) if section.next_master_key_file else None
        hashing = section.hash_key.get_secret_value() if section.hash_key else None
        keys = Keys.from_text(section.master_key.get_secret_value(), hashing, following)
    except SealError as error:
        raise StartError(f"store.master_key, store.hash_key and store.next_master_key_file: {error}") from None
    except OSError as error:
        raise StartError(f"store.next_master_key_file: {error.filename}: {error.strerror}") from None
    except (ValueError, TypeError):  # their texts may quote a password
        raise StartError(NO_ADDRESS) from None
    return Store(url=section.url, keys=keys, environment={})


def running_store(section: StoreSection) -> Store | None:
    """Returns the store in use: that of `store.url`, or the embedded one while its server runs. None if the server does
    not run. Raises StartError, and SealError, ValueError or OSError for unusable keys of the embedded store.
    """
    if section.url:
        return shared_store(section)
    directory = section.directory.resolve()
    socket_file = DataDirectory(directory).listening()
    return Store(url=f"unix://{socket_file}", keys=Keys.load(directory), environment={}) if socket_file else None


@asynccontextmanager
async def store_of(settings: Settings) -> AsyncIterator[Store]:
    """Yields the store of `store.url`, or the embedded store, whose server runs until the end of the block. Raises
    StartError, and the exceptions of EmbeddedServer.
    """
    section = settings.store
    if section.url:
        yield shared_store(section)
        return
    if section.replicas_required:
        raise StartError("store.replicas_required asks for a replica, and an embedded store has none: see store.url")
    directory = _made(section.directory.resolve())
    guard = DiskGuard(
        directory, DiskSettings(reserve_bytes=section.reserve_bytes, ballast_bytes=section.ballast_mb * _MB)
    )
    guard.check()
    options = EmbeddedSettings(directory=directory, server=section.server, maxmemory_mb=section.maxmemory_mb)
    async with EmbeddedServer(options, on_down=lambda _code: guard.check()) as server:
        keys = await _keys_of(directory, server)
        store = Store(
            url=f"unix://{server.socket}",
            keys=keys,
            environment=_environment(directory, server),
            disk=guard,
        )
        keeper = asyncio.create_task(_keep(directory, guard, store))
        try:
            yield store
        finally:
            await ended(keeper)


def _made(directory: Path) -> Path:
    """Makes the data directory if needed and returns it. Raises StartError if it cannot be written."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "alertd.lock").touch(mode=0o600)  # what everyone needs to write first
    except OSError as error:
        raise StartError(f"{error.filename} cannot be written: {error.strerror}; see store.directory") from None
    return directory


async def _keys_of(directory: Path, server: EmbeddedServer) -> Keys:
    """Returns the keys of the embedded store. Makes them only for a new store: existing data was encrypted with other
    keys. Raises StartError if they are missing or damaged.
    """
    try:
        return Keys.load(directory)
    except FileNotFoundError as error:
        async with client_of(f"unix://{server.socket}") as client:
            if await client.exists(SCHEMA):
                raise StartError(
                    f"{error.filename} is not there, and the store was made with it: put master.key and hash.key back"
                ) from None
    except (ValueError, SealError):
        raise StartError(f"master.key and hash.key in {directory} are not as they were made: put them back") from None
    return Keys.load_or_make(directory)


def _environment(directory: Path, server: EmbeddedServer) -> dict[str, str]:
    """Returns the environment variables with which child processes reach the embedded store."""
    return {
        "ALERTD_STORE__URL": f"unix://{server.socket}",
        "ALERTD_STORE__DIRECTORY": str(directory),
        "ALERTD_STORE__MASTER_KEY_FILE": str(directory / "master.key"),
        "ALERTD_STORE__HASH_KEY_FILE": str(directory / "hash.key"),
        "ALERTD_STORE__NEXT_MASTER_KEY_FILE": str(directory / NEXT_KEY),
    }


def client_of(url: str) -> Redis:
    """Returns a client of the store at `url` that never repeats a command by itself: a script whose answer was lost may
    have run.
    """
    never = Retry(NoBackoff(), 0)
    return Redis.from_url(
        url, retry=never, maint_notifications_config=NO_NOTICES, socket_connect_timeout=5, socket_timeout=30
    )


async def _keep(directory: Path, guard: DiskGuard, store: Store) -> None:
    """Watches the disk every second until cancelled. Rewrites the append-only file when no loud alert is being sent, or
    when the disk is too full to wait.
    """
    clock = SystemClock()
    async with client_of(store.url) as client:
        alerts, looked = Alerts(Connection(client, Codec(store.keys))), clock.monotonic()
        policy = RewritePolicy(client, directory, guard, lambda: is_quiet(alerts), clock)
        while True:
            await clock.sleep(DISK_EVERY_S)
            guard.check()
            if clock.monotonic() - looked >= REWRITE_EVERY_S:
                looked = clock.monotonic()
                with contextlib.suppress(StoreUnavailableError):
                    await policy.check()
