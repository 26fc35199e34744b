"""A bucket gives what it holds at once, and more as it fills up."""

from __future__ import annotations

from alertd.service.access import RateLimits
from tests.clocks import Later


def test_a_bucket_fills_up_steadily():
    clock = Later()
    buckets = RateLimits(clock)

    def wait_s(amount: float, name: str = "ana") -> float:
        return buckets.wait_s(name, amount, per_s=10, most=100)

    assert [wait_s(60), wait_s(40)] == [0, 0]
    assert 1.9 < wait_s(20) <= 2
    assert wait_s(100, "bea") == 0
    clock.pass_by(2)
    assert wait_s(20) == 0
    clock.pass_by(3_600)
    assert wait_s(100) == 0
    assert wait_s(1) > 0
