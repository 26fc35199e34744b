"""Whether a carrier is believed when it says that addresses are dead: a broken one may say so of everybody, and a removed address
is told of no child ever again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from channels.base import Answer, Outcome, Reason

#: So many are believed in a row. Of a hundred live tokens a few are dead, and one at least is accepted.
IN_A_ROW = 20
#: What is not believed is tried again, until the alert ends if need be.
_DOUBTED = Outcome(Answer.RETRY, Reason.BLOCKED)


class Credibility:
    """What the carriers of one process said since they last accepted something."""

    def __init__(self) -> None:
        self._gone = Counter[str]()

    def believed(self, carrier: str, answers: Sequence[Outcome], *, resting: bool = False) -> list[Outcome]:
        """The answers to a chunk; "gone" is another answer where it cannot be believed, as from a carrier that failed and is `resting`."""
        if any(answer.answer is Answer.ACCEPTED for answer in answers):
            self._gone[carrier] = 0
            return list(answers)
        said = sum(answer.address_gone for answer in answers)
        self._gone[carrier] += said
        if not said or (self._gone[carrier] <= IN_A_ROW and not resting):
            return list(answers)
        structlog.get_logger().error(
            "carrier calls everybody's address dead", carrier=carrier, in_a_row=self._gone[carrier]
        )
        return [_DOUBTED if answer.address_gone else answer for answer in answers]
