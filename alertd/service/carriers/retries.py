"""Decides from a carrier's answer: accept, retry, fail. Pure functions."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from alertd.model.states import LedgerReason, State
from channels.base import Answer, Outcome, Reason, Subject

#: Minimum seconds before the first retry. FCM asks for at least 10 s after a 5xx; other carriers ask for less, and none
#: for more.
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 600.0
#: Maximum seconds between attempts of an urgent message: one that rings, or that removes a child's name from a screen.
#: Ten minutes are too long in the first hour, and after the end.
LONGEST_URGENT_S = 60.0
#: An urgent message waits at least this long (s) before a retry, even if its carrier asks for 0 s. The wait doubles
#: after `LEAST_URGENT_TIMES` tries. Otherwise alertd would try each refused recipient every second.
LEAST_URGENT_S, LEAST_URGENT_TIMES = 1.0, 4
#: Longest wait in s of an urgent message after an answer that may mean a carrier outage. The message is then due within
#: 15 s of the carrier's return. While the carrier is paused, this costs it nothing: only single messages probe it.
LONGEST_AWAY_S = 13.0
#: Reasons that may mean an outage. A timeout does not: the relay may only be slow for this mailbox.
_OF_AN_OUTAGE = frozenset({Reason.CONNECTION, Reason.UNAVAILABLE, Reason.THROTTLED, Reason.CREDENTIALS, Reason.GARBAGE})
#: Retries at another carrier of the channel, for a message that the first surely did not take: after this many seconds,
#: and up to this many times for each carrier. It is two times because a paused carrier gets only single messages, and
#: one time if the carrier names a delay. A message that all refuse waits as long as with a single carrier.
ELSEWHERE_S, ELSEWHERE_TIMES = 1.0, 2
#: Maximum seconds of a pause. alertd tries a carrier that asks for more after an hour: its answer may be wrong, and
#: alerts are short-lived.
LONGEST_PAUSE_S = 3600.0
#: Minimum number of new recipients in a chunk for their delays to concern the carrier. The answers to fewer may concern
#: only those recipients.
ENOUGH = 10
_CHANCE = secrets.SystemRandom()


class RetryDecision(NamedTuple):
    """The next state of a row. For QUEUED, `delay_ms` says after how many ms to try again."""

    state: State
    reason: int
    delay_ms: int = 0
    doubt: bool = False
    unsent: bool = False  # nothing was written, so it does not count as an attempt


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
) -> RetryDecision:
    """Returns the verdict on attempt number `attempt`. `left_ms` is the time until the alert expires. `doubted`: an
    earlier attempt may have arrived.

    A message that was surely not taken is tried until the alert expires, at first soon if the channel has several
    `carriers`. A message that may have arrived is tried at most `attempts` times. Another carrier may accept an address
    that one calls bad. That refusal is final after so many attempts that each carrier had its turn. An `urgent` message
    never waits long unless the carrier asks for it. A wait may exceed the alert's life, because the alert's end may be
    extended.
    """
    reason = answer.reason.value
    elsewhere = carriers > 1 and attempt < carriers * (1 if answer.retry_after_s else ELSEWHERE_TIMES)
    of_another = answer[:2] == (Answer.NEVER, Reason.BAD_ADDRESS) and not (answer.partly or doubted)
    match Answer.RETRY if of_another and elsewhere else answer.answer:
        case Answer.ACCEPTED:
            return RetryDecision(State.ACCEPTED, reason)
        case Answer.NEVER:
            return RetryDecision(State.UNKNOWN if answer.partly else State.FAILED, reason)
        case Answer.WITHHELD:
            return not_tried(pause_s(answer, urgent=urgent), reason)
        case Answer.UNKNOWN if hold:
            return RetryDecision(State.UNKNOWN, reason)
        case Answer.RETRY | Answer.UNKNOWN:
            doubt = answer.may_have_left
            # At most: attempts that may have arrived are not counted one by one.
            if doubt and (attempt if doubted else 1) >= attempts:
                return RetryDecision(State.UNKNOWN, reason or LedgerReason.ATTEMPTS)
            soon = elsewhere and not doubt and not doubted
            own_s = ELSEWHERE_S if soon else _own_wait_s(answer, attempt, urgent=urgent)
            wait_ms = int(1000 * own_s)
            delay_ms = wait_ms if soon else int(1000 * _delay_s(answer, own_s, attempt, urgent=urgent))
            if delay_ms >= left_ms:
                # All messages wait for this carrier anyway, and it may accept messages sooner than it said.
                delay_ms = wait_ms
            return RetryDecision(State.QUEUED, reason, delay_ms, doubt)


def not_tried(wait_s: float, reason: int = 0) -> RetryDecision:
    """Returns the verdict on a row that was not sent: queued again, due in `wait_s` seconds, with no attempt counted."""
    return RetryDecision(State.QUEUED, reason, math.ceil(1000 * wait_s), unsent=True)


def pause_s(answer: Outcome, *, urgent: bool = False) -> float:
    """Returns how many seconds the carrier asked alertd to wait, 0 if it did not: at most `LONGEST_PAUSE_S`, or
    `LONGEST_URGENT_S` for an urgent message.

    The carrier's pause (`store.carriers.limits`) holds for all messages, and lets a loud one probe it. So an urgent
    message must be due soon: the carrier's answer may be wrong.
    """
    return min(answer.retry_after_s or 0.0, LONGEST_URGENT_S if urgent else LONGEST_PAUSE_S)


class Signs(NamedTuple):
    """What the answers to a chunk say about their carrier: whether it works, fails, or asks to wait."""

    wait_s: float = 0  # seconds that the carrier asks for
    works: bool = False  # it accepted or refused a recipient
    failed: int = 0  # messages that failed because of the carrier; 0 if it works
    why: Reason = Reason.NONE  # the most frequent reason


def signs_of(answers: Sequence[Outcome], attempts: Sequence[int], *, believed: bool) -> Signs:
    """Returns what the answers to a chunk say about the carrier. `attempts` has the attempt number of each.

    A retried recipient says nothing new about the carrier, unless the answer is about `Subject.CARRIER`. The pause is
    the longest that more than half of the remaining answers ask for. A delay that may be meant for one recipient counts
    if the chunk has `ENOUGH` new recipients, or if many in a row were refused (`believed`).
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
    """Returns alertd's own wait before a retry in seconds, regardless of the carrier's. The wait grows even for an
    urgent message if the outcome is unknown, because the number of such tries is limited.
    """
    may_be_outage = answer.answer is Answer.RETRY and answer.subject is not Subject.RECIPIENT
    if urgent and may_be_outage and answer.reason in _OF_AN_OUTAGE:
        return _CHANCE.uniform(FIRST_WAIT_S, LONGEST_AWAY_S)
    return wait_s(attempt, urgent=urgent)


def _delay_s(answer: Outcome, own_s: float, attempt: int, *, urgent: bool) -> float:
    """Returns the wait before a retry in seconds: the longer of the carrier's and alertd's own (`own_s`). If the
    carrier named one, alertd's own is short for the first tries of an urgent message.
    """
    if urgent and answer.retry_after_s is not None:
        longest_s = min(LONGEST_URGENT_S, LEAST_URGENT_S * 2 ** max(0, attempt - LEAST_URGENT_TIMES))
        own_s = max(LEAST_URGENT_S, _CHANCE.uniform(longest_s / 2, longest_s))
    return max(pause_s(answer, urgent=urgent), own_s)


def wait_s(attempt: int, *, urgent: bool = False) -> float:
    """Returns the seconds until the next attempt. They double with each attempt, with random jitter over the upper
    half, so that a returning carrier does not get all messages at once.
    """
    longest = min(LONGEST_URGENT_S if urgent else LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
    return max(FIRST_WAIT_S, _CHANCE.uniform(longest / 2, longest))


#: The reasons that a channel gives if it is not connected (bound) to its carrier, and so has written nothing.
_NOT_BOUND = {Reason.CONNECTION, Reason.CREDENTIALS}


def was_not_bound(answer: Outcome) -> bool:
    """Returns whether the answer says that the channel was not connected (bound) to its carrier, and wrote nothing."""
    return answer.answer is Answer.RETRY and answer.reason in _NOT_BOUND and not answer.partly


def is_refusal(answer: Outcome, attempt: int) -> bool:
    """Returns whether an answer refuses a recipient in a way that counts: temporarily at the first attempt, or for good
    (see `is_of_an_address`).
    """
    is_for_now = answer.answer is Answer.RETRY and answer.subject is Subject.RECIPIENT
    return (is_for_now and attempt == 1) or is_of_an_address(answer, attempt)


def is_of_an_address(answer: Outcome, attempt: int) -> bool:
    """Returns whether an answer refuses an address for good: the address is gone, or bad. A bad address counts at the
    first attempt only: bad addresses are retried side by side, and none of them is accepted.
    """
    is_bad = answer.reason is Reason.BAD_ADDRESS and attempt == 1
    return answer.answer is Answer.NEVER and (answer.reason is Reason.GONE or is_bad)
