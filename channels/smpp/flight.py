"""The messages of one `send`: the parts that wait to be written, and the answers to the others.

A part that the centre throttles goes again alone, under the same reference and number, so that no phone gets a part twice. Its message waits
before each repeat, because the limit may belong to its number.
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

#: A throttled send begins no message after this many seconds, so that the answers are settled. The next send takes the rest.
BEGIN_S: Final = 10.0
#: Tries of a message at a slow centre that throttles all of its parts. After that the number itself may be limited.
TRIES: Final = 4
#: A throttled part is sent again for this many seconds if another part of its message may be on a phone.
FINISH_S: Final = 30.0
#: A message waits this long after its first refusal, and twice as long after each further one, until the centre accepts a part of it.
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 4.0

#: Of the answers to the parts of one message, the one that counts: a part that was refused for sure keeps the whole from arriving, though
#: phones show the others.
_RANK: Final = {Answer.ACCEPTED: 0, Answer.UNKNOWN: 1, Answer.RETRY: 2, Answer.NEVER: 3}


class Piece(NamedTuple):
    """Parts of one message that are written together. Pieces are sorted: messages that phones may show in part go first."""

    whole: bool  # nothing of the message has left
    place: int  # of the message in its send
    numbers: tuple[int, ...]  # of the parts, from 0
    message: Message


@dataclass(slots=True, eq=False)
class Message:
    """One message: the PDU bodies of its parts, and their answers. Either parts are open, or one piece waits."""

    flight: Flight
    index: int
    tag: str
    bodies: Sequence[bytes]
    is_new: bool  # nothing of it was ever written, in this send or before
    ids: list[str] = field(default_factory=list)
    _open: int = 0  # parts that were written and not answered
    _tries: int = 0
    _worst: Outcome = ACCEPTED
    _may_have_left: bool = False  # some part of it
    _throttled: tuple[int, ...] = ()
    _throttling: Outcome = ACCEPTED  # the last answer to them
    _since_s: float | None = None  # when the first part was throttled
    _wait_s: float = 0.0  # before its next piece
    _is_refused: bool = False  # a part of its last piece was throttled

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return len(self.bodies)

    def piece(self) -> Piece:
        """Returns the parts to write: all of them, or one throttled part if other parts may have left."""
        if not self._may_have_left:
            return Piece(True, self.index, self.flight.numbers, self)
        return Piece(False, self.index, (min(self._throttled),), self)

    def written(self, numbers: Sequence[int]) -> None:
        """These parts of it were written."""
        self._open += len(numbers)
        self._tries += 1
        self.is_new = self._is_refused = False
        if self._throttled:
            self._throttled = tuple(number for number in self._throttled if number not in numbers)

    def answered(self, number: int, outcome: Outcome, now_s: float, *, late: bool, slow: bool) -> None:
        """One part was answered. `slow`: the centre accepts messages, and not all at once. A `late` answer only adds its id."""
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
        """It has its outcome: throttled parts are not sent again."""
        if self._throttled:
            self._count(self._throttling)
        outcome = self._worst
        if outcome.answer is Answer.ACCEPTED and self.ids:
            outcome = Outcome(Answer.ACCEPTED, message_id=BETWEEN_IDS.join(self.ids))
        elif not outcome.may_have_left:
            outcome = outcome._replace(partly=self._may_have_left)
        self.flight.settle(self.index, outcome)

    def _count(self, outcome: Outcome) -> None:
        self._may_have_left |= outcome.may_have_left
        if _RANK[outcome.answer] > _RANK[self._worst.answer]:
            self._worst = outcome

    def _goes_again(self, due_s: float, *, slow: bool) -> bool:
        """Whether to send the throttled parts again at that time: the message can still become whole."""
        if self.flight.stopped or self._worst.answer in {Answer.RETRY, Answer.NEVER}:
            return False
        if self._may_have_left:
            return self._since_s is not None and due_s < self._since_s + FINISH_S
        return slow and self._tries < TRIES


class Flight:
    """The outcomes of one send, and what waits to be written."""

    def __init__(self, size: int, parts: int) -> None:
        """For so many messages, each of so many parts."""
        self.numbers = tuple(range(parts))
        self.outcomes = [WITHHELD] * size
        self.stopped = False  # nothing more is written
        self._open = size
        self._fresh: deque[Message] = deque()
        self._later: list[tuple[float, Piece]] = []  # a heap, by the time from which each may be written again
        self._again: list[Piece] = []  # a heap of the pieces whose time has come
        self._throttled_s: float | None = None  # when the first part was
        self._waiter: asyncio.Future[None] | None = None

    @property
    def done(self) -> bool:
        """Whether every message has its outcome."""
        return not self._open

    @property
    def waits(self) -> bool:
        """Whether a piece waits to be written, now or later."""
        return bool(self._later or self._again or self._fresh)

    def add(self, index: int, tag: str, bodies: Sequence[bytes], *, is_new: bool = True) -> None:
        """A message is to be written. `is_new`: it was never tried before."""
        self._fresh.append(Message(self, index, tag, bodies, is_new))

    def next(self, now_s: float) -> Piece | None:
        """Returns the next piece to write, and the same one until `taken`. None if none may be written yet."""
        if self._throttled_s is not None and now_s > self._throttled_s + BEGIN_S:
            self._drop(WITHHELD, begun_too=False)
        while self._later and self._later[0][0] <= now_s:
            heapq.heappush(self._again, heapq.heappop(self._later)[1])
        if self._again:
            return self._again[0]
        return self._fresh[0].piece() if self._fresh else None

    def taken(self, piece: Piece) -> None:
        """The piece that was next is written."""
        if self._again:
            heapq.heappop(self._again)
        else:
            self._fresh.popleft()
        piece.message.written(piece.numbers)

    def again(self, piece: Piece, now_s: float, due_s: float) -> None:
        """Throttled parts are to be written again, not before `due_s`."""
        self._throttled_s = now_s if self._throttled_s is None else self._throttled_s
        heapq.heappush(self._later, (due_s, piece))
        self._wake()

    def settle(self, index: int, outcome: Outcome) -> None:
        """A message has its outcome."""
        self.outcomes[index] = outcome
        self._open -= 1
        if not self._open:
            self._wake()

    def stop(self, outcome: Outcome) -> None:
        """Write nothing more. `outcome` is that of the messages of which nothing was written."""
        self.stopped = True
        self._drop(outcome, begun_too=True)

    async def stirred(self) -> None:
        """Waits until a piece is to be written again, now or later, or every message has its outcome."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _drop(self, outcome: Outcome, *, begun_too: bool) -> None:
        """Settle the messages that wait: those that were not written with `outcome`, throttled ones with what the centre answered."""
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
