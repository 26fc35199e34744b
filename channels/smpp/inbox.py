"""What an SMS centre tells us: reports of our messages and what people answer, handed to a listener before it is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from channels.smpp import receipts
from channels.smpp.bind import Bind
from channels.smpp.message import decode_text
from channels.smpp.pdu import Pdu, Status
from channels.smpp.receipts import Receipts, Report
from channels.smpp.session import Session
from channels.smpp.settings import INTERNATIONAL, NATIONAL, SmppSettings
from channels.smpp.words import Word, meaning, words

#: More than this many wait for the listener: the centre is asked to come again.
MOST_WAITING: Final = 20_000

#: Handed over together, so that somebody's STOP waits for no more than these.
BATCH: Final = 500

#: Before a listener that failed is tried again; doubled up to the longest.
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0

#: How often somebody's answer is handed over before the centre is asked to bring it again later: a second and a half in all.
_TRIES: Final = 5

#: Between looks for receipts that nobody claims.
_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Written:
    """What a person wrote to us. `number` is E.164 with its plus, or as the carrier wrote it where nobody knows whose it is; `word` is None for a
    text that is none of the known answers.
    """

    number: str = field(repr=False)
    word: Word | None
    text: str = field(repr=False)


class Listener(Protocol):
    """Takes what came. Once a call returns, what it got is acknowledged and comes no more; a call that raises is made again.

    The two are called independently of each other.
    """

    async def take_answers(self, answers: Sequence[Written]) -> None:
        """After some tries the centre is asked to bring them again."""
        ...

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
    """`run` hands over. Nobody's answer waits for reports."""

    def __init__(self, settings: SmppSettings, listener: Listener | None, known: Receipts) -> None:
        self._settings = settings
        self._listener = listener
        self._known = known
        self._words = words(settings.languages, settings.words)
        self._said: deque[tuple[_Waiting, Written]] = deque()
        self._receipts: deque[_Waiting] = deque()
        self._reports: list[Report] = []
        self._somebody = asyncio.Event()
        self._something = asyncio.Event()

    def take(self, bind: Bind, session: Session, pdu: Pdu) -> None:
        """Keep it until the listener has it."""
        waiting = _Waiting(bind, session, pdu)
        of_ours = receipts.is_receipt(pdu)
        if len(self._receipts if of_ours else self._said) >= MOST_WAITING:
            session.acknowledge(pdu, Status.RECEIVER_TEMPORARY)
        elif of_ours:
            self._receipts.append(waiting)
            self._something.set()
        else:
            self._said.append((waiting, self._read(pdu)))
            self._somebody.set()

    def joined(self, reports: Sequence[Report]) -> None:
        """Reports that had come before the answer to their message."""
        if reports:
            self._reports += reports
            self._something.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_over_answers())
            group.create_task(self._hand_over_reports())

    async def _hand_over_answers(self) -> None:
        while True:
            await self._somebody.wait()
            self._somebody.clear()
            while self._said:
                some = [self._said.popleft() for _ in range(min(BATCH, len(self._said)))]
                take = self._listener.take_answers if self._listener else None
                taken = await self._told(take, [said for _, said in some], _TRIES)
                _acknowledge([waiting for waiting, _ in some], Status.OK if taken else Status.RECEIVER_TEMPORARY)

    async def _hand_over_reports(self) -> None:
        """What we know of a message moves on when its receipt is read, so the listener is told until it has it."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._something.wait()
            self._something.clear()
            self._reports += self._known.strays()
            while self._receipts or self._reports:
                some = [self._receipts.popleft() for _ in range(min(BATCH, len(self._receipts)))]
                new, self._reports = self._reports + self._new(some), []
                await self._told(self._listener.reports if self._listener else None, new, None)
                _acknowledge(some, Status.OK)

    def _new(self, some: Sequence[_Waiting]) -> list[Report]:
        """What these receipts say that was not known."""
        reports: list[Report] = []
        for waiting in some:
            receipt = receipts.parse_receipt(waiting.pdu, self._settings.receipt_ids)
            if receipt is not None:
                reports += self._known.take(receipt)
        return reports

    async def _told(
        self, take: Callable[[Any], Awaitable[None]] | None, things: Sequence[Any], tries: int | None
    ) -> bool:
        """Whether the listener took them, after so many tries; None for as many as it takes."""
        if take is None or not things:
            return True
        for number in itertools.count(1):
            try:
                await take(things)
            except Exception as error:  # noqa: BLE001 whatever it is, it may pass, and nothing may be lost for it
                context = {"message": "the listener of an SMS channel failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
            else:
                return True
            if number == tries:
                break
            await asyncio.sleep(min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(number - 1, 10)))
        return False

    def _read(self, pdu: Pdu) -> Written:
        number = written_by(pdu.text("source_addr"), pdu.number("source_addr_ton"), self._settings.calling_code)
        text = decode_text(pdu.message, pdu.number("data_coding"), pdu.number("esm_class"))
        return Written(number, meaning(text, self._words), text)


def written_by(number: str, kind: int, calling_code: str) -> str:
    """A number in E.164, by what kind the centre says it is (SMPP 3.4 section 5.2.5): many leave out the plus, or say nothing. One as it is dialled in
    its own country is that country's, which only the settings know (`calling_code`): with a plus alone it would be a stranger's.
    """
    if number.startswith("+") or not number.isdecimal():
        return number
    if number.startswith("00") or kind == INTERNATIONAL[0]:
        return "+" + number.removeprefix("00")
    if number.startswith("0"):
        return f"+{calling_code}{number.removeprefix('0')}" if calling_code else number
    if kind == NATIONAL and not calling_code:
        return number
    return "+" + (number if number.startswith(calling_code) else calling_code + number)


def _acknowledge(some: Sequence[_Waiting], status: Status) -> None:
    for waiting in some:
        waiting.session.acknowledge(waiting.pdu, status)
    for bind in {waiting.bind for waiting in some}:
        bind.flush()
