"""What a process does again and again beside its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from alertd.clock import Clock

CANCEL_S = 0.5


@asynccontextmanager
async def repeated(
    name: str, step: Callable[[], Awaitable[object]], every_s: float, clock: Clock
) -> AsyncIterator[None]:
    """A step, at once and then every so many seconds, as long as this lasts. One that fails is told in the log and tried again."""

    async def forever() -> None:
        while True:
            try:
                await step()
            except Exception:  # noqa: BLE001  whatever it is, it is told, and tried again
                structlog.get_logger().exception("background work failed", work=name)
            await clock.sleep(every_s)

    task = asyncio.create_task(forever(), name=name)
    try:
        yield
    finally:
        await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it is over: a library may swallow a cancellation that comes together with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)
