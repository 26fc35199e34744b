"""Sends one chunk: chooses the carrier and, once the gate permits the rows, fetches the addresses, sends, and turns the
carrier's answers into outcomes.

The gate's permission holds for half a second after the question. A carrier may take longer, to connect or to check an
envelope. So the worker asks the gate again meanwhile, for no rows. Each "go" is worth another half second
(ops/docs/decisions/0022).
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

#: Seconds. A lane that waits longer for permits asks the gate in between, to notice a cancellation or the worker's own
#: stop.
LONGEST_SLEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class CarrierSlot:
    """The next carrier and its rows, by their indices in the lease. Without rows: how long to wait before asking again."""

    carrier: Carrier
    ready: Ready | None  # None: the message cannot be made, or the rows wait for the carrier in the queue
    rows: list[int]
    # Seconds. With rows and `ready`: above 0 if the rows probe a paused carrier. With rows alone: how long they wait in
    # the queue.
    wait_s: float
    block: Block | None = None  # the permits, if rows may be sent


def _meant_for(
    carrier: Carrier, left: Sequence[int], meant: Mapping[int, int], offers: Sequence[CarrierSlot]
) -> list[int]:
    """Returns the rows of `left` that a carrier may send. `meant` maps rows to the number of their only carrier. A
    reserve carrier (weight 0) gets only rows meant for it while one of the earlier `offers` is ready and waits for
    permits no longer than LONGEST_SLEEP_S.
    """
    is_spared = not carrier.weight and any(one.ready and one.wait_s <= LONGEST_SLEEP_S for one in offers)
    return [i for i in left if meant.get(i, None if is_spared else carrier.number) == carrier.number]


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierSelection:
    """Chooses among the carriers of a channel for each chunk."""

    messages: MessageCache
    carriers: Carriers
    health: CarrierHealth
    chunk: int  # maximum number of rows

    async def next(self, lease: Lease, left: Sequence[int]) -> CarrierSlot | None:
        """Returns the first carrier of the channel that has permits, with its rows; else the one that will have permits
        soonest. Returns None if none has permits here and this process may not use all carriers of the channel: another
        process has a session with the carrier, so the rows need not wait for this process.

        A row that may have arrived goes only to the carrier that had it: only there do both attempts count as one
        message.
        """
        offers, channel = list[CarrierSlot](), lease.alike.channel
        usable = self.health.usable(self.carriers.turn(channel))
        known = [carrier.number for carrier in self.carriers.of(channel)]
        # By row: the carrier that last had it.
        tried = {i: lease.carriers[i] for i in left if lease.carriers[i] in known}
        bound = {i: number for i, number in tried.items() if lease.doubted[i]}
        # A row that one carrier surely did not take goes to the next carrier. So each is tried once before one is tried
        # again.
        turns = {
            i: known[(known.index(number) + 1) % len(known)]
            for i, number in tried.items()
            if lease.tries[i] and i not in bound
        }
        # A carrier without permits for its rows leaves them to other carriers, if there are any.
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
        waiting = [i for i in left if bound[i] == offer.carrier.number]  # not in a lane, which other rows can use
        return CarrierSlot(offer.carrier, None, waiting[: self.chunk], offer.wait_s)

    async def _of(self, lease: Lease, carrier: Carrier, rows: Sequence[int]) -> CarrierSlot:
        """Returns which of these rows a carrier may send now. Takes the permits for them."""
        ready = await self.messages.ready(lease.alert_id, lease.alike, carrier)
        if ready is None:  # no message can be made
            return CarrierSlot(carrier, None, list(rows[: self.chunk]), 0)
        may, block = await self.health.grant(
            carrier, rows, lease.tries, ready.prepared.cost, most=self.chunk, loud=ready.loud
        )
        return CarrierSlot(carrier, ready, may, block.wait_s, block)

    async def give_back(self, offer: CarrierSlot, rows: int) -> CarrierSlot:
        """Returns unused permits of `rows` rows to the limiter. Returns the slot without those permits."""
        if offer.ready is None or offer.block is None or not rows:
            return offer
        permits = rows * offer.ready.prepared.cost
        return replace(
            offer, block=await self.health.give_back(offer.carrier, offer.block, permits, loud=offer.ready.loud)
        )


#: Asks the store whether the worker may write the rest of the messages of a chunk.
GoesOn = Callable[[], Awaitable[bool]]

#: Seconds from the question to the gate until the last write to a socket. A worker that slept in between writes nothing
#: when it wakes.
SEND_WITHIN_S = 0.5
#: Seconds. The rest of `SEND_WITHIN_S` is left for the store's answer.
ASK_AGAIN_S = SEND_WITHIN_S / 2


class SendDeadline:
    """The time until which the worker may write messages. Create it right before the gate is asked."""

    def __init__(self, clock: Clock, goes_on: GoesOn) -> None:
        self._clock = clock
        self._goes_on = goes_on
        self._until_s = clock.monotonic() + SEND_WITHIN_S
        self._over = False  # ends the loop even if its cancellation was swallowed

    def holds(self) -> bool:
        """Returns whether messages may still be written. Implements `channels.base.MayWrite`."""
        return self._clock.monotonic() < self._until_s

    @asynccontextmanager
    async def keep_asking(self) -> AsyncIterator[None]:
        """Asks the gate again and again inside the block, as long as the answer is yes. Asks at once if the gate itself
        took long.

        The gate answers after its write has reached the disk. With a slow disk, no time to send would ever be left.
        """
        asking = asyncio.create_task(self._keep(goes=await self.renewed()))
        try:
            yield
        finally:
            self._over = True
            await ended(asking)

    async def renewed(self) -> bool:
        """Asks again if little of the permission is left, and returns whether sending may go on. Call it before
        anything is written: the store calls since then may have taken as long.
        """
        return self._clock.monotonic() < self._until_s - ASK_AGAIN_S or await self._ask()

    async def _keep(self, *, goes: bool) -> None:
        while goes and not self._over:
            await self._clock.sleep(max(0.0, self._until_s - ASK_AGAIN_S - self._clock.monotonic()))
            goes = await self._ask()

    async def _ask(self) -> bool:
        """Asks the store, and returns its answer. A yes counts from the moment of the question."""
        until_s = self._clock.monotonic() + SEND_WITHIN_S
        goes = await self._goes_on()
        if goes:
            self._until_s = max(self._until_s, until_s)
        return goes


#: For how long and how often (s) the worker tries to store the carrier's message ids. It is less than the time that a
#: worker has to stop.
NAME_WITHIN_S = 30.0
NAME_EVERY_S = 0.2
#: Maximum age in s of subscriber data during a send. Until the next check, a message may still go to a person who has
#: just opted out.
LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class LeaseProgress:
    """The progress of a lease. Rows are given by their indices."""

    left: list[int]  # the gate was not asked yet
    asked: list[int] = field(default_factory=list)  # the gate was asked, and nothing is sent yet
    settled: list[Settlement] = field(default_factory=list)  # answered, but not in the ledger yet
    dead: list[Dead] = field(default_factory=list)  # addresses to remove
    sending: bool = False  # a carrier has the rows, and its answers are not in `settled` yet
    tries: Sequence[_Try] = ()  # what the carrier has
    looked_s: float = 0.0  # when their recipients were last read (monotonic s)


class _Try(NamedTuple):
    """One row that the gate permitted, by its index, with its recipient."""

    at: int
    attempt: int
    number: int
    address: int
    recipient: Recipient
    doubted: bool  # an earlier attempt may have arrived


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Sends chunks through a carrier."""

    people: People
    deferral: Deferral
    domains: Domains
    carriers: Carriers
    health: CarrierHealth
    selection: CarrierSelection
    receipts: Receipts
    tags: Tags
    clock: Clock
    metrics: Metrics
    attempts: int  # maximum number of attempts that may have arrived

    async def send(
        self, lease: Lease, indices: Sequence[int], offer: CarrierSlot, until: SendDeadline, way: LeaseProgress
    ) -> ChunkReport:
        """Sends the rows at `indices` through the carrier of `offer`. Returns the carrier's answers and what they say
        about it. Stores the outcomes in `way` before any further call to the store, which may be away by then.
        """
        carrier, ready = offer.carrier, offer.ready
        if ready is None:
            way.settled, way.asked = [_nothing_sent(lease, i, offer) for i in indices], []
            return ChunkReport()
        now_ms, way.looked_s = self.clock.now_ms(), self.clock.monotonic()
        found, settled = await self._addressed(lease, indices, ready, carrier, now_ms)
        tries, later, admission = await self._admitted(lease, found, carrier, ready)
        # Give them back now: during a slow send they would expire.
        offer = await self.selection.give_back(offer, len(offer.rows) - len(tries))
        way.tries = tries  # `until.renewed` also checks these recipients
        await until.renewed()
        way.sending, started = True, self.clock.monotonic()
        said = await carrier.channel.send(ready.prepared, [one.recipient for one in tries], until.holds)
        addresses, attempts = [one.recipient.address for one in tries], [one.attempt for one in tries]
        report = self.health.judge(carrier, addresses, attempts, said, probes=offer.wait_s > 0)
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
        with suppress(StoreUnavailableError):  # otherwise the cost counts as spent
            await self.deferral.unsent(lease, ready, len(indices) - len(settled) - gone, now_ms)
        if withheld := [one.recipient.address for one, its in answered if its.answer is Answer.WITHHELD]:
            await self.selection.give_back(offer, len(withheld))
            await self.domains.give_back(carrier, admission.blocks, withheld, loud=ready.loud)
        domains = self.domains.note_answers(carrier, admission.probed, addresses, report.said, attempts)
        return report._replace(domains=domains)

    async def still(self, lease: Lease, offer: CarrierSlot, way: LeaseProgress) -> bool:
        """Returns whether every recipient already given to a carrier may still get the message at the same address,
        awake and without having acknowledged the alert. Reads at most once a second for each `way`, and returns True in
        between; so a caller stops at the first False. Raises StoreUnavailableError.
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
        return may and not await self.deferral.began(lease, numbers, people, offer.ready, self.clock.now_ms())

    async def _admitted(
        self, lease: Lease, found: list[_Try], carrier: Carrier, ready: Ready
    ) -> tuple[list[_Try], list[Settlement], Admission]:
        """Splits the rows by the limits of their mail domains. Returns the rows that may go now, settlements that queue
        the rest for later (no attempt is counted), and the limits' answer.
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
        """Returns the rows to send, with their recipients, and settlements of the others. Takes the cost of the former
        from the budget. Reads the addresses now, so that it respects a STOP, a new token or quiet hours since the plan.
        """
        people = await self.people.read_many([lease.refs[i][0] for i in indices])
        usable, tries, settled = dict[int, tuple[str, Subscriber]](), list[_Try](), list[Settlement]()
        for i, person in zip(indices, people, strict=True):
            value, reason = usable_value(person, lease.refs[i][1], lease.alike.channel, ready.kind)
            if value is None or isinstance(person, Absence):
                settled.append(Settlement(lease.rows[i], State.SUPPRESSED, reason, 0))
            else:
                usable[i] = value, person
        # Recipients without a usable address cost nothing.
        whom = [person for _, person in usable.values()]
        held = await self.deferral.deferred(lease, list(usable), whom, ready, carrier.number, now_ms)
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
        """Stores the carrier's message ids before the rows are settled, so that a report finds its row. Retries for
        `NAME_WITHIN_S` if the store is away.
        """
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
            structlog.get_logger().error("message_id.store_failed", carrier=carrier.name, messages=len(sent))

    def _count(self, answered: Sequence[tuple[_Try, Outcome]], carrier: Carrier) -> None:
        for (answer, reason), times in Counter((one.answer, one.reason) for _, one in answered).items():
            labels = (carrier.channel.name, carrier.name, answer.value, reason.name.lower())
            self.metrics.outcomes.labels(*labels).inc(times)
        again = sum(one.doubted and answer.answer is not Answer.WITHHELD for one, answer in answered)
        self.metrics.duplicates.labels(carrier.channel.name).inc(again)


def _nothing_sent(lease: Lease, index: int, offer: CarrierSlot) -> Settlement:
    """Returns the settlement of a row that cannot be sent: failed if its message cannot be made. A row that waits for
    its carrier is queued, at most until the carrier is probed again.
    """
    if not offer.wait_s:
        return Settlement(lease.rows[index], State.FAILED, LedgerReason.LEFT_BLANK, 0)
    return unsent(lease, index, min(offer.wait_s, PROBE_MS / 1000))


def unsent(lease: Lease, index: int, later_s: float = 0) -> Settlement:
    """Returns the settlement that queues a row again, after `later_s` seconds. It was not sent, and keeps its earlier
    carrier.
    """
    return settlement(lease, index, not_tried(later_s), lease.carriers[index])
