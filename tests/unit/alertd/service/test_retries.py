"""What follows from a carrier's answer: every answer, with every policy, at every attempt, however long is left."""

from __future__ import annotations

import math

import pytest

from alertd.model.states import LedgerReason, State
from alertd.service.carriers.retries import (
    ELSEWHERE_S,
    ELSEWHERE_TIMES,
    ENOUGH,
    FIRST_WAIT_S,
    LEAST_URGENT_S,
    LONGEST_AWAY_S,
    LONGEST_URGENT_S,
    LONGEST_WAIT_S,
    after,
    signs_of,
    wait_s,
)
from channels.base import ACCEPTED, NOT_CONNECTED, WITHHELD, Answer, Outcome, Reason, Subject

LONG_MS = 10**9
UNKNOWN, QUEUED, FAILED = State.UNKNOWN, State.QUEUED, State.FAILED


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("attempt", [1, 7, 8, 9])
@pytest.mark.parametrize("left_ms", [LONG_MS, 1, -5])
def test_final_answers_are_final(hold: bool, attempt: int, left_ms: int):
    """Accepted and never do not depend on anything else."""
    more = {"attempt": attempt, "attempts": 8, "doubted": False, "hold": hold, "left_ms": left_ms}
    assert after(Outcome(Answer.ACCEPTED), **more).state is State.ACCEPTED
    never = after(Outcome(Answer.NEVER, Reason.GONE), **more)
    assert (never.state, never.reason) == (FAILED, Reason.GONE.value)


@pytest.mark.parametrize(
    ("answer", "hold", "doubted", "attempt", "left_ms", "state", "doubt"),
    [
        (Answer.RETRY, False, False, 1, LONG_MS, QUEUED, False),
        (Answer.RETRY, True, False, 1, LONG_MS, QUEUED, False),
        (Answer.RETRY, False, False, 32, LONG_MS, QUEUED, False),
        (Answer.RETRY, True, False, 32, LONG_MS, QUEUED, False),
        (Answer.RETRY, False, True, 32, LONG_MS, QUEUED, False),
        (Answer.RETRY, False, False, 1, 1, QUEUED, False),  # its end may be put off
        (Answer.RETRY, True, False, 1, -1, QUEUED, False),
        (Answer.RETRY, False, True, 2, 1, QUEUED, False),
        (Answer.UNKNOWN, False, False, 1, LONG_MS, QUEUED, True),
        (Answer.UNKNOWN, False, False, 32, LONG_MS, QUEUED, True),  # those before surely did not
        (Answer.UNKNOWN, False, True, 7, LONG_MS, QUEUED, True),
        (Answer.UNKNOWN, False, True, 8, LONG_MS, UNKNOWN, False),
        (Answer.UNKNOWN, False, False, 1, 1, QUEUED, True),
        (Answer.UNKNOWN, True, False, 1, LONG_MS, UNKNOWN, False),
        (Answer.UNKNOWN, True, False, 8, LONG_MS, UNKNOWN, False),
        (Answer.UNKNOWN, True, False, 1, 1, UNKNOWN, False),
        (Answer.WITHHELD, False, False, 1, LONG_MS, QUEUED, False),
        (Answer.WITHHELD, True, False, 8, LONG_MS, QUEUED, False),
        (Answer.WITHHELD, True, True, 31, 1, QUEUED, False),
    ],
)
def test_every_other_answer(
    answer: Answer, hold: bool, doubted: bool, attempt: int, left_ms: int, state: State, doubt: bool
):
    """Again till the alert ends where it was surely not taken; bounded where it may have been; held where that is the policy."""
    more = {"attempt": attempt, "attempts": 8, "doubted": doubted, "hold": hold, "left_ms": left_ms}
    verdict = after(Outcome(answer, Reason.TIMEOUT), **more)
    assert (verdict.state, verdict.doubt) == (state, doubt)


def test_an_address_that_is_not_the_one_carrier_s_may_be_another_s():
    """Such as a token of another project: asked soon as often as what is not taken, and final after that; at once where nobody else is."""
    bad = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
    more = {"attempts": 8, "hold": True, "left_ms": LONG_MS}
    verdict = after(bad, attempt=1, doubted=False, carriers=2, **more)
    assert (verdict.state, verdict.delay_ms, verdict.doubt) == (QUEUED, 1000 * ELSEWHERE_S, False)
    assert after(bad, attempt=2 * ELSEWHERE_TIMES, doubted=False, carriers=2, **more).state is FAILED
    assert after(bad, attempt=1, doubted=False, **more).state is FAILED
    assert after(bad, attempt=1, doubted=True, carriers=2, **more).state is FAILED
    assert after(bad._replace(partly=True), attempt=1, doubted=False, carriers=2, **more).state is UNKNOWN


@pytest.mark.parametrize("hold", [True, False])
def test_what_was_taken_in_part_may_have_arrived(*, hold: bool):
    """It is sent again, whatever the policy, for the whole surely did not arrive; but in doubt, and no more often than that allows."""
    more = {"attempts": 8, "hold": hold, "left_ms": LONG_MS}
    again, never = (Outcome(answer, Reason.UNAVAILABLE, partly=True) for answer in (Answer.RETRY, Answer.NEVER))
    verdict = after(again, attempt=1, doubted=False, carriers=2, **more)
    assert (verdict.state, verdict.doubt) == (QUEUED, True)
    assert verdict.delay_ms >= 1000 * FIRST_WAIT_S
    assert after(again, attempt=8, doubted=True, **more).state is UNKNOWN
    assert after(never, attempt=1, doubted=False, **more).state is UNKNOWN


def test_what_was_never_written_goes_at_once_and_costs_no_attempt():
    """Withheld means nothing left this machine."""
    verdict = after(Outcome(Answer.WITHHELD), attempt=1, attempts=8, doubted=False, hold=True, left_ms=LONG_MS)
    assert (verdict.delay_ms, verdict.unsent) == (0, True)
    assert not after(Outcome(Answer.RETRY), attempt=1, attempts=8, doubted=False, hold=True, left_ms=LONG_MS).unsent


def test_the_carriers_own_delay_counts_when_it_is_longer():
    """Retry-After is kept; a shorter one does not shorten our own wait."""
    asked = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=900)
    assert after(asked, attempt=1, attempts=8, doubted=False, hold=False, left_ms=LONG_MS).delay_ms == 900_000
    asked = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=0)
    assert after(asked, attempt=1, attempts=8, doubted=False, hold=False, left_ms=LONG_MS).delay_ms >= 10_000


def test_a_wait_that_outlasts_the_alert_loses_nobody():
    """A carrier asks for an hour and the alert has half of one left: it may take messages again sooner, so nobody is given up."""
    hour = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=3600)
    for left_ms in (1_800_000, 1_000, -1):
        verdict = after(hour, attempt=1, attempts=8, hold=False, doubted=False, left_ms=left_ms)
        assert verdict.state is State.QUEUED
        assert verdict.delay_ms < 60_000


def test_what_one_carrier_does_not_take_goes_to_another_soon_and_not_for_ever():
    """With two carriers a refusal is tried again within a second until both had it twice; then it waits as with one."""
    more = {"attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS, "carriers": 2}
    refused = Outcome(Answer.RETRY, Reason.BLOCKED)
    assert [after(refused, attempt=n, **more).delay_ms for n in (1, 2, 3)] == [1_000] * 3
    for attempt in range(4, 32):
        longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
        assert after(refused, attempt=attempt, **more).delay_ms >= 1000 * longest_s / 2 - 1


def test_the_delay_a_carrier_names_counts_beside_others_too():
    """Who is sent away for a while goes to the other at once; where that did not take it either, the time that was named is kept."""
    asked = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=1200)
    more = {"attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS, "carriers": 2}
    assert [after(asked, attempt=n, **more).delay_ms for n in (1, 2, 5, 31)] == [1_000] + [1_200_000] * 3


@pytest.mark.parametrize("absurd", [1e12, math.inf])
def test_an_absurd_delay_is_no_error(absurd: float):
    """A carrier that asks for centuries is asked again sooner."""
    asked = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=absurd)
    verdict = after(asked, attempt=1, attempts=8, doubted=False, hold=False, left_ms=10**12)
    assert (verdict.state, verdict.delay_ms) == (QUEUED, 3_600_000)


def test_a_last_attempt_without_a_reason_says_so():
    """Nobody has to guess why it is not tried again."""
    verdict = after(Outcome(Answer.UNKNOWN), attempt=8, attempts=8, doubted=True, hold=False, left_ms=LONG_MS)
    assert (verdict.state, verdict.reason) == (UNKNOWN, LedgerReason.ATTEMPTS)


@pytest.mark.parametrize("attempts", [1, 2])
def test_what_may_have_arrived_is_bounded_to_the_letter(attempts: int):
    """A message that may be sent once is never sent again when it may have been."""
    verdict = after(
        Outcome(Answer.UNKNOWN), attempt=attempts, attempts=attempts, doubted=attempts > 1, hold=False, left_ms=LONG_MS
    )
    assert verdict.state is UNKNOWN


@pytest.mark.parametrize("reason", [Reason.CONNECTION, Reason.UNAVAILABLE, Reason.CREDENTIALS, Reason.THROTTLED])
def test_an_outage_of_half_a_day_fails_nobody(reason: Reason):
    """A carrier that is away, or does not know us, for twelve hours of an alert of a day: everybody is still to be told."""
    left_ms, attempt = 24 * 3_600_000, 0
    while left_ms > 12 * 3_600_000:
        attempt += 1
        more = {"attempt": attempt, "attempts": 8, "doubted": False, "hold": True, "left_ms": left_ms}
        verdict = after(Outcome(Answer.RETRY, reason), **more)
        assert verdict.state is QUEUED
        assert verdict.delay_ms <= 1000 * LONGEST_WAIT_S
        left_ms -= verdict.delay_ms


@pytest.mark.parametrize(("urgent", "longest_s"), [(False, LONGEST_WAIT_S), (True, LONGEST_URGENT_S)])
def test_waits_grow_and_stay_within_bounds(*, urgent: bool, longest_s: float):
    """At least what FCM asks for, at most ten minutes, one of what rings or takes a name off a screen, never all at once."""
    for attempt in range(1, 32):
        waits = [wait_s(attempt, urgent=urgent) for _ in range(50)]
        assert min(waits) >= FIRST_WAIT_S
        assert max(waits) <= min(longest_s, FIRST_WAIT_S * 2**attempt)
        assert len(set(waits)) > 1


@pytest.mark.parametrize(
    ("asked_for_s", "waited_s"),
    [(3, 3), (0, LEAST_URGENT_S), (60, 60), (900, LONGEST_URGENT_S), (86_400, LONGEST_URGENT_S)],
)
def test_an_urgent_message_waits_as_long_as_the_carrier_named_but_at_most_a_minute(asked_for_s: float, waited_s: float):
    """Retry-After: 3 means 3 s at the first tries. A longer one pauses the carrier, and the urgent message is its probe: the carrier may be wrong."""
    more = {"attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS}
    asked = Outcome(Answer.RETRY, Reason.UNAVAILABLE, retry_after_s=asked_for_s)
    for attempt in (1, 4):
        assert after(asked, attempt=attempt, urgent=True, **more).delay_ms == 1000 * waited_s
        assert after(asked, attempt=attempt, **more).delay_ms >= 1000 * FIRST_WAIT_S


def test_an_urgent_message_that_stays_refused_is_sent_less_and_less_often():
    """A server that answers Retry-After: 0 for a refused recipient gets a try a second at first, and one a minute later."""
    more = {"attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS, "urgent": True}
    asked = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=0)
    for attempt, longest_s in ((4, 1), (5, 2), (6, 4), (10, 60), (31, 60)):
        waits_s = [after(asked, attempt=attempt, **more).delay_ms / 1000 for _ in range(50)]
        assert longest_s / 2 - 0.001 <= min(waits_s) <= max(waits_s) <= longest_s
    named = asked._replace(retry_after_s=900)
    assert after(named, attempt=31, **more).delay_ms == 1000 * LONGEST_URGENT_S


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.TIMEOUT, Reason.CONNECTION, Reason.BLOCKED])
def test_a_carrier_that_names_no_time_is_left_alone_for_ten_seconds(reason: Reason):
    """As FCM asks for after a 5xx without Retry-After."""
    for attempt in range(1, 10):
        more = {"attempt": attempt, "attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS, "urgent": True}
        assert after(Outcome(Answer.RETRY, reason), **more).delay_ms >= 1000 * FIRST_WAIT_S


@pytest.mark.parametrize(
    "reason", [Reason.CONNECTION, Reason.UNAVAILABLE, Reason.THROTTLED, Reason.CREDENTIALS, Reason.GARBAGE]
)
def test_an_urgent_message_finds_a_carrier_within_15_s_of_its_return(reason: Reason):
    """However often it failed, and whatever it answered meanwhile."""
    for attempt in (1, 5, 31):
        more = {"attempt": attempt, "attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS, "urgent": True}
        assert after(Outcome(Answer.RETRY, reason), **more).delay_ms <= 1000 * LONGEST_AWAY_S < 15_000


@pytest.mark.parametrize(
    "answer",
    [
        Outcome(Answer.RETRY, Reason.UNAVAILABLE, of=Subject.RECIPIENT),
        Outcome(Answer.RETRY, Reason.TIMEOUT),
        Outcome(Answer.UNKNOWN, Reason.GARBAGE),
    ],
)
def test_an_urgent_message_waits_longer_and_longer_for_its_recipient_and_where_tries_are_counted(answer: Outcome):
    """A refused or slow recipient costs a carrier less and less. What may have arrived is sent again so many times only, spread over minutes."""
    more = {"attempt": 5, "attempts": 8, "doubted": False, "hold": False, "left_ms": LONG_MS, "urgent": True}
    assert after(answer, **more).delay_ms >= 1000 * LONGEST_URGENT_S / 2


def test_a_message_that_was_not_written_waits_until_its_server_may_be_asked():
    """It was no try."""
    rests = WITHHELD._replace(reason=Reason.TIMEOUT, retry_after_s=2.5)
    verdict = after(rests, attempt=1, attempts=8, doubted=False, hold=True, left_ms=LONG_MS)
    assert (verdict.state, verdict.delay_ms, verdict.unsent) == (QUEUED, 2_500, True)


HOUR = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=3600)
MINUTE = Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60)
ACCOUNT = HOUR._replace(of=Subject.CARRIER)
GREYLISTED = Outcome(Answer.RETRY, Reason.THROTTLED, of=Subject.RECIPIENT)
UNAVAILABLE = Outcome(Answer.RETRY, Reason.UNAVAILABLE)
GONE = Outcome(Answer.NEVER, Reason.GONE)


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ([], 0),
        ([HOUR] * ENOUGH, 3600),
        ([HOUR] * (ENOUGH - 1), 0),
        ([ACCOUNT], 3600),
        ([ACCOUNT] + [ACCEPTED] * 99, 0),
        ([HOUR] + [ACCEPTED] * 99, 0),
        ([ACCOUNT, ACCEPTED], 0),
        ([HOUR] * 8 + [ACCEPTED] * 4, 3600),
        ([HOUR] * 3 + [MINUTE] * 6 + [ACCEPTED] * 3, 60),
        ([ACCOUNT, WITHHELD, WITHHELD], 3600),
        ([Outcome(Answer.RETRY, Reason.CONNECTION)] * ENOUGH, 0),
    ],
)
def test_a_carrier_rests_as_long_as_most_of_its_answers_ask(answers: list[Outcome], seconds: float):
    """A few recipients' limits are no limit of the carrier, unless it says so; what was not asked has no say."""
    assert signs_of(answers, [1] * len(answers), believed=False).wait_s == seconds


@pytest.mark.parametrize(
    ("attempts", "believed", "seconds"),
    [([1], True, 3600), ([2], True, 0), ([2] * 50, False, 0), ([1, *[2] * 50], False, 0), ([1] * ENOUGH, False, 3600)],
)
def test_recipients_who_are_tried_again_speak_of_themselves(attempts: list[int], *, believed: bool, seconds: float):
    """However many there are, and even if they were to try a resting carrier."""
    assert signs_of([HOUR] * len(attempts), attempts, believed=believed).wait_s == seconds


@pytest.mark.parametrize(
    ("answers", "attempts", "failed"),
    [
        ([UNAVAILABLE] * 3, [1, 1, 1], (3, Reason.UNAVAILABLE)),
        ([UNAVAILABLE] * 3, [1, 2, 3], (1, Reason.UNAVAILABLE)),
        ([UNAVAILABLE] * 60, [2] * 60, (0, Reason.NONE)),
        ([Outcome(Answer.UNKNOWN, Reason.TIMEOUT)] * 2, [1, 2], (1, Reason.TIMEOUT)),
        ([NOT_CONNECTED] * 60, [2] * 60, (60, Reason.CONNECTION)),
        ([UNAVAILABLE, GREYLISTED], [1, 2], (0, Reason.NONE)),
        ([UNAVAILABLE, GONE], [1, 1], (0, Reason.NONE)),
        ([NOT_CONNECTED, ACCEPTED], [1, 2], (0, Reason.NONE)),
        ([GREYLISTED] * 60, [1] * 60, (0, Reason.NONE)),
        ([WITHHELD] * 3, [1] * 3, (0, Reason.NONE)),
    ],
)
def test_only_answers_that_speak_of_the_carrier_are_its_failures(
    answers: list[Outcome], attempts: list[int], failed: tuple[int, Reason]
):
    """An answer about a recipient, at any try, shows that the carrier works. Who is tried again fails a carrier only if it cannot be reached."""
    signs = signs_of(answers, attempts, believed=False)
    assert (signs.failed, signs.why) == failed


def test_an_answer_outside_the_protocol_is_a_failure_of_the_carrier_at_every_try():
    """A proxy's page in HTML says nothing of the recipient. So a probe that gets one keeps the breaker open, and costs no other row a try."""
    page = Outcome(Answer.UNKNOWN, Reason.GARBAGE)
    signs = signs_of([page], [5], believed=False)
    assert (signs.failed, signs.why) == (1, Reason.GARBAGE)
