"""What a process does again and again beside its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import structlog

from alertd.common.clock import Clock

CANCEL_S = 0.5

Made = TypeVar("Made")


class Shared(Generic[Made]):
    """A value that is expensive to make: made at most once in `every_s` seconds, and shared by everyone who asks meanwhile."""

    def __init__(self, make: Callable[[], Awaitable[Made]], every_s: float, clock: Clock) -> None:
        self._make = make
        self._every_s = every_s
        self._clock = clock
        self._began = 0.0
        self._task: asyncio.Task[Made] | None = None

    async def get(self) -> Made:
        """The value, or a new one if it is too old. Raises what making it raised."""
        if self._task is None or (self._task.done() and self._clock.monotonic() - self._began >= self._every_s):
            self._began = self._clock.monotonic()
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_looked_at)
        return await asyncio.shield(self._task)

    async def _run(self) -> Made:
        return await self._make()


def _looked_at(task: asyncio.Task[Any]) -> None:
    """A failure is no news for the event loop if everyone who asked has gone."""
    _ = task.cancelled() or task.exception()


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
