"""The channel for SMS through an SMS centre. It spreads the messages over several binds, and many messages wait for
their answers at the same time.
"""

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
from channels.smpp.receipts import BETWEEN_IDS, ReceiptMatcher, Report, names_of
from channels.smpp.session import Answered, Delivered, Session
from channels.smpp.settings import SmppSettings
from channels.sms_answers import SmsState
from channels.text import Coding, codings

NOT_A_NUMBER: Final = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)

#: A send that waits for room checks `may_write` again after this many seconds.
LOOK_S: Final = 0.05

#: If a centre throttles but accepted a part within this many seconds, it counts as slow. Otherwise it accepts nothing
#: now.
ACCEPTS_S: Final = 2.0


class SmppChannel:
    """One account at an SMS centre. Implements `channels.base.Channel`, `Binding`, `ReportingById` and `Texting`."""

    name = "sms"

    def __init__(
        self, settings: SmppSettings, clock: Callable[[], float] = time.time, listener: Listener | None = None
    ) -> None:
        """`listener` gets the receipts and what people answer. The caller may also set it later, before `open`."""
        self.listener = listener
        self._settings = settings
        self._clock = clock
        self._writer = Writer(settings)
        self._receipts = ReceiptMatcher(time.monotonic, remember=settings.remember, patience_s=settings.patience_s)
        self._inbox: Inbox | None = None
        self._binds: list[Bind] = []
        self._senders: list[Bind] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: list[asyncio.Future[None]] = []
        # When the centre last accepted a part, in seconds of the event loop's clock.
        self._accepted_s = -ACCEPTS_S

    def names_of(self, message_id: str) -> tuple[str, ...]:
        """Implements `channels.base.ReportingById`: the ids in the form of `receipts.plain`."""
        return names_of(message_id)

    def is_bound(self) -> bool:
        """Implements `channels.base.Binding`. Returns True if at least one sending bind is up."""
        return any(bind.is_bound for bind in self._senders)

    def bind_soon(self) -> None:
        """Implements `channels.base.Binding`."""
        for bind in self._binds:
            bind.soon()

    async def log_in(self) -> Login:
        """Waits until one sending bind is up or all have failed, at most `connect_timeout_s` + 1 s, and returns the
        result. Does not connect, because the binds connect by themselves.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.connect_timeout_s + 1):
                while not self.is_bound() and not all(bind.login for bind in self._senders):
                    await self._look_again()
        found = [bind.login for bind in self._senders if bind.login]
        if self.is_bound():
            return Login(LoginState.WORKS, self._settings.server)
        return found[-1] if found else Login(LoginState.NOT_KNOWN, self._settings.server)

    async def open(self) -> None:
        """Starts the binds and returns at once: a centre that is down now may be up when an alert is sent."""
        context = ssl.create_default_context(cafile=self._settings.ca_file) if self._settings.tls else None
        self._inbox = Inbox(self._settings, self.listener, self._receipts)
        self._binds = [Bind(self._settings, role, self._hear) for role in self._settings.roles]
        self._senders = self._binds[: self._settings.binds]
        self._tasks = [asyncio.create_task(bind.keep(context)) for bind in self._binds]
        self._tasks.append(asyncio.create_task(self._inbox.run()))
        for task in self._tasks:
            task.add_done_callback(_tell_of_death)

    async def close(self) -> None:
        """Unbinds, which takes up to 1 s, and stops all tasks."""
        await asyncio.gather(*(bind.leave() for bind in self._binds))
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def prepare(self, message_: SmsMessage) -> Prepared:
        """Returns the prepared message. Its cost is the number of segments, which the carrier bills. Raises
        `ValueError` if the text is empty or too long.
        """
        return message.prepare(message_, self._settings.text)

    def codings(self, message_: SmsMessage) -> list[Coding]:
        """Implements `channels.base.Texting`."""
        return codings(message_.text, self._settings.text, message_.names)

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """Sends the message to all recipients. The validity period is the time left until the expiry at this call.
        Writes all PDUs that find room in one piece. Repeats a throttled part after a wait, but only while its message
        can still arrive whole, and within the limits of `flight` (TRIES, FINISH_S, BEGIN_S).
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
        """Queues `piece` on the bind with the most room. If that bind has too little room, or `piece` is None because
        none is due, writes all queued PDUs and waits up to 50 ms. Stops the flight if `may_write` returns False or all
        sending binds are down.
        """
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
        """Waits until an event may have made room or brought up a bind. After `LOOK_S` seconds, returns anyway so that
        `may_write` is checked again.
        """
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
        """Handles the events of one bind, then wakes the waiting sends."""
        session = bind.session
        for event in events:
            if isinstance(event, Answered):
                self._answered(session, *cast("tuple[Message, int]", event.key), event)
            elif session is not None and self._inbox is not None:
                self._inbox.take(bind, session, event.pdu)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:  # later: a centre may hang up right behind an answer, and `_ended` must run first
            asyncio.get_running_loop().call_soon(_wake, waiter)

    def _answered(self, session: Session | None, message_: Message, number: int, event: Answered) -> None:
        """Records the answer to one part. Once the centre has accepted all parts, each with an id, queues the reports
        of receipts that came before; if this last answer came after its time-out, first a report that the message was
        accepted.
        """
        outcome, now_s, slow = event.outcome, asyncio.get_running_loop().time(), False
        if outcome.answer is Answer.ACCEPTED:
            self._accepted_s = now_s
        elif outcome.reason is Reason.THROTTLED:
            outcome = outcome._replace(retry_after_s=self._all_paused_s())
            slow = session is not None and session.pace.is_limited and now_s < self._accepted_s + ACCEPTS_S
        message_.answered(number, outcome, now_s, late=event.late, slow=slow)
        if len(message_.ids) == message_.parts and self._inbox is not None:
            taken = Report(message_.tag, BETWEEN_IDS.join(message_.ids), SmsState.ACCEPTED, Reason.NONE)
            late = [taken] if event.late else []  # the caller counted this message as unknown
            self._inbox.joined([*late, *self._receipts.sent(message_.tag, message_.ids)])

    def _all_paused_s(self) -> float | None:
        """Returns the seconds until the first paused bind sends again, if all binds are paused. Otherwise returns None,
        because the carrier as a whole needs no pause.
        """
        now_s = asyncio.get_running_loop().time()
        sessions = [bind.session for bind in self._senders if bind.session is not None]
        left_s = min((session.pace.paused_until_s - now_s for session in sessions), default=0.0)
        return left_s if left_s > 0 else None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _tell_of_death(task: asyncio.Task[None]) -> None:
    """Reports a failed task to the event loop's exception handler. No task ends by itself, and an error in alertd must
    not look like a silent carrier.
    """
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "part of an SMS channel stopped", "exception": error}
        task.get_loop().call_exception_handler(context)
