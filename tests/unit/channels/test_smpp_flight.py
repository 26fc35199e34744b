"""The parts of a send at centres that throttle some of them, on a clock of the test's own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.smpp.flight import FINISH_S, Flight
from channels.smpp.pace import Pace

THROTTLED = Outcome(Answer.RETRY, Reason.THROTTLED)
STEP_S = 0.01


def fly(flight, answer, *, pace=None, slow=False):
    """Sends until every message has its outcome. `answer` takes a part's number and how many parts went before it. Returns when each piece
    was written.
    """
    now_s, times, parts = 0.0, [], 0
    while not flight.done:
        piece = flight.next(now_s)
        if piece is None:
            now_s += STEP_S
            if pace:
                pace.accepted(now_s)  # a part of another message
            continue
        is_new = piece.message.is_new
        flight.taken(piece)
        times.append(now_s)
        for number in piece.numbers:
            outcome = answer(number, parts)
            parts += 1
            if pace and outcome is THROTTLED:
                pace.throttled(now_s, is_new=is_new)
            piece.message.answered(number, outcome, now_s, late=False, slow=slow)
        now_s += STEP_S
    return times


@pytest.mark.parametrize("is_new", [True, False])
def test_a_part_that_stays_throttled_waits_longer_each_time(is_new):
    """The phone accepts one part and refuses the others: 0.5, 1, 2, 4, 4, ... s between the tries, and none after 30 s."""
    flight = Flight(1, 3)
    flight.add(0, "tag", [b""] * 3, is_new=is_new)
    times = fly(flight, lambda _, parts: THROTTLED if parts else ACCEPTED)
    waits_s = [later - sooner for sooner, later in pairwise(times)]
    assert waits_s == pytest.approx([0.5, 1, 2, *[4] * (len(waits_s) - 3)], abs=2 * STEP_S)
    assert FINISH_S - 4 < times[-1] <= FINISH_S
    assert flight.outcomes == [THROTTLED._replace(partly=True)]


def test_the_parts_of_a_message_follow_each_other_while_the_centre_accepts_them():
    """Three of four parts are throttled once: the first of them waits, and the others go at once when it is accepted."""
    flight = Flight(1, 4)
    flight.add(0, "tag", [b""] * 4)
    times = fly(flight, lambda number, parts: THROTTLED if number and parts < 4 else ACCEPTED)
    assert times == pytest.approx([0, 0.5, 0.5, 0.5], abs=4 * STEP_S)
    assert flight.outcomes == [ACCEPTED]


def test_a_message_that_waits_lets_others_go_first():
    """A second message is written while the throttled one waits."""
    flight = Flight(2, 1)
    for index in range(2):
        flight.add(index, f"tag{index}", [b""])
    first = flight.next(0)
    flight.taken(first)
    first.message.answered(0, THROTTLED, 0, late=False, slow=True)
    second = flight.next(0.1)
    assert second.message.index == 1
    flight.taken(second)
    assert (flight.next(0.1), flight.waits) == (None, True)
    assert flight.next(0.5).message.index == 0


def test_a_message_of_three_parts_to_a_full_phone_does_not_slow_the_bind():
    """The bind counts its two refusals once, among the parts that the centre accepts for others, and not at each repeat."""
    pace, flight = Pace(1, 60), Flight(1, 3)
    flight.add(0, "tag", [b""] * 3)
    for _ in range(20):
        pace.accepted(0)
    times = fly(flight, lambda _, parts: THROTTLED if parts else ACCEPTED, pace=pace)
    assert len(times) > 5
    assert (pace.paused_until_s, pace.is_limited) == (0, False)
