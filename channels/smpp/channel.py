"""Text messages through an SMS centre: many on the way at once, over several binds."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from channels.base import ACCEPTED, WITHHELD, Answer, MayWrite, Outcome, Prepared, Reason, Recipient, SmsMessage
from channels.smpp import message
from channels.smpp.bind import Bind
from channels.smpp.events import Answered, Delivered
from channels.smpp.inbox import Inbox, Listener
from channels.smpp.message import SmppPayload, Writer
from channels.smpp.receipts import BETWEEN_IDS, Receipts, Report, names_of
from channels.smpp.settings import SmppSettings
from channels.sms_answers import SmsState

NOT_A_NUMBER: Final = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)

#: How often one who waits for room looks whether it still may write.
LOOK_S: Final = 0.05

#: Of the answers to the parts of one message, the one that counts: a part that was refused for sure keeps the whole from arriving, though
#: phones show the others.
_RANK: Final = {Answer.ACCEPTED: 0, Answer.UNKNOWN: 1, Answer.RETRY: 2, Answer.NEVER: 3}


class _Flight:
    """The outcomes of one send, and whether all are there."""

    def __init__(self, size: int) -> None:
        self.outcomes = [WITHHELD] * size
        self._open = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not size:
            self.done.set_result(None)

    def settle(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self._open -= 1
        if not self._open and not self.done.done():  # cancelled, or never awaited
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class _Message:
    """One message on its way, in `parts`."""

    flight: _Flight
    index: int
    tag: str
    parts: int
    left: int
    worst: Outcome = ACCEPTED
    may_have_left: bool = False  # some part of it
    ids: list[str] = field(default_factory=list)

    def answered(self, outcome: Outcome, *, late: bool) -> None:
        """One part was answered."""
        if outcome.answer is Answer.ACCEPTED and outcome.message_id:
            self.ids.append(outcome.message_id)
        if late:
            return
        self.left -= 1
        self.may_have_left |= outcome.may_have_left
        if _RANK[outcome.answer] > _RANK[self.worst.answer]:
            self.worst = outcome
        if not self.left:
            self.flight.settle(self.index, self._of_all())

    def _of_all(self) -> Outcome:
        if self.worst.answer is Answer.ACCEPTED and self.ids:
            return Outcome(Answer.ACCEPTED, message_id=BETWEEN_IDS.join(self.ids))
        return self.worst if self.worst.may_have_left else self.worst._replace(partly=self.may_have_left)


class SmppChannel:
    """One account. Implements `channels.base.Channel`, `Binding` and `ReportingById`."""

    name = "sms"

    def __init__(
        self, settings: SmppSettings, clock: Callable[[], float] = time.time, listener: Listener | None = None
    ) -> None:
        """`listener` is told of receipts and of what people answer; it may be set until `open`."""
        self.listener = listener
        self._settings = settings
        self._clock = clock
        self._writer = Writer(settings)
        self._receipts = Receipts(time.monotonic, remember=settings.remember, patience_s=settings.patience_s)
        self._inbox: Inbox | None = None
        self._binds: list[Bind] = []
        self._senders: list[Bind] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: list[asyncio.Future[None]] = []

    def names_of(self, message_id: str) -> tuple[str, ...]:
        """Implements `channels.base.ReportingById`."""
        return names_of(message_id)

    def is_bound(self) -> bool:
        """Implements `channels.base.Binding`: one bind that sends is enough."""
        return any(bind.is_bound for bind in self._senders)

    def bind_soon(self) -> None:
        """Implements `channels.base.Binding`."""
        for bind in self._binds:
            bind.soon()

    async def open(self) -> None:
        """Begins to bind, and does not wait for it: a centre that is away now may be back when it is needed."""
        context = ssl.create_default_context(cafile=self._settings.ca_file) if self._settings.tls else None
        self._inbox = Inbox(self._settings, self.listener, self._receipts)
        self._binds = [Bind(self._settings, role, self._hear) for role in self._settings.roles]
        self._senders = self._binds[: self._settings.binds]
        self._tasks = [asyncio.create_task(bind.keep(context)) for bind in self._binds]
        self._tasks.append(asyncio.create_task(self._inbox.run()))
        for task in self._tasks:
            task.add_done_callback(_tell_of_death)

    async def close(self) -> None:
        await asyncio.gather(*(bind.leave() for bind in self._binds))
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def prepare(self, message_: SmsMessage) -> Prepared:
        """Costs what the carrier bills: segments. Raises `ValueError` for an empty text and one that is too long."""
        return message.prepare(message_)

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """The validity period is what is left at this call. All PDUs that find room are written in one piece."""
        payload: SmppPayload = prepared.payload
        tails = self._writer.tails(payload, self._clock())
        flight = _Flight(len(recipients))
        for index, recipient in enumerate(recipients):
            to = self._writer.to(recipient)
            if to is None:
                flight.settle(index, NOT_A_NUMBER)
                continue
            one = _Message(flight, index, recipient.tag, len(tails), len(tails))
            stop = await self._write([to + tail for tail in tails], one, may_write)
            if stop is not None:
                for rest in range(index, len(recipients)):
                    flight.settle(rest, stop)
                break
        self._flush()
        await flight.done
        return flight.outcomes

    async def _write(self, bodies: Sequence[bytes], message_: _Message, may_write: MayWrite) -> Outcome | None:
        """All PDUs of one message on one bind, once it has room for them; None when that is done."""
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            bind = max(self._senders, key=lambda one: one.room(now_s))
            if bind.room(now_s) >= min(len(bodies), self._settings.window):
                break
            if not may_write():
                return WITHHELD
            if all(one.down for one in self._senders):
                return bind.down
            self._flush()
            await self._look_again()
        if not may_write():
            return WITHHELD
        for body in bodies:
            bind.request(body, message_, now_s)
        return None

    async def _look_again(self) -> None:
        """Wait until an answer made room, a bind came up, or it is time to ask for leave again."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(LOOK_S, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def _flush(self) -> None:
        for bind in self._senders:
            bind.flush()

    def _hear(self, bind: Bind, events: list[Answered | Delivered]) -> None:
        """What came on one bind."""
        session = bind.session
        for event in events:
            if isinstance(event, Answered):
                self._answered(cast("_Message", event.key), event)
            elif session is not None and self._inbox is not None:
                self._inbox.take(bind, session, event.pdu)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:  # not now: a centre that hangs up right behind an answer is heard first
            asyncio.get_running_loop().call_soon(_wake, waiter)

    def _answered(self, message_: _Message, event: Answered) -> None:
        outcome = event.outcome
        if outcome.reason is Reason.THROTTLED:
            outcome = outcome._replace(retry_after_s=self._all_paused_s())
        message_.answered(outcome, late=event.late)
        if len(message_.ids) == message_.parts and self._inbox is not None:
            taken = Report(message_.tag, BETWEEN_IDS.join(message_.ids), SmsState.ACCEPTED, Reason.NONE)
            late = [taken] if event.late else []  # whoever was told that nobody knows
            self._inbox.joined([*late, *self._receipts.sent(message_.tag, message_.ids)])

    def _all_paused_s(self) -> float | None:
        """How long no bind takes anything; None while one does, for then the carrier need not rest."""
        now_s = asyncio.get_running_loop().time()
        sessions = [bind.session for bind in self._senders if bind.session is not None]
        left_s = min((session.paused_until_s - now_s for session in sessions), default=0.0)
        return left_s if left_s > 0 else None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _tell_of_death(task: asyncio.Task[None]) -> None:
    """None of them ends by itself: what is a fault of our own must not look like a carrier that is silent."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "part of an SMS channel stopped", "exception": error}
        task.get_loop().call_exception_handler(context)
