"""Sends one chunk: selects the carrier, reads the addresses, hands the messages over and turns the answers into outcomes.

A permission of the gate is valid for half a second. A carrier may need longer, to connect or to answer an envelope. So the worker keeps asking
the gate meanwhile, without rows, and each "go" is valid for another half second (ops/docs/decisions/0022).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import structlog

from alertd.common.clock import Clock
from alertd.common.ids import DOOR_OF, LINKED, Tags, TokenPurpose
from alertd.common.repetition import ended, retry
from alertd.metrics import Metrics
from alertd.model.states import CHANNELS, LedgerReason, State
from alertd.model.subscriber import Subscriber
from alertd.service.carriers.carriers import Admission, Carrier, Carriers, Domains
from alertd.service.carriers.health import CarrierHealth, ChunkReport
from alertd.service.carriers.retries import after, not_tried
from alertd.service.delivery.deferral import Deferral, settlement, usable_value
from alertd.service.delivery.message_cache import MessageCache, Ready
from alertd.service.delivery.receipts import Receipts
from alertd.service.people.dead_addresses import Dead
from alertd.store.carriers.limits import PROBE_MS, Block
from alertd.store.delivery.message_ids import Sent
from alertd.store.delivery.work_records import Lease, Settlement
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.subscribers import Absence, People
from channels.base import Answer, Outcome, Reason, Recipient, ReportingById

#: A lane that waits longer for permits asks the gate in between, so that it notices a cancellation and the worker's stop.
LONGEST_SLEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class CarrierSlot:
    """The carrier for the next rows, with the indices of the rows. Without rows: the time until asking again makes sense."""

    carrier: Carrier
    ready: Ready | None  # None: no message can be made for this carrier, or the rows wait for it in the queue
    rows: list[int]
    wait_s: (
        float  # with rows and `ready`: the carrier rests, and the rows probe it; with rows alone: the rows wait so long
    )
    block: Block | None = None  # the permits, if rows may be sent


def _meant_for(
    carrier: Carrier, left: Sequence[int], meant: Mapping[int, int], offers: Sequence[CarrierSlot]
) -> list[int]:
    """Returns the rows that a carrier may take, after the `offers` of others. A row in `meant` is for one carrier only.

    A reserve (weight 0) takes no other rows while another carrier works, even if that one has no permit at the moment.
    """
    is_spared = not carrier.weight and any(one.ready and one.wait_s <= LONGEST_SLEEP_S for one in offers)
    return [i for i in left if meant.get(i, None if is_spared else carrier.number) == carrier.number]


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierSelection:
    """Selects a carrier of the channel for the rows of a lease."""

    messages: MessageCache
    carriers: Carriers
    health: CarrierHealth
    chunk: int  # maximum number of rows

    async def next(self, lease: Lease, left: Sequence[int]) -> CarrierSlot | None:
        """Returns the first carrier that has permits, with the rows it may take, else the one that has permits soonest.

        Returns None if another worker is bound to a carrier that this process is not bound to: the rows need not wait here. A message that may
        have arrived goes only to the same carrier again, because only there both count as one.
        """
        offers, channel = list[CarrierSlot](), lease.alike.channel
        usable = self.health.usable(self.carriers.turn(channel))
        known = [carrier.number for carrier in self.carriers.of(channel)]
        tried = {
            i: lease.carriers[i] for i in left if lease.carriers[i] in known
        }  # rows with an earlier try: its carrier
        bound = {i: number for i, number in tried.items() if lease.doubted[i]}
        # A row that a carrier surely did not accept is for the next carrier, so that each is tried before one is tried again.
        turns = {
            i: known[(known.index(number) + 1) % len(known)]
            for i, number in tried.items()
            if lease.tries[i] and i not in bound
        }
        # A second pass without `turns`: if the carrier in turn has no permit, any other may take the row.
        for meant in (turns | bound, bound) if turns and len(known) > 1 else (bound,):
            for carrier in usable:
                if rows := _meant_for(carrier, left, meant, offers):
                    offers.append(await self._of(lease, carrier, rows))
                    if offers[-1].rows and offers[-1].ready:
                        return offers[-1]
        if len(usable) < len(known):
            self.health.rest(channel, min((offer.wait_s for offer in offers), default=LONGEST_SLEEP_S))
            return None
        offer = min(offers, key=lambda offer: (offer.ready is None, offer.wait_s))
        if len(known) == 1 or offer.wait_s <= LONGEST_SLEEP_S or not all(i in bound for i in left):
            return offer
        waiting = [
            i for i in left if bound[i] == offer.carrier.number
        ]  # these wait in the queue and free the lane for other rows
        return CarrierSlot(offer.carrier, None, waiting[: self.chunk], offer.wait_s)

    async def _of(self, lease: Lease, carrier: Carrier, rows: Sequence[int]) -> CarrierSlot:
        """Returns which of the rows a carrier may take now."""
        ready = await self.messages.ready(lease.alert_id, lease.alike, carrier)
        if ready is None:  # no message can be made
            return CarrierSlot(carrier, None, list(rows[: self.chunk]), 0)
        may, block = await self.health.grant(
            carrier, rows, lease.tries, ready.prepared.cost, most=self.chunk, loud=ready.loud
        )
        return CarrierSlot(carrier, ready, may, block.wait_s, block)

    async def give_back(self, offer: CarrierSlot, rows: int) -> CarrierSlot:
        """Gives back the permits of rows that were not written. Returns the offer without them."""
        if offer.ready is None or offer.block is None or not rows:
            return offer
        permits = rows * offer.ready.prepared.cost
        return replace(
            offer, block=await self.health.give_back(offer.carrier, offer.block, permits, loud=offer.ready.loud)
        )


#: Asks the store whether the channel may still write.
GoesOn = Callable[[], Awaitable[bool]]

#: Maximum time from the question to the gate to the last write to a socket. A worker that was suspended in between writes nothing.
SEND_WITHIN_S = 0.5
#: Half of it, so that the store's answer may take as long.
ASK_AGAIN_S = SEND_WITHIN_S / 2


class SendDeadline:
    """The time until which a channel may write. Made right before the question to the gate."""

    def __init__(self, clock: Clock, goes_on: GoesOn) -> None:
        self._clock = clock
        self._goes_on = goes_on
        self._until_s = clock.monotonic() + SEND_WITHIN_S
        self._over = False  # set at the end, in case the task swallowed its cancellation

    def holds(self) -> bool:
        """Returns whether the channel may write now (a `channels.base.MayWrite`)."""
        return self._clock.monotonic() < self._until_s

    @asynccontextmanager
    async def keep_asking(self) -> AsyncIterator[None]:
        """Keeps asking the store inside the context, as long as the answer is yes. Asks immediately if the gate took long.

        The gate answers only after its write is on disk. With a slow disk, no time to write would be left without this.
        """
        asking = asyncio.create_task(self._keep(goes=await self.renewed()))
        try:
            yield
        finally:
            self._over = True
            await ended(asking)

    async def renewed(self) -> bool:
        """Asks again if less than half of the time is left, because other questions to the store may have taken long.

        Returns whether the channel may write. Called right before the first write.
        """
        return self._clock.monotonic() < self._until_s - ASK_AGAIN_S or await self._ask()

    async def _keep(self, *, goes: bool) -> None:
        while goes and not self._over:
            await self._clock.sleep(max(0.0, self._until_s - ASK_AGAIN_S - self._clock.monotonic()))
            goes = await self._ask()

    async def _ask(self) -> bool:
        """Asks the store. The time of a yes counts from the question, not from the answer."""
        until_s = self._clock.monotonic() + SEND_WITHIN_S
        goes = await self._goes_on()
        if goes:
            self._until_s = max(self._until_s, until_s)
        return goes


#: Limit and interval of the retries to store the carrier's message ids. The limit is less than the time that a worker has to stop.
NAME_WITHIN_S = 30.0
NAME_EVERY_S = 0.2
#: Maximum age of subscriber data during a send. A subscriber who opts out later than this may still get the message.
LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class LeaseProgress:
    """Progress of a lease, by the indices of its rows."""

    left: list[int]  # rows that the gate was not asked for
    asked: list[int] = field(default_factory=list)  # rows that the gate was asked for, before their outcomes are known
    settled: list[Settlement] = field(default_factory=list)  # outcomes that are not in the ledger yet
    dead: list[Dead] = field(default_factory=list)  # addresses to remove
    sending: bool = False  # whether a carrier has the rows `asked`, and their outcomes are not in `settled` yet
    tries: Sequence[_Try] = ()  # the rows that the carrier has
    looked_s: float = 0.0  # when their subscribers were last read (monotonic s)


class _Try(NamedTuple):
    """One row that the gate permitted, by its index, with its recipient."""

    at: int
    attempt: int
    number: int
    address: int
    recipient: Recipient
    doubted: bool  # an earlier try may have arrived


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Sends chunks."""

    people: People
    holding: Deferral
    domains: Domains
    carriers: Carriers
    health: CarrierHealth
    offers: CarrierSelection
    receipts: Receipts
    tags: Tags
    clock: Clock
    metrics: Metrics
    attempts: int  # maximum number of tries for a message that may have arrived

    async def send(
        self, lease: Lease, indices: Sequence[int], offer: CarrierSlot, until: SendDeadline, way: LeaseProgress
    ) -> ChunkReport:
        """Sends the rows `indices` of a lease, and returns the carrier's answers.

        Puts the outcomes into `way` before any further call of the store, which may fail.
        """
        carrier, ready = offer.carrier, offer.ready
        if ready is None:
            way.settled, way.asked = [_nothing_sent(lease, i, offer) for i in indices], []
            return ChunkReport()
        now_ms, way.looked_s = self.clock.now_ms(), self.clock.monotonic()
        found, settled = await self._addressed(lease, indices, ready, carrier, now_ms)
        tries, later, admission = await self._admitted(lease, found, carrier, ready)
        # Gives unused permits back before the send, because a slow carrier would hold them for long.
        offer = await self.offers.give_back(offer, len(offer.rows) - len(tries))
        way.tries = tries  # `still` checks these recipients during the send
        await until.renewed()
        way.sending, started = True, self.clock.monotonic()
        said = await carrier.channel.send(ready.prepared, [one.recipient for one in tries], until.holds)
        addresses, attempts = [one.recipient.address for one in tries], [one.attempt for one in tries]
        report = self.health.read(carrier, addresses, attempts, said, probes=offer.wait_s > 0)
        judged = partial(
            after,
            attempts=self.attempts,
            hold=carrier.hold,
            left_ms=ready.expires_ms - self.clock.now_ms(),
            carriers=len(self.carriers.of(carrier.channel.name)),
            urgent=not ready.hushed,
        )
        answered = list(zip(tries, report.answers, strict=True))
        now = [
            settlement(lease, one.at, judged(answer, attempt=one.attempt, doubted=one.doubted), carrier.number)
            for one, answer in answered
        ]
        way.settled, way.asked, way.sending, way.tries = settled + later + now, [], False, ()
        way.dead += [Dead(one.number, one.address, one.recipient.address) for one, its in answered if its.address_gone]
        self.metrics.send_seconds.labels(carrier.channel.name, carrier.name).observe(self.clock.monotonic() - started)
        self._count(answered, carrier)
        if isinstance(carrier.channel, ReportingById):
            await self._name(answered, carrier, carrier.channel, ready)
        gone = sum(answer.may_have_left for answer in report.answers)
        with suppress(StoreUnavailableError):  # then the budget counts the unsent messages as spent
            await self.holding.unsent(lease, ready, len(indices) - len(settled) - gone, now_ms)
        if withheld := [one.recipient.address for one, its in answered if its.answer is Answer.WITHHELD]:
            await self.offers.give_back(offer, len(withheld))
            await self.domains.give_back(carrier, admission.blocks, withheld, loud=ready.loud)
        domains = self.domains.note_answers(carrier, admission.probed, addresses, report.said, attempts)
        return report._replace(domains=domains)

    async def still(self, lease: Lease, offer: CarrierSlot, way: LeaseProgress) -> bool:
        """Returns whether all recipients of the chunk still have the same usable address. Reads them again each second.

        Raises StoreUnavailableError.
        """
        now_s = self.clock.monotonic()
        if not way.tries or not offer.ready or now_s < way.looked_s + LOOK_AGAIN_S:
            return True
        way.looked_s = now_s
        numbers = [one.number for one in way.tries]
        people = await self.people.read_many(numbers)
        asked = (lease.alike.channel, offer.ready.kind)
        may = all(
            usable_value(person, one.address, *asked)[0] == one.recipient.address
            for person, one in zip(people, way.tries, strict=True)
        )
        return may and not await self.holding.began(lease, numbers, people, offer.ready, self.clock.now_ms())

    async def _admitted(
        self, lease: Lease, found: list[_Try], carrier: Carrier, ready: Ready
    ) -> tuple[list[_Try], list[Settlement], Admission]:
        """Takes permits of the mail domains. Returns the rows that may be sent, outcomes that queue the others without counting an attempt, and
        the permits.
        """
        addresses = [one.recipient.address for one in found]
        is_new = [one.attempt == 1 for one in found]
        admission = await self.domains.admit(carrier, lease.alert_id, addresses, is_new, loud=ready.loud)
        asked = list(zip(found, admission.waits_s, strict=True))
        later = [
            settlement(lease, one.at, not_tried(wait_s, Reason.THROTTLED.value), carrier.number)
            for one, wait_s in asked
            if wait_s
        ]
        return [one for one, wait_s in asked if not wait_s], later, admission

    async def _addressed(
        self, lease: Lease, indices: Sequence[int], ready: Ready, carrier: Carrier, now_ms: int
    ) -> tuple[list[_Try], list[Settlement]]:
        """Reads the addresses now, so that a STOP, a new token or quiet hours since the plan count.

        Returns the rows to send, and the outcomes of the others.
        """
        people = await self.people.read_many([lease.refs[i][0] for i in indices])
        usable, tries, settled = dict[int, tuple[str, Subscriber]](), list[_Try](), list[Settlement]()
        for i, person in zip(indices, people, strict=True):
            value, reason = usable_value(person, lease.refs[i][1], lease.alike.channel, ready.kind)
            if value is None or isinstance(person, Absence):
                settled.append(Settlement(lease.rows[i], State.SUPPRESSED, reason, 0))
            else:
                usable[i] = value, person
        # Only usable addresses count against the budget.
        whom = [person for _, person in usable.values()]
        held = await self.holding.settled(lease, list(usable), whom, ready, carrier.number, now_ms)
        for i, (value, _) in usable.items():
            if i in held:
                settled.append(held[i])
                continue
            channel, row = lease.alike.channel, lease.rows[i]
            to = self.people.names.address_hash(CHANNELS.index(channel), value) if channel in LINKED else None
            leave = self.tags.make(lease.alert_id, row, TokenPurpose.LEAVE, to) if to else None
            tag = self.tags.make(lease.alert_id, row, DOOR_OF[channel], to)
            recipient = Recipient(value, tag, leave=leave, is_new=not lease.tries[i])
            tries.append(_Try(i, lease.tries[i] + 1, *lease.refs[i], recipient, lease.doubted[i]))
        return tries, settled

    async def _name(
        self, answered: Sequence[tuple[_Try, Outcome]], carrier: Carrier, channel: ReportingById, ready: Ready
    ) -> None:
        """Stores the carrier's message ids before the outcomes, so that a report for an accepted row finds it. Retries while the store is away."""
        keep_ms, give_up = ready.expires_ms - self.clock.now_ms(), self.clock.monotonic() + NAME_WITHIN_S
        sent = [
            Sent(one.recipient.tag, channel.names_of(answer.message_id), keep_ms)
            for one, answer in answered
            if answer.message_id
        ]
        try:
            await retry(
                lambda: self.receipts.sent(carrier.name, carrier.channel.name, sent),
                StoreUnavailableError, NAME_EVERY_S, self.clock, lambda: self.clock.monotonic() > give_up,
            )  # fmt: skip
        except StoreUnavailableError:
            structlog.get_logger().error("reports will find no row", carrier=carrier.name, messages=len(sent))

    def _count(self, answered: Sequence[tuple[_Try, Outcome]], carrier: Carrier) -> None:
        for (answer, reason), times in Counter((one.answer, one.reason) for _, one in answered).items():
            labels = (carrier.channel.name, carrier.name, answer.value, reason.name.lower())
            self.metrics.outcomes.labels(*labels).inc(times)
        again = sum(one.doubted and answer.answer is not Answer.WITHHELD for one, answer in answered)
        self.metrics.duplicates.labels(carrier.channel.name).inc(again)


def _nothing_sent(lease: Lease, index: int, offer: CarrierSlot) -> Settlement:
    """Returns the outcome of a row without a message: failed, or queued to wait for its carrier, at most until its next probe."""
    if not offer.wait_s:
        return Settlement(lease.rows[index], State.FAILED, LedgerReason.LEFT_BLANK, 0)
    return unsent(lease, index, min(offer.wait_s, PROBE_MS / 1000))


def unsent(lease: Lease, index: int, later_s: float = 0) -> Settlement:
    """Returns the outcome of a row that the gate may have permitted and that was not written: queued, with its earlier carrier."""
    return settlement(lease, index, not_tried(later_s), lease.carriers[index])
