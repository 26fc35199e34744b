"""A server in trouble is left alone, tried again by one, and costs no other anything."""

import pytest

from channels.base import ACCEPTED, FAULT, NOT_CONNECTED, WITHHELD, Answer, Outcome, Reason
from channels.server_pauses import ENOUGH, LONGEST_ASKED_S, LONGEST_S, MOST, NEW_FIRST_S, SHORTEST_S, ServerPauses

TRY_S = 20.0
GONE = Outcome(Answer.NEVER, Reason.GONE)
LATE = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)


def throttled(seconds):
    return Outcome(Answer.RETRY, Reason.THROTTLED, seconds)


def waits(reason, seconds):
    """Nothing is written for so long."""
    return WITHHELD._replace(reason=reason, retry_after_s=seconds)


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


class Listening(ServerPauses):
    """Messages are new unless a test says otherwise."""

    def note_outcomes(self, server, outcomes, are_new=None):
        super().note_outcomes(server, outcomes, [True] * len(outcomes) if are_new is None else are_new)


@pytest.fixture
def rests(clock):
    return Listening(clock, TRY_S)


def test_one_that_fails_again_and_again_rests_and_others_do_not(rests):
    rests.note_outcomes("a", [NOT_CONNECTED] * (ENOUGH - 1))
    assert rests.refusal("a") is None
    rests.note_outcomes("a", [LATE])
    assert rests.refusal("a") == waits(Reason.TIMEOUT, SHORTEST_S)
    assert rests.refusal("b") is None


def test_when_its_rest_is_over_one_tries_it_while_the_others_wait(rests, clock):
    """What is answered to the others was surely not written."""
    rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    assert rests.refusal("a") == waits(Reason.CONNECTION, SHORTEST_S)
    rests.note_outcomes("a", [ACCEPTED])
    assert rests.refusal("a") is None
    assert rests.refusal("a") is None


def test_who_tried_it_and_died_holds_it_no_longer_than_a_try_takes(rests, clock):
    rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    clock.now_s += TRY_S
    assert rests.refusal("a") is None


def test_each_rest_is_longer_up_to_five_seconds(rests, clock):
    found = []
    for _ in range(8):
        rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
        began = clock.now_s
        while rests.refusal("a"):
            clock.now_s += 0.5
        found.append(clock.now_s - began)
    assert found == [1.0, 2.0, 4.0, *[LONGEST_S] * 5]
    assert LONGEST_S < 15.0, "a server that returns is found within 15 s"


def test_one_that_is_down_for_days_rests_as_ever(rests, clock):
    """Nobody's answer is lost for it: whoever made up a name that leads nowhere is a server that is down for good."""
    for _ in range(2_000):
        rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
        assert rests.refusal("a").reason is Reason.CONNECTION
        clock.now_s += LONGEST_S
        assert rests.refusal("a") is None


def test_one_recipient_s_limit_pauses_no_server(rests, clock):
    """The server was away and returns. Its first answer is a limit of one browser, which may last an hour; the others do not wait for that."""
    rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    rests.note_outcomes("a", [throttled(3_600.0)])
    assert rests.refusal("a").retry_after_s <= LONGEST_S


def test_nobody_is_left_alone_for_a_day(rests, clock):
    """A digit too many, or a date of another year, would silence all browsers of one maker for the alerts of tomorrow, too."""
    rests.note_outcomes("a", [throttled(86_400.0)] * ENOUGH)
    assert rests.refusal("a") == waits(Reason.THROTTLED, LONGEST_ASKED_S)
    clock.now_s += LONGEST_ASKED_S
    assert rests.refusal("a") is None


@pytest.mark.parametrize("answer", [ACCEPTED, GONE, FAULT, Outcome(Answer.RETRY, Reason.CREDENTIALS)])
def test_one_that_answers_works(rests, answer):
    """A no to one message shows it, and what is our own fault is not the server's."""
    rests.note_outcomes("a", [NOT_CONNECTED] * (ENOUGH - 1))
    rests.note_outcomes("a", [NOT_CONNECTED, answer])
    rests.note_outcomes("a", [NOT_CONNECTED])
    assert rests.refusal("a") is None


def test_one_that_asks_for_it_is_left_alone_as_long_as_most_of_its_answers_say(rests, clock):
    """A limit may be one recipient's: that one, or few in a row, wait alone."""
    rests.note_outcomes("a", [*[throttled(600.0)] * ENOUGH, *[ACCEPTED] * ENOUGH])
    rests.note_outcomes("a", [throttled(600.0)] * (ENOUGH - 1))
    assert rests.refusal("a") is None
    rests.note_outcomes("b", [*[throttled(7.0)] * ENOUGH, throttled(600.0), *[ACCEPTED] * 5])
    assert rests.refusal("b") == waits(Reason.THROTTLED, 7.0)
    assert rests.refusal("a") is None
    clock.now_s += 3.0
    assert rests.refusal("b") == waits(Reason.THROTTLED, 4.0)


def test_a_try_of_which_nothing_was_written_is_none(rests, clock):
    """The alert was stopped right then: the next asks again at once."""
    rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
    rests.note_outcomes("a", [WITHHELD] * 5)
    rests.note_outcomes("b", [])
    assert rests.refusal("a") is None


def test_what_was_never_written_ends_no_rest(rests):
    """An alert that was cancelled meanwhile had a chunk there, of which nothing went."""
    rests.note_outcomes("a", [throttled(30.0)] * ENOUGH)
    rests.note_outcomes("a", [WITHHELD] * 5)
    rests.note_outcomes("a", [])
    assert rests.refusal("a") == waits(Reason.THROTTLED, 30.0)


def test_names_without_number_are_not_remembered(rests):
    for n in range(3 * MOST):
        rests.note_outcomes(f"s{n}", [NOT_CONNECTED])
    assert len(rests._troubles) <= MOST


def test_names_without_number_do_not_make_us_forget_one_that_is_down(rests):
    for n in range(3 * MOST):
        rests.note_outcomes(f"s{n}", [NOT_CONNECTED])
        if n % ENOUGH == 0:
            rests.note_outcomes("a", [NOT_CONNECTED] * ENOUGH)
        assert rests.refusal("a")


@pytest.mark.parametrize("answer", [LATE, throttled(600.0), Outcome(Answer.RETRY, Reason.UNAVAILABLE)])
def test_messages_that_are_tried_again_leave_their_server_to_others(rests, answer):
    """However many browsers stay refused, those who were never tried are sent to; an answer to anybody shows that the server works."""
    rests.note_outcomes("a", [answer] * 60, [False] * 60)
    assert rests.refusal("a") is None
    rests.note_outcomes("a", [answer] * (ENOUGH - 1))
    rests.note_outcomes("a", [GONE], [False])
    rests.note_outcomes("a", [answer])
    assert rests.refusal("a") is None


def test_a_resting_server_is_tried_with_new_messages_first(rests, clock):
    """Messages that were tried before try it only if no new one does; refused again, they make its rest no longer."""
    rests.note_outcomes("a", [LATE] * ENOUGH)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a", is_new=False)
    clock.now_s += NEW_FIRST_S
    assert rests.refusal("a", is_new=False) is None
    rests.note_outcomes("a", [LATE] * 60, [False] * 60)
    assert rests.refusal("a") == waits(Reason.TIMEOUT, SHORTEST_S)
    clock.now_s += SHORTEST_S
    assert rests.refusal("a") is None
