"""Whether a carrier is believed when it says that addresses are dead, or not its own: a broken one may say so of everybody, and a removed
address is told of no child ever again. One that is set up for another project or sender calls everybody's address bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from channels.base import Answer, Outcome, Reason

#: So many are believed in a row. Of a hundred live tokens a few are dead, and one at least is accepted.
IN_A_ROW = 20
#: One that accepts others is believed, for addresses that nobody has used for a year may be dead by the half; but who runs the service hears of more
#: than one in so many.
MANY = 4


class Credibility:
    """What the carriers of one process, or the servers behind one, said since they last accepted something."""

    def __init__(self) -> None:
        self._gone = Counter[str]()

    def believed(
        self, whose: Sequence[str], answers: Sequence[Outcome], *, attempts: Sequence[int], resting: bool = False
    ) -> list[Outcome]:
        """The answers to a chunk, `whose` each is, and to which try; what says no to an address is another answer where it cannot be believed, as
        from a carrier that failed and is `resting`.
        """
        triples = list(zip(whose, answers, attempts, strict=True))
        said = Counter(one for one, answer, attempt in triples if _of_an_address(answer, attempt))
        works = {one for one, answer, _ in triples if answer.answer is Answer.ACCEPTED}
        for one in works:
            self._gone[one] = 0
            if said[one] > max(IN_A_ROW, whose.count(one) // MANY):
                structlog.get_logger().warning("carrier calls many addresses dead", carrier=one, addresses=said[one])
        doubted = {one for one in said if one not in works and self._doubts(one, said[one], resting=resting)}
        return [
            _again(answer) if one in doubted and _of_an_address(answer, attempt) else answer
            for one, answer, attempt in triples
        ]

    def _doubts(self, one: str, said: int, *, resting: bool) -> bool:
        self._gone[one] += said
        if self._gone[one] <= IN_A_ROW and not resting:
            return False
        structlog.get_logger().error("carrier calls everybody's address dead", carrier=one, in_a_row=self._gone[one])
        return True


def _of_an_address(answer: Outcome, attempt: int) -> bool:
    """Whether it is for good, for who it is for. What is called bad again is: those are tried beside one another, and of them none is accepted."""
    is_bad = answer.reason is Reason.BAD_ADDRESS and attempt == 1
    return answer.answer is Answer.NEVER and (answer.reason is Reason.GONE or is_bad)


def _again(answer: Outcome) -> Outcome:
    """What is not believed is tried again, until the alert ends if need be."""
    return answer._replace(answer=Answer.RETRY, reason=Reason.BLOCKED)
