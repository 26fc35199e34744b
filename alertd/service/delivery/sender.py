"""One chunk that the gate let through: from references to addresses, to the carrier, and what each answer makes of its row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog

from alertd.common.clock import Clock
from alertd.common.ids import DOOR_OF, LINKED, Tags, TokenPurpose
from alertd.metrics import Metrics
from alertd.model.states import CHANNELS, LedgerReason, State
from alertd.model.subscriber import Subscriber
from alertd.service.carriers.binds import Binds
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.domains import Admission, Domains
from alertd.service.carriers.retries import Verdict, after, asked_s, failures, of_the_carrier, wait_s, works
from alertd.service.delivery.carrier_selection import CarrierSelection, CarrierSlot
from alertd.service.delivery.credibility import Credibility
from alertd.service.delivery.deferral import Deferral, usable_value
from alertd.service.delivery.heeding import ChunkSaid
from alertd.service.delivery.message_cache import Ready
from alertd.service.delivery.receipts import Receipts
from alertd.service.delivery.send_deadline import SendDeadline
from alertd.service.people.dead_addresses import Dead
from alertd.store.carriers.limits import PROBE_MS
from alertd.store.delivery.message_ids import Sent
from alertd.store.delivery.work_records import Lease, Settlement
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.subscribers import Absence, People
from channels.base import Answer, Apart, Outcome, Reason, Recipient, ReportingById

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
    """One row the gate let through, with whom it is for."""

    row: int
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
    binds: Binds
    offers: CarrierSelection
    receipts: Receipts
    tags: Tags
    clock: Clock
    metrics: Metrics
    attempts: int  # of what may have arrived
    credibility: Credibility = field(default_factory=Credibility)

    async def send(
        self, lease: Lease, indices: Sequence[int], offer: CarrierSlot, until: SendDeadline, way: LeaseProgress
    ) -> ChunkSaid:
        """What was answered is on its `way` before anything else is asked of the store, which may be gone by then."""
        carrier, ready = offer.carrier, offer.ready
        if ready is None:
            way.settled, way.asked = [_nothing_sent(lease, i, offer) for i in indices], []
            return ChunkSaid()
        now_ms, way.looked_s = self.clock.now_ms(), self.clock.monotonic()
        found, settled = await self._addressed(lease, indices, ready, carrier, now_ms)
        tries, later, admission = await self._admitted(lease, found, carrier, ready)
        # Now: a slow carrier would let them go stale.
        offer = await self.offers.give_back(offer, len(offer.rows) - len(tries))
        way.tries = tries  # whom the question is about, too
        await until.renewed()
        way.sending, started = True, self.clock.monotonic()
        said = await carrier.channel.send(ready.prepared, [one.recipient for one in tries], until.holds)
        said = self.binds.note_answers(carrier, said)
        attempts = [one.attempt for one in tries]
        is_probe = offer.wait_s > 0
        answers, refused = self.credibility.believed(_whose(tries, carrier), said, attempts=attempts, resting=is_probe)
        answered = list(zip(tries, answers, strict=True))
        judged = partial(
            after,
            attempts=self.attempts,
            hold=carrier.hold,
            left_ms=ready.expires_ms - self.clock.now_ms(),
            carriers=len(self.carriers.of(carrier.channel.name)),
            urgent=not ready.hushed,
        )
        now = [
            _settlement(one, judged(answer, attempt=one.attempt, doubted=one.doubted), carrier)
            for one, answer in answered
        ]
        way.settled, way.asked, way.sending, way.tries = settled + later + now, [], False, ()
        way.dead += [Dead(one.number, one.address, one.recipient.address) for one, its in answered if its.address_gone]
        self.metrics.send_seconds.labels(carrier.channel.name, carrier.name).observe(self.clock.monotonic() - started)
        self._count(tries, answers, carrier)
        if isinstance(carrier.channel, ReportingById):
            await self._name(tries, answers, carrier, carrier.channel, ready)
        gone = sum(answer.may_have_left for answer in answers)
        with suppress(StoreUnavailableError):  # it counts as spent
            await self.holding.unsent(lease, ready, len(indices) - len(settled) - gone, now_ms)
        withheld = [one.recipient.address for one, its in answered if its.answer is Answer.WITHHELD]
        await self.offers.give_back(offer, len(withheld))
        await self.domains.give_back(carrier, admission.blocks, withheld, loud=ready.loud)
        if isinstance(carrier.channel, Apart):
            return ChunkSaid()
        failed, why = failures(said, attempts)
        return ChunkSaid(
            wait_s=asked_s(of_the_carrier(said, attempts, believed=is_probe or refused > 0)),
            accepted=any(answer.answer is Answer.ACCEPTED for answer in said),
            works=works(said),
            domains=self.domains.note_answers(
                carrier, admission.probed, [one.recipient.address for one in tries], said, attempts
            ),
            failed=failed,
            why=why,
            refused=refused,
        )

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
            Settlement(
                one.row,
                State.QUEUED,
                Reason.THROTTLED.value,
                carrier.number,
                delay_ms=int(1000 * wait_s) + 1,
                doubt=one.doubted,
                unsent=True,
            )
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
                settled.append(_unsendable(lease, i, State.SUPPRESSED, reason))
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
            tries.append(_Try(lease.rows[i], lease.tries[i] + 1, *lease.refs[i], recipient, lease.doubted[i]))
        return tries, settled

    async def _name(
        self,
        tries: Sequence[_Try],
        answers: Sequence[Outcome],
        carrier: Carrier,
        channel: ReportingById,
        ready: Ready,
    ) -> None:
        """Before they are settled, so that what is reported of an accepted row finds it. A store that is away is waited for."""
        keep_ms, give_up = ready.expires_ms - self.clock.now_ms(), self.clock.monotonic() + NAME_WITHIN_S
        sent = [
            Sent(one.recipient.tag, channel.names_of(answer.message_id), keep_ms)
            for one, answer in zip(tries, answers, strict=True)
            if answer.message_id
        ]
        while True:
            try:
                return await self.receipts.sent(carrier.name, carrier.channel.name, sent)
            except StoreUnavailableError:
                if self.clock.monotonic() > give_up:
                    structlog.get_logger().error("reports will find no row", carrier=carrier.name, messages=len(sent))
                    return None
            await self.clock.sleep(NAME_EVERY_S)

    def _count(self, tries: Sequence[_Try], answers: Sequence[Outcome], carrier: Carrier) -> None:
        for (answer, reason), times in Counter((one.answer, one.reason) for one in answers).items():
            labels = (carrier.channel.name, carrier.name, answer.value, reason.name.lower())
            self.metrics.outcomes.labels(*labels).inc(times)
        again = sum(
            one.doubted and answer.answer is not Answer.WITHHELD for one, answer in zip(tries, answers, strict=True)
        )
        self.metrics.duplicates.labels(carrier.channel.name).inc(again)


def _whose(tries: Sequence[_Try], carrier: Carrier) -> list[str]:
    """Who answers each: one push service that calls all its browsers dead is not believed for what another accepts."""
    channel = carrier.channel
    if not isinstance(channel, Apart):
        return [carrier.name] * len(tries)
    return [f"{carrier.name} {channel.server_of(one.recipient.address)}" for one in tries]


def _unsendable(lease: Lease, index: int, state: State, reason: int) -> Settlement:
    return Settlement(lease.rows[index], state, reason, 0)


def _settlement(one: _Try, verdict: Verdict, carrier: Carrier) -> Settlement:
    return Settlement(
        one.row,
        verdict.state,
        verdict.reason,
        carrier.number,
        delay_ms=verdict.delay_ms,
        doubt=verdict.doubt or one.doubted,
        unsent=verdict.unsent,
    )


def _nothing_sent(lease: Lease, index: int, offer: CarrierSlot) -> Settlement:
    """For a row whose message cannot be made, or that is to wait for its carrier: no longer than till that is tried again."""
    if not offer.wait_s:
        return _unsendable(lease, index, State.FAILED, LedgerReason.LEFT_BLANK)
    delay_ms = min(int(1000 * offer.wait_s) + 1, PROBE_MS)
    return unsent(lease, index)._replace(delay_ms=delay_ms)


def unsent(lease: Lease, index: int, *, later: bool = False) -> Settlement:
    """For a row that the gate may have let through, and that nothing was written for: it is whose it was before."""
    before, doubt, delay_ms = lease.carriers[index], lease.doubted[index], int(1000 * wait_s(1)) if later else 0
    return Settlement(lease.rows[index], State.QUEUED, 0, before, delay_ms, doubt, unsent=True)
