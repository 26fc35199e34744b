"""Children of `alertd serve`: started again when they die, ended in order, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

#: A worker that drains waits for what it asked of carriers; the slowest time-out is a relay's.
DRAIN_S = 75.0
PR_SET_PDEATHSIG = 1  # prctl(2)


@asynccontextmanager
async def kept_running(arguments: list[str], environment: Mapping[str, str]) -> AsyncIterator[None]:
    """A child `alertd`, started again when it dies, and ended with SIGTERM."""
    environment = {**environment, "ALERTD_PARENT": str(os.getpid())}
    process = await _child(arguments, environment)

    async def keep() -> None:
        nonlocal process
        pause_s = 0.2
        while True:
            code = await process.wait()
            structlog.get_logger().error("child ended", what=arguments[0], code=code)
            await asyncio.sleep(pause_s)
            pause_s = min(5.0, pause_s * 2)
            process = await _child(arguments, environment)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await _end(process)


async def _child(arguments: list[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    # Ctrl-C in a terminal is for the parent, which then stops its children in order: hence a session of their own.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alertd", *arguments, env=environment, start_new_session=True
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(DRAIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def on_stop(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def die_with_parent() -> None:
    """A child of `alertd serve` ends when its parent is killed; elsewhere than on Linux its next start ends it."""
    parent = os.environ.get("ALERTD_PARENT")
    if parent is None:
        return
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the process that started this one is gone")
