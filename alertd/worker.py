"""The worker: plans approved alerts, sends what is queued, settles what is over. Any number of them share the store.

One feeder a channel takes leases, as many as there are lanes, from the live alerts in turn; a lane drains one lease. A heart
beats for all of them. Stopping drains: what was asked of a carrier is answered and settled, the rest is given back.
"""

from __future__ import annotations

import asyncio
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
from alertd.store.sweeper import Sweeper
from alertd.store.work import LEASE_MS, Lease, Work

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
    _turn: int = 0
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
                    (self.ending.expire, EXPIRY_S),
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
            await self.clock.sleep(every_s)

    async def _look(self) -> None:
        self._live = await self.alerts.live()

    async def _plan(self) -> None:
        await self._each_live(self._plan_one)

    async def _plan_one(self, alert_id: str) -> None:
        record = await self.alerts.get(alert_id)
        if record is None or record.planned or record.state not in {AlertState.APPROVED, AlertState.SENDING}:
            return
        started = self.clock.monotonic()
        if await self.planner.plan(record):
            self.metrics.plan_seconds.observe(self.clock.monotonic() - started)

    async def _finish(self) -> None:
        await self._each_live(self.ending.finish)

    async def _each_live(self, step: Callable[[str], Awaitable[object]]) -> None:
        """Take a step for every live alert. One that cannot be handled must not keep the others from being told."""
        for alert_id in list(self._live):
            try:
                await step(alert_id)
            except StoreUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  whatever is wrong with it, it is wrong with this alert alone
                self._fault(step.__name__, alert_id, error)

    def _fault(self, step: str, alert_id: str, error: Exception) -> None:
        """Told once by step, alert and kind of error, whose text may hold what the alert says."""
        fault = (step, alert_id, type(error).__name__)
        if fault not in self._faults:
            self._faults.add(fault)
            structlog.get_logger().error("alert cannot be handled", step=step, alert=alert_id, error=fault[2])

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
                lease = await self._next(channel)
                if lease is None:
                    lanes.release()
                    await self.clock.sleep(self.settings.poll_ms / 1000)
                else:
                    tasks.create_task(self._drain(lease, lanes))

    async def _next(self, channel: str) -> Lease | None:
        """A lease from the live alerts, each in turn."""
        live, hold = self._live, self.carriers.held()
        for step in range(len(live)):
            chain = live[(self._turn + step) % len(live)]
            try:
                lease = await self.work.lease(chain, channel, hold)
            except StoreUnavailableError:
                return None
            if lease is not None:
                self._turn += step + 1
                return lease
        return None

    async def _drain(self, lease: Lease, lanes: asyncio.Semaphore) -> None:
        self._held[lease.name] = lease
        try:
            await self.dispatch.drain(lease, self._stop.is_set)
        except StoreUnavailableError:
            # The lease ends by itself; whoever takes it over finds what was in flight.
            structlog.get_logger().warning("store unavailable", step="drain", alert=lease.alert_id, batch=lease.batch)
        except Exception as error:  # noqa: BLE001  as above: the lease ends, and its attempts are counted
            self._fault("drain", lease.alert_id, error)
        finally:
            self._held.pop(lease.name, None)
            lanes.release()
