"""Queues receipts and people's answers from an SMS centre, passes them to a listener, and only then acknowledges them
to the centre.
"""

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
from channels.smpp.receipts import ReceiptMatcher, Report
from channels.smpp.session import Session
from channels.smpp.settings import INTERNATIONAL, NATIONAL, SmppSettings
from channels.smpp.words import Word, meaning, words

#: Maximum number of receipts, and of answers, that wait for the listener. The centre is asked to deliver further ones
#: again later.
MOST_WAITING: Final = 20_000

#: Maximum number of reports or answers in one call to the listener. The inbox acknowledges answers after each call, so
#: a STOP waits for at most this many.
BATCH: Final = 500

#: Seconds before a failed call to the listener is repeated. The pause doubles up to the longest.
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0

#: Number of calls to the listener for the same answers, 1.5 s in all. Then the centre is asked to deliver them again
#: later.
_TRIES: Final = 5

#: Seconds between checks for receipts that match no message.
_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Written:
    """A person's answer. `number` is E.164 with its plus, or as the carrier wrote it if its country is not known.
    `word` is None if the text is not a known answer.
    """

    number: str = field(repr=False)
    word: Word | None
    text: str = field(repr=False)


class Listener(Protocol):
    """Gets reports and answers. When a call returns, the inbox acknowledges its items, and they do not come again. The
    inbox repeats a call that raises.

    Calls of the two methods may overlap.
    """

    async def take_answers(self, answers: Sequence[Written]) -> None:
        """Takes people's answers. After 5 failed calls, the inbox asks the centre to deliver them again later."""
        ...

    async def reports(self, reports: Sequence[Report]) -> None:
        """Takes reports. The final state of a message comes once, or twice if a failed message is delivered later. The
        inbox repeats a call that raises without limit.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A PDU to acknowledge on the session that brought it."""

    bind: Bind
    session: Session
    pdu: Pdu


class Inbox:
    """Queues what the centre delivers; `run` passes it to the listener. Receipts and answers have queues and tasks of
    their own, so receipts cannot delay answers. `listener` may be None; everything is then acknowledged and dropped.
    """

    def __init__(self, settings: SmppSettings, listener: Listener | None, known: ReceiptMatcher) -> None:
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
        """Queues one PDU for the listener. If its queue is full, asks the centre to deliver it again later."""
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
        """Queues reports that do not come from a PDU: their receipts arrived before the answer to their message."""
        if reports:
            self._reports += reports
            self._something.set()

    async def run(self) -> None:
        """Passes answers and reports to the listener until the task is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_over_answers())
            group.create_task(self._hand_over_reports())

    async def _hand_over_answers(self) -> None:
        """Passes answers to the listener until cancelled. If it fails, asks the centre to deliver them again later."""
        while True:
            await self._somebody.wait()
            self._somebody.clear()
            while self._said:
                some = [self._said.popleft() for _ in range(min(BATCH, len(self._said)))]
                take = self._listener.take_answers if self._listener else None
                taken = await self._told(take, [said for _, said in some], _TRIES)
                _acknowledge([waiting for waiting, _ in some], Status.OK if taken else Status.RECEIVER_TEMPORARY)

    async def _hand_over_reports(self) -> None:
        """Passes reports to the listener until cancelled. Retries without limit: `ReceiptMatcher` reports each state
        only once, so a lost report would not come again.
        """
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
        """Passes receipts to `ReceiptMatcher` and returns the new reports. Skips a receipt without an id or known
        state.
        """
        reports: list[Report] = []
        for waiting in some:
            receipt = receipts.parse_receipt(waiting.pdu, self._settings.receipt_ids)
            if receipt is not None:
                reports += self._known.take(receipt)
        return reports

    async def _told(
        self, take: Callable[[Any], Awaitable[None]] | None, things: Sequence[Any], tries: int | None
    ) -> bool:
        """Calls `take` up to `tries` times, or without limit if None. Returns whether a call succeeded; True if there
        is no listener or nothing to hand over.
        """
        if take is None or not things:
            return True
        for number in itertools.count(1):
            try:
                await take(things)
            except Exception as error:  # noqa: BLE001 any fault may pass, and no item may be lost
                context = {"message": "the listener of an SMS channel failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
            else:
                return True
            if number == tries:
                break
            await asyncio.sleep(min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(number - 1, 10)))
        return False

    def _read(self, pdu: Pdu) -> Written:
        """Returns the answer of a person that a PDU holds."""
        number = written_by(pdu.text("source_addr"), pdu.number("source_addr_ton"), self._settings.calling_code)
        text = decode_text(pdu.message, pdu.number("data_coding"), pdu.number("esm_class"))
        return Written(number, meaning(text, self._words), text)


def written_by(number: str, kind: int, calling_code: str) -> str:
    """Returns a number in E.164, by the type of number that the centre gives (SMPP 3.4 section 5.2.5). Many centres
    leave out the plus or give no type.

    A national number gets the country of `calling_code` (digits, from the settings). With a plus alone it could be a
    stranger's number in another country. If `calling_code` is "", returns a national number unchanged.
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
    """Answers these PDUs on their sessions, and writes the answers."""
    for waiting in some:
        waiting.session.acknowledge(waiting.pdu, status)
    for bind in {waiting.bind for waiting in some}:
        bind.flush()
