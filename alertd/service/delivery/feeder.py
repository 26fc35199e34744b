"""Takes leases of queued rows and sends them in lanes (tasks side by side). One loop for each channel takes leases in
turn, as many as there is room for, loud alerts first.

A lane drains one lease, chunk by chunk: it takes permits, asks the gate, sends, and stores the outcomes. One call
stores the outcomes of a chunk and asks the gate for the next, so the ledger costs one round trip for each chunk.
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

#: Seconds between a worker's attempts to store outcomes while the store is away, and seconds after which a worker that
#: stops gives up.
SETTLE_EVERY_S = 0.2
SETTLE_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispatch:
    """Sends the rows of leases."""

    work: Work
    selection: CarrierSelection
    sender: Sender
    health: CarrierHealth
    dead_addresses: DeadAddresses
    clock: Clock

    async def drain(
        self, lease: Lease, is_stopping: Callable[[], bool], gives_way: Callable[[], bool] = lambda: False
    ) -> None:
        """Tries every row of a lease once.

        Returns the unsent rows to the queue if the gate is on hold, the worker is stopping, or `gives_way` returns
        True: a loud alert, another alert or a bound worker has priority.
        """
        way = LeaseProgress(list(range(len(lease.rows))))
        try:
            await self._chunks(lease, way, lambda: is_stopping() or gives_way())
        except StoreUnavailableError:
            structlog.get_logger().warning(
                "store.found_unavailable", step="drain", alert=lease.alert_id, batch=lease.batch
            )
        except Exception:
            # No carrier has these rows: retry them later and apart, or a faulty row stops the same others again.
            if not way.sending and (way.asked or way.settled):
                await self._end(lease, way, is_stopping, later=True)
            raise
        await self._end(lease, way, is_stopping)
        if way.dead:  # last, because no message waits for it
            await self.dead_addresses.gone(way.dead)

    async def _chunks(self, lease: Lease, way: LeaseProgress, is_stopping: Callable[[], bool]) -> None:
        """Sends the rows of a lease chunk by chunk, and notes in `way` which rows are left and which results are not
        stored yet. Stops early if the gate is not open, no carrier has room, or `is_stopping` returns True.
        """
        while way.left and not is_stopping():
            offer = await self.selection.next(lease, way.left)
            if offer is None:  # the rest goes back to the queue
                return
            if not offer.rows and not way.settled and offer.wait_s < LONGEST_SLEEP_S:
                await self.clock.sleep(offer.wait_s)
                continue
            way.asked = offer.rows
            until = SendDeadline(self.clock, partial(self._goes_on, lease, offer, way, is_stopping))
            asked = [lease.rows[i] for i in offer.rows]
            gate, granted = await self.work.gate(lease, way.settled, asked, offer.carrier.number)
            way.settled = []
            if gate is not Gate.GO:
                way.asked = []
                await self.selection.give_back(offer, len(asked))
                return
            gone = set(offer.rows)
            way.left = [i for i in way.left if i not in gone]
            if offer.rows:
                indices = [i for i, may in zip(offer.rows, granted, strict=True) if may]
                async with until.keep_asking():
                    report = await self.sender.send(lease, indices, offer, until, way)
                await self.health.apply_report(offer.carrier, report, offer.block if offer.wait_s else None)
            else:  # settle the answers, and notice a cancellation during the wait
                await self.clock.sleep(min(offer.wait_s, LONGEST_SLEEP_S))

    async def _goes_on(
        self, lease: Lease, offer: CarrierSlot, way: LeaseProgress, is_stopping: Callable[[], bool]
    ) -> bool:
        """Returns whether the worker may write the rest of the chunk's messages: it is not stopping, the gate is open
        for this revision, and all recipients may still get them. (A slow carrier takes most of a chunk later.) Returns
        False if the store is away.
        """
        rev = offer.ready.rev if offer.ready else 0
        try:
            return (
                not is_stopping() and await self.work.goes_on(lease, rev) and await self.sender.still(lease, offer, way)
            )
        except StoreUnavailableError:
            return False

    async def _end(
        self, lease: Lease, way: LeaseProgress, is_stopping: Callable[[], bool], *, later: bool = False
    ) -> None:
        """Stores the outcomes, and gives the unsent rows back to the queue (`later`: after a delay). Only this process
        knows them, so it retries while the store is away.

        The gate may have permitted rows although its answer did not arrive. Those rows are stored as unsent.
        """
        settled = [*way.settled, *(unsent(lease, i, wait_s(1) if later else 0) for i in way.asked)]
        back = [lease.rows[i] for i in way.left]
        give_up = self.clock.monotonic() + SETTLE_WITHIN_S
        await retry(
            lambda: self.work.end(lease, settled, back), StoreUnavailableError, SETTLE_EVERY_S, self.clock,
            lambda: is_stopping() and self.clock.monotonic() > give_up,
        )  # fmt: skip


class Slots:
    """The lanes of one channel. Loud leases may use all of them, other leases all but one. If there is only one lane,
    other leases use it, and loud leases get one more. A lease of less than a chunk takes a share of a lane, so that
    many small alerts go side by side.

    Other leases may hold their lanes for a minute while a carrier ramps up. They give them up when loud leases need
    more room.
    """

    def __init__(self, lanes: int, chunk: int) -> None:
        self._chunk = chunk
        self._most = {True: max(2, lanes) * chunk, False: max(1, lanes - 1) * chunk}  # rows
        self._taken = {True: 0, False: 0}
        self._freed = asyncio.Event()
        self.pressed = False  # loud leases took all that they may have

    def room(self, *, loud: bool) -> int:
        """Returns the number of leases of a full chunk that can be taken now. 0 for leases that are not loud while loud
        ones need more room.
        """
        if self.pressed and not loud:
            return 0
        rows = min(self._most[True] - sum(self._taken.values()), self._most[loud] - self._taken[loud])
        return rows // self._chunk

    def take(self, rows: int, *, loud: bool) -> None:
        """Counts a lease of this many rows as taken, at most a chunk."""
        self._taken[loud] += min(rows, self._chunk)

    def free(self, rows: int, *, loud: bool) -> None:
        """Counts a lease of this many rows as ended, and wakes `freed`."""
        self._taken[loud] -= min(rows, self._chunk)
        self._freed.set()

    async def freed(self, within_s: float) -> None:
        """Waits until a lane is freed, at most `within_s` seconds. Returns at once if one was freed since the last
        call.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._freed.wait()
        self._freed.clear()


@dataclass(frozen=True, kw_only=True, slots=True)
class Feeder:
    """Takes leases and starts a task for each, which sends its rows."""

    work: Work
    dispatch: Dispatch
    carriers: Carriers
    health: CarrierHealth
    stop_control: StopControl
    agenda: ActiveAlerts
    steps: ErrorGuard
    settings: WorkerSection
    held: dict[str, Lease] = field(default_factory=dict)  # by name: the leases that this process drains

    async def feed(self, channel: str, stop: asyncio.Event) -> None:
        """Keeps the lanes of one channel busy until `stop`. Returns when all leases are drained or given back."""
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
        """Returns leases of at most `room` chunks from the live alerts of a loudness, each alert in its turn. Asks
        at most `room` chains at the same time. A turn is one chunk of rows: if a batch is smaller, the same chain is
        asked again.
        """
        found, rows = list[Lease](), Counter[str]()
        # Called even without room, so that a chain that gets no lease counts as one with work.
        turn, chunk = self.agenda.in_turn(channel, loud=loud), self.settings.chunk
        todo = [chain for chain in turn if not self.stop_control.may_miss_stop(chain)]
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
        """Returns the leases of those chains that have messages to send now. Marks the others as having nothing to
        send. Returns none if the store is away.
        """
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
        """Sends the rows of a lease, and frees its room at the end, even after an error."""
        channel = lease.alike.channel
        turns, chain = self.agenda.turns[channel, loud], chain_of(lease.alert_id)

        def gives_way() -> bool:
            """Returns whether the lease must stop: no carrier of the channel works, a stop may have been missed, loud
            leases need the room, or the alert has more than its share of rows under way.
            """
            lost = not self.health.reaches(channel)
            return lost or self.stop_control.may_miss_stop(chain) or (lanes.pressed and not loud) or turns.over(lease)

        try:
            await self.steps.guarded("drain", lease.alert_id, self.dispatch.drain(lease, stop.is_set, gives_way))
        except StoreUnavailableError:
            self.steps.away(step="drain", alert=lease.alert_id, batch=lease.batch)
        finally:
            self.held.pop(lease.name, None)
            turns.free(lease)
            lanes.free(len(lease.rows), loud=loud)
