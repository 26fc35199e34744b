"""One chunk: which of the channel's carriers takes it, and once the gate lets it through, its addresses, the carrier's answers and its outcomes.

What the gate let through may be written for half a second from the last time it was asked. A carrier may take longer than that, to connect or to
look at an envelope. So the gate is asked again meanwhile, for no rows, and each "go" is worth another half second (ops/docs/decisions/0022).
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

#: A lane that waits longer for permits asks the gate in between, so that it hears of a cancel and of our own stopping.
LONGEST_SLEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class CarrierSlot:
    """Which carrier takes which rows next, by their indices; none of them: how long until it is worth asking again."""

    carrier: Carrier
    ready: Ready | None  # None: it cannot be told this way, or the rows wait for the carrier in the queue
    rows: list[int]
    wait_s: float  # with rows: the carrier rests, and they are to try it; nothing is ready: they are to wait
    block: Block | None = None  # the permits, where rows may be sent


def _meant_for(
    carrier: Carrier, left: Sequence[int], meant: Mapping[int, int], offers: Sequence[CarrierSlot]
) -> list[int]:
    """The rows that a carrier may have, after such offers of others: what is meant for one is no other's; and a reserve has nothing else while
    the others work, though they have no permit at the moment.
    """
    is_spared = not carrier.weight and any(one.ready and one.wait_s <= LONGEST_SLEEP_S for one in offers)
    return [i for i in left if meant.get(i, None if is_spared else carrier.number) == carrier.number]


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierSelection:
    """Asks the carriers of a channel in turn."""

    messages: MessageCache
    carriers: Carriers
    health: CarrierHealth
    chunk: int  # rows at most

    async def next(self, lease: Lease, left: Sequence[int]) -> CarrierSlot | None:
        """The first carrier of the channel that has permits, and what it may take; else the one that has some soonest. None where others
        are bound to one that this process is not: they need not wait for it.

        What may have arrived goes to nobody but whom it was given to: only there are both seen as one.
        """
        offers, channel = list[CarrierSlot](), lease.alike.channel
        usable = self.health.usable(self.carriers.turn(channel))
        known = [carrier.number for carrier in self.carriers.of(channel)]
        tried = {i: lease.carriers[i] for i in left if lease.carriers[i] in known}  # by whom, of those that were
        bound = {i: number for i, number in tried.items() if lease.doubted[i]}
        # What a carrier surely did not take is the next one's: so each of them is asked, before one is again.
        turns = {
            i: known[(known.index(number) + 1) % len(known)]
            for i, number in tried.items()
            if lease.tries[i] and i not in bound
        }
        # Who has no permit for what it is their turn with leaves it to others, where there are any.
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
        waiting = [i for i in left if bound[i] == offer.carrier.number]  # not in a lane, which others can be sent from
        return CarrierSlot(offer.carrier, None, waiting[: self.chunk], offer.wait_s)

    async def _of(self, lease: Lease, carrier: Carrier, rows: Sequence[int]) -> CarrierSlot:
        """What a carrier may take of these rows."""
        ready = await self.messages.ready(lease.alert_id, lease.alike, carrier)
        if ready is None:  # nothing is sent
            return CarrierSlot(carrier, None, list(rows[: self.chunk]), 0)
        may, block = await self.health.grant(
            carrier, rows, lease.tries, ready.prepared.cost, most=self.chunk, loud=ready.loud
        )
        return CarrierSlot(carrier, ready, may, block.wait_s, block)

    async def give_back(self, offer: CarrierSlot, rows: int) -> CarrierSlot:
        """Permits of rows that nothing was written for. Answers the offer without them."""
        if offer.ready is None or offer.block is None or not rows:
            return offer
        permits = rows * offer.ready.prepared.cost
        return replace(
            offer, block=await self.health.give_back(offer.carrier, offer.block, permits, loud=offer.ready.loud)
        )


#: Asks the store whether what was begun may still be written.
GoesOn = Callable[[], Awaitable[bool]]

#: From asking the gate to the last write to a socket. A worker that slept in between writes nothing when it wakes.
SEND_WITHIN_S = 0.5
#: Often enough that an answer from the store may take as long.
ASK_AGAIN_S = SEND_WITHIN_S / 2


class SendDeadline:
    """Made right before the gate is asked."""

    def __init__(self, clock: Clock, goes_on: GoesOn) -> None:
        self._clock = clock
        self._goes_on = goes_on
        self._until_s = clock.monotonic() + SEND_WITHIN_S
        self._over = False  # a cancellation that was swallowed has come, too

    def holds(self) -> bool:
        """A `channels.base.MayWrite`."""
        return self._clock.monotonic() < self._until_s

    @asynccontextmanager
    async def keep_asking(self) -> AsyncIterator[None]:
        """While this lasts, and for as long as the answer is yes, it is asked again: at once where the gate itself took long. It
        answers when the disk has what it wrote, and a slow disk would leave no time to write anything, ever.
        """
        asking = asyncio.create_task(self._keep(goes=await self.renewed()))
        try:
            yield
        finally:
            self._over = True
            await ended(asking)

    async def renewed(self) -> bool:
        """Before anything is written: asks again where little of the leave is left, for whatever was asked of the store since may have
        taken it as long. Answers whether it goes on.
        """
        return self._clock.monotonic() < self._until_s - ASK_AGAIN_S or await self._ask()

    async def _keep(self, *, goes: bool) -> None:
        while goes and not self._over:
            await self._clock.sleep(max(0.0, self._until_s - ASK_AGAIN_S - self._clock.monotonic()))
            goes = await self._ask()

    async def _ask(self) -> bool:
        """A yes counts from when it was asked for."""
        until_s = self._clock.monotonic() + SEND_WITHIN_S
        goes = await self._goes_on()
        if goes:
            self._until_s = max(self._until_s, until_s)
        return goes


#: How long, and how often, the store is told what a carrier calls its messages: less than a worker has to stop.
NAME_WITHIN_S = 30.0
NAME_EVERY_S = 0.2
#: How old what is known of people may be while a carrier has them: whoever leaves by then is not written to.
LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class LeaseProgress:
    """How far a lease has come, in indices of its rows."""

    left: list[int]
    asked: list[int] = field(default_factory=list)  # of the gate, and nothing is sent yet
    settled: list[Settlement] = field(default_factory=list)  # answered, and not in the ledger yet
    dead: list[Dead] = field(default_factory=list)
    sending: bool = False  # a carrier has what was asked for, and what it answered is not in `settled` yet
    tries: Sequence[_Try] = ()  # what it has
    looked_s: float = 0.0  # when whom these are for was read


class _Try(NamedTuple):
    """One row the gate let through, by its index, with whom it is for."""

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
    attempts: int  # of what may have arrived

    async def send(
        self, lease: Lease, indices: Sequence[int], offer: CarrierSlot, until: SendDeadline, way: LeaseProgress
    ) -> ChunkReport:
        """What was answered is on its `way` before anything else is asked of the store, which may be gone by then."""
        carrier, ready = offer.carrier, offer.ready
        if ready is None:
            way.settled, way.asked = [_nothing_sent(lease, i, offer) for i in indices], []
            return ChunkReport()
        now_ms, way.looked_s = self.clock.now_ms(), self.clock.monotonic()
        found, settled = await self._addressed(lease, indices, ready, carrier, now_ms)
        tries, later, admission = await self._admitted(lease, found, carrier, ready)
        # Now: a slow carrier would let them go stale.
        offer = await self.offers.give_back(offer, len(offer.rows) - len(tries))
        way.tries = tries  # whom the question is about, too
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
        with suppress(StoreUnavailableError):  # it counts as spent
            await self.holding.unsent(lease, ready, len(indices) - len(settled) - gone, now_ms)
        if withheld := [one.recipient.address for one, its in answered if its.answer is Answer.WITHHELD]:
            await self.offers.give_back(offer, len(withheld))
            await self.domains.give_back(carrier, admission.blocks, withheld, loud=ready.loud)
        domains = self.domains.note_answers(carrier, admission.probed, addresses, report.said, attempts)
        return report._replace(domains=domains)

    async def still(self, lease: Lease, offer: CarrierSlot, way: LeaseProgress) -> bool:
        """Whether everybody whom a carrier has may be sent to as they were read; looked at again each second. Raises StoreUnavailableError."""
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
        """Those whose domains may have more now; the rest go back to the queue for later, and it was no attempt."""
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
        """Fetch the addresses now, so that a STOP, a rotated token or quiet hours since the plan count."""
        people = await self.people.read_many([lease.refs[i][0] for i in indices])
        usable, tries, settled = dict[int, tuple[str, Subscriber]](), list[_Try](), list[Settlement]()
        for i, person in zip(indices, people, strict=True):
            value, reason = usable_value(person, lease.refs[i][1], lease.alike.channel, ready.kind)
            if value is None or isinstance(person, Absence):
                settled.append(Settlement(lease.rows[i], State.SUPPRESSED, reason, 0))
            else:
                usable[i] = value, person
        # Nothing is paid for who cannot be sent to.
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
        """Before they are settled, so that what is reported of an accepted row finds it. A store that is away is waited for."""
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
    """For a row whose message cannot be made, or that is to wait for its carrier: no longer than till that is tried again."""
    if not offer.wait_s:
        return Settlement(lease.rows[index], State.FAILED, LedgerReason.LEFT_BLANK, 0)
    return unsent(lease, index, min(offer.wait_s, PROBE_MS / 1000))


def unsent(lease: Lease, index: int, later_s: float = 0) -> Settlement:
    """For a row that the gate may have let through, and that nothing was written for: it is whose it was before."""
    return settlement(lease, index, not_tried(later_s), lease.carriers[index])
