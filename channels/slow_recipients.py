"""Mailboxes for which a relay answers slowly: it asks their own server first, or delays its answer on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: A new mail waits at least so long for the answer to its recipient, and so many times as long as usual. Postfix answers each refusal after a second.
LEAST_S, TIMES = 2.0, 4
#: How much one answer changes what is usual.
WEIGHT = 1 / 16
#: One connection in so many, and one at least, may wait for a slow recipient until the relay answers.
PATIENT = 4


class SlowRecipients:
    """Limits how long the answer to a recipient holds a connection, so that a few slow mailboxes never hold all connections of a process.

    A new mail is given up after a few times the usual time, and tried later. A mail that was tried before may wait until the relay answers on a
    quarter of the connections; on the others until a new mail waits for a connection. If many recipients are slow, that becomes usual.
    """

    def __init__(self) -> None:
        self._usual_s: float | None = None  # of a new mail
        self._patient = 0  # mails that wait until the relay answers
        self._yielding: dict[
            asyncio.Timeout, float
        ] = {}  # mails that a new one ends, each with when it may end at the soonest

    @asynccontextmanager
    async def limit(self, *, is_new: bool, connections: int) -> AsyncIterator[None]:
        """Around the wait for the answer to one recipient. `connections` is how many this process may have. Raises TimeoutError."""
        if is_new:
            async with self._learning(), asyncio.timeout(self._longest_s()):
                yield
        elif self._patient < max(1, connections // PATIENT):
            self._patient += 1
            try:
                yield
            finally:
                self._patient -= 1
        else:
            async with asyncio.timeout(None) as limit:
                self._yielding[limit] = asyncio.get_running_loop().time() + (self._longest_s() or 0.0)
                try:
                    yield
                finally:
                    del self._yielding[limit]

    def make_room(self) -> None:
        """A new mail waits for a connection."""
        now_s = asyncio.get_running_loop().time()
        for limit, soonest_s in self._yielding.items():
            if not limit.expired():
                limit.reschedule(max(now_s, soonest_s))

    def _longest_s(self) -> float | None:
        """Returns how long a new mail may take, or None as long as nothing is known."""
        return None if self._usual_s is None else max(LEAST_S, TIMES * self._usual_s)

    @asynccontextmanager
    async def _learning(self) -> AsyncIterator[None]:
        """Learns what is usual from an answer, or from a wait that is given up."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            yield
        except TimeoutError:
            self._learn(loop.time() - began_s)
            raise
        self._learn(loop.time() - began_s)

    def _learn(self, took_s: float) -> None:
        self._usual_s = took_s if self._usual_s is None else self._usual_s + WEIGHT * (took_s - self._usual_s)
