"""The embedded store: a Valkey (or Redis) server as a child process on a unix socket, started, watched and stopped.

It is one writer on one directory, whatever dies: the server holds a lock itself, is told to end when its alertd dies, and
one that was left behind all the same is stopped before the next is started. A server that ends is started again; clients
connect again by themselves. What it promises rests on the AOF (`server_options.py`), never on an orderly end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from alertd.common.clock import SystemClock
from alertd.common.repetition import ended
from alertd.common.restarts import keep_running
from alertd.store.embedded.data_directory import DataDirectory
from alertd.store.embedded.server_binary import find_server
from alertd.store.embedded.server_options import arguments

#: An orderly end writes what is buffered and fsyncs; a slow disk may take long, a hung one for ever.
STOP_TIMEOUT_S = 60.0
#: How often a condition outside this process (a lock, a socket) is looked at: a start takes about 0.05 s in all.
_LOOK_EVERY_S = 0.02
#: A launcher holds the lock for about 0.03 s before it has written its id.
_NAMING_S = 2.0
#: How often a loading server is asked how far it is: often enough for a progress bar.
_LOADING_EVERY_S = 0.25

_LAUNCHER = Path(__file__).with_name("launcher.py")


class EmbeddedServerError(RuntimeError):
    """The server could not be started; the message quotes the end of its log."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """How the embedded store runs."""

    directory: Path  # everything it keeps: AOF, locks, log, socket
    server: Path | None = None  # a server program of the operator's own; None: the wheel's, else one on PATH
    maxmemory_mb: int = (
        0  # what data may take before writes are refused; 0: a share of this machine's (server_options.py)
    )
    file_size_limit_bytes: int = 0  # 0: none. Tests use it as a disk that is full


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How far a starting server has read its files."""

    loaded_bytes: int
    total_bytes: int
    left_s: int  # the server's own guess


def _nobody(*_told: object) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who is told what happens to the server. Called in the event loop, so nothing here may block or raise."""

    on_loading: Callable[[Loading], None] = _nobody
    on_down: Callable[[int], None] = _nobody  # it ended by itself: exit code, or minus the signal
    on_up: Callable[[], None] = _nobody  # it answers again after `on_down`


class EmbeddedServer:
    """One server on one directory. Start it from the main thread: the kernel ties the server's life to the thread that forked it."""

    def __init__(self, settings: EmbeddedSettings, listener: Listener | None = None) -> None:
        self._settings = settings
        self._clock = SystemClock()  # of the pauses between restarts
        self._listener = listener or Listener()
        self._directory = DataDirectory(settings.directory)
        self._command: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self.socket = ""  # the path to give to a client, from `start` on

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process, None when there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Return when the server answers, however long it loads.

        Raises DirectoryInUseError, ServerNotFoundError, or EmbeddedServerError when the server ends instead of answering.
        """
        server = await asyncio.to_thread(find_server, self._settings.server)
        self._directory.claim()
        try:
            socket = self._directory.socket()
            self.socket = str(socket)
            self._command = [str(server), *arguments(self._directory.path, socket, self._settings.maxmemory_mb)]
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        keep = keep_running("store", self._ended, self._again, self._clock, faults=(EmbeddedServerError, OSError))
        self._watch = asyncio.create_task(keep, name="embedded store")

    async def stop(self) -> None:
        """End the server in order, at the latest after `STOP_TIMEOUT_S` by force; nothing acknowledged is lost either way."""
        try:
            if self._watch is not None:
                await ended(self._watch)
                self._watch = None
        finally:
            await self._end_server()

    async def _end_server(self) -> None:
        try:
            if self._process is not None:
                await _end(self._process)
                self._process = None
        finally:
            self._directory.remove_socket()
            self._directory.release()

    async def _launch(self) -> None:
        lock = await self._server_lock()
        self._directory.remove_unfinished()
        log = self._directory.open_log()
        limit = str(self._settings.file_size_limit_bytes)
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(lock), limit]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *launcher,
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C in a terminal is for alertd, which then stops the server last
            )
        finally:
            os.close(log)
            os.close(lock)  # from here on the lock is the server's alone
        await self._ready(self._process)

    async def _server_lock(self) -> int:
        """The server's lock, after stopping a server that was left behind. This process owns the directory by now."""
        lock = await self._lock_within(_NAMING_S, until_named=True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self._directory.server_pid()
            if lock is None and pid is not None:
                # Where only a rewrite it had forked is left there is nothing to end in order: its file is thrown away.
                ending = number if _is_alive(pid) else signal.SIGKILL
                structlog.get_logger().warning("stopping a store that was left behind", pid=pid, signal=ending.name)
                _signal_group(pid, ending)
                lock = await self._lock_within(STOP_TIMEOUT_S)
        if lock is None:
            raise EmbeddedServerError(f"a process that does not end holds {self._directory.path}/server.lock: stop it")
        return lock

    async def _lock_within(self, timeout_s: float, *, until_named: bool = False) -> int | None:
        """The server's lock once it is free; `until_named`: or None as soon as its holder is known."""
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        while (lock := self._directory.try_server_lock()) is None and now() < deadline:
            if until_named and self._directory.server_pid() is not None:
                return None
            await asyncio.sleep(_LOOK_EVERY_S)
        return lock

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Wait until it answers, for as long as it lives."""
        async with Redis(unix_socket_path=self.socket, retry=Retry(NoBackoff(), 0)) as client:
            while process.returncode is None:
                try:
                    await client.ping()
                except BusyLoadingError:
                    await self._tell_loading(client)
                    await asyncio.sleep(_LOADING_EVERY_S)
                except (RedisError, OSError):  # not listening yet
                    await asyncio.sleep(_LOOK_EVERY_S)
                else:
                    return
        raise EmbeddedServerError(
            f"the store's server ended with {process.returncode} while starting; the end of {self._directory.log}:\n"
            f"{self._directory.last_words()}"
        )

    async def _tell_loading(self, client: Redis) -> None:
        with contextlib.suppress(RedisError, OSError):  # it has just finished, or died: the caller will see
            info = await client.info("persistence")
            if info.get("loading"):
                told = [int(info.get(f"loading_{name}", 0)) for name in ("loaded_bytes", "total_bytes", "eta_seconds")]
                self._listener.on_loading(Loading(loaded_bytes=told[0], total_bytes=told[1], left_s=told[2]))

    async def _ended(self) -> int:
        """The exit code of the server of the moment, once it has ended by itself."""
        assert self._process is not None
        code = await self._process.wait()
        structlog.get_logger().error("the store's last words", log=self._directory.last_words())
        self._listener.on_down(code)
        return code

    async def _again(self) -> None:
        await self._launch()
        structlog.get_logger().info("the store is back", pid=self.pid)
        self._listener.on_up()


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM; SIGKILL for it and any rewrite it had started when it takes too long, or when the wait is cancelled."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError) as cut:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(cut, asyncio.CancelledError):
                raise


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
