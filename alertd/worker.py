"""The worker: plans approved alerts, sends what is queued, settles what is over. Any number of them share the store.

One feeder a channel takes leases, as many as there are lanes, from the live alerts in turn; a lane drains one lease. A heart
beats for all of them. Stopping drains: what was asked of a carrier is answered and settled, the rest is given back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from alertd.alerts import AlertState
from alertd.clock import Clock
from alertd.config import WorkerSection
from alertd.metrics import Metrics
from alertd.service.carriers import Carriers
from alertd.service.dispatch import Dispatch
from alertd.service.ending import Ending
from alertd.service.planning import Planner
from alertd.store.alerts import Alerts
from alertd.store.connection import StoreUnavailableError
from alertd.store.scripts import LEASE_MS
from alertd.store.sweeper import Sweeper
from alertd.store.work import Lease, Work

HEARTBEAT_S = LEASE_MS / 3000  # three beats a lease
EXPIRY_S = 1.0
SWEEP_S = 3.0


@dataclass(kw_only=True)
class Worker:
    """One process's share of the work."""

    alerts: Alerts
    work: Work
    planner: Planner
    dispatch: Dispatch
    ending: Ending
    sweeper: Sweeper
    carriers: Carriers
    clock: Clock
    metrics: Metrics
    settings: WorkerSection
    _live: list[str] = field(default_factory=list)
    _held: dict[str, Lease] = field(default_factory=dict)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: Counter[str] = field(default_factory=Counter)  # by channel: the live alert that is asked next
    _planned: set[str] = field(default_factory=set)  # of the live: what is planned stays so, and is not read again
    _faults: set[tuple[str, str, str]] = field(default_factory=set)

    def stop(self) -> None:
        """Take no more work; `run` returns when what is under way is settled."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            heart = tasks.create_task(self._repeat(self._beat, HEARTBEAT_S))
            async with asyncio.TaskGroup() as work:
                poll_s = self.settings.poll_ms / 1000
                for step, every_s in (
                    (self._look, poll_s),
                    (self._plan, poll_s),
                    (self._finish, poll_s * 4),
                    (self._expire, EXPIRY_S),
                    (self._sweep, SWEEP_S),
                ):
                    work.create_task(self._repeat(step, every_s))
                for channel in sorted(self.carriers.channels):
                    work.create_task(self._feed(channel))
            heart.cancel()

    async def _repeat(self, step: Callable[[], Awaitable[object]], every_s: float) -> None:
        while not self._stop.is_set() or step == self._beat:
            try:
                await step()
            except StoreUnavailableError:
                structlog.get_logger().warning("store unavailable", step=step.__name__)
            except Exception as error:  # noqa: BLE001  whatever it is, the others go on, and this is tried again
                self._fault(step.__name__, error)
            await self.clock.sleep(every_s)

    async def _look(self) -> None:
        self._live = await self.alerts.live()
        self._planned.intersection_update(self._live)

    async def _plan(self) -> None:
        for alert_id in [one for one in self._live if one not in self._planned]:
            await self._guarded("plan", alert_id, self._plan_one(alert_id))

    async def _plan_one(self, alert_id: str) -> None:
        record = await self.alerts.get(alert_id)
        if record is None:
            return
        if record.planned:
            self._planned.add(alert_id)
        elif record.state in {AlertState.APPROVED, AlertState.SENDING}:
            started = self.clock.monotonic()
            if await self.planner.plan(record):
                self.metrics.plan_seconds.observe(self.clock.monotonic() - started)

    async def _finish(self) -> None:
        live = list(self._live)
        for alert_id, word in zip(live, await self.work.finish_each(live), strict=True):
            if isinstance(word, Exception):
                self._fault("finish", word, alert_id)
            else:
                await self._guarded("finish", alert_id, self.ending.follow(alert_id, word))

    async def _expire(self) -> None:
        for alert_id in await self.alerts.due(self.clock.now_ms()):
            await self._guarded("expire", alert_id, self.ending.expire(alert_id))

    async def _guarded(self, step: str, alert_id: str, work: Awaitable[object]) -> None:
        """A step for one alert: one that cannot be handled must not keep the others from being told."""
        try:
            await work
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, it is wrong with this alert alone
            self._fault(step, error, alert_id)

    def _fault(self, step: str, error: Exception, alert_id: str = "") -> None:
        """Told once by step, alert and kind of error, whose text may hold what the alert says."""
        fault = (step, alert_id, type(error).__name__)
        if fault not in self._faults:
            self._faults.add(fault)
            structlog.get_logger().error("step failed", step=step, alert=alert_id, error=fault[2])

    async def _sweep(self) -> None:
        await self.sweeper.round()

    async def _beat(self) -> None:
        if self._held:
            await self.work.renew(list(self._held.values()))

    async def _feed(self, channel: str) -> None:
        """Keep the lanes of one channel busy."""
        lanes = asyncio.Semaphore(self.settings.lanes)
        async with asyncio.TaskGroup() as tasks:
            while not self._stop.is_set():
                await lanes.acquire()
                free = 1
                while not lanes.locked():
                    await lanes.acquire()
                    free += 1
                leases = await self._leases(channel, free)
                for lease in leases:
                    tasks.create_task(self._drain(lease, lanes))
                for _ in range(free - len(leases)):
                    lanes.release()
                if not leases:
                    await self.clock.sleep(self.settings.poll_ms / 1000)

    async def _leases(self, channel: str, free: int) -> list[Lease]:
        """Up to `free` leases from the live alerts, each in turn, as many as there are lanes asked at once."""
        live, hold = self._live, self.carriers.held()
        held = [name for name, lease in self._held.items() if lease.alike.channel == channel]
        for start in range(0, len(live), free):
            turn = self._turn[channel]
            asked = [live[(turn + i) % len(live)] for i in range(min(free, len(live) - start))]
            self._turn[channel] = turn + len(asked)
            try:
                answers = await self.work.leases(asked, channel, hold, held)
            except StoreUnavailableError:
                return []
            for chain, answer in zip(asked, answers, strict=True):
                if isinstance(answer, Exception):
                    self._fault("lease", answer, chain)
            leases = [answer for answer in answers if isinstance(answer, Lease)]
            if leases:
                return leases
        return []

    async def _drain(self, lease: Lease, lanes: asyncio.Semaphore) -> None:
        self._held[lease.name] = lease
        try:
            await self._guarded("drain", lease.alert_id, self.dispatch.drain(lease, self._stop.is_set))
        except StoreUnavailableError:
            structlog.get_logger().warning("store unavailable", step="drain", alert=lease.alert_id, batch=lease.batch)
        finally:
            self._held.pop(lease.name, None)
            lanes.release()
