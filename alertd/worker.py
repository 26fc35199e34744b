"""The worker: plans approved alerts, sends what is queued, settles what is over. Any number of them share the store.

One feeder a channel takes leases, as many as there are lanes, from the live alerts in turn, the loud ones first; a lane drains
one lease. A heart beats for all of them. Stopping drains: what was asked of a carrier is answered and settled, the rest is given back.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from alertd.alerts import AlertState
from alertd.background import ended
from alertd.clock import Clock
from alertd.config import WorkerSection
from alertd.ids import chain_of
from alertd.metrics import Metrics
from alertd.service.binds import Binds
from alertd.service.carrier_tests import CarrierTests
from alertd.service.carriers import Carriers
from alertd.service.closing import Closing
from alertd.service.dispatch import Dispatch
from alertd.service.ending import Ending
from alertd.service.events import Events
from alertd.service.paging import Paging
from alertd.service.planning import FIRST_CHUNK, Planner
from alertd.service.starting import Starting
from alertd.service.stopping import Stopping
from alertd.service.turns import Lanes, Turns
from alertd.service.webhook_delivery import WebhookDelivery
from alertd.store.alerts import Alerts, PlanHead
from alertd.store.connection import StoreUnavailableError
from alertd.store.scripts import LEASE_MS
from alertd.store.sweeper import Sweeper
from alertd.store.work import Work
from alertd.store.work_records import Lease
from channels.base import Loudness

HEARTBEAT_S = LEASE_MS / 3000  # three beats a lease
EXPIRY_S = 1.0
#: How often it is asked what is stopped, and how old that may be while something is sent. With the time that a chunk has from
#: its gate to its last write, a stop that reaches this worker in no other way holds within a second.
LISTEN_S = 0.1
FRESH_S = 0.5
SWEEP_S = 3.0
CLOSE_S = 60.0
TEST_S = 0.5  # somebody waits for what a carrier answers to a test
PLANNABLE = {AlertState.APPROVED, AlertState.SENDING}
AT_ONCE = 16  # alerts that are planned beside one another
#: Chains that are asked at once whether they are over; where there are more, the others are asked the next time.
FOLLOWED = 32
#: Batches of a channel that are ready to be sent are enough for most of a second. Where there are, and other alerts beside this one, its
#: plan goes on for one chunk so often: that takes the process a tenth of its time.
ENOUGH, STEP_S = 16, 0.25
#: What is planned and had nothing to send on a channel is asked again: a retry comes due, a lease is lost.
EMPTY_S = 0.5
TELL_S = 0.2  # what happened to an alert is told so soon


@dataclass(kw_only=True)
class Worker:
    """One process's share of the work."""

    alerts: Alerts
    work: Work
    planner: Planner
    dispatch: Dispatch
    stopping: Stopping
    ending: Ending
    starting: Starting
    sweeper: Sweeper
    closing: Closing
    events: Events
    webhooks: WebhookDelivery
    paging: Paging
    carrier_tests: CarrierTests
    carriers: Carriers
    binds: Binds
    clock: Clock
    metrics: Metrics
    settings: WorkerSection
    _live: dict[str, bytes] = field(default_factory=dict)  # as it was before the versions were read
    _versions: list[str] = field(default_factory=list)  # of the live chains
    _held: dict[str, Lease] = field(default_factory=dict)
    _heard: float = -FRESH_S  # when it was last asked what is stopped
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: dict[tuple[str, bool], Turns] = field(default_factory=dict)  # by channel and loudness
    _loud: dict[str, bool] = field(default_factory=dict)  # of the live, those that were read
    #: Of the live: what is planned stays so while the store does, and is not read again.
    _planned: set[str] = field(default_factory=set)
    #: Live chains of which something is planned: the others have nothing to send.
    _begun: set[str] = field(default_factory=set)
    _followed: str = ""  # the chain that was last asked whether it is over
    #: By chain and channel: until when there is nothing.
    _empty: dict[tuple[str, str], float] = field(default_factory=dict)
    _stepped: dict[str, float] = field(default_factory=dict)  # of those planned in part: when that last went on
    _faults: set[tuple[str, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        lanes, chunk = self.settings.lanes, self.settings.chunk
        self._turns |= {
            (channel, loud): Turns(lanes, chunk) for channel in self.carriers.channels for loud in (True, False)
        }

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
                    (self._listen, LISTEN_S),
                    (self._plan, poll_s),
                    (self._finish, poll_s * 4),
                    (self._expire, EXPIRY_S),
                    (self._start, EXPIRY_S),
                    (self._sweep, SWEEP_S),
                    (self._tell, TELL_S),
                    (self._close, CLOSE_S),
                    (self._test, TEST_S),
                ):
                    work.create_task(self._repeat(step, every_s))
                for channel in sorted(self.carriers.channels):
                    work.create_task(self._feed(channel))
            await self.webhooks.close()
            await self.paging.close()
            await self.carrier_tests.close()
            await ended(heart)

    async def _repeat(self, step: Callable[[], Awaitable[object]], every_s: float) -> None:
        while not self._stop.is_set() or step == self._beat:
            await self._tried(step)
            await self._pause(every_s, until_stop=step != self._beat)

    async def _tried(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except StoreUnavailableError:
            self._away(step=step.__name__)
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on, and this is tried again
            self._fault(step.__name__, error)

    def _away(self, **where: str) -> None:
        """What comes back may be a replica that has less of a plan than was seen: no plan is waited for on disk."""
        self._planned.clear()
        structlog.get_logger().warning("store unavailable", **where)

    async def _pause(self, seconds: float, *, until_stop: bool) -> None:
        """An idle worker that is to stop does not sleep on; the heart beats as long as something is held."""
        sleep, stop = asyncio.ensure_future(self.clock.sleep(seconds)), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((sleep, stop) if until_stop else (sleep,), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            stop.cancel()

    async def _look(self) -> None:
        live = await self.alerts.live()
        versions = await self.alerts.versions(sorted(live))
        self._live, self._versions = live, versions  # at once: whoever reads both sees none newer than the other
        self._planned.intersection_update(self._versions)
        self._begun.intersection_update(self._live)
        self._loud = {alert_id: loud for alert_id, loud in self._loud.items() if alert_id in self._versions}
        self._empty = {asked: until for asked, until in self._empty.items() if asked[0] in self._live}

    async def _listen(self) -> None:
        asked = self.clock.monotonic()
        await self.stopping.obey()
        self._heard = asked

    def _deaf(self) -> bool:
        """Whether something may have been stopped that this worker does not know of."""
        return self.clock.monotonic() - self._heard > FRESH_S

    async def _plan(self) -> None:
        """What is loud first, and of that what is told to fewest: they wait for a chunk of what is told to many, and no more. Those of one
        chunk go in another order in each process, for two that plan the same do half as much.
        """
        unread, heads = [one for one in self._versions if one not in self._planned], list[PlanHead]()
        for alert_id, head in zip(unread, await self.alerts.plan_heads(unread), strict=True):
            if isinstance(head, Exception):
                self._fault("plan", head, alert_id)
            elif head:
                heads.append(head)
        for chain in {chain_of(head.id) for head in heads if head.begun} - self._begun:
            self._expect(chain)
        self._loud |= dict.fromkeys(unread, False) | {head.id: head.loudness == Loudness.LOUD for head in heads}
        self._planned |= {head.id for head in heads if head.planned}
        unplanned = [head for head in heads if not head.planned and head.state in PLANNABLE]
        unplanned.sort(key=lambda head: (not self._loud[head.id], max(head.people, FIRST_CHUNK), hash(head.id)))
        waits = await self._ahead([head for head in unplanned if head.cursor])
        await self._each("plan", [head.id for head in unplanned if head.id not in waits], self._plan_one)

    async def _ahead(self, begun: Sequence[PlanHead]) -> set[str]:
        """Of alerts that are planned in part, those that have enough to send, where there are others to be told: their plan goes on
        step by step until those are.
        """
        now = self.clock.monotonic()
        resting = [head for head in begun if now - self._stepped.get(head.id, -STEP_S) < STEP_S]
        waits = set()
        if resting and len(self._versions) > 1:
            ready = await self.work.ready([head.id for head in resting])
            waits = {head.id for head, batches in zip(resting, ready, strict=True) if batches >= ENOUGH}
        self._stepped = {one: at for one, at in self._stepped.items() if one in self._versions}
        self._stepped |= {head.id: now for head in begun if head.id not in waits}
        return waits

    async def _each(self, step: str, alert_ids: Sequence[str], work: Callable[[str], Awaitable[object]]) -> None:
        """A step for each of many alerts, begun in their order: most of its time each waits for the store."""
        todo = iter(alert_ids)

        async def share() -> None:
            for alert_id in todo:
                await self._guarded(step, alert_id, work(alert_id))

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(AT_ONCE, len(alert_ids))):
                    tasks.create_task(share())
        except* StoreUnavailableError as unavailable:
            raise unavailable.exceptions[0] from None

    async def _plan_one(self, alert_id: str) -> None:
        started, record = self.clock.monotonic(), await self.alerts.get(alert_id)
        if record is None or record.planned:
            return
        if await self.planner.plan(record, partial(self._gives_way, alert_id)):
            self.metrics.plan_seconds.observe(self.clock.monotonic() - started)
            self._planned.add(alert_id)
            self._expect(chain_of(alert_id))

    def _expect(self, chain: str) -> None:
        """It has something to send by now."""
        self._begun.add(chain)
        for channel, loud in self._turns:
            self._turns[channel, loud].expect(chain)
            self._empty.pop((chain, channel), None)

    def _unread(self) -> bool:
        """Whether there is an alert that nobody has looked at: it may be loud, or told to fewer."""
        return any(alert_id not in self._loud for alert_id in self._versions)

    async def _gives_way(self, alert_id: str) -> bool:
        """Whether the plan of an alert is to be left for another's, or has gone far enough where there are others to be told."""
        if (chain := chain_of(alert_id)) not in self._begun:
            self._expect(chain)
        return self._unread() or (len(self._versions) > 1 and (await self.work.ready([alert_id]))[0] >= ENOUGH)

    async def _finish(self) -> None:
        live, versions = self._live, self._to_follow()
        words = dict(zip(versions, await self.work.finish_each(versions), strict=True))
        busy = {chain_of(alert_id) for alert_id, word in words.items() if word != "done"}
        for alert_id, word in words.items():
            if isinstance(word, Exception):
                self._fault("finish", word, alert_id)
        # A chain is over when all its versions are.
        said = {one: word for one, word in words.items() if isinstance(word, str)}
        over = [one for one, word in said.items() if word != "done" or chain_of(one) not in busy]
        await self._each("finish", over, lambda one: self.ending.follow(one, said[one], live.get(chain_of(one), b"")))

    def _to_follow(self) -> list[str]:
        """The versions of the chains whose turn it is to be asked whether they are over."""
        chains = sorted({chain_of(one) for one in self._versions})
        after = bisect_right(chains, self._followed)
        turn = [*chains[after:], *chains[:after]][:FOLLOWED]
        self._followed = turn[-1] if turn else ""
        return [one for one in self._versions if chain_of(one) in turn]

    async def _expire(self) -> None:
        for alert_id in await self.alerts.due(self.clock.now_ms()):
            await self._guarded("expire", alert_id, self.ending.expire(alert_id))

    async def _start(self) -> None:
        for alert_id in await self.starting.due():
            await self._guarded("start", alert_id, self.starting.start(alert_id))

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

    async def _close(self) -> None:
        await self.closing.round()

    async def _sweep(self) -> None:
        await self.sweeper.round()

    async def _tell(self) -> None:
        if self.binds.reaches_all() and await self.events.leads():  # people on call are told by it, too
            for step in (self.events.bring, self.webhooks.round, self.paging.round):
                await self._tried(step)
        else:
            await self.webhooks.close()
            await self.paging.close()
            await self.carrier_tests.close()

    async def _test(self) -> None:
        await self.carrier_tests.round(self.binds.may_use)

    async def _beat(self) -> None:
        await self.binds.beat()
        if self._held:
            await self.work.renew(list(self._held.values()))

    async def _feed(self, channel: str) -> None:
        """Keep the lanes of one channel busy."""
        lanes = Lanes(self.settings.lanes, self.settings.chunk)
        async with asyncio.TaskGroup() as tasks:
            while not self._stop.is_set():
                found = 0
                for loud in (True, False):
                    room = lanes.room(loud=loud)
                    leases = await self._leases(channel, room, loud=loud)
                    for lease in leases:
                        lanes.take(len(lease.rows), loud=loud)
                        self._held[lease.name] = lease
                        tasks.create_task(self._drain(lease, lanes, loud=loud))
                        found += 1
                    if loud and room:
                        lanes.pressed = not lanes.room(loud=True)
                if not found:
                    await lanes.freed(self.settings.poll_ms / 1000)

    def _of_loudness(self, *, loud: bool) -> list[str]:
        """The live chains that may have something to send and are as loud as that; a chain is as its versions are that have some: what
        follows an alert is never loud.
        """
        of_loud = {chain_of(one) for one in self._versions if self._loud.get(one)}
        return [chain for chain in sorted(self._begun & self._live.keys()) if (chain in of_loud) == loud]

    async def _leases(self, channel: str, room: int, *, loud: bool) -> list[Lease]:
        """Leases of at most so many chunks from the live alerts of a loudness, each in its turn, as many as there is room asked at once. A
        turn is a chunk: who has less in a batch is asked again.
        """
        found, rows = list[Lease](), Counter[str]()
        chains = self._turns[channel, loud].order(self._of_loudness(loud=loud))  # who has no lane counts as waiting
        if not room or self._deaf() or not self.binds.takes(channel):
            return found
        now, chunk = self.clock.monotonic(), self.settings.chunk
        todo = [chain for chain in chains if self._empty.get((chain, channel), 0) <= now]
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
        turns, now, found = self._turns[channel, loud], self.clock.monotonic(), list[Lease]()
        unplanned = {chain_of(one) for one in self._versions if one not in self._planned}
        try:
            answers = await self.work.leases(chains, channel, self.carriers.held(), self._held.values())
        except StoreUnavailableError:
            self._planned.clear()
            return found
        for chain, answer in zip(chains, answers, strict=True):
            if isinstance(answer, Lease):
                turns.take(answer)
                found.append(answer)
                continue
            turns.nothing(chain)
            self._empty[chain, channel] = now + (self.settings.poll_ms / 1000 if chain in unplanned else EMPTY_S)
            if answer:
                self._fault("lease", answer, chain)
        return found

    async def _drain(self, lease: Lease, lanes: Lanes, *, loud: bool) -> None:
        turns = self._turns[lease.alike.channel, loud]

        def gives_way() -> bool:
            lost = not self.binds.reaches(lease.alike.channel)
            return lost or self._deaf() or (lanes.pressed and not loud) or turns.over(lease)

        try:
            await self._guarded("drain", lease.alert_id, self.dispatch.drain(lease, self._stop.is_set, gives_way))
        except StoreUnavailableError:
            self._away(step="drain", alert=lease.alert_id, batch=lease.batch)
        finally:
            self._held.pop(lease.name, None)
            turns.free(lease)
            lanes.free(len(lease.rows), loud=loud)
