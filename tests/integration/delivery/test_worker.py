"""A worker among things that are broken: each hurts only itself."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from alertd.common.ids import new_id
from alertd.common.resources import templates_dir
from alertd.model.states import AlertState, LedgerReason, State
from alertd.rendering import Renderer
from alertd.runtime.worker import Worker, worker_of
from alertd.service.carriers.carriers import Carriers
from alertd.service.container import Container
from alertd.service.delivery.planner import ENOUGH, Planner
from alertd.store.alerts.alerts import Alerts
from alertd.store.engine import keys
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.subscribers import People
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import BEA, CADIZ, counts, lease_of, planned, register, send, submitted
from tests.integration.delivery.workers import approved, ended, working
from tests.waiting import until

HOUR_MS = 3_600_000


async def test_message_that_cannot_be_made_fails_alone(
    parts: Container, sandbox: Sandbox, sample: dict, tmp_path: Path
):
    """A template that breaks on one alert's facts fails those who would get it; the others get theirs, and the alert ends."""
    shutil.copytree(templates_dir(), tmp_path / "templates")
    (tmp_path / "templates/messages/missing-child/push/fr.body.txt").write_text("{{ nothing_of_the_kind }}")
    parts.renderer = Renderer(tmp_path / "templates")
    await register(parts, 25)
    await register(parts, 25, first=25, languages=["fr"])
    alert_id = await approved(parts, sample)
    async with working(parts) as task:
        await until(ended(parts, alert_id))
        assert not task.done()
    record = await parts.alerts.get(alert_id)
    assert await counts(parts, record) == {"accepted": 25, "failed": 25}
    failed = [row async for _, rows, _ in parts.work.ledger(alert_id) for row in rows if row["state"] == State.FAILED]
    assert {int(row["reason"]) for row in failed} == {LedgerReason.LEFT_BLANK}


async def test_broken_alerts_keep_no_other_from_being_told(parts: Container, sandbox: Sandbox, sample: dict):
    """Documents that cannot be opened, queues and records of another type: the next alert is sent all the same."""
    await register(parts, 30)
    unreadable = await approved(parts, sample)
    await parts.db.execute("HSET", keys.of_chain(unreadable, "version", unreadable), "doc", b"damaged")
    no_queue, no_record = new_id(1), new_id(2)
    await parts.db.execute("SET", keys.of_chain(no_queue, "ready", "push"), "no list")
    await parts.db.execute("SET", keys.of_chain(no_record, "version", no_record), "no hash")
    for broken in (no_queue, no_record):
        await parts.alerts.mark_live(broken)
        await parts.db.execute("ZADD", keys.expiry(keys.shard_of(broken)), 1, broken)
    await parts.db.execute("SADD", keys.REGION_GROUPS, 5)
    await parts.db.execute("SET", keys.dirty("r:5"), "no set")  # and the sweeper fails every time
    async with working(parts) as task:
        alert_id = await approved(parts, sample)
        await until(ended(parts, alert_id))
        assert not task.done()
    assert {version for _, version, *_ in sandbox.push.recorded} == {alert_id}


async def test_every_live_alert_gets_its_turn(parts: Container, sandbox: Sandbox, sample: dict):
    """More alerts than lanes are all sent, and expired ones end although others cannot."""
    await register(parts, 30)
    parts.settings = parts.settings.model_copy(update={"worker": parts.settings.worker.model_copy(update={"lanes": 2})})
    alert_ids = [await approved(parts, sample) for _ in range(7)]
    waiting = (await submitted(parts, sample)).record.id
    await parts.db.execute("HSET", keys.of_chain(waiting, "version", waiting), "expires", 1)
    await parts.db.execute("ZADD", keys.expiry(keys.shard_of(waiting)), 1, waiting)
    async with working(parts):
        for alert_id in alert_ids:
            await until(ended(parts, alert_id))
        await until(lambda: _is_expired(parts, waiting))
    assert sandbox.push.recorded.counts() == {"total": 210, "addresses": 210, "doubled": 0}


@pytest.mark.alone  # a worker that is deaf for half a second gives its batch back, and it is leased again
async def test_live_alerts_are_leased_in_turn(parts: Container, sandbox: Sandbox, sample: dict):
    """Where there are fewer lanes than alerts, each sends one chunk before any sends its next."""
    update = {"lanes": 1, "chunk": 25}
    parts.settings = parts.settings.model_copy(update={"worker": parts.settings.worker.model_copy(update=update)})
    await register(parts, 75)
    planner = Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=(25, 25))
    alert_ids = [await approved(parts, sample) for _ in range(3)]
    for alert_id in alert_ids:
        assert await planner.plan(await parts.alerts.get(alert_id))
    async with working(parts):
        for alert_id in alert_ids:
            await until(ended(parts, alert_id))
    in_order = sorted((first_s, version) for _, version, _, _, first_s, _ in sandbox.push.recorded)
    assert [version for version, _ in groupby(version for _, version in in_order)] == 3 * alert_ids


@pytest.mark.alone  # as above
async def test_what_is_told_in_many_batches_has_one_turn(parts: Container, sandbox: Sandbox, sample: dict):
    """However many batches that takes: nobody of it waits until all others had their first."""
    parts.settings = parts.settings.model_copy(update={"worker": parts.settings.worker.model_copy(update={"lanes": 1})})
    await register(parts, 75)
    planner = Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=(25, 25))
    alert_ids = [await approved(parts, sample) for _ in range(3)]
    for alert_id in alert_ids:
        assert await planner.plan(await parts.alerts.get(alert_id))
    async with working(parts):
        for alert_id in alert_ids:
            await until(ended(parts, alert_id))
    in_order = sorted((first_s, version) for _, version, _, _, first_s, _ in sandbox.push.recorded)
    assert len(list(groupby(version for _, version in in_order))) == len(alert_ids)


class Reading(People):
    """Does something once, when a plan reads its second chunk."""

    def __init__(self, parts: Container, at_second: Callable[[], Awaitable[None]]) -> None:
        super().__init__(parts.db, parts.clock)
        self.first_read, self._at_second = list[int](), at_second  # of each chunk

    async def read_many(self, numbers: Any) -> Any:
        self.first_read.append(int(numbers[0]))
        if len(self.first_read) == 2:
            await self._at_second()
        return await super().read_many(numbers)


async def test_a_small_loud_alert_does_not_wait_for_the_plan_of_a_big_one(
    parts: Container, sandbox: Sandbox, sample: dict
):
    """A loud alert to few that is approved while one to many is planned is planned at once, and has a lane of its own."""
    await register(parts, 200)
    await register(parts, 25, first=2000, places={"home": {"point": CADIZ}})
    small = (
        await submitted(parts, sample, level="child-alert", target={"circles": [{"center": CADIZ, "radius_km": 5}]})
    ).record.id
    worker = worker_of(parts)

    async def small_is_approved() -> None:
        await parts.approval.approve(small, BEA)
        await worker._read_alerts()

    reading = Reading(parts, small_is_approved)
    worker.plans.planner = Planner(parts.alerts, reading, parts.work, parts.renderer, parts.clock, chunks=(25, 25))
    big = await approved(parts, sample, level="child-alert")
    await worker._read_alerts()
    await worker.plans.round()  # the big one gives way
    assert not (await parts.alerts.get(big)).plan.is_complete
    await worker.plans.round()
    assert [(await parts.alerts.get(one)).plan.is_complete for one in (small, big)] == [True, True]
    assert max(reading.first_read) > 200 >= reading.first_read[-1]  # the small one's before the last of the big one's
    await parts.stop_control.apply_to_live()
    rows = [len(lease.rows) for lease in await worker.feeder.leases("push", 2, loud=True)]
    assert sorted(rows) == [25, 25]  # one lane each


class Counting(People):
    """Counts how often a chunk is read."""

    reads = 0

    async def read_many(self, numbers: Any) -> Any:
        self.reads += 1
        return await super().read_many(numbers)


async def test_of_two_processes_one_plans_an_alert(parts: Container, sample: dict):
    """The other would read every chunk in vain, for the first has appended it by then."""
    await register(parts, 500)
    alert_id = await approved(parts, sample)
    reading, workers = Counting(parts.db, parts.clock), [worker_of(parts), worker_of(parts)]
    for worker in workers:
        worker.plans.planner = Planner(parts.alerts, reading, parts.work, parts.renderer, parts.clock, chunks=(10, 10))
        await worker._read_alerts()

    async def plan(worker: Worker) -> None:
        while not (await parts.alerts.get(alert_id)).plan.is_complete:
            await worker.plans.round()

    await asyncio.gather(*map(plan, workers))
    assert 50 <= reading.reads <= 54


class Looked(Alerts):
    """Does something in the middle of a look: what is live is read, and its versions are not."""

    def __init__(self, parts: Container, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(parts.db)
        self._meanwhile = meanwhile

    async def versions(self, chains: Any) -> list[str]:
        await self._meanwhile()
        return await super().versions(chains)


async def test_what_is_announced_during_a_look_is_not_let_go(parts: Container, sandbox: Sandbox, sample: dict):
    """A chain that is over and is about to tell something more stays, though it is finished between the two halves of a look."""
    await register(parts, 25)
    record = await planned(parts, sample)
    await send(parts, record)
    worker = worker_of(parts)
    await worker._read_alerts()
    await parts.alerts.mark_live(record.id)
    worker.alerts = Looked(parts, worker._finish)
    await worker._read_alerts()
    assert record.id in await parts.alerts.live()
    await worker._finish()  # and now that nothing came of it, it goes
    assert record.id not in await parts.alerts.live()


async def test_a_plan_that_is_far_ahead_leaves_the_process_to_others(parts: Container, sample: dict):
    """While others are told, an alert with enough to send is planned no further for a while; and to its end when it is alone."""
    await register(parts, 500)
    await register(parts, 25, first=2000, places={"home": {"point": CADIZ}})
    await approved(parts, sample, level="child-alert", target={"circles": [{"center": CADIZ, "radius_km": 5}]})
    big = await approved(parts, sample, level="child-alert")
    worker = worker_of(parts)
    worker.plans.planner = Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=(25, 25))
    await worker._read_alerts()
    await worker.plans.round()
    assert await parts.work.ready([big]) == [ENOUGH]
    worker.agenda._stepped[big] = parts.clock.monotonic()
    await worker.plans.round()
    assert await parts.work.ready([big]) == [ENOUGH]
    assert await lease_of(parts.work, big, "push")  # one of them is sent
    await worker.plans.round()
    assert await parts.work.ready([big]) == [ENOUGH]
    worker.agenda.versions = [big]
    await worker.plans.round()
    assert (await parts.alerts.get(big)).plan.is_complete


class Waiting(Planner):
    """Plans one alert not yet, as an update that waits until what came before has arrived."""

    def __init__(self, parts: Container, waits: str) -> None:
        super().__init__(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock)
        self._waiting = waits

    async def plan(self, record: Any, gives_way: Any) -> bool:
        return record.id != self._waiting and await super().plan(record, gives_way)


async def test_what_is_not_planned_yet_takes_no_lane_from_others(parts: Container, sample: dict):
    """However often it is looked at, what has nothing to send counts as nobody who waits."""
    parts.settings = parts.settings.model_copy(update={"worker": parts.settings.worker.model_copy(update={"lanes": 4})})
    await register(parts, 400)
    big, waits = [await approved(parts, sample, level="child-alert") for _ in range(2)]
    worker = worker_of(parts)
    worker.plans.planner = Waiting(parts, waits)
    await worker._read_alerts()
    await parts.stop_control.apply_to_live()
    leases = []
    for free in (4, 3, 2, 1):
        await worker.plans.round()
        leases += await worker.feeder.leases("push", free, loud=True)
    assert [lease.alert_id for lease in leases] == [big] * 4


async def test_a_plan_that_went_with_a_master_is_made_again(parts: Container, sandbox: Sandbox, sample: dict):
    """A replica takes the place of the store before it has what was planned: whoever planned it does so again, and everyone is told."""
    await register(parts, 25)
    alert_id = await approved(parts, sample)
    worker = worker_of(parts)
    await worker._read_alerts()
    await worker.plans.round()
    assert (await parts.alerts.get(alert_id)).plan.is_complete
    version, *rest = (
        keys.of_chain(alert_id, part, alert_id) for part in ("version", "ledger", "refs", "counts", "batches")
    )
    await parts.db.execute("DEL", *rest, keys.of_chain(alert_id, "ready", "push"))
    await parts.db.execute("HSET", version, "state", "approved", "cursor", 0, "rows", 0, "batches", 0, "planned", 0)

    async def away() -> None:
        raise StoreUnavailableError

    await worker.steps.tried("away", away)
    await worker._read_alerts()
    await worker.plans.round()
    assert (await parts.alerts.get(alert_id)).plan.is_complete
    assert await counts(parts, await parts.alerts.get(alert_id)) == {"queued": 25}


async def test_an_alert_to_few_is_shared_by_the_lanes(parts: Container, sandbox: Sandbox, sample: dict):
    """Three hundred people are three leases, so that three lanes send at once."""
    await register(parts, 300)
    record = await planned(parts, sample, level="child-alert")
    leases = [await lease_of(parts.work, record.id, "push") for _ in range(3)]
    assert [len(lease.rows) for lease in leases] == [100, 100, 100]


async def test_what_is_loud_does_not_wait_behind_the_rest(parts: Container, sandbox: Sandbox, sample: dict):
    """However much of something else is under way, one lane is left: a loud alert is told before the first of that is answered."""
    parts.settings = parts.settings.model_copy(update={"worker": parts.settings.worker.model_copy(update={"lanes": 2})})
    await register(parts, 1100)
    await register(parts, 25, first=2000, places={"home": {"point": CADIZ}})
    at_once = [Rule(f"token-{i}", "slow", delay_s=0) for i in range(2000, 2025)]
    sandbox.push.script.set(*at_once, Rule("token-", "slow", delay_s=8))
    quiet = await approved(parts, sample)
    async with working(parts):
        await until(lambda: _has_in_flight(parts, quiet))
        circle = {"circles": [{"center": CADIZ, "radius_km": 5}]}
        loud = await approved(parts, sample, level="child-alert", target=circle)
        await until(ended(parts, loud))
        assert (await parts.work.counts(quiet))["push"].get("accepted", 0) == 0
        await parts.alerts.step(quiet, AlertState.CANCELLED)


async def _has_in_flight(parts: Container, alert_id: str) -> bool:
    return (await parts.work.counts(alert_id)).get("push", {}).get("in_flight", 0) > 0


async def _is_expired(parts: Container, alert_id: str) -> bool:
    return await parts.alerts.state(alert_id) is AlertState.EXPIRED


def slowly(parts: Container) -> None:
    """Five lanes of ten, and a carrier that takes twenty a second."""
    few = parts.settings.worker.model_copy(update={"lanes": 5, "chunk": 10})
    parts.settings = parts.settings.model_copy(update={"worker": few})
    [fcm] = [one for one in parts.carriers.all() if one.channel.name == "push"]
    parts.carriers = Carriers([replace(fcm, rate=20.0, burst=10.0)])


async def test_an_alert_that_comes_while_all_lanes_are_taken_has_its_share(
    parts: Container, sandbox: Sandbox, sample: dict
):
    """What goes on gives way to it after a chunk of each lane at most, not when a lease is drained."""
    slowly(parts)
    await register(parts, 600)
    first = (await planned(parts, sample)).id

    def told(alert_id: str) -> int:
        return sum(one[1] == alert_id for one in sandbox.push.recorded)

    async def is_told(alert_id: str) -> bool:
        return told(alert_id) > 0

    async with working(parts):
        await until(partial(is_told, first))
        second = await approved(parts, sample)
        before = told(first)
        await until(partial(is_told, second))
    assert told(first) - before < 150


async def test_what_comes_due_again_while_all_lanes_are_taken_has_its_share(
    parts: Container, sandbox: Sandbox, sample: dict
):
    """A worker died with all of an alert to few: once its leases are lost, who has all lanes with another alert gives some up."""
    slowly(parts)
    await register(parts, 900)
    await register(parts, 25, first=2000, places={"home": {"point": CADIZ}})
    small = await planned(parts, sample, target={"circles": [{"center": CADIZ, "radius_km": 5}]})
    while await lease_of(parts.work, small.id, "push"):
        pass
    big = await planned(parts, sample)

    def told(alert_id: str) -> int:
        return sum(one[1] == alert_id for one in sandbox.push.recorded)

    async def is_told() -> bool:
        return told(small.id) == 25

    async with working(parts):
        await until(is_told)
    assert told(big.id) < 250
