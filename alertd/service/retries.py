"""What follows from a carrier's answer: a pure decision."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from alertd.alerts import LedgerReason, State
from channels.base import Answer, Outcome, Reason

#: FCM asks for at least 10 s before the first retry of a 5xx; others ask for less, none for more.
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 600.0
#: What rings, and what takes a child's name off a screen, is tried each minute: ten are long in the first hour, and long after the last.
LONGEST_URGENT_S = 60.0
#: Where other carriers have the channel too, what one surely did not take need not wait for it to come back: so many times for each,
#: since one that rests is tried with single messages; once where it names a time. What all refuse waits as long as where there is one.
ELSEWHERE_S, ELSEWHERE_TIMES = 1.0, 2
#: A carrier that asks for more is asked again after an hour: what it said may be wrong, and alerts are short-lived.
LONGEST_PAUSE_S = 3600.0
#: So many who are asked again speak of their carrier; fewer of themselves.
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
            return Verdict(State.QUEUED, reason, unsent=True)
        case Answer.UNKNOWN if hold:
            return Verdict(State.UNKNOWN, reason)
        case Answer.RETRY | Answer.UNKNOWN:
            doubt = answer.may_have_left
            # At most: nobody counts which of them.
            if doubt and (attempt if doubted else 1) >= attempts:
                return Verdict(State.UNKNOWN, reason or LedgerReason.ATTEMPTS)
            soon = elsewhere and not doubt and not doubted
            wait_ms = int(1000 * (ELSEWHERE_S if soon else wait_s(attempt, urgent=urgent)))
            delay_ms = wait_ms if soon else max(int(1000 * pause_s(answer)), wait_ms)
            if delay_ms >= left_ms:
                delay_ms = wait_ms  # its carrier is left alone by all, and may take messages again sooner than it said
            return Verdict(State.QUEUED, reason, delay_ms, doubt)


def pause_s(answer: Outcome) -> float:
    """How long the carrier asked to be left alone."""
    return min(answer.retry_after_s or 0.0, LONGEST_PAUSE_S)


def of_the_carrier(answers: Sequence[Outcome], attempts: Sequence[int], *, probing: bool) -> list[Outcome]:
    """Those answers of a chunk that speak of who gave them. A limit may be one recipient's, who is then asked again alone, or with few others: what comes
    of that is said of them, but where the carrier rests and is tried with it.
    """
    asked = [
        (answer, attempt)
        for answer, attempt in zip(answers, attempts, strict=True)
        if answer.answer is not Answer.WITHHELD
    ]
    everyone = probing or len(asked) >= ENOUGH
    return [answer for answer, attempt in asked if everyone or attempt == 1]


def asked_s(asked: Sequence[Outcome]) -> float:
    """How long a carrier asks to be left alone: as long as most of such answers do."""
    waits = sorted((pause_s(answer) for answer in asked if answer.answer is Answer.RETRY), reverse=True)
    return waits[len(asked) // 2] if len(waits) > len(asked) // 2 else 0


def failures(answers: Sequence[Outcome]) -> tuple[int, str]:
    """How many a carrier failed at, and why at most of them, if it was no more than that: a no to one message shows that it works."""
    if any(one.answer in {Answer.ACCEPTED, Answer.NEVER} for one in answers):
        return 0, ""
    reasons = Counter(one.reason.name.lower() for one in answers if one.answer in {Answer.RETRY, Answer.UNKNOWN})
    if not reasons:
        return 0, ""
    return reasons.total(), reasons.most_common(1)[0][0]


def wait_s(attempt: int, *, urgent: bool = False) -> float:
    """Doubling, with jitter over the upper half, so that a carrier that comes back is not hit by all at once."""
    longest = min(LONGEST_URGENT_S if urgent else LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
    return max(FIRST_WAIT_S, _CHANCE.uniform(longest / 2, longest))
