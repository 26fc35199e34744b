"""A server in trouble is left alone, tried again by one, and costs no other anything."""

import pytest

from channels.base import ACCEPTED, FAULT, NOT_CONNECTED, WITHHELD, Answer, Outcome, Reason
from channels.rests import ENOUGH, LONGEST_ASKED_S, LONGEST_S, MOST, SHORTEST_S, Rests

TRY_S = 20.0
GONE = Outcome(Answer.NEVER, Reason.GONE)
LATE = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)


def throttled(seconds):
    return Outcome(Answer.RETRY, Reason.THROTTLED, seconds)


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rests(clock):
    return Rests(clock, TRY_S)


def test_one_that_fails_again_and_again_rests_and_others_do_not(rests):
    rests.heard("a", [NOT_CONNECTED] * (ENOUGH - 1))
    assert rests.refusal("a") is None
    rests.heard("a", [LATE])
    assert rests.refusal("a") == Outcome(Answer.RETRY, Reason.TIMEOUT)
    assert rests.refusal("b") is None


def test_when_its_rest_is_over_one_tries_it_while_the_others_wait(rests, clock):
    """What is answered to the others was surely not written."""
    rests.heard("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    assert rests.refusal("a") == NOT_CONNECTED
    rests.heard("a", [ACCEPTED])
    assert rests.refusal("a") is None
    assert rests.refusal("a") is None


def test_who_tried_it_and_died_holds_it_no_longer_than_a_try_takes(rests, clock):
    rests.heard("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    clock.now_s += TRY_S
    assert rests.refusal("a") is None


def test_each_rest_is_longer_up_to_half_a_minute(rests, clock):
    found = []
    for _ in range(8):
        rests.heard("a", [NOT_CONNECTED] * ENOUGH)
        began = clock.now_s
        while rests.refusal("a"):
            clock.now_s += 0.5
        found.append(clock.now_s - began)
    assert found == [1.0, 2.0, 4.0, 8.0, 16.0, *[LONGEST_S] * 3]


def test_one_that_is_down_for_days_rests_as_ever(rests, clock):
    """Nobody's answer is lost for it: whoever made up a name that leads nowhere is a server that is down for good."""
    for _ in range(2_000):
        rests.heard("a", [NOT_CONNECTED] * ENOUGH)
        assert rests.refusal("a") == NOT_CONNECTED
        clock.now_s += LONGEST_S
        assert rests.refusal("a") is None


def test_nobody_is_left_alone_for_a_day(rests, clock):
    """A digit too many, or a date of another year, would silence all browsers of one maker for the alerts of tomorrow, too."""
    rests.heard("a", [throttled(86_400.0)] * ENOUGH)
    assert rests.refusal("a") == throttled(LONGEST_ASKED_S)
    clock.now_s += LONGEST_ASKED_S
    assert rests.refusal("a") is None


@pytest.mark.parametrize("answer", [ACCEPTED, GONE, FAULT, Outcome(Answer.RETRY, Reason.CREDENTIALS)])
def test_one_that_answers_works(rests, answer):
    """A no to one message shows it, and what is our own fault is not the server's."""
    rests.heard("a", [NOT_CONNECTED] * (ENOUGH - 1))
    rests.heard("a", [NOT_CONNECTED, answer])
    rests.heard("a", [NOT_CONNECTED])
    assert rests.refusal("a") is None


def test_one_that_asks_for_it_is_left_alone_as_long_as_most_of_its_answers_say(rests, clock):
    """A limit may be one recipient's: that one, or few in a row, wait alone."""
    rests.heard("a", [*[throttled(600.0)] * ENOUGH, *[ACCEPTED] * ENOUGH])
    rests.heard("a", [throttled(600.0)] * (ENOUGH - 1))
    assert rests.refusal("a") is None
    rests.heard("b", [*[throttled(7.0)] * ENOUGH, throttled(600.0), *[ACCEPTED] * 5])
    assert rests.refusal("b") == throttled(7.0)
    assert rests.refusal("a") is None
    clock.now_s += 3.0
    assert rests.refusal("b") == throttled(4.0)


def test_a_try_of_which_nothing_was_written_is_none(rests, clock):
    """The alert was stopped right then: the next asks again at once."""
    rests.heard("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    rests.heard("a", [WITHHELD] * 5)
    rests.heard("b", [])
    assert rests.refusal("a") is None


def test_what_was_never_written_ends_no_rest(rests):
    """An alert that was cancelled meanwhile had a chunk there, of which nothing went."""
    rests.heard("a", [throttled(600.0)] * ENOUGH)
    rests.heard("a", [WITHHELD] * 5)
    rests.heard("a", [])
    assert rests.refusal("a") == throttled(600.0)


def test_names_without_number_are_not_remembered(rests):
    for n in range(3 * MOST):
        rests.heard(f"s{n}", [NOT_CONNECTED])
    assert len(rests._troubles) <= MOST


def test_names_without_number_do_not_make_us_forget_one_that_is_down(rests):
    for n in range(3 * MOST):
        rests.heard(f"s{n}", [NOT_CONNECTED])
        if n % ENOUGH == 0:
            rests.heard("a", [NOT_CONNECTED] * ENOUGH)
        assert rests.refusal("a")
