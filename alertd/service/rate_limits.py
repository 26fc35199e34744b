"""Rate limits of one process: token buckets in its memory, so that a call costs no round trip to the store."""

from __future__ import annotations

from alertd.common.clock import Clock


class RateLimits:
    """Token buckets by name. A bucket is full at first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def wait_s(self, name: str, amount: float, *, per_s: float, most: float) -> float:
        """Takes an amount from a bucket that holds `most` and gains `per_s` a second. Returns 0, or the seconds until there is enough; then
        nothing is taken.
        """
        now = self._clock.monotonic()
        full_at = max(now, self._full_at.get(name, now)) + amount / per_s
        if (wait_s := full_at - now - most / per_s) > 0:
            return wait_s
        self._full_at[name] = full_at
        return 0.0
