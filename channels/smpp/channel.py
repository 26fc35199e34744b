"""Text messages through an SMS centre: many on the way at once, over several binds."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

from channels.base import WITHHELD, Answer, MayWrite, Outcome, Prepared, Reason, Recipient, SmsMessage
from channels.login import Login, LoginState
from channels.smpp import message
from channels.smpp.bind import Bind
from channels.smpp.flight import Flight, Message, Piece
from channels.smpp.inbox import Inbox, Listener
from channels.smpp.message import SmppPayload, Writer
from channels.smpp.receipts import BETWEEN_IDS, Receipts, Report, names_of
from channels.smpp.session import Answered, Delivered, Session
from channels.smpp.settings import SmppSettings
from channels.sms_answers import SmsState
from channels.text import Coding, codings

NOT_A_NUMBER: Final = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)

#: A send that waits for room checks `may_write` this often.
LOOK_S: Final = 0.05

#: A centre that throttles and accepted something so recently is slow, and not closed.
ACCEPTS_S: Final = 2.0


class SmppChannel:
    """One account. Implements `channels.base.Channel`, `Binding`, `ReportingById` and `Texting`."""

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
        self._accepted_s = -ACCEPTS_S  # when the centre last accepted a part

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

    async def log_in(self) -> Login:
        """The channel binds by itself: waits until one bind stands or all have failed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.connect_timeout_s + 1):
                while not self.is_bound() and not all(bind.login for bind in self._senders):
                    await self._look_again()
        found = [bind.login for bind in self._senders if bind.login]
        if self.is_bound():
            return Login(LoginState.WORKS, self._settings.server)
        return found[-1] if found else Login(LoginState.NOT_KNOWN, self._settings.server)

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
        return message.prepare(message_, self._settings.text)

    def codings(self, message_: SmsMessage) -> list[Coding]:
        """Implements `channels.base.Texting`."""
        return codings(message_.text, self._settings.text, message_.names)

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """The validity period is what is left at this call. All PDUs that find room are written in one piece. Sends throttled parts again, as
        fast as the centre accepts them; a message that it throttles waits before each repeat.
        """
        payload: SmppPayload = prepared.payload
        tails = self._writer.tails(payload, self._clock())
        flight = Flight(len(recipients), len(tails))
        for index, recipient in enumerate(recipients):
            to = self._writer.to(recipient)
            if to is None:
                flight.settle(index, NOT_A_NUMBER)
            else:
                flight.add(index, recipient.tag, [to + tail for tail in tails], is_new=recipient.is_new)
        loop = asyncio.get_running_loop()
        while not flight.done:
            now_s = loop.time()
            piece = flight.next(now_s)
            if piece is not None or flight.waits:
                await self._write(flight, piece, now_s, may_write)
            elif not flight.done:
                self._flush()
                await flight.stirred()
        return flight.outcomes

    async def _write(self, flight: Flight, piece: Piece | None, now_s: float, may_write: MayWrite) -> None:
        """Writes the next piece on one bind, or waits a moment for room or for a piece. Stops the flight if nothing more may be written."""
        bind = max(self._senders, key=lambda one: one.room(now_s))
        if not may_write():
            flight.stop(WITHHELD)
        elif piece and bind.room(now_s) >= min(len(piece.numbers), self._settings.session.window):
            message_ = piece.message
            for number in piece.numbers:
                bind.request(message_.bodies[number], (message_, number), now_s, is_new=message_.is_new)
            flight.taken(piece)
        elif all(one.down for one in self._senders):
            flight.stop(bind.down or WITHHELD)
        else:
            self._flush()
            await self._look_again()

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
                self._answered(session, *cast("tuple[Message, int]", event.key), event)
            elif session is not None and self._inbox is not None:
                self._inbox.take(bind, session, event.pdu)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:  # not now: a centre that hangs up right behind an answer is heard first
            asyncio.get_running_loop().call_soon(_wake, waiter)

    def _answered(self, session: Session | None, message_: Message, number: int, event: Answered) -> None:
        """One part was answered."""
        outcome, now_s, slow = event.outcome, asyncio.get_running_loop().time(), False
        if outcome.answer is Answer.ACCEPTED:
            self._accepted_s = now_s
        elif outcome.reason is Reason.THROTTLED:
            outcome = outcome._replace(retry_after_s=self._all_paused_s())
            slow = session is not None and session.pace.is_limited and now_s < self._accepted_s + ACCEPTS_S
        message_.answered(number, outcome, now_s, late=event.late, slow=slow)
        if len(message_.ids) == message_.parts and self._inbox is not None:
            taken = Report(message_.tag, BETWEEN_IDS.join(message_.ids), SmsState.ACCEPTED, Reason.NONE)
            late = [taken] if event.late else []  # whoever was told that nobody knows
            self._inbox.joined([*late, *self._receipts.sent(message_.tag, message_.ids)])

    def _all_paused_s(self) -> float | None:
        """How long no bind takes anything; None while one does, for then the carrier need not rest."""
        now_s = asyncio.get_running_loop().time()
        sessions = [bind.session for bind in self._senders if bind.session is not None]
        left_s = min((session.pace.paused_until_s - now_s for session in sessions), default=0.0)
        return left_s if left_s > 0 else None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _tell_of_death(task: asyncio.Task[None]) -> None:
    """None of them ends by itself: what is a fault of our own must not look like a carrier that is silent."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "part of an SMS channel stopped", "exception": error}
        task.get_loop().call_exception_handler(context)
