"""What is done again and again: a failure is told and tried again, and the end is the end."""

from __future__ import annotations

import asyncio

import structlog

from alertd.common.clock import SystemClock
from alertd.common.repetition import repeated


async def test_a_failure_is_told_and_tried_again():
    """One step that fails does not end the work, and somebody can read that it failed."""
    twice, steps = asyncio.Event(), []

    async def step() -> None:
        steps.append(len(steps))
        if len(steps) == 1:
            raise ValueError
        twice.set()

    with structlog.testing.capture_logs() as told:
        async with repeated("labels", step, 0, SystemClock()), asyncio.timeout(5):
            await twice.wait()
    assert [(entry["log_level"], entry["work"]) for entry in told] == [("error", "labels")]


async def test_a_swallowed_cancellation_is_given_again():
    """Work ends with its block, though what it waits for takes the first cancellation for itself."""
    begun, swallowed = asyncio.Event(), []

    async def step() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not swallowed:
                swallowed.append(True)
                return
            raise

    async with asyncio.timeout(5):
        async with repeated("labels", step, 60, SystemClock()):
            await begun.wait()
    assert swallowed
