"""Decides whether alertd believes a carrier that refuses addresses. A broken carrier may refuse every address, and a removed address never
gets an alert again. A carrier that is set up for another project or sender, or that relays for nobody, refuses everyone too.

A refusal that may pass counts at the first try only, because alertd tries refused recipients again and again. A dead address counts at every
try: it may come from the next carrier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from channels.base import Answer, Outcome, Reason, Subject

#: So many are believed in a row. Of a hundred live tokens a few are dead, and one at least is accepted.
IN_A_ROW = 20
#: One that accepts others is believed, for addresses that nobody has used for a year may be dead by the half; but who runs the service hears of more
#: than one in so many.
MANY = 4


class Belief(NamedTuple):
    """The answers to a chunk as far as they are believed."""

    answers: list[Outcome]
    refused: int  # new recipients that the carrier refused; 0 while it is believed


class Credibility:
    """What the carriers of one process, or the servers behind one, refused since they last accepted something."""

    def __init__(self) -> None:
        self._refused = Counter[str]()
        self._doubted = set[str]()  # the log has named them

    def believed(
        self, whose: Sequence[str], answers: Sequence[Outcome], *, attempts: Sequence[int], resting: bool = False
    ) -> Belief:
        """Returns the answers to a chunk, where an unbelievable "no" to an address becomes another try.

        `whose` names who gave each answer, `attempts` numbers its try. A `resting` carrier is not believed.
        """
        triples = list(zip(whose, answers, attempts, strict=True))
        refused = Counter(one for one, answer, attempt in triples if _is_refusal(answer, attempt))
        new = Counter(one for one, answer, attempt in triples if attempt == 1 and _is_refusal(answer, attempt))
        works = {one for one, answer, _ in triples if answer.answer is Answer.ACCEPTED}
        for one in works:
            self._refused[one] = 0
            self._doubted.discard(one)
            if refused[one] > max(IN_A_ROW, whose.count(one) // MANY):
                structlog.get_logger().warning("carrier refuses many recipients", carrier=one, recipients=refused[one])
        doubted = {one for one in set(whose) - works if self._doubts(one, refused[one], resting=resting)}
        return Belief(
            [
                _again(answer) if one in doubted and _is_of_an_address(answer, attempt) else answer
                for one, answer, attempt in triples
            ],
            sum(new[one] for one in doubted),
        )

    def _doubts(self, one: str, refused: int, *, resting: bool) -> bool:
        self._refused[one] += refused
        doubts = resting or self._refused[one] > IN_A_ROW
        if doubts and refused and one not in self._doubted:
            self._doubted.add(one)
            structlog.get_logger().error("carrier refuses every recipient", carrier=one, in_a_row=self._refused[one])
        return doubts


def _is_refusal(answer: Outcome, attempt: int) -> bool:
    """Returns whether an answer refuses a recipient in a way that counts: for now at the first try, for good as `_is_of_an_address` says."""
    is_for_now = answer.answer is Answer.RETRY and answer.subject is Subject.RECIPIENT
    return (is_for_now and attempt == 1) or _is_of_an_address(answer, attempt)


def _is_of_an_address(answer: Outcome, attempt: int) -> bool:
    """Whether it is for good, for who it is for. What is called bad again is: those are tried beside one another, and of them none is accepted."""
    is_bad = answer.reason is Reason.BAD_ADDRESS and attempt == 1
    return answer.answer is Answer.NEVER and (answer.reason is Reason.GONE or is_bad)


def _again(answer: Outcome) -> Outcome:
    """What is not believed is tried again, until the alert ends if need be."""
    return answer._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
