"""The speed of one bind. The bind sends as fast as its window allows until the centre throttles it, then about as fast
as the centre accepts parts.

Times are seconds of any monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

#: Seconds over which accepted and throttled parts are counted.
_SPAN_S: Final = 1.0
#: If the centre throttles at most this share of the parts counted within `_SPAN_S`, the bind is not too fast. The limit
#: then belongs to single numbers, or the bind is testing a higher rate.
_SHARE: Final = 0.2
#: If the centre throttles fewer repeats within `_SPAN_S`, the bind is not too fast: they may be the parts of one
#: message.
_MANY_AGAIN: Final = 10
#: The rate grows after the centre has accepted this many seconds' worth of parts at that rate. It grows by a tenth in
#: the first second, and faster in each later one.
_STEADY_S: Final = 5.0
_GROWTH: Final = 1.1
#: The bind sends a little more slowly than the centre accepted. At exactly that rate, every second part would come too
#: early.
_BELOW: Final = 0.95
#: If the centre has not throttled for this many seconds, the bind forgets its rate.
_FORGET_S: Final = 60.0
#: A bind that was idle may send the parts of this many seconds at once.
_SLACK_S: Final = 0.1
#: If a bind is throttled again at a known rate, it pauses for the time of this many parts.
_PAUSE_PARTS: Final = 2
#: Parts a second. No bind is faster, so a rate that has grown above this is no limit any more.
_UNLIMITED: Final = 50_000.0


class Pace:
    """Learns from the answers how fast the centre accepts parts, and decides when the next message may be sent."""

    def __init__(self, pause_s: float, longest_pause_s: float) -> None:
        """`pause_s`: seconds of the first pause after throttling. The pause doubles while the centre accepts nothing,
        up to `longest_pause_s`.
        """
        self.paused_until_s = 0.0
        self._first_pause_s = self._pause_s = pause_s
        self._longest_pause_s = longest_pause_s
        # In parts a second. 0: there is no limit, because the centre has not throttled.
        self._learned = 0.0
        self._used_s = 0.0  # seconds' worth of parts accepted since the last throttled one
        # When the next part may be sent, and when the last one was throttled.
        self._next_s = self._throttled_s = 0.0
        self._accepted: deque[float] = deque()
        self._throttled: deque[float] = deque()
        self._again: deque[float] = deque()  # times when repeated parts were throttled

    @property
    def rate(self) -> float:
        """Returns the rate in parts a second, or 0 if there is no limit."""
        beyond_s = max(0.0, self._used_s - _STEADY_S)
        return self._learned * math.pow(_GROWTH, beyond_s * (beyond_s + 1) / 2)

    @property
    def is_limited(self) -> bool:
        """Returns whether the bind has a rate: the centre throttled the bind itself, not only single numbers."""
        return self._learned > 0

    def allows(self, now_s: float) -> bool:
        """Returns whether a message may be sent now, with all of its parts."""
        return now_s >= self.paused_until_s and (not self._learned or now_s >= self._next_s)

    def sent(self, now_s: float) -> None:
        """Counts one written part. Forgets the rate if the centre has not throttled for a minute."""
        if self._learned and now_s > self._throttled_s + _FORGET_S:
            self._learned = 0.0
        if self._learned:
            self._next_s = max(self._next_s, now_s - _SLACK_S) + 1 / self.rate

    def accepted(self, now_s: float) -> None:
        """Counts one part that the centre accepted."""
        self._accepted.append(now_s)
        if self._accepted[0] <= now_s - _SPAN_S:
            _forget(self._accepted, now_s)
        paused = now_s < self.paused_until_s
        if not paused:
            self._pause_s = self._first_pause_s
        if not self._learned:
            return
        # This part was written before the pause, so the centre accepts more than was counted when the pause began.
        if paused:
            self._learned = max(self._learned, _BELOW * len(self._accepted) / _SPAN_S)
            return
        self._used_s += 1 / self.rate
        if self.rate > _UNLIMITED:
            self._learned = self._used_s = 0.0

    def throttled(self, now_s: float, *, is_new: bool = True) -> None:
        """Counts one part that the centre refused for now. `is_new`: the part was not tried before.

        Many refused repeats lower a learned rate. They cause no pause, because the limit may belong to the recipient's
        number.
        """
        if not is_new:
            self._lower(now_s)
            return
        self._throttled.append(now_s)
        _forget(self._accepted, now_s)
        _forget(self._throttled, now_s)
        accepted, throttled = len(self._accepted), len(self._throttled)
        self._used_s, self._throttled_s = 0.0, now_s
        if now_s < self.paused_until_s:  # all refusals of one window count as one
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
        """Counts one refused repeat. Lowers the rate if the centre refused many repeats within `_SPAN_S`."""
        self._again.append(now_s)
        _forget(self._again, now_s)
        _forget(self._accepted, now_s)
        again, accepted = len(self._again), len(self._accepted)
        if self._learned and accepted and again >= _MANY_AGAIN and again > _SHARE * (accepted + again):
            self._learned, self._used_s = min(self.rate, _BELOW * accepted / _SPAN_S), 0.0
            self._throttled_s = now_s


def _forget(times: deque[float], now_s: float) -> None:
    """Removes the times that are more than `_SPAN_S` ago."""
    while times and times[0] <= now_s - _SPAN_S:
        times.popleft()
