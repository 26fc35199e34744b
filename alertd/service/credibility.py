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


class Credibility:
    """What the carriers of one process, or the servers behind one, said since they last accepted something."""

    def __init__(self) -> None:
        self._gone = Counter[str]()

    def believed(self, whose: Sequence[str], answers: Sequence[Outcome], *, resting: bool = False) -> list[Outcome]:
        """The answers to a chunk, and `whose` each is; what says no to an address is another answer where it cannot be believed, as from a
        carrier that failed and is `resting`.
        """
        pairs = list(zip(whose, answers, strict=True))
        said = Counter(one for one, answer in pairs if _of_an_address(answer))
        works = {one for one, answer in pairs if answer.answer is Answer.ACCEPTED}
        for one in works:
            self._gone[one] = 0
        doubted = {one for one in said if one not in works and self._doubts(one, said[one], resting=resting)}
        return [_again(answer) if _of_an_address(answer) and one in doubted else answer for one, answer in pairs]

    def _doubts(self, one: str, said: int, *, resting: bool) -> bool:
        self._gone[one] += said
        if self._gone[one] <= IN_A_ROW and not resting:
            return False
        structlog.get_logger().error("carrier calls everybody's address dead", carrier=one, in_a_row=self._gone[one])
        return True


def _of_an_address(answer: Outcome) -> bool:
    """Whether it is for good, for who it is for."""
    return answer.answer is Answer.NEVER and answer.reason in {Reason.GONE, Reason.BAD_ADDRESS}


def _again(answer: Outcome) -> Outcome:
    """What is not believed is tried again, until the alert ends if need be."""
    return answer._replace(answer=Answer.RETRY, reason=Reason.BLOCKED)
