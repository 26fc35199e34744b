"""The messages of one `send`: the parts that wait to be written, and the answers to the others.

A throttled part is sent again alone, under the same reference and number, so that no phone gets a part twice. Its
message waits before each repeat, because the limit may belong to its phone number.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from channels.base import ACCEPTED, WITHHELD, Answer, Outcome, Reason
from channels.smpp.receipts import BETWEEN_IDS

#: A throttled send begins no new message after this many seconds, so that its caller can record the outcomes. The other
#: messages get WITHHELD, and the caller sends them again later.
BEGIN_S: Final = 10.0
#: Maximum number of tries for a message if a slow centre throttles all of its parts. After that the phone number itself
#: may be limited.
TRIES: Final = 4
#: If another part of its message may be on a phone, a throttled part is sent again for this many seconds.
FINISH_S: Final = 30.0
#: Seconds that a message waits after its first refusal. The wait doubles with each further refusal, until the centre
#: accepts a part of it.
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 4.0

#: Rank of each answer. The answer with the highest rank among the parts becomes the outcome of the message. If the
#: centre refused one part, the message cannot arrive whole, although phones may show the other parts.
_RANK: Final = {Answer.ACCEPTED: 0, Answer.UNKNOWN: 1, Answer.RETRY: 2, Answer.NEVER: 3}


class Piece(NamedTuple):
    """Parts of one message that are written together. Pieces are sorted: messages that phones may show in part go
    first.
    """

    whole: bool  # it has all parts of the message, because none may be on a phone yet
    place: int  # index of the message in its send
    numbers: tuple[int, ...]  # part numbers, from 0
    message: Message


@dataclass(slots=True, eq=False)
class Message:
    """One message: the PDU bodies of its parts, and their answers. Until it has an outcome, either some parts are
    unanswered, or one piece waits to be written.
    """

    flight: Flight
    index: int
    tag: str
    bodies: Sequence[bytes]
    is_new: bool  # no part was written before, in this send or an earlier one
    ids: list[str] = field(default_factory=list)
    _open: int = 0  # parts written and not answered
    _tries: int = 0
    _worst: Outcome = ACCEPTED
    _may_have_left: bool = False  # at least one part may be on a phone
    _throttled: tuple[int, ...] = ()  # numbers of throttled parts to send again
    _throttling: Outcome = ACCEPTED  # the centre's last throttling answer
    _since_s: float | None = None  # when the first part was throttled
    _wait_s: float = 0.0  # seconds before the next piece
    _is_refused: bool = False  # a part of the last piece was throttled

    @property
    def parts(self) -> int:
        """Returns the number of parts."""
        return len(self.bodies)

    def piece(self) -> Piece:
        """Returns the parts to write: all of them, or one throttled part if other parts may have been sent."""
        if not self._may_have_left:
            return Piece(True, self.index, self.flight.numbers, self)
        return Piece(False, self.index, (min(self._throttled),), self)

    def written(self, numbers: Sequence[int]) -> None:
        """Records that these parts were written."""
        self._open += len(numbers)
        self._tries += 1
        self.is_new = self._is_refused = False
        if self._throttled:
            self._throttled = tuple(number for number in self._throttled if number not in numbers)

    def answered(self, number: int, outcome: Outcome, now_s: float, *, late: bool, slow: bool) -> None:
        """Records the answer to one part. After the answers to all written parts, queues throttled parts again or
        settles the message. `slow`: the centre throttles the bind, but still accepts messages. A `late` answer, after a
        time-out, only adds its message id.
        """
        if outcome.answer is Answer.ACCEPTED and outcome.message_id:
            self.ids.append(outcome.message_id)
        if late:
            return
        self._open -= 1
        if outcome.answer is Answer.RETRY and outcome.reason is Reason.THROTTLED:
            self._throttled = (*self._throttled, number)
            self._throttling, self._is_refused = outcome, True
            self._since_s = now_s if self._since_s is None else self._since_s
        else:
            self._count(outcome)
        if self._open:
            return
        self._wait_s = min(2 * self._wait_s or FIRST_WAIT_S, LONGEST_WAIT_S) if self._is_refused else 0.0
        due_s = now_s + self._wait_s
        if self._throttled and self._goes_again(due_s, slow=slow):
            self.flight.again(self.piece(), now_s, due_s)
        else:
            self.settle()

    def settle(self) -> None:
        """Sets the outcome of the message from the answers so far. Throttled parts count as refused, and are not sent
        again.
        """
        if self._throttled:
            self._count(self._throttling)
        outcome = self._worst
        if outcome.answer is Answer.ACCEPTED and self.ids:
            outcome = Outcome(Answer.ACCEPTED, message_id=BETWEEN_IDS.join(self.ids))
        elif not outcome.may_have_left:
            outcome = outcome._replace(partly=self._may_have_left)
        self.flight.settle(self.index, outcome)

    def _count(self, outcome: Outcome) -> None:
        """Includes the outcome of one part in that of the message."""
        self._may_have_left |= outcome.may_have_left
        if _RANK[outcome.answer] > _RANK[self._worst.answer]:
            self._worst = outcome

    def _goes_again(self, due_s: float, *, slow: bool) -> bool:
        """Returns whether to send the throttled parts again at `due_s`: only if the message can still arrive whole, and
        within `FINISH_S` or, if no part may be on a phone, `TRIES`.
        """
        if self.flight.stopped or self._worst.answer in {Answer.RETRY, Answer.NEVER}:
            return False
        if self._may_have_left:
            return self._since_s is not None and due_s < self._since_s + FINISH_S
        return slow and self._tries < TRIES


class Flight:
    """The outcomes of one send, and the pieces that wait to be written."""

    def __init__(self, size: int, parts: int) -> None:
        """Creates a flight for `size` messages of `parts` parts each."""
        self.numbers = tuple(range(parts))
        self.outcomes = [WITHHELD] * size
        self.stopped = False  # if set, nothing more is written
        self._open = size
        self._fresh: deque[Message] = deque()
        self._later: list[tuple[float, Piece]] = []  # heap, by the time of the next try
        self._again: list[Piece] = []  # heap of the pieces that are due
        self._throttled_s: float | None = None  # when the first part was throttled
        self._waiter: asyncio.Future[None] | None = None

    @property
    def done(self) -> bool:
        """Returns whether every message has its outcome."""
        return not self._open

    @property
    def waits(self) -> bool:
        """Returns whether a piece waits to be written, now or later."""
        return bool(self._later or self._again or self._fresh)

    def add(self, index: int, tag: str, bodies: Sequence[bytes], *, is_new: bool = True) -> None:
        """Queues a message. `is_new`: it was never tried before."""
        self._fresh.append(Message(self, index, tag, bodies, is_new))

    def next(self, now_s: float) -> Piece | None:
        """Returns the next piece to write, or None if none is due. Returns the same piece until `taken`. If the send
        has been throttled for `BEGIN_S`, first drops the messages of which no part may be on a phone.
        """
        if self._throttled_s is not None and now_s > self._throttled_s + BEGIN_S:
            self._drop(WITHHELD, begun_too=False)
        while self._later and self._later[0][0] <= now_s:
            heapq.heappush(self._again, heapq.heappop(self._later)[1])
        if self._again:
            return self._again[0]
        return self._fresh[0].piece() if self._fresh else None

    def taken(self, piece: Piece) -> None:
        """Removes the piece that `next` returned, after the caller has written it."""
        if self._again:
            heapq.heappop(self._again)
        else:
            self._fresh.popleft()
        piece.message.written(piece.numbers)

    def again(self, piece: Piece, now_s: float, due_s: float) -> None:
        """Queues throttled parts again, for `due_s` or later."""
        self._throttled_s = now_s if self._throttled_s is None else self._throttled_s
        heapq.heappush(self._later, (due_s, piece))
        self._wake()

    def settle(self, index: int, outcome: Outcome) -> None:
        """Sets the outcome of one message."""
        self.outcomes[index] = outcome
        self._open -= 1
        if not self._open:
            self._wake()

    def stop(self, outcome: Outcome) -> None:
        """Stops writing. Messages without a written part get `outcome`; throttled messages get the centre's last
        answer.
        """
        self.stopped = True
        self._drop(outcome, begun_too=True)

    async def stirred(self) -> None:
        """Waits until a piece is queued again or every message has its outcome."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _drop(self, outcome: Outcome, *, begun_too: bool) -> None:
        """Settles the waiting messages. Unwritten ones get `outcome`; throttled ones get the centre's last answer.
        Unless `begun_too` is set, does not settle messages of which a phone may show a part: their other parts still go
        out.
        """
        while self._fresh:
            self.settle(self._fresh.popleft().index, outcome)
        waiting, self._later, self._again = [*self._later, *((0.0, piece) for piece in self._again)], [], []
        for due_s, piece in waiting:
            if begun_too or piece.whole:
                piece.message.settle()
            else:
                heapq.heappush(self._later, (due_s, piece))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
