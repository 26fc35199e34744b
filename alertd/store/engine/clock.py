"""The store's time. Everything that starts or ends at a moment follows it, not the machine's own clock (ops/docs/decisions/0045).

Scripts read the server's clock. What is decided outside of them, an end, a start, how long a carrier may try, who sleeps, is decided by
the same one, or a process whose clock is fast would end what the scripts still send. Where it is set back, what waits goes on by a steady
one that the store keeps for all processes, those that begin after the step among them.
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

#: So long, at most, it shows another time after the server's clock was set, or another server has taken over. Between two looks this
#: machine counts the time, which it does right to a few microseconds a second.
HEAR_S = 1.0
#: That it was set back further is told: ends and starts come later than they were to.
TOLD_MS = 1_000
#: And that it was set forward by so much: what is over by it is over for good. A slow answer shows it late by a few seconds.
AHEAD_MS = 30_000
#: Servers of a cluster that are further apart than this are told, and looked at so often.
APART_S, COMPARE_S = 2.0, 30.0


class StoreClock(SystemClock):
    """Wall time of the store's server. Call `hear` once before `now_ms`."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._began_ms = -math.inf  # what the server's clock showed when `monotonic` was 0
        self._is_apart = False  # as it was last told

    def now_ms(self) -> int:
        """UNIX time in milliseconds: not ahead of the server's, and behind it by no more than an answer took to come."""
        return int(self._began_ms + 1000 * self.monotonic()) + self._db.skew_ms

    async def hear(self) -> None:
        """Read the server's clock. Raises StoreUnavailableError."""
        asked_ms = 1000 * self.monotonic()
        seconds, microseconds, back_ms = await self._db.run("hear", [keys.CLOCK], self._db.skew_ms)
        shown_ms = 1000 * int(seconds) + int(microseconds) / 1000
        latest_ms = shown_ms - asked_ms
        if (step_ms := self._began_ms - latest_ms) > TOLD_MS:
            structlog.get_logger().error("store_clock.set_back", seconds=round(step_ms / 1000, 3))
        ahead_ms = shown_ms - 1000 * self.monotonic() - self._began_ms
        if AHEAD_MS < ahead_ms < math.inf:
            structlog.get_logger().error("store_clock.set_forward", seconds=round(ahead_ms / 1000, 3))
        # It showed that at some moment between the two: what was found before stands if it fits, so that it goes without jumps.
        self._began_ms = min(max(self._began_ms, shown_ms - 1000 * self.monotonic()), latest_ms)
        self.back_ms = int(back_ms)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Read the clock now, and every second while the context lasts. Raises StoreUnavailableError if the first reading fails."""
        await self.hear()
        async with (
            repeated("store's clock", self._hear_again, HEAR_S, self),
            repeated("store's clocks", self._compare, COMPARE_S, self),
        ):
            yield

    async def _hear_again(self) -> None:
        with suppress(StoreUnavailableError):  # whoever needs the store tells of that, and time goes on without it
            await self.hear()

    async def _compare(self) -> None:
        """Log when the servers' clocks differ, and when they agree again: a chain starts and ends by the clock of its own server."""
        with suppress(StoreUnavailableError):
            seconds = await apart_s(self._db)
            if (seconds > APART_S) is not self._is_apart:
                self._is_apart = not self._is_apart
                if self._is_apart:
                    structlog.get_logger().error("store_clocks.diverged", seconds=round(seconds, 3))
                else:
                    structlog.get_logger().info("store_clocks.converged")


async def apart_s(connection: Connection) -> float:
    """Returns by how many seconds at least the clocks of the store's servers differ. Raises StoreUnavailableError."""
    nodes = connection.nodes
    return apart(await asyncio.gather(*(_shown(nodes.lines(node)) for node in nodes.all)))


def apart(shown: Sequence[tuple[float, float]]) -> float:
    """From what each clock was ahead of one of our own, at least and at most, as its answer came late."""
    return max(0.0, max(least for least, _ in shown) - min(most for _, most in shown))


async def _shown(lines: CommandPipeline) -> tuple[float, float]:
    asked_s = time.monotonic()
    try:
        seconds, microseconds = checked(await lines.ask([("TIME",)]))[0]
    except UNAVAILABLE as error:
        raise translated(error) from error
    shown_s = int(seconds) + int(microseconds) / 1e6
    return shown_s - time.monotonic(), shown_s - asked_s
