"""Clocks. Scripts in the store use the server's clock; all other code uses an object of one of these classes.

Times are integers in UNIX milliseconds, or `datetime` in UTC for texts that people read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Clock(Protocol):
    """A clock with wall time (for people and expiries), steady time (for waiting work) and monotonic time (for durations)."""

    back_ms: int  # how far the wall clock was set back and has not caught up yet

    def now_ms(self) -> int:
        """Returns the wall time in UNIX milliseconds."""
        ...

    def steady_ms(self) -> int:
        """Returns the wall time plus `back_ms`, in UNIX ms, so that setting the clock back does not delay waiting work."""
        ...

    def monotonic(self) -> float:
        """Returns seconds from an arbitrary start that never decrease."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of the machine that alertd runs on. It notices no step back of the wall clock: `back_ms` is 0."""

    back_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        return self.now_ms() + self.back_ms

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def seconds_of(clock: Clock) -> Callable[[], float]:
    """Returns a function that returns the clock's time in UNIX seconds."""
    return lambda: clock.now_ms() / 1000


def time_of(ms: int) -> datetime:
    """Returns the UTC time of these UNIX milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def time_or_none(ms: int) -> datetime | None:
    """Returns the UTC time of these UNIX milliseconds, or None for 0, which means never."""
    return time_of(ms) if ms else None


def second_of(ms: int) -> datetime:
    """Returns the UTC time of these UNIX milliseconds, rounded down to a whole second, because CAP has no fractions."""
    return datetime.fromtimestamp(ms // 1000, UTC)


def ms_of(at: datetime) -> int:
    """Returns an aware time in UNIX milliseconds, rounded down."""
    return int(at.timestamp() * 1000)
