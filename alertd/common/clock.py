"""Where time comes from: scripts in the store use the server's clock, everything else asks one of these. It is counted in UNIX
milliseconds, and told as `datetime`.
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
    """Wall time for what people read and what ends, steady time for what waits, monotonic time for how long."""

    back_ms: int  # by so much wall time was set back, and has not caught up

    def now_ms(self) -> int:
        """UNIX time in milliseconds."""
        ...

    def steady_ms(self) -> int:
        """The same as long as that is not set back: then it goes on, and what waits does not wait for the step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

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
    """Returns what tells the clock's time in UNIX seconds."""
    return lambda: clock.now_ms() / 1000


def time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def time_or_none(ms: int) -> datetime | None:
    """None of 0, which stands for never."""
    return time_of(ms) if ms else None


def second_of(ms: int) -> datetime:
    """The second in which it is: CAP tells no part of one."""
    return datetime.fromtimestamp(ms // 1000, UTC)


def ms_of(at: datetime) -> int:
    return int(at.timestamp() * 1000)
