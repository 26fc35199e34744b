"""An idle worker ends when it is told to, in the middle of whatever it sleeps through."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from alertd.common.clock import SystemClock
from alertd.runtime.worker import worker_of
from alertd.service.container import Container

#: Looking, planning, finishing, expiring, sweeping, and the heart.
STEPS = 6


class NightClock(SystemClock):
    """Its sleepers are never woken."""

    def __init__(self) -> None:
        self.sleepers = 0
        self.all_asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleepers += 1
        if self.sleepers == STEPS:
            self.all_asleep.set()
        await asyncio.Event().wait()


async def test_stop_wakes_every_step_of_an_idle_worker(parts: Container) -> None:
    """The longest pause is five seconds, for which nobody who pressed Ctrl-C should wait."""
    clock = NightClock()
    worker = replace(worker_of(parts), clock=clock)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        await clock.all_asleep.wait()
        worker.stop()
        await running
