"""The speed of a bind at centres that accept so many parts a second, on a clock of the test's own."""

from __future__ import annotations

from collections import deque

import pytest

from channels.smpp.pace import Pace

STEP_S = 0.01


class Centre:
    """Accepts `rate` parts in any second."""

    def __init__(self, rate):
        self.rate, self.times = rate, deque()

    def accepts(self, now_s):
        while self.times and self.times[0] <= now_s - 1:
            self.times.popleft()
        if len(self.times) >= self.rate:
            return False
        self.times.append(now_s)
        return True


def run(pace, centre, seconds, start_s=0.0, parts=1, burst=50):
    """Sends whenever the pace allows, at most `burst` at a time. Returns how many parts were accepted and throttled in each second."""
    seen = []
    for second in range(seconds):
        accepted = throttled = 0
        for step in range(round(1 / STEP_S)):
            now_s = start_s + second + step * STEP_S
            answers = []
            while pace.allows(now_s) and len(answers) < burst:
                for _ in range(parts):
                    pace.sent(now_s)
                    answers.append(centre.accepts(now_s))
            for yes in answers:
                (pace.accepted if yes else pace.throttled)(now_s)
                accepted, throttled = accepted + yes, throttled + (not yes)
        seen.append((accepted, throttled))
    return seen


@pytest.mark.parametrize("rate", [2, 10, 30, 100, 1_000])
def test_a_bind_sends_about_what_the_centre_accepts(rate):
    """After the first storm it sends four fifths of the rate or more, and one part in ten at most is throttled."""
    seen = run(Pace(1, 60), Centre(rate), 40)[2:]
    assert sum(accepted for accepted, _ in seen) >= 0.8 * rate * len(seen)
    assert sum(throttled for _, throttled in seen) <= 0.1 * rate * len(seen)


def test_a_bind_finds_out_that_the_centre_accepts_more():
    """A centre that was slow for ten seconds gets a hundred times as much within half a minute."""
    pace, centre = Pace(1, 60), Centre(5)
    run(pace, centre, 10)
    centre.rate = 500
    assert run(pace, centre, 30, start_s=10)[-1][0] >= 450


def test_a_rate_is_forgotten_after_a_minute_without_throttling():
    """What a centre accepted yesterday does not slow down an alert of today."""
    pace = Pace(1, 60)
    run(pace, Centre(1), 3)
    assert 0 < pace.rate < 2
    pace.sent(70)
    assert pace.rate == 0
    assert all(pace.allows(70) for _ in range(50))


def test_numbers_that_are_throttled_slow_down_no_others():
    """One part in ten is throttled while the centre accepts all others: there is no pause, and no limit is learned."""
    pace = Pace(1, 60)
    for n in range(1, 1_000):
        now_s = n * 0.001
        assert pace.allows(now_s)
        pace.sent(now_s)
        (pace.throttled if n % 10 == 0 else pace.accepted)(now_s)
    assert pace.rate == 0


def test_refused_repeats_lower_a_learned_rate_and_pause_nothing():
    """A centre of 100 parts a second accepts 20 from now on, and every message was tried before."""
    pace, centre = Pace(1, 60), Centre(100)
    run(pace, centre, 3)
    learned, until_s = pace.rate, pace.paused_until_s
    for n in range(40):
        now_s = 10 + n * 0.025
        pace.accepted(now_s) if n % 2 else pace.throttled(now_s, is_new=False)
    assert (pace.rate < 0.5 * learned, pace.paused_until_s) == (True, until_s)


def test_refused_repeats_alone_teach_no_rate():
    """The limits may belong to the numbers, and a new message does not wait for them."""
    pace = Pace(1, 60)
    for n in range(1_000):
        pace.throttled(n * 0.001, is_new=False)
    assert (pace.rate, pace.allows(1)) == (0, True)


def test_one_message_of_several_parts_that_is_tried_again_keeps_a_learned_rate():
    """Its number may be full, and the centre accepts little at present because little is sent."""
    pace = Pace(1, 60)
    run(pace, Centre(100), 3)
    learned = pace.rate
    pace.accepted(10)
    for _ in range(3):
        pace.throttled(10, is_new=False)
    assert pace.rate >= learned
