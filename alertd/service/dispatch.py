"""From a lease to the carrier and back: permits, gate, addresses, send, settle; chunk by chunk.

The outcomes of a chunk are settled by the same call that asks leave for the next, so the ledger costs one round trip a chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import structlog

from alertd.alerts import LedgerReason, State
from alertd.clock import Clock
from alertd.config import WorkerSection
from alertd.ids import DOOR_OF, LINKED, Door, Tags
from alertd.metrics import Metrics
from alertd.service.binds import Binds
from alertd.service.carriers import UNLIMITED, Carrier, Carriers, Domain
from alertd.service.credibility import Credibility
from alertd.service.domains import Domains, Heard, heard
from alertd.service.holding import Holding, usable_value
from alertd.service.messages import Messages, Ready
from alertd.service.receipts import Receipts
from alertd.service.removal import Dead, Removal
from alertd.service.retries import after, asked_s, failures, wait_s
from alertd.service.send_until import SendUntil
from alertd.store.connection import StoreUnavailableError
from alertd.store.limits import PROBE_MS, Block, Limits
from alertd.store.message_ids import Sent
from alertd.store.people import Absence, People
from alertd.store.work import Work
from alertd.store.work_records import Gate, Lease, Settlement
from alertd.subscribers import Subscriber
from channels.base import Answer, Outcome, Reason, Recipient, ReportingById

#: A lane that waits for permits asks the gate this often, so that it hears of a cancel and of our own stopping.
LONGEST_SLEEP_S = 1.0
#: How often the store is told again what it could not take, and for how long when we stop.
SETTLE_EVERY_S = 0.2
SETTLE_WITHIN_S = 10.0

#: How long, and how often, the store is told what a carrier calls its messages: less than a worker has to stop.
NAME_WITHIN_S = 30.0
NAME_EVERY_S = 0.2


class _Try(NamedTuple):
    """One row the gate let through, with whom it is for."""

    row: int
    attempt: int
    number: int
    address: int
    recipient: Recipient
    doubted: bool  # an earlier try may have arrived


@dataclass(frozen=True, slots=True)
class _Tried:
    """What one chunk says of its carrier."""

    wait_s: float = 0  # what the carrier asks for
    accepted: bool = False  # any
    domains: list[Heard] = field(default_factory=list)
    failed: int = 0  # of these all, when the carrier took none
    why: str = ""  # most of them
    doubted: int = 0  # the same where what it said of addresses is not believed, and it took none


@dataclass(slots=True)
class _Way:
    """How far a lease has come, in indices of its rows."""

    left: list[int]
    asked: list[int] = field(default_factory=list)  # of the gate, and nothing is sent yet
    settled: list[Settlement] = field(default_factory=list)  # answered, and not in the ledger yet
    dead: list[Dead] = field(default_factory=list)
    sending: bool = False  # a carrier has what was asked for, and what it answered is not in `settled` yet


@dataclass(frozen=True, slots=True)
class _Turn:
    """Which carrier takes which rows next, by their indices; none of them: how long until it is worth asking again."""

    carrier: Carrier
    ready: Ready | None  # None: it cannot be told this way, or the rows wait for the carrier in the queue
    rows: list[int]
    wait_s: float  # with rows: the carrier rests, and they are to try it; nothing is ready: they are to wait
    block: Block | None = None  # the permits, where rows may be sent


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispatch:
    """Sends leases."""

    work: Work
    people: People
    limits: Limits
    domains: Domains
    messages: Messages
    carriers: Carriers
    binds: Binds
    removal: Removal
    receipts: Receipts
    holding: Holding
    tags: Tags
    clock: Clock
    metrics: Metrics
    settings: WorkerSection
    credibility: Credibility = field(default_factory=Credibility)
    failing: set[str] = field(default_factory=set)  # carriers that took nothing of the last chunk

    async def drain(
        self, lease: Lease, stopping: Callable[[], bool], gives_way: Callable[[], bool] = lambda: False
    ) -> None:
        """Try every row of a lease once. What is not tried because the gate is held, we stop or it gives way to what is loud is
        given back.
        """
        way = _Way(list(range(len(lease.rows))))
        try:
            await self._chunks(lease, way, lambda: stopping() or gives_way())
        except StoreUnavailableError:
            structlog.get_logger().warning("store unavailable", step="drain", alert=lease.alert_id, batch=lease.batch)
        except Exception:  # no carrier has seen them: later and apart, or whose fault it is stops the same others again
            if not way.sending and (way.asked or way.settled):
                await self._end(lease, way, stopping, later=True)
            raise
        await self._end(lease, way, stopping)
        await self.removal.gone(way.dead)  # last: they hurt nobody who waits

    async def _chunks(self, lease: Lease, way: _Way, stopping: Callable[[], bool]) -> None:
        while way.left and not stopping():
            turn = await self._turn(lease, way.left)
            if turn is None:  # what is left is given back
                return
            if not turn.rows and not way.settled and turn.wait_s < LONGEST_SLEEP_S:
                await self.clock.sleep(turn.wait_s)
                continue
            way.asked = turn.rows
            until = SendUntil(self.clock)
            asked = [lease.rows[i] for i in turn.rows]
            gate, granted = await self.work.gate(lease, way.settled, asked, turn.carrier.number)
            way.settled = []
            if gate is not Gate.GO:
                way.asked = []
                await self._return(turn, len(asked))
                return
            gone = set(turn.rows)
            way.left = [i for i in way.left if i not in gone]
            if turn.rows:
                indices = [i for i, may in zip(turn.rows, granted, strict=True) if may]
                async with until.kept(lambda: self._goes_on(lease, stopping)):
                    tried = await self._try(lease, indices, turn, until, way)
                await self._heed(tried, turn)
            else:  # what was answered is settled, and whoever cancels meanwhile is heard
                await self.clock.sleep(min(turn.wait_s, LONGEST_SLEEP_S))

    async def _goes_on(self, lease: Lease, stopping: Callable[[], bool]) -> bool:
        """Whether what was begun may still be written."""
        try:
            return not stopping() and await self.work.goes_on(lease)
        except StoreUnavailableError:
            return False

    async def _turn(self, lease: Lease, left: Sequence[int]) -> _Turn | None:
        """The first carrier of the channel that has permits, and what it may take; else the one that has some soonest. None where others
        are bound to one that this process is not: they need not wait for it.

        What may have arrived goes to nobody but whom it was given to: only there are both seen as one.
        """
        turns, channel = list[_Turn](), lease.alike.channel
        usable = self.binds.usable(self.carriers.turn(channel))
        bound = {i: lease.carriers[i] for i in left if lease.doubted[i]}
        known = {carrier.number for carrier in self.carriers.of(channel)}
        for carrier in usable:
            others = known - {carrier.number}
            rows = [i for i in left if bound.get(i) not in others]
            if not rows:
                continue
            ready = await self.messages.ready(lease.alert_id, lease.alike, carrier)
            turns.append(await self._offer(carrier, ready, rows))
            if turns[-1].rows and ready:
                return turns[-1]
        if len(usable) < len(known):
            self.binds.rest(channel, min((turn.wait_s for turn in turns), default=LONGEST_SLEEP_S))
            return None
        turn = min(turns, key=lambda turn: (turn.ready is None, turn.wait_s))
        if len(known) == 1 or turn.wait_s <= LONGEST_SLEEP_S or not all(bound.get(i) in known for i in left):
            return turn
        waiting = [i for i in left if bound[i] == turn.carrier.number]  # not in a lane, which others can be sent from
        return _Turn(turn.carrier, None, waiting[: self.settings.chunk], turn.wait_s)

    async def _end(self, lease: Lease, way: _Way, stopping: Callable[[], bool], *, later: bool = False) -> None:
        """Nobody else knows what was answered and what was never sent: a store that is away is told when it is back.

        The gate may have taken what it could not say it took, so what it was asked for last is told as unsent.
        """
        settled = [*way.settled, *(_unsent(lease, i, later=later) for i in way.asked)]
        back = [lease.rows[i] for i in way.left]
        give_up = self.clock.monotonic() + SETTLE_WITHIN_S
        while True:
            try:
                return await self.work.end(lease, settled, back)
            except StoreUnavailableError:
                if stopping() and self.clock.monotonic() > give_up:
                    raise
            await self.clock.sleep(SETTLE_EVERY_S)

    async def _offer(self, carrier: Carrier, ready: Ready | None, rows: Sequence[int]) -> _Turn:
        """The rows that may go now; when none, the seconds until it is worth asking again; both to probe a paused carrier."""
        rows = rows[: self.settings.chunk]
        if ready is None:  # nothing is sent
            return _Turn(carrier, None, list(rows), 0)
        cost = ready.prepared.cost
        block = await self.limits.take(
            carrier.name, carrier.rate, carrier.burst, carrier.block(cost, len(rows)), cost,
            loud=ready.loud, ramp_s=carrier.ramp_s,
        )  # fmt: skip
        if not block.granted:
            self.metrics.limit_wait_seconds.labels(carrier.channel.name, carrier.name).observe(block.wait_s)
        return _Turn(carrier, ready, list(rows[: block.granted // cost]), block.wait_s, block)

    async def _try(self, lease: Lease, indices: Sequence[int], turn: _Turn, until: SendUntil, way: _Way) -> _Tried:
        """What was answered is on its `way` before anything else is asked of the store, which may be gone by then."""
        carrier, ready = turn.carrier, turn.ready
        if ready is None:
            way.settled, way.asked = [_nothing_sent(lease, i, turn) for i in indices], []
            return _Tried()
        found, settled = await self._addressed(lease, indices, ready, carrier)
        tries, later, probed = await self._admitted(lease, found, carrier, ready)
        turn = await self._return(turn, len(turn.rows) - len(tries))  # now: a slow carrier would let them go stale
        way.sending, started = True, self.clock.monotonic()
        said = await carrier.channel.send(ready.prepared, [one.recipient for one in tries], until.holds)
        said = self.binds.heard(carrier, said)
        answers = self.credibility.believed(carrier.name, said, resting=turn.wait_s > 0)
        answered = list(zip(tries, answers, strict=True))
        left_ms, carriers = ready.expires_ms - self.clock.now_ms(), len(self.carriers.of(carrier.channel.name))
        now = [self._settlement(one, answer, carrier, left_ms, carriers) for one, answer in answered]
        way.settled, way.asked, way.sending = settled + later + now, [], False
        way.dead += [Dead(one.number, one.address, one.recipient.address) for one, its in answered if its.address_gone]
        self.metrics.send_seconds.labels(carrier.channel.name, carrier.name).observe(self.clock.monotonic() - started)
        self._count(tries, answers, carrier)
        if isinstance(carrier.channel, ReportingById):
            await self._name(tries, answers, carrier, carrier.channel, ready)
        gone = sum(answer.answer in {Answer.ACCEPTED, Answer.UNKNOWN} for answer in answers)
        with suppress(StoreUnavailableError):  # it counts as spent
            await self.holding.unsent(lease, ready, len(indices) - len(settled) - gone)
        sent = sum(answer.answer is not Answer.WITHHELD for answer in answers)
        await self._return(turn, len(tries) - sent)
        return _Tried(
            asked_s(answers),
            any(answer.answer is Answer.ACCEPTED for answer in answers),
            heard(carrier, probed, [one.recipient.address for one in tries], answers),
            *failures(said),
            doubted=failures(answers)[0] if answers != said else 0,
        )

    async def _admitted(
        self, lease: Lease, found: list[_Try], carrier: Carrier, ready: Ready
    ) -> tuple[list[_Try], list[Settlement], Mapping[Domain, Block]]:
        """Those whose domains may have more now; the rest go back to the queue for later, and it was no attempt."""
        addresses = [one.recipient.address for one in found]
        admission = await self.domains.admit(carrier, lease.alert_id, addresses, loud=ready.loud)
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
        return [one for one, wait_s in asked if not wait_s], later, admission.probed

    async def _addressed(
        self, lease: Lease, indices: Sequence[int], ready: Ready, carrier: Carrier
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
        held = await self.holding.settled(lease, list(usable), whom, ready, carrier.number)
        for i, (value, _) in usable.items():
            if i in held:
                settled.append(held[i])
                continue
            channel, row = lease.alike.channel, lease.rows[i]
            to = value if channel in LINKED else None
            leave = self.tags.make(lease.alert_id, row, Door.LEAVE, to) if to else None
            recipient = Recipient(value, self.tags.make(lease.alert_id, row, DOOR_OF[channel], to), leave)
            tries.append(_Try(lease.rows[i], lease.tries[i] + 1, *lease.refs[i], recipient, lease.doubted[i]))
        return tries, settled

    def _settlement(self, one: _Try, answer: Outcome, carrier: Carrier, left_ms: int, carriers: int) -> Settlement:
        verdict = after(
            answer,
            attempt=one.attempt,
            attempts=self.settings.attempts,
            doubted=one.doubted,
            hold=carrier.hold,
            left_ms=left_ms,
            carriers=carriers,
        )
        return Settlement(
            one.row,
            verdict.state,
            verdict.reason,
            carrier.number,
            delay_ms=verdict.delay_ms,
            doubt=verdict.doubt or one.doubted,
            unsent=verdict.unsent,
        )

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

    async def _heed(self, tried: _Tried, turn: _Turn) -> None:
        """A carrier or a domain that asks to wait is waited for, by all, until a probe of it is accepted."""
        carrier = turn.carrier
        if tried.failed and not tried.wait_s:
            await self._failed(carrier, tried.failed, tried.why)
        elif tried.doubted and not tried.wait_s and await self._has_others(carrier):
            await self._failed(carrier, tried.doubted, Reason.BLOCKED.name.lower())
        elif tried.accepted and carrier.name in self.failing:
            self.failing.discard(carrier.name)
            await self.limits.works(carrier.name)
        probed = turn.block if turn.wait_s else None
        for one in (Heard(carrier.name, tried.wait_s, tried.accepted, probed), *tried.domains):
            if one.wait_s:
                structlog.get_logger().warning("carrier asks to wait", carrier=one.limiter, seconds=one.wait_s)
                await self.limits.pause(one.limiter, one.wait_s)
            elif one.probed and one.accepted and await self.limits.resume(one.limiter, one.probed):
                structlog.get_logger().info("carrier takes messages again", carrier=one.limiter)

    async def _has_others(self, carrier: Carrier) -> bool:
        """Whether others of its channel are at work. Where there are none, one that calls many addresses dead does not rest for it: they may
        be dead, and everybody else would wait.
        """
        names = [one.name for one in self.carriers.of(carrier.channel.name) if one.name != carrier.name]
        return not all((await self.limits.open_breakers(names)).values())

    async def _failed(self, carrier: Carrier, times: int, why: str) -> None:
        """It may be broken: after so many it rests, and others take its place."""
        self.failing.add(carrier.name)
        rest_s = await self.limits.failed(carrier.name, times)
        if rest_s:
            structlog.get_logger().warning("carrier fails", carrier=carrier.name, reason=why, rests_s=rest_s)

    async def _return(self, turn: _Turn, rows: int) -> _Turn:
        """Permits of rows that nothing was written for: another may have them, and another may try a carrier that rests. Answers the turn
        without them. Of a store that is away nobody can have any, and they come again by themselves.
        """
        if turn.ready is None or turn.block is None or not rows:
            return turn
        permits, rate, loud = rows * turn.ready.prepared.cost, turn.carrier.rate, turn.ready.loud
        if rate < UNLIMITED or turn.wait_s:
            with suppress(StoreUnavailableError):
                await self.limits.give_back(turn.carrier.name, rate, permits, loud=loud, block=turn.block)
        return replace(turn, block=turn.block.less(permits, rate))


def _unsendable(lease: Lease, index: int, state: State, reason: int) -> Settlement:
    return Settlement(lease.rows[index], state, reason, 0)


def _nothing_sent(lease: Lease, index: int, turn: _Turn) -> Settlement:
    """For a row whose message cannot be made, or that is to wait for its carrier: no longer than till that is tried again."""
    if not turn.wait_s:
        return _unsendable(lease, index, State.FAILED, LedgerReason.LEFT_BLANK)
    delay_ms = min(int(1000 * turn.wait_s) + 1, PROBE_MS)
    return _unsent(lease, index)._replace(delay_ms=delay_ms)


def _unsent(lease: Lease, index: int, *, later: bool = False) -> Settlement:
    """For a row that the gate may have let through, and that nothing was written for: it is whose it was before."""
    before, doubt, delay_ms = lease.carriers[index], lease.doubted[index], int(1000 * wait_s(1)) if later else 0
    return Settlement(lease.rows[index], State.QUEUED, 0, before, delay_ms, doubt, unsent=True)
