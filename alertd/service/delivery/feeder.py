"""From the live alerts to the lanes: one loop a channel takes leases, as many as there is room for, in turn, the loud alerts first; a lane
drains one lease.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from alertd.common.ids import chain_of
from alertd.config.sections import WorkerSection
from alertd.service.alerts.stops import StopControl
from alertd.service.carriers.binds import Binds
from alertd.service.carriers.carriers import Carriers
from alertd.service.delivery.active_alerts import ActiveAlerts
from alertd.service.delivery.dispatch import Dispatch
from alertd.service.guard import ErrorGuard
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import Lease
from alertd.store.engine.connection import StoreUnavailableError


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
    binds: Binds
    stopping: StopControl
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
        todo = [chain for chain in turn if not self.stopping.is_deaf(chain)]
        if not room or not self.binds.takes(channel):
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
        growing, found = self.agenda.growing(), list[Lease]()
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
            lost = not self.binds.reaches(channel)
            return lost or self.stopping.is_deaf(chain) or (lanes.pressed and not loud) or turns.over(lease)

        try:
            await self.steps.guarded("drain", lease.alert_id, self.dispatch.drain(lease, stop.is_set, gives_way))
        except StoreUnavailableError:
            self.steps.away(step="drain", alert=lease.alert_id, batch=lease.batch)
        finally:
            self.held.pop(lease.name, None)
            turns.free(lease)
            lanes.free(len(lease.rows), loud=loud)
