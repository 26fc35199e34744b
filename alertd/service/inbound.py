"""What a text message centre tells of its own accord: how messages ended, and what people answer to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from alertd.alerts import CHANNELS
from alertd.kinds import Channel
from alertd.metrics import Metrics
from alertd.service.receipts import REPORTED, End, Receipts
from alertd.service.registry import Registry
from alertd.service.removal import Removal
from alertd.store.connection import StoreUnavailableError
from alertd.store.message_ids import Said
from alertd.subscribers import Address, AddressState, Subscriber
from channels.smpp import inbox
from channels.smpp.receipts import Report
from channels.smpp.words import Word

_CHANNEL = Channel.SMS.value
AT_ONCE = 16  # answers heeded together: each costs some round trips, and the store has others to serve

#: What the state of an address becomes by a word. Nothing else that is said changes anything.
_BECOMES = {Word.STOP: AddressState.STOPPED, Word.START: AddressState.ACTIVE}


class Inbound:
    """Listens to one carrier. Implements `channels.smpp.inbox.Listener`; both calls may be made again with the same."""

    def __init__(
        self, carrier: str, receipts: Receipts, registry: Registry, removal: Removal, metrics: Metrics
    ) -> None:
        self._carrier = carrier
        self._receipts = receipts
        self._registry = registry
        self._removal = removal
        self._metrics = metrics

    async def reports(self, reports: Sequence[Report]) -> None:
        """Raises StoreUnavailableError, and then all of them may be told again."""
        ends = [
            End(one.tag, Said(one.message_id, REPORTED[one.state], one.reason.value))
            for one in reports
            if one.state in REPORTED
        ]
        await self._receipts.ended(self._carrier, _CHANNEL, ends)

    async def said(self, answers: Sequence[inbox.Said]) -> None:
        """Of one number's answers the last counts. Raises StoreUnavailableError, and then all of them may be told again."""
        last = list({one.number: one.word for one in answers if one.word in _BECOMES}.items())
        for start in range(0, len(last), AT_ONCE):
            heeded = (self._heed(number, word) for number, word in last[start : start + AT_ONCE])
            for fault in await asyncio.gather(*heeded, return_exceptions=True):
                if isinstance(fault, StoreUnavailableError):
                    raise fault
                if isinstance(fault, Exception):  # it is that answer's alone, and no repeating helps
                    structlog.get_logger().error("answer cannot be heeded", error=type(fault).__name__)

    async def _heed(self, number: str, word: Word | None) -> None:
        person, address = await self._whose(number)
        state = _BECOMES[word] if word else None
        if person is None or address is None or state is None or address.state == state:
            return
        change = self._removal.stop if word is Word.STOP else self._removal.resume
        if await change(person.number, address.number, lambda value: value == address.value) and word is Word.STOP:
            self._metrics.optouts.labels(_CHANNEL).inc()

    async def _whose(self, number: str) -> tuple[Subscriber | None, Address | None]:
        """Who has a number. Some centres leave out the plus of an international one."""
        for value in (number, f"+{number}")[: 1 + number.isdecimal()]:
            person = await self._registry.lookup(CHANNELS.index(_CHANNEL), value)
            for address in person.addresses if person else ():
                if (CHANNELS[address.channel], address.value) == (_CHANNEL, value):
                    return person, address
        return None, None
