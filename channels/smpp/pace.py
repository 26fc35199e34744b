"""The speed of one bind: as fast as its window allows until the centre throttles it, then about as fast as the centre accepts parts.

Times are seconds of any clock that only goes forward.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

#: Accepted and throttled parts are counted over this many seconds.
_SPAN_S: Final = 1.0
#: A centre that throttles fewer of the counted parts is not too slow: the limit belongs to single numbers, or the bind tries a higher rate.
_SHARE: Final = 0.2
#: A centre that throttles fewer repeats in `_SPAN_S` is not too slow: they may be the parts of one message.
_MANY_AGAIN: Final = 10
#: Seconds' worth of accepted parts at one rate. Then the rate grows: by a tenth in the first second, faster in each later one.
_STEADY_S: Final = 5.0
_GROWTH: Final = 1.1
#: The bind sends a little more slowly than the centre accepted: at its exact rate every second part would come too early.
_BELOW: Final = 0.95
#: A bind forgets its rate if the centre has not throttled for this many seconds.
_FORGET_S: Final = 60.0
#: Unused seconds that a bind may make up for at once.
_SLACK_S: Final = 0.1
#: The pause of a bind that is throttled again at a known rate, in parts.
_PAUSE_PARTS: Final = 2
#: Parts a second: faster than any bind.
_UNLIMITED: Final = 50_000.0


class Pace:
    """Learns the rate from the answers and says when the next part may be sent."""

    def __init__(self, pause_s: float, longest_pause_s: float) -> None:
        """`pause_s`: the first pause after throttling; it doubles while the centre accepts nothing, up to `longest_pause_s`."""
        self.paused_until_s = 0.0
        self._first_pause_s = self._pause_s = pause_s
        self._longest_pause_s = longest_pause_s
        self._learned = 0.0  # parts a second; 0: the centre has not throttled, and there is no limit
        self._used_s = 0.0  # seconds' worth of parts that were accepted since the last throttled one
        self._next_s = self._throttled_s = 0.0  # when the next part may go, and when the last one was throttled
        self._accepted: deque[float] = deque()
        self._throttled: deque[float] = deque()
        self._again: deque[float] = deque()  # when parts were throttled that had been tried before

    @property
    def rate(self) -> float:
        """Parts a second; 0 while there is no limit."""
        beyond_s = max(0.0, self._used_s - _STEADY_S)
        return self._learned * math.pow(_GROWTH, beyond_s * (beyond_s + 1) / 2)

    @property
    def is_limited(self) -> bool:
        """Whether the centre has throttled the bind itself, and not single numbers."""
        return self._learned > 0

    def allows(self, now_s: float) -> bool:
        """Whether a message may be sent now, with all of its parts."""
        return now_s >= self.paused_until_s and (not self._learned or now_s >= self._next_s)

    def sent(self, now_s: float) -> None:
        """One part was written."""
        if self._learned and now_s > self._throttled_s + _FORGET_S:
            self._learned = 0.0
        if self._learned:
            self._next_s = max(self._next_s, now_s - _SLACK_S) + 1 / self.rate

    def accepted(self, now_s: float) -> None:
        """The centre accepted one part."""
        self._accepted.append(now_s)
        if self._accepted[0] <= now_s - _SPAN_S:
            _forget(self._accepted, now_s)
        paused = now_s < self.paused_until_s
        if not paused:
            self._pause_s = self._first_pause_s
        if not self._learned:
            return
        if paused:  # written before the pause: the centre accepts more than was counted when the pause began
            self._learned = max(self._learned, _BELOW * len(self._accepted) / _SPAN_S)
            return
        self._used_s += 1 / self.rate
        if self.rate > _UNLIMITED:
            self._learned = self._used_s = 0.0

    def throttled(self, now_s: float, *, is_new: bool = True) -> None:
        """The centre refused one part because it takes no more at present. A part that is not `is_new` was tried before: many of them lower a
        rate that the bind has learned, and the bind does not pause, because the limit may be a number's own.
        """
        if not is_new:
            self._lower(now_s)
            return
        self._throttled.append(now_s)
        _forget(self._accepted, now_s)
        _forget(self._throttled, now_s)
        accepted, throttled = len(self._accepted), len(self._throttled)
        self._used_s, self._throttled_s = 0.0, now_s
        if now_s < self.paused_until_s:  # a window's worth of refusals is one
            return
        rate = _BELOW * accepted / _SPAN_S
        if throttled <= _SHARE * (accepted + throttled):
            self._learned = max(self._learned, rate) if self._learned else 0.0
            return
        known, self._learned = bool(self._learned and rate), rate or self._learned / 2
        pause_s = min(self._pause_s, _PAUSE_PARTS / rate) if known else self._pause_s
        self.paused_until_s = self._next_s = now_s + pause_s
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)

    def _lower(self, now_s: float) -> None:
        self._again.append(now_s)
        _forget(self._again, now_s)
        _forget(self._accepted, now_s)
        again, accepted = len(self._again), len(self._accepted)
        if self._learned and accepted and again >= _MANY_AGAIN and again > _SHARE * (accepted + again):
            self._learned, self._used_s = min(self.rate, _BELOW * accepted / _SPAN_S), 0.0
            self._throttled_s = now_s


def _forget(times: deque[float], now_s: float) -> None:
    while times and times[0] <= now_s - _SPAN_S:
        times.popleft()
