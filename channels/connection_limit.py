"""Learns how many connections a server accepts at a time."""

from __future__ import annotations

import time

#: Seconds from the first refusal until one more connection is tried, and the longest such wait. The wait doubles each
#: time.
FIRST_ASK_S, ASK_AGAIN_S = 1.0, 60.0


class ConnectionLimit:
    """Remembers how many connections a server had accepted when it refused another one.

    The owner of the connections stays within that number. It tries one more after 1 s, 2 s, 4 s and so on, at most
    `ask_again_s`.
    """

    def __init__(self, ask_again_s: float = ASK_AGAIN_S) -> None:
        self._ask_again_s = ask_again_s
        self._taken: int | None = None  # None: the server has refused none
        self._asks_again_s = 0.0  # monotonic s
        self._wait_s = 0.0  # seconds of the last wait

    def most(self, allowed: int) -> int:
        """Returns how many of the `allowed` connections may be open now: all of them before the first refusal, then as
        many as the server accepted, and one more when the wait is over.
        """
        return allowed if self._taken is None else min(allowed, self._taken + self.asks_again())

    def lanes(self, allowed: int) -> int:
        """Returns how many connections to expect, of the `allowed` ones: all of them while one more may be tried."""
        return allowed if self._taken is None or self.asks_again() else min(allowed, self._taken)

    def asks_again(self) -> bool:
        """Returns whether the wait after the last refusal is over."""
        return time.monotonic() >= self._asks_again_s

    def refused(self, number: int) -> float | None:
        """Records that the server refused one connection while `number` were open. Returns the seconds until one more
        may be tried, or None if such a wait has begun before: several connections may be refused at once.
        """
        self._taken = number
        if not self.asks_again():
            return None
        self._wait_s = min(self._ask_again_s, max(FIRST_ASK_S, 2 * self._wait_s))
        self._asks_again_s = time.monotonic() + self._wait_s
        return self._wait_s

    def opened(self, number: int) -> None:
        """Records that a connection opened, and that `number` are open now. If the server accepts more than before, the
        limit grows and the next wait is the shortest again.
        """
        if self._taken is not None and number > self._taken:
            self._taken, self._wait_s = number, 0.0
