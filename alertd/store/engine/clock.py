"""The store's time. Everything that starts or ends at a moment follows it, not the clock of the machine that alertd runs on
(ops/docs/decisions/0045).

Scripts read the server's clock. Decisions outside scripts (ends, starts, a carrier's time limit, quiet hours) use the same clock: otherwise
a process with a fast clock would end an alert that the scripts still send. If the server's clock is set back, waits continue by a steady
clock, which never goes back. The store keeps it for all processes, also for those that start after the step.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from alertd.common.clock import SystemClock
from alertd.common.repetition import repeated
from alertd.store.engine import keys
from alertd.store.engine.connection import UNAVAILABLE, Connection, StoreUnavailableError, checked, translated
from alertd.store.engine.nodes import CommandPipeline

#: Seconds between two readings of the server's clock. For at most this long, `StoreClock` is wrong after the server's
#: clock was set or another server took over. Between two readings the machine's monotonic clock counts, with an error
#: of a few microseconds a second.
HEAR_S = 1.0
#: A step back of the server's clock by more than this (ms) is logged: ends and starts then come later than planned.
TOLD_MS = 1_000
#: A step forward by more than this (ms) is logged: what has expired by the new time stays expired. A slow answer alone
#: can look like a step of a few seconds.
AHEAD_MS = 30_000
#: Clocks of a cluster's servers that differ by more than APART_S seconds are logged. They are compared every COMPARE_S
#: seconds.
APART_S, COMPARE_S = 2.0, 30.0


class StoreClock(SystemClock):
    """The time of the store's server, as UNIX ms. Call `hear` once before `now_ms`."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._began_ms = -math.inf  # time of the server's clock (UNIX ms) when `monotonic` was 0
        self._is_apart = False  # whether the servers' clocks differ, as last logged

    def now_ms(self) -> int:
        """Returns the UNIX time in ms by the server's clock. It is never ahead of that clock, and behind it by at most the time that an
        answer took.
        """
        return int(self._began_ms + 1000 * self.monotonic()) + self._db.skew_ms

    async def hear(self) -> None:
        """Reads the server's clock once and corrects `now_ms` by it. Also updates `back_ms`: by how many ms the steady clock is ahead of
        the server's clock, because that was set back. Logs a step. Raises StoreUnavailableError.
        """
        asked_ms = 1000 * self.monotonic()
        seconds, microseconds, back_ms = await self._db.run("hear", [keys.CLOCK], self._db.skew_ms)
        shown_ms = 1000 * int(seconds) + int(microseconds) / 1000
        latest_ms = shown_ms - asked_ms
        if (step_ms := self._began_ms - latest_ms) > TOLD_MS:
            structlog.get_logger().error("store_clock.set_back", seconds=round(step_ms / 1000, 3))
        ahead_ms = shown_ms - 1000 * self.monotonic() - self._began_ms
        if AHEAD_MS < ahead_ms < math.inf:
            structlog.get_logger().error("store_clock.set_forward", seconds=round(ahead_ms / 1000, 3))
        # The server's clock showed that time at some moment between the request and the answer. Keeps the earlier
        # offset if it fits this range, so that the clock does not jump.
        self._began_ms = min(max(self._began_ms, shown_ms - 1000 * self.monotonic()), latest_ms)
        self.back_ms = int(back_ms)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Reads the server's clock now, and every second while the context lasts; also compares the clocks of several servers every
        COMPARE_S. Raises StoreUnavailableError if the first reading fails; later failures are ignored.
        """
        await self.hear()
        async with (
            repeated("store's clock", self._hear_again, HEAR_S, self),
            repeated("store's clocks", self._compare, COMPARE_S, self),
        ):
            yield

    async def _hear_again(self) -> None:
        """Reads the server's clock; ignores an unavailable store."""
        with suppress(StoreUnavailableError):  # callers that need the store log it; the clock runs on without it
            await self.hear()

    async def _compare(self) -> None:
        """Logs when the clocks of the store's servers begin to differ by more than APART_S seconds, and when they agree again. Each
        alert starts and ends by the clock of the server that stores it.
        """
        with suppress(StoreUnavailableError):
            seconds = await apart_s(self._db)
            if (seconds > APART_S) is not self._is_apart:
                self._is_apart = not self._is_apart
                if self._is_apart:
                    structlog.get_logger().error("store_clocks.diverged", seconds=round(seconds, 3))
                else:
                    structlog.get_logger().info("store_clocks.converged")


async def apart_s(connection: Connection) -> float:
    """Asks all servers of the store for their time. Returns by how many seconds at least their clocks differ. Raises StoreUnavailableError."""
    nodes = connection.nodes
    return apart(await asyncio.gather(*(_shown(nodes.lines(node)) for node in nodes.all)))


def apart(shown: Sequence[tuple[float, float]]) -> float:
    """Returns by how many seconds at least the clocks differ, 0.0 if they may agree. `shown` has for each clock the least and the most
    seconds that it may be ahead of this machine's monotonic clock: a range, because the answer took time.
    """
    return max(0.0, max(least for least, _ in shown) - min(most for _, most in shown))


async def _shown(lines: CommandPipeline) -> tuple[float, float]:
    """Returns the least and the most seconds that a server's clock may be ahead of this machine's monotonic clock. Raises
    StoreUnavailableError.
    """
    asked_s = time.monotonic()
    try:
        seconds, microseconds = checked(await lines.ask([("TIME",)]))[0]
    except UNAVAILABLE as error:
        raise translated(error) from error
    shown_s = int(seconds) + int(microseconds) / 1e6
    return shown_s - time.monotonic(), shown_s - asked_s
