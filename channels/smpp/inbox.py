"""What an SMS centre tells us: reports of our messages and what people answer, handed to a listener before it is acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from channels.smpp import receipts
from channels.smpp.bind import Bind
from channels.smpp.coding import read
from channels.smpp.pdu import Pdu, Status
from channels.smpp.receipts import Receipts, Report
from channels.smpp.session import Session
from channels.smpp.settings import INTERNATIONAL, SmppSettings
from channels.smpp.words import Word, meaning, words

#: More than this many wait for the listener: the centre is asked to come again.
MOST_WAITING: Final = 20_000

#: Handed over together, so that somebody's STOP waits for no more than these.
BATCH: Final = 500

#: Before a listener that failed is tried again, and between looks for receipts that nobody claims.
_PAUSE_S: Final = 1.0


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote to us. `word` is None for a text that is none of the known answers."""

    number: str = field(repr=False)  # E.164 with its plus, or as the carrier wrote it
    word: Word | None
    text: str = field(repr=False)


class Listener(Protocol):
    """Takes what came. Once a call returns, what it got is acknowledged and comes no more; a call that raises is made again."""

    async def said(self, answers: Sequence[Said]) -> None: ...

    async def reports(self, reports: Sequence[Report]) -> None:
        """Each end of a message once, or twice when a failed one is delivered after all."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Something to be acknowledged on the session that brought it."""

    bind: Bind
    session: Session
    pdu: Pdu


class Inbox:
    """`run` hands over. Answers of people go before reports."""

    def __init__(self, settings: SmppSettings, listener: Listener | None, known: Receipts) -> None:
        self._settings = settings
        self._listener = listener
        self._known = known
        self._words = words(settings.languages, settings.words)
        self._said: deque[tuple[_Waiting, Said]] = deque()
        self._receipts: deque[_Waiting] = deque()
        self._reports: deque[Report] = deque()
        self._come = asyncio.Event()

    def take(self, bind: Bind, session: Session, pdu: Pdu) -> None:
        """Keep it until the listener has it."""
        waiting = _Waiting(bind, session, pdu)
        if len(self._said) + len(self._receipts) >= MOST_WAITING:
            session.acknowledge(pdu, Status.RECEIVER_TEMPORARY)
        elif receipts.is_receipt(pdu):
            self._receipts.append(waiting)
        else:
            self._said.append((waiting, self._read(pdu)))
        self._come.set()

    def joined(self, reports: Sequence[Report]) -> None:
        """Reports that had come before the answer to their message."""
        self._reports += reports
        self._come.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_PAUSE_S):
                    await self._come.wait()
            except TimeoutError:
                self._reports += self._known.strays()
            self._come.clear()
            while self._said or self._receipts or self._reports:
                await self._hand_over_said()
                await self._hand_over_receipts()

    async def _hand_over_said(self) -> None:
        some = [self._said.popleft() for _ in range(min(BATCH, len(self._said)))]
        if some and self._listener is not None:
            await self._insist(self._listener.said, [said for _, said in some])
        _acknowledge([waiting for waiting, _ in some])

    async def _hand_over_receipts(self) -> None:
        some = [self._receipts.popleft() for _ in range(min(BATCH, len(self._receipts)))]
        for waiting in some:
            receipt = receipts.read(waiting.pdu, self._settings.receipt_ids, self._settings.receipt_errors)
            if receipt is not None:
                self._reports += self._known.take(receipt)
        new, self._reports = list(self._reports), deque()
        if new and self._listener is not None:
            await self._insist(self._listener.reports, new)
        _acknowledge(some)

    async def _insist(self, hand_over: Callable[[Sequence[T]], Awaitable[None]], things: Sequence[T]) -> None:
        """Until the listener has them: what we know of a message has moved on and would not be told again."""
        while True:
            try:
                return await hand_over(things)
            except Exception as error:  # noqa: BLE001 whatever it is, it may pass, and nothing may be lost for it
                context = {"message": "the listener of an SMS channel failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                await asyncio.sleep(_PAUSE_S)

    def _read(self, pdu: Pdu) -> Said:
        number = pdu.text("source_addr")
        international = pdu.number("source_addr_ton") == INTERNATIONAL[0] and not number.startswith("+")
        text = read(pdu.message, pdu.number("data_coding"), pdu.number("esm_class"))
        return Said("+" + number if international else number, meaning(text, self._words), text)


def _acknowledge(some: Sequence[_Waiting]) -> None:
    for waiting in some:
        waiting.session.acknowledge(waiting.pdu)
    for bind in {waiting.bind for waiting in some}:
        bind.flush()
