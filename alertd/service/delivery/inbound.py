"""What a text message centre tells of its own accord: how messages ended, and what people answer to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from alertd.metrics import Metrics
from alertd.model.kinds import Channel
from alertd.model.states import CHANNELS, State
from alertd.service.delivery.receipts import REPORTED, End, Receipts
from alertd.service.people.suppression import Suppression
from alertd.store.delivery.message_ids import Said, Sent
from alertd.store.engine.connection import StoreUnavailableError
from channels.smpp import inbox
from channels.smpp.receipts import Report, names_of
from channels.smpp.words import Word

_CHANNEL = Channel.SMS.value
AT_ONCE = 16  # answers heeded together: each costs some round trips, and the store has others to serve

#: Nothing else that is said changes anything.
_HEEDED = (Word.STOP, Word.START)


class Inbound:
    """Listens to one carrier. Implements `channels.smpp.inbox.Listener`; both calls may be made again with the same."""

    def __init__(self, carrier: str, receipts: Receipts, suppressing: Suppression, metrics: Metrics) -> None:
        self._carrier = carrier
        self._receipts = receipts
        self._suppressing = suppressing
        self._metrics = metrics

    async def reports(self, reports: Sequence[Report]) -> None:
        """Raises StoreUnavailableError, and then all of them may be told again."""
        taken = [Sent(one.tag, names_of(one.message_id), 0) for one in reports if one.tag and one.state not in REPORTED]
        await self._receipts.sent(self._carrier, _CHANNEL, taken)  # what is said of them may come to another process
        ends = [
            End(one.tag, Said(one.message_id, REPORTED.get(one.state, State.ACCEPTED), one.reason.value))
            for one in reports
        ]
        await self._receipts.ended(self._carrier, _CHANNEL, ends)

    async def take_answers(self, answers: Sequence[inbox.Written]) -> None:
        """Of one number's answers the last counts; one that may be anybody's is nobody's. Raises StoreUnavailableError, and then all of them may
        be told again.
        """
        heard = {one.number: one.word for one in answers if one.word in _HEEDED}
        last = [(number, word) for number, word in heard.items() if number.startswith("+")]
        if unplaced := len(heard) - len(last):
            self._metrics.unplaced.labels(self._carrier).inc(unplaced)
            structlog.get_logger().error(
                "answers from numbers without a country", carrier=self._carrier, answers=unplaced
            )
        for start in range(0, len(last), AT_ONCE):
            heeded = (self._heed(number, word) for number, word in last[start : start + AT_ONCE])
            for fault in await asyncio.gather(*heeded, return_exceptions=True):
                if isinstance(fault, StoreUnavailableError):
                    raise fault
                if isinstance(fault, Exception):  # it is that answer's alone, and no repeating helps
                    structlog.get_logger().error("answer cannot be heeded", error=type(fault).__name__)

    async def _heed(self, number: str, word: Word | None) -> None:
        """Whether anybody has the number or not: it may come with the next import."""
        address = (CHANNELS.index(_CHANNEL), number)
        if word is Word.START:
            await self._suppressing.start([address])
        elif (await self._suppressing.stop([address])).changed:
            self._metrics.optouts.labels(_CHANNEL).inc()
