"""What keeps children running: real processes, and a clock that costs no time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from alertd.common.repetition import FIRST_PAUSE_S, HEALTHY_S, LONGEST_PAUSE_S, keep_running


class FakeClock:
    """Time that only sleepers and the test move."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


class Shell:
    """Children that run a script; the end of their standard input ends one that reads it."""

    def __init__(self, script: Path) -> None:
        self.script = script
        self.started: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(self.script, stdin=asyncio.subprocess.PIPE)

    async def wait(self) -> int:
        self.started.put_nowait(self.process)  # here, so that its keeper has looked at the clock
        return await self.process.wait()


@contextlib.asynccontextmanager
async def kept(shell: Shell, clock: FakeClock) -> AsyncIterator[None]:
    await shell.start()
    keeper = asyncio.create_task(keep_running("shell", shell.wait, shell.start, clock))
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            shell.process.kill()
        await shell.process.wait()


def script(folder: Path, text: str) -> Path:
    """A program that can be started."""
    file = folder / "child"
    unfinished = folder / "unfinished"
    unfinished.write_text(f"#!/bin/sh\n{text}\n")
    unfinished.chmod(0o700)
    unfinished.rename(file)
    return file


async def test_one_that_keeps_ending_is_started_ever_later(tmp_path: Path):
    """Each pause is twice the one before, up to the longest."""
    clock, shell = FakeClock(), Shell(script(tmp_path, "exit 3"))
    async with kept(shell, clock):
        for _ in range(9):
            await shell.started.get()
    assert clock.slept[:8] == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(8)]
    assert LONGEST_PAUSE_S in clock.slept


async def test_one_that_was_healthy_is_started_again_soon(tmp_path: Path):
    """After a minute of health the pause is the first again, whatever went before; after less it is not."""
    clock, shell = FakeClock(), Shell(script(tmp_path, "exec cat"))
    async with kept(shell, clock):
        for lived_s in (1, 1, HEALTHY_S - 1, HEALTHY_S + 1, 1):
            child = await shell.started.get()
            clock.now_s += lived_s
            assert child.stdin is not None
            child.stdin.close()
        await shell.started.get()
    pause = FIRST_PAUSE_S
    assert clock.slept == [pause, 2 * pause, 4 * pause, pause, 2 * pause]


async def test_a_start_that_fails_is_tried_again(tmp_path: Path):
    """A program that is away for a while (an upgrade) does not end the watch over its child."""
    clock, shell = FakeClock(), Shell(script(tmp_path, "exec cat"))

    class Upgrade(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 4:
                script(tmp_path, "exec cat")

    clock = Upgrade()
    async with kept(shell, clock):
        child = await shell.started.get()
        shell.script.unlink()
        assert child.stdin is not None
        child.stdin.close()
        assert await shell.started.get() is not child
    assert len(clock.slept) == 4
