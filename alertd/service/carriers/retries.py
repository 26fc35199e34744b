"""What follows from a carrier's answer: a pure decision."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from alertd.model.states import LedgerReason, State
from channels.base import Answer, Outcome, Reason, Subject

#: FCM asks for at least 10 s before the first retry of a 5xx; others ask for less, none for more.
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 600.0
#: What rings, and what takes a child's name off a screen, is tried each minute: ten are long in the first hour, and long after the last.
LONGEST_URGENT_S = 60.0
#: An urgent message waits at least this long, even if its carrier asks for 0 s. The wait doubles after `LEAST_URGENT_TIMES` tries. Otherwise
#: alertd would try each refused recipient every second.
LEAST_URGENT_S, LEAST_URGENT_TIMES = 1.0, 4
#: Longest wait of an urgent message at which the carrier may have failed, so that it is due within 15 s of the carrier's return. While the
#: carrier rests, this costs it nothing: only single messages probe it.
LONGEST_AWAY_S = 13.0
#: Reasons of such a failure. A timeout is none: the relay may only be slow for this mailbox.
_OF_AN_OUTAGE = frozenset({Reason.CONNECTION, Reason.UNAVAILABLE, Reason.THROTTLED, Reason.CREDENTIALS, Reason.GARBAGE})
#: Where other carriers have the channel too, what one surely did not take need not wait for it to come back: so many times for each,
#: since one that rests is tried with single messages; once where it names a time. What all refuse waits as long as where there is one.
ELSEWHERE_S, ELSEWHERE_TIMES = 1.0, 2
#: A carrier that asks for more is asked again after an hour: what it said may be wrong, and alerts are short-lived.
LONGEST_PAUSE_S = 3600.0
#: This many new recipients of one chunk speak of their carrier; fewer may speak of themselves.
ENOUGH = 10
_CHANCE = secrets.SystemRandom()


class Verdict(NamedTuple):
    """The row's next state; for QUEUED, when to try again."""

    state: State
    reason: int
    delay_ms: int = 0
    doubt: bool = False
    unsent: bool = False  # nothing was written, so it was no attempt


def after(
    answer: Outcome,
    *,
    attempt: int,
    attempts: int,
    doubted: bool,
    hold: bool,
    left_ms: int,
    carriers: int = 1,
    urgent: bool = False,
) -> Verdict:
    """The verdict on attempt number `attempt`, with `left_ms` until the alert expires; `doubted` where an earlier one may have
    arrived. What was surely not taken is tried till then, at most `attempts` times what may have arrived; at first
    soon, where the channel has several `carriers`. An address that is not the one's may be another's, and is final when so many said no. What
    is `urgent` never waits long of our own accord. A wait that outlasts the alert is a wait all the same: its end may be put off.
    """
    reason = answer.reason.value
    elsewhere = carriers > 1 and attempt < carriers * (1 if answer.retry_after_s else ELSEWHERE_TIMES)
    of_another = answer[:2] == (Answer.NEVER, Reason.BAD_ADDRESS) and not (answer.partly or doubted)
    match Answer.RETRY if of_another and elsewhere else answer.answer:
        case Answer.ACCEPTED:
            return Verdict(State.ACCEPTED, reason)
        case Answer.NEVER:
            return Verdict(State.UNKNOWN if answer.partly else State.FAILED, reason)
        case Answer.WITHHELD:
            return not_tried(pause_s(answer, urgent=urgent), reason)
        case Answer.UNKNOWN if hold:
            return Verdict(State.UNKNOWN, reason)
        case Answer.RETRY | Answer.UNKNOWN:
            doubt = answer.may_have_left
            # At most: nobody counts which of them.
            if doubt and (attempt if doubted else 1) >= attempts:
                return Verdict(State.UNKNOWN, reason or LedgerReason.ATTEMPTS)
            soon = elsewhere and not doubt and not doubted
            own_s = ELSEWHERE_S if soon else _own_wait_s(answer, attempt, urgent=urgent)
            wait_ms = int(1000 * own_s)
            delay_ms = wait_ms if soon else int(1000 * _delay_s(answer, own_s, attempt, urgent=urgent))
            if delay_ms >= left_ms:
                delay_ms = wait_ms  # its carrier is left alone by all, and may take messages again sooner than it said
            return Verdict(State.QUEUED, reason, delay_ms, doubt)


def not_tried(wait_s: float, reason: int = 0) -> Verdict:
    """The verdict on a row that nothing was written for: it goes again after the wait, and it was no attempt."""
    return Verdict(State.QUEUED, reason, math.ceil(1000 * wait_s), unsent=True)


def pause_s(answer: Outcome, *, urgent: bool = False) -> float:
    """Returns how many seconds the carrier asked alertd to wait, at most `LONGEST_PAUSE_S`; at most `LONGEST_URGENT_S` for an urgent message.

    The carrier's pause (`store.limits`) holds for all messages, and lets a loud one probe it. So an urgent message must be due soon: what the
    carrier said may be wrong.
    """
    return min(answer.retry_after_s or 0.0, LONGEST_URGENT_S if urgent else LONGEST_PAUSE_S)


class Signs(NamedTuple):
    """What the answers to a chunk say of their carrier."""

    wait_s: float = 0  # what the carrier asks for
    works: bool = False  # it accepted or refused a recipient
    failed: int = 0  # messages that the carrier itself failed at; 0 if it works
    why: Reason = Reason.NONE  # the most frequent reason


def signs_of(answers: Sequence[Outcome], attempts: Sequence[int], *, believed: bool) -> Signs:
    """Reads a chunk's answers. `attempts` numbers the try of each.

    A recipient that is tried again says nothing new of the carrier, unless the answer is of `Subject.CARRIER`. A carrier asks to be left alone
    for as long as most of these answers do. A delay that may be meant for one recipient counts if the chunk has `ENOUGH` new recipients, or if
    `believed`: many in a row were refused.
    """
    of_it = [
        one
        for one, attempt in zip(answers, attempts, strict=True)
        if one.subject is Subject.CARRIER or (attempt == 1 and one.subject is not Subject.NOBODY)
    ]
    works = any(one.subject is Subject.RECIPIENT for one in answers)
    reasons = Counter(one.reason for one in of_it if one.subject is not Subject.RECIPIENT)
    if not (believed or len(of_it) >= ENOUGH):
        of_it = [one for one in of_it if one.subject is Subject.CARRIER or one.retry_after_s is None]
    waits_s = sorted((pause_s(one) for one in of_it if one.answer is Answer.RETRY), reverse=True)
    wait_s = waits_s[len(of_it) // 2] if len(waits_s) > len(of_it) // 2 else 0
    if works or not reasons:
        return Signs(wait_s, works)
    return Signs(wait_s, works, reasons.total(), reasons.most_common(1)[0][0])


def _own_wait_s(answer: Outcome, attempt: int, *, urgent: bool) -> float:
    """Returns the wait of our own accord, in seconds. It grows after an unknown answer, because the tries after those are counted."""
    may_be_outage = answer.answer is Answer.RETRY and answer.subject is not Subject.RECIPIENT
    if urgent and may_be_outage and answer.reason in _OF_AN_OUTAGE:
        return _CHANCE.uniform(FIRST_WAIT_S, LONGEST_AWAY_S)
    return wait_s(attempt, urgent=urgent)


def _delay_s(answer: Outcome, own_s: float, attempt: int, *, urgent: bool) -> float:
    """Returns the wait in seconds: the longer of what the carrier named and our own. If it named one, our own is short at the first tries of an
    urgent message.
    """
    if urgent and answer.retry_after_s is not None:
        longest_s = min(LONGEST_URGENT_S, LEAST_URGENT_S * 2 ** max(0, attempt - LEAST_URGENT_TIMES))
        own_s = max(LEAST_URGENT_S, _CHANCE.uniform(longest_s / 2, longest_s))
    return max(pause_s(answer, urgent=urgent), own_s)


def wait_s(attempt: int, *, urgent: bool = False) -> float:
    """Doubling, with jitter over the upper half, so that a carrier that comes back is not hit by all at once."""
    longest = min(LONGEST_URGENT_S if urgent else LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
    return max(FIRST_WAIT_S, _CHANCE.uniform(longest / 2, longest))
