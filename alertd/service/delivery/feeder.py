"""Takes leases and sends them. One loop per channel takes as many leases as it has room for, loud alerts first, each alert in its turn.

A lane sends one lease, chunk by chunk: permits, gate, carrier, ledger. One call of the gate stores the outcomes of a chunk and asks for the
next, so the ledger costs one round trip per chunk.
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

#: Interval in which a lane retries to store its outcomes while the store is away, and the limit of that while the worker stops.
SETTLE_EVERY_S = 0.2
SETTLE_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispatch:
    """Sends the rows of leases."""

    work: Work
    offers: CarrierSelection
    hand_over: Sender
    health: CarrierHealth
    dead_addresses: DeadAddresses
    clock: Clock

    async def drain(
        self, lease: Lease, stop_control: Callable[[], bool], gives_way: Callable[[], bool] = lambda: False
    ) -> None:
        """Sends each row of a lease once.

        Returns the unsent rows of the lease if the gate is on hold, if the worker is stopping, or if the lease gives way: to a loud alert,
        to other alerts in their turn, or to a worker that is bound to the carrier.
        """
        way = LeaseProgress(list(range(len(lease.rows))))
        try:
            await self._chunks(lease, way, lambda: stop_control() or gives_way())
        except StoreUnavailableError:
            structlog.get_logger().warning("store unavailable", step="drain", alert=lease.alert_id, batch=lease.batch)
        except (
            Exception
        ):  # no carrier has these rows: sends them later and apart, or the faulty one would stop the same others again
            if not way.sending and (way.asked or way.settled):
                await self._end(lease, way, stop_control, later=True)
            raise
        await self._end(lease, way, stop_control)
        if way.dead:  # last, because no recipient waits for it
            await self.dead_addresses.gone(way.dead)

    async def _chunks(self, lease: Lease, way: LeaseProgress, stop_control: Callable[[], bool]) -> None:
        while way.left and not stop_control():
            offer = await self.offers.next(lease, way.left)
            if offer is None:  # `_end` gives the remaining rows back
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
            else:  # the outcomes are stored; the short sleep lets the next call of the gate notice a cancellation
                await self.clock.sleep(min(offer.wait_s, LONGEST_SLEEP_S))

    async def _goes_on(
        self, lease: Lease, offer: CarrierSlot, way: LeaseProgress, stop_control: Callable[[], bool]
    ) -> bool:
        """Returns whether the channel may still write the rows of the chunk. A slow carrier has written only some of them."""
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
    """The lanes of one channel. Loud alerts may use all of them, other alerts all but one. If there is only one lane, the others use it, and
    loud alerts get a second one.

    A lease of fewer rows than a chunk takes a part of a lane, so that many alerts with few recipients go in parallel. A lease that is not
    loud may hold its lane for a minute while its carrier ramps up. It gives the lane up if a loud alert could use it.
    """

    def __init__(self, lanes: int, chunk: int) -> None:
        self._chunk = chunk
        self._most = {True: max(2, lanes) * chunk, False: max(1, lanes - 1) * chunk}  # rows
        self._taken = {True: 0, False: 0}
        self._freed = asyncio.Event()
        self.pressed = False  # whether loud alerts took all lanes that they may have

    def room(self, *, loud: bool) -> int:
        """Returns the number of leases that may start, each of any size."""
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
        """Waits at most `within_s` for a lane to become free."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._freed.wait()
        self._freed.clear()


@dataclass(frozen=True, kw_only=True, slots=True)
class Feeder:
    """Takes leases and starts a task for each."""

    work: Work
    dispatch: Dispatch
    carriers: Carriers
    health: CarrierHealth
    stop_control: StopControl
    agenda: ActiveAlerts
    steps: ErrorGuard
    settings: WorkerSection
    held: dict[str, Lease] = field(default_factory=dict)  # leases of this process, by name

    async def feed(self, channel: str, stop: asyncio.Event) -> None:
        """Keeps the lanes of one channel busy until `stop`. Returns when all leases are sent or given back."""
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
        """Leases at most `room` chunks from the active alerts of a loudness, each alert in its turn, with one round trip for many alerts.

        A turn is a chunk of rows: an alert whose batch was smaller is asked again.
        """
        found, rows = list[Lease](), Counter[str]()
        # Asks for the order even without room, so that alerts without a lane count as waiting.
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
        """Leases a batch from each of the chains. Notes those that have none."""
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
