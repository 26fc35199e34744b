"""From the live alerts to the lanes: one loop a channel takes leases, as many as there is room for, in turn, the loud alerts first; a lane
drains one lease, chunk by chunk: permits, gate, hand-over, settle.

The outcomes of a chunk are settled by the same call that asks leave for the next, so the ledger costs one round trip a chunk.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from alertd.common.clock import Clock
from alertd.common.ids import chain_of
from alertd.common.repetition import ErrorGuard, retry
from alertd.config.sections import WorkerSection
from alertd.service.alerts.stops import StopControl
from alertd.service.carriers.carriers import Carriers
from alertd.service.carriers.health import CarrierHealth
from alertd.service.carriers.retries import wait_s
from alertd.service.delivery.active_alerts import ActiveAlerts
from alertd.service.delivery.sender import (
    LONGEST_SLEEP_S,
    CarrierSelection,
    CarrierSlot,
    LeaseProgress,
    SendDeadline,
    Sender,
    unsent,
)
from alertd.service.people.dead_addresses import DeadAddresses
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import Gate, Lease
from alertd.store.engine.connection import StoreUnavailableError

#: How often the store is told again what it could not take, and for how long when we stop.
SETTLE_EVERY_S = 0.2
SETTLE_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispatch:
    """Sends leases."""

    work: Work
    offers: CarrierSelection
    hand_over: Sender
    health: CarrierHealth
    dead_addresses: DeadAddresses
    clock: Clock

    async def drain(
        self, lease: Lease, stop_control: Callable[[], bool], gives_way: Callable[[], bool] = lambda: False
    ) -> None:
        """Try every row of a lease once. What is not tried because the gate is held, we stop or it gives way, to what is loud, to others
        whose turn it is or to whoever is bound, is given back.
        """
        way = LeaseProgress(list(range(len(lease.rows))))
        try:
            await self._chunks(lease, way, lambda: stop_control() or gives_way())
        except StoreUnavailableError:
            structlog.get_logger().warning("store unavailable", step="drain", alert=lease.alert_id, batch=lease.batch)
        except Exception:  # no carrier has seen them: later and apart, or whose fault it is stops the same others again
            if not way.sending and (way.asked or way.settled):
                await self._end(lease, way, stop_control, later=True)
            raise
        await self._end(lease, way, stop_control)
        if way.dead:  # last: they hurt nobody who waits
            await self.dead_addresses.gone(way.dead)

    async def _chunks(self, lease: Lease, way: LeaseProgress, stop_control: Callable[[], bool]) -> None:
        while way.left and not stop_control():
            offer = await self.offers.next(lease, way.left)
            if offer is None:  # what is left is given back
                return
            if not offer.rows and not way.settled and offer.wait_s < LONGEST_SLEEP_S:
                await self.clock.sleep(offer.wait_s)
                continue
            way.asked = offer.rows
            until = SendDeadline(self.clock, partial(self._goes_on, lease, offer, way, stop_control))
            asked = [lease.rows[i] for i in offer.rows]
            gate, granted = await self.work.gate(lease, way.settled, asked, offer.carrier.number)
            way.settled = []
            if gate is not Gate.GO:
                way.asked = []
                await self.offers.give_back(offer, len(asked))
                return
            gone = set(offer.rows)
            way.left = [i for i in way.left if i not in gone]
            if offer.rows:
                indices = [i for i, may in zip(offer.rows, granted, strict=True) if may]
                async with until.keep_asking():
                    report = await self.hand_over.send(lease, indices, offer, until, way)
                await self.health.heed(offer.carrier, report, offer.block if offer.wait_s else None)
            else:  # what was answered is settled, and whoever cancels meanwhile is heard
                await self.clock.sleep(min(offer.wait_s, LONGEST_SLEEP_S))

    async def _goes_on(
        self, lease: Lease, offer: CarrierSlot, way: LeaseProgress, stop_control: Callable[[], bool]
    ) -> bool:
        """Whether what was begun may still be written: of a slow carrier's chunk most is not, yet."""
        rev = offer.ready.rev if offer.ready else 0
        try:
            return (
                not stop_control()
                and await self.work.goes_on(lease, rev)
                and await self.hand_over.still(lease, offer, way)
            )
        except StoreUnavailableError:
            return False

    async def _end(
        self, lease: Lease, way: LeaseProgress, stop_control: Callable[[], bool], *, later: bool = False
    ) -> None:
        """Stores what carriers answered and which rows were not sent. Only this process knows, so it waits for a store that is away.

        The gate may have let rows through and not been able to say so. The rows that it was asked for last are stored as unsent.
        """
        settled = [*way.settled, *(unsent(lease, i, wait_s(1) if later else 0) for i in way.asked)]
        back = [lease.rows[i] for i in way.left]
        give_up = self.clock.monotonic() + SETTLE_WITHIN_S
        await retry(
            lambda: self.work.end(lease, settled, back), StoreUnavailableError, SETTLE_EVERY_S, self.clock,
            lambda: stop_control() and self.clock.monotonic() > give_up,
        )  # fmt: skip


class Slots:
    """The lanes of one channel: what is loud may have them all, the rest all but one. Where there is only one the rest has it, and what is
    loud another. A lease of fewer rows than a chunk takes a share of a lane, so that many alerts to few go beside one another.

    What is not loud may hold its lanes for a minute while it ramps up: where what is loud would take more, they are given up.
    """

    def __init__(self, lanes: int, chunk: int) -> None:
        self._chunk = chunk
        self._most = {True: max(2, lanes) * chunk, False: max(1, lanes - 1) * chunk}  # rows
        self._taken = {True: 0, False: 0}
        self._freed = asyncio.Event()
        self.pressed = False  # what is loud took all it could have

    def room(self, *, loud: bool) -> int:
        """How many leases there is room for, however many rows they have."""
        if self.pressed and not loud:
            return 0
        rows = min(self._most[True] - sum(self._taken.values()), self._most[loud] - self._taken[loud])
        return rows // self._chunk

    def take(self, rows: int, *, loud: bool) -> None:
        self._taken[loud] += min(rows, self._chunk)

    def free(self, rows: int, *, loud: bool) -> None:
        self._taken[loud] -= min(rows, self._chunk)
        self._freed.set()

    async def freed(self, within_s: float) -> None:
        """Wait, so long at most, for a lane that was freed since the last time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._freed.wait()
        self._freed.clear()


@dataclass(frozen=True, kw_only=True, slots=True)
class Feeder:
    """Keeps the lanes busy."""

    work: Work
    dispatch: Dispatch
    carriers: Carriers
    health: CarrierHealth
    stop_control: StopControl
    agenda: ActiveAlerts
    steps: ErrorGuard
    settings: WorkerSection
    held: dict[str, Lease] = field(default_factory=dict)  # by name: those that this process drains

    async def feed(self, channel: str, stop: asyncio.Event) -> None:
        """Keep the lanes of one channel busy until `stop`; returns when all are drained or given back."""
        lanes = Slots(self.settings.lanes, self.settings.chunk)
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                found = 0
                for loud in (True, False):
                    room = lanes.room(loud=loud)
                    leases = await self.leases(channel, room, loud=loud)
                    for lease in leases:
                        lanes.take(len(lease.rows), loud=loud)
                        self.held[lease.name] = lease
                        tasks.create_task(self._drain(lease, lanes, stop, loud=loud))
                        found += 1
                    if loud and room:
                        lanes.pressed = not lanes.room(loud=True)
                if not found:
                    await lanes.freed(self.settings.poll_ms / 1000)

    async def leases(self, channel: str, room: int, *, loud: bool) -> list[Lease]:
        """Leases of at most so many chunks from the live alerts of a loudness, each in its turn, as many as there is room asked at once. A
        turn is a chunk: who has less in a batch is asked again.
        """
        found, rows = list[Lease](), Counter[str]()
        # Their turn is asked for without room, too: whoever finds none counts as waiting.
        turn, chunk = self.agenda.in_turn(channel, loud=loud), self.settings.chunk
        todo = [chain for chain in turn if not self.stop_control.is_deaf(chain)]
        if not room or not self.health.takes(channel):
            return found
        again = set[str]()
        while todo and (again or not found) and (left := room + sum(rows.values()) // -chunk) > 0:
            asked, todo = todo[:left], todo[left:]
            leases = await self._asked(channel, asked, loud=loud)
            found += leases
            rows.update({chain_of(one.alert_id): min(len(one.rows), chunk) for one in leases})
            again = {chain for one in leases if rows[chain := chain_of(one.alert_id)] < chunk}
            todo = [*(chain for chain in asked if chain in again), *todo]
        return found

    async def _asked(self, channel: str, chains: Sequence[str], *, loud: bool) -> list[Lease]:
        """What each of them has to send now."""
        growing, found = {chain_of(one) for one in self.agenda.unplanned()}, list[Lease]()
        try:
            answers = await self.work.leases(chains, channel, self.carriers.held(channel), self.held.values())
        except StoreUnavailableError:
            self.agenda.forget_plans()
            return found
        for chain, answer in zip(chains, answers, strict=True):
            if isinstance(answer, Lease):
                self.agenda.turns[channel, loud].take(answer)
                found.append(answer)
                continue
            self.agenda.nothing(chain, channel, loud=loud, soon=chain in growing)
            if answer:
                self.steps.failed("lease", answer, chain)
        return found

    async def _drain(self, lease: Lease, lanes: Slots, stop: asyncio.Event, *, loud: bool) -> None:
        channel = lease.alike.channel
        turns, chain = self.agenda.turns[channel, loud], chain_of(lease.alert_id)

        def gives_way() -> bool:
            lost = not self.health.reaches(channel)
            return lost or self.stop_control.is_deaf(chain) or (lanes.pressed and not loud) or turns.over(lease)

        try:
            await self.steps.guarded("drain", lease.alert_id, self.dispatch.drain(lease, stop.is_set, gives_way))
        except StoreUnavailableError:
            self.steps.away(step="drain", alert=lease.alert_id, batch=lease.batch)
        finally:
            self.held.pop(lease.name, None)
            turns.free(lease)
            lanes.free(len(lease.rows), loud=loud)
