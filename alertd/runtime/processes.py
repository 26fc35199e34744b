"""Runs the processes of `alertd serve`: handles the signals that end a command, and starts its child processes.

A child that dies is restarted. Children are ended in order and never left behind. Also makes a folder for their
sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import channels
import geofences
from alertd.common.clock import SystemClock
from alertd.common.repetition import ended, keep_running

#: Seconds that child processes may take to end after SIGTERM. A worker that stops waits for its carriers' answers; a mail relay has the
#: longest time-out.
DRAIN_S = 75.0
CHILD_START_S = 60.0  # seconds; for a cold disk and a busy machine, two seconds are usual
LOOK_EVERY_S = 0.05
PR_SET_PDEATHSIG = 1  # prctl(2)
STDOUT = 1
FILES = 65_536  # file limit that a process wants, as `ops/alertd.service` gives: a file is a connection
#: Thresholds of the garbage collector. Objects of running calls are not garbage, but with Python's default of 700
#: objects, collection takes a twentieth of an alert's time. For the start of a process see `cli.main`.
COLLECTED_AT = (10_000, 10, 10)


class StartError(Exception):
    """The installation cannot start, was stopped before it was ready, or a second Ctrl-C stopped it at once. The message says what to do."""


class Life:
    """Runs one command until SIGTERM, SIGINT, or the SIGHUP of a closed terminal.

    The first signal ends the command in order, even during its start, and closes everything opened so far. Another
    Ctrl-C (SIGINT) ends the wait at once; the next start handles the unfinished work. Another SIGTERM has no effect:
    when a parent is killed, the kernel may send one for each of its threads.
    """

    def __init__(self, name: str | None = None) -> None:
        """`name`: the command, for the lines at the terminal that report start and stop. None: reports nothing."""
        self._name = name
        self._is_ready = self._is_stopping = self._is_cut_short = False
        self._finish: Callable[[], None] | None = None

    async def run(self, job: Coroutine[Any, Any, None]) -> None:
        """Runs the command until it ends or a signal ends it. Raises StartError if a signal came before `ready`, or if
        a second Ctrl-C ended the wait.
        """
        task = asyncio.ensure_future(job)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started with nohup
            loop.add_signal_handler(number, self._stop, task, number)
        self._tell(f"Starting {self._name}…")
        try:
            await task
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise
        if self._is_cut_short:
            raise StartError("stopped at once, as asked: alertd settles the unfinished messages at the next start")
        if self._is_stopping and not self._is_ready:
            raise StartError("stopped before it was ready")

    def ready(self, finish: Callable[[], None] | None = None) -> None:
        """Called when the command has started. A later signal calls `finish` and the command returns by itself; without
        `finish` the signal cancels it. Raises CancelledError if a signal came before.
        """
        if self._is_stopping:  # some libraries swallow a cancellation that comes together with their result
            raise asyncio.CancelledError
        self._is_ready, self._finish = True, finish
        keep_loaded()

    def _stop(self, task: asyncio.Task[None], number: signal.Signals) -> None:
        """Handles a signal. The first one ends the command in order (`finish`, else by cancelling it); a SIGINT after it cancels the
        command at once.
        """
        again, self._is_stopping = self._is_stopping, True
        if again and number != signal.SIGINT:
            return
        if not again:
            self._tell("Stopping; Ctrl-C again stops at once")
        self._is_cut_short = again
        if again or self._finish is None:
            task.cancel()
        else:
            self._finish()

    def _tell(self, sentence: str) -> None:
        """Writes a line for the person at the terminal. Nothing if the output is no terminal or the command has no name."""
        if self._name is not None and os.isatty(STDOUT):
            with contextlib.suppress(OSError):  # the terminal may be gone; buffered, that would spoil the exit code
                os.write(STDOUT, f"{sentence}\n".encode())


def keep_loaded() -> None:
    """Excludes all objects loaded so far from garbage collection, and sets its thresholds. Otherwise the collector would scan all regions
    again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)


def take_files() -> None:
    """Raises this process's limit of open files to FILES, or to the highest that is allowed. Many systems start with 1,024, which idle
    connections could use up.
    """
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if given != resource.RLIM_INFINITY and given < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class Child:
    """A child process that runs `alertd` with some arguments."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = {**environment, "ALERTD_PARENT": str(os.getpid())}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_started(self) -> bool:
        return self._process is not None

    async def start(self) -> None:
        """Starts the process, in a session of its own."""
        # Ctrl-C in a terminal is for the parent, which then stops its children in order: hence a session of their own.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "alertd", *self._arguments, env=self._environment, start_new_session=True
        )

    async def wait(self) -> int:
        """Waits until the process has ended. Returns its exit code."""
        assert self._process is not None
        return await self._process.wait()

    def signal(self, number: int) -> None:
        """Sends a signal to the process if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # `send_signal` would reap one that has died, and its code would be lost.
                os.kill(self._process.pid, number)


@asynccontextmanager
async def kept_running(arguments: Sequence[str], environments: Sequence[Mapping[str, str]]) -> AsyncIterator[None]:
    """Runs one child `alertd` with these arguments per environment until the end of the block, then ends all together.
    Restarts a child that dies.
    """
    children = [Child(arguments, environment) for environment in environments]
    keepers: list[asyncio.Task[NoReturn]] = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, children)
        # Before any child starts: if the start is interrupted, an ended child must not be restarted.
        stack.push_async_callback(_cancel, keepers)
        for child in children:
            await child.start()
            keep = keep_running(arguments[0], child.wait, child.start, SystemClock())
            keepers.append(asyncio.create_task(keep))
        yield


async def _cancel(keepers: Sequence[asyncio.Task[NoReturn]]) -> None:
    """Cancels the tasks that restart dead children, and waits for their end."""
    await asyncio.gather(*map(ended, keepers))


async def _end(children: Sequence[Child]) -> None:
    """Sends SIGTERM to all children and waits for them. Sends SIGKILL to those that still run after `DRAIN_S` seconds,
    or when the wait is cancelled.
    """
    started = [child for child in children if child.is_started]
    for child in started:
        child.signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(DRAIN_S):
            await asyncio.gather(*(child.wait() for child in started))
    except TimeoutError:
        pass
    finally:
        for child in started:
            child.signal(signal.SIGKILL)
        await asyncio.gather(*(child.wait() for child in started))


async def appeared(file: Path) -> None:
    """Waits for a file that a child makes when it is ready. Raises StartError after CHILD_START_S seconds."""
    deadline = time.monotonic() + CHILD_START_S
    while not await asyncio.to_thread(file.exists):
        if time.monotonic() > deadline:
            raise StartError(f"a child did not start in {CHILD_START_S:.0f} s; its messages are above")
        await asyncio.sleep(LOOK_EVERY_S)


def die_with_parent() -> None:
    """In a child of `alertd serve`, asks Linux to send the child SIGTERM when its parent is killed; on other systems the next start ends
    the child. Exits at once if the parent has already ended. Does nothing in a process that was started otherwise.
    """
    parent = os.environ.get("ALERTD_PARENT")
    if parent is None:
        return
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the process that started this one is gone")


def check_packages() -> None:
    """Raises StartError if another package has replaced one of alertd's."""
    for package in (channels, geofences):
        if getattr(package, "OWNER", None) != "alertd":
            raise StartError(
                f"the package {package.__name__!r} in this environment is not alertd's: "
                f"install alertd in an environment of its own"
            )


PREFIX = "alertd-sockets-"
#: Name of the file in a socket folder that the process locks while it runs. Unlike a process id, a lock is never
#: reused, and every container sees it.
LOCK = "lock"


@contextmanager
def socket_folder() -> Iterator[Path]:
    """Yields a new folder inside the temporary folder and removes it at the end. First removes the folders that ended
    processes left. Raises StartError if no temporary folder can be written.
    """
    try:
        _remove_left(Path(tempfile.gettempdir()))
    except FileNotFoundError:
        raise StartError("no folder for temporary files can be written, as /tmp: name one in TMPDIR") from None
    folder, lock = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made() -> tuple[Path, int]:
    """Makes a socket folder and locks its lock file. Returns the folder and the descriptor of the lock file, which no
    child inherits.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        if _locked(lock):
            return folder, lock
        os.close(lock)  # another start took the new folder for left over and removes it


def _remove_left(below: Path) -> None:
    """Removes this user's socket folders whose lock is free, because their process has ended. Skips all others."""
    for folder in below.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or just removed by another start
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if folder.stat().st_uid == os.getuid() and _locked(lock):
                    shutil.rmtree(folder)
            finally:
                os.close(lock)


def _locked(lock: int) -> bool:
    """Tries to lock the file. Returns False if another process holds the lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
