"""Random courses of an alert: whatever is decided in whatever order, and whoever dies in between, nobody in its area is left out, nobody is
told twice, and the end reaches exactly those who were told.

A course that fails is named by its seed: pytest tests/integration/delivery/test_courses.py -k "[17]" --interleavings 1700
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.common.ids import TokenPurpose
from alertd.model.kinds import Notify
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.delivery.planner import Planner
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from channels.base import ReportState
from channels.sandbox import Sandbox
from tests.clocks import Later
from tests.integration.acts import (
    ANA,
    BEA,
    CADIZ,
    SEVILLA,
    alert_of,
    counts,
    finish,
    lease_of,
    register,
    submitted,
)
from tests.unit.alertd.samples import changed

pytestmark = pytest.mark.once  # chance is what is tried

TOLD_BY = ("push", "sms")
INSIDE, NEAR = 24, 8  # people in the city; and in the other one, where updates tell
CITY, WIDER = {"regions": ["41091"]}, {"regions": ["41091", "ES-CA"]}
RINGS = {
    "rings": [
        {"center": list(SEVILLA), "radius_km": 2, "loudness": "normal"},
        {"center": list(SEVILLA), "radius_km": 30, "loudness": "silent", "delay_min": 5, "pace_per_min": 60},
    ]
}
HAIR = ("black", "red", "blond", "grey", "white")
WAITS_S = (1, 10, 61, 130, 900)
CHUNKS = (7, 9)  # people that are planned at once


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Six courses, and more where more is asked for."""
    asked = int(metafunc.config.getoption("--interleavings"))
    metafunc.parametrize("seed", range(max(6, asked // 100)))


class Course:
    """One alert to people in a city, by push and SMS, and what happens to it."""

    def __init__(self, parts: Container, sandbox: Sandbox, sample: dict[str, Any], seed: int) -> None:
        self.parts, self.sandbox, self.sample, self.chance = parts, sandbox, sample, random.Random(seed)
        self.worker = worker_of(parts)
        self.worker.plans.planner = Planner(
            parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=CHUNKS
        )
        self.log: list[Any] = []  # told where the course fails
        self.everybody = 0  # updates that told all again
        self.wide = False
        self.acknowledged: set[int] = set()
        self.in_hand: set[tuple[str, int]] = set()  # of a worker that died: nobody knows whether they were told by SMS

    async def begin(self) -> None:
        ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        self.escalates, is_ringed = self.chance.random() < 0.5, self.chance.random() < 0.5
        policy = {"mode": "escalate", "after_s": 60} if self.escalates else {}
        self.target, self.wider = (RINGS, {**RINGS, "regions": ["ES-CA"]}) if is_ringed else (CITY, WIDER)
        self.document = {"channels": list(TOLD_BY), "policy": policy, "expires": ends}
        taken = await submitted(self.parts, self.sample, **self.document, target=self.target)
        self.id = (await self.parts.approval.approve(taken.record.id, BEA)).id
        self.log.append(("begin", policy, self.target))

    async def versions(self) -> list[AlertRecord]:
        heads = await self.parts.alerts.heads(await self.parts.alerts.versions([self.id]))
        return [one for one in heads if one and one.times.start]

    def told(self, channel: str) -> Counter[str]:
        """How often each address got anything."""
        found = Counter[str]()
        for _, _, address, count, *_ in getattr(self.sandbox, channel).recorded:
            found[address] += count
        return found

    async def act(self) -> None:
        """One thing that happens, some more often than others."""
        acts = {
            self.plan: 8, self.send: 14, self.die: 3, self.look: 5, self.wait: 7, self.acknowledge: 3, self.update: 2, self.restrict: 0.5,
            self.stand_down: 2, self.reopen: 2, self.pause: 0.5, self.resume: 2,
        }  # fmt: skip
        (what,) = self.chance.choices([*acts], [*acts.values()])
        self.log.append(what.__name__)
        await what()

    async def plan(self) -> None:
        gives_way = self.chance.random() < 0.5

        async def way() -> bool:
            return gives_way

        for one in await self.versions():
            if not one.plan.is_complete and one.state in {AlertState.APPROVED, AlertState.SENDING}:
                await self.worker.plans.planner.plan(await self.parts.alerts.get(one.id), way)

    async def send(self) -> None:
        """Some of what is to be sent; whoever sends may have to stop in the middle."""
        channel = self.chance.choice(TOLD_BY)
        for _ in range(self.chance.randint(1, 4)):
            left = iter(range(self.chance.choice((0, 1, 99))))
            lease = await lease_of(self.parts.work, self.id, channel, self.parts.carriers.held(channel))
            if lease is None:
                break
            await self.worker.feeder.dispatch.drain(lease, lambda left=left: next(left, None) is None)

    async def die(self) -> None:
        """With a lease, and perhaps with leave to send some of it."""
        channel = self.chance.choice(TOLD_BY)
        lease = await lease_of(self.parts.work, self.id, channel, self.parts.carriers.held(channel))
        if lease and (rows := lease.rows[: self.chance.randint(0, 5)]):
            _, granted = await self.parts.work.gate(lease, [], rows, self.parts.carriers.of(channel)[0].number)
            self.in_hand |= {(channel, lease.refs[i][0]) for i, may in enumerate(granted) if may}

    async def look(self) -> None:
        """Whether anything of it is over."""
        for one in await self.versions():
            if await finish(self.parts.work, one.id) == "sweep":
                for batch in range(one.plan.batches):
                    await self.parts.work.sweep(one.id, batch, 1)

    async def wait(self, seconds: int = 0) -> None:
        """Whoever is silent at the end of it is known to be: the alert is asked every second for longer than a lease lasts."""
        for each in (seconds or self.chance.choice(WAITS_S), 1, 1, 1, 1):
            self.parts.db.skew_ms += 1_000 * each
            self.parts.clock.pass_by(each)  # type: ignore[attr-defined]  it is Later
            await finish(self.parts.work, self.id)

    async def acknowledge(self) -> None:
        for one in await self.versions():
            async for row in self.parts.reports.deliveries(one):
                if row.channel == "push" and row.state == "accepted" and self.chance.random() < 0.3:
                    tag = self.parts.tags.make(one.id, row.row, TokenPurpose.ACK)
                    await self.parts.receipts.acknowledged(
                        self.parts.receipts.reference(tag, TokenPurpose.ACK), ReportState.DELIVERED
                    )
                    self.acknowledged.add((await self.parts.work.ref(one.id, row.row))[0])

    async def update(self) -> None:
        notify = self.chance.choice((Notify.FULL, Notify.SILENT, Notify.NONE, Notify.NEWLY))
        wide = self.wide or (notify != Notify.NONE and self.chance.random() < 0.4)
        case = changed(self.sample, "case/children/0/hair", HAIR[len(self.log) % len(HAIR)])["case"]
        document = alert_of(self.sample, **self.document, target=self.wider if wide else self.target, case=case)
        taken = await self._tried(self.parts.update_proposals.submit(self.id, document, notify, ANA))
        if taken is None:
            return
        if await self._tried(self.parts.approval.approve(taken.record.id, BEA)):
            self.wide, self.everybody = wide, self.everybody + (notify == Notify.FULL)
            self.log.append((notify, wide))
        else:
            await self._tried(self.parts.approval.give_back(taken.record.id, BEA, "again"))

    async def restrict(self) -> None:
        await self._tried(self.parts.amendment.restrict(self.id, ANA, "asked by the family"))

    async def stand_down(self) -> None:
        await self._tried(self.parts.follow_ups.stand_down(self.id, ANA, "found"))

    async def reopen(self) -> None:
        await self._tried(self.parts.follow_ups.reopen(self.id, BEA, "not found"))

    async def pause(self) -> None:
        await self._tried(
            self.parts.stop_control.pause(await self.parts.alerts.get(self.id), ANA, waits=True, rev=None)
        )

    async def resume(self) -> None:
        await self._tried(
            self.parts.stop_control.pause(await self.parts.alerts.get(self.id), ANA, waits=False, rev=None)
        )

    async def _tried(self, step: Awaitable[Any]) -> Any:
        """What came of it; None where it is refused as things stand."""
        try:
            return await step
        except Problem as refusal:
            self.log.append(refusal.slug)
            return None

    async def settle(self) -> None:
        """Until nothing is left to do. Nothing then waits, is under way or held, and the counts add up."""
        quiet = 0
        for _ in range(200):
            await self.wait(60)
            await self.plan()
            for channel in TOLD_BY:
                while lease := await lease_of(self.parts.work, self.id, channel, self.parts.carriers.held(channel)):
                    await self.worker.feeder.dispatch.drain(lease, lambda: False)
            await self.look()
            words = {await finish(self.parts.work, one.id) for one in await self.versions()}
            quiet = quiet + 1 if words <= {"done"} else 0
            if quiet == 3:
                break
        assert quiet == 3, words
        for one in await self.versions():
            for channel in await self.parts.work.counts(one.id):
                assert not {"queued", "in_flight"} & (await counts(self.parts, one, channel)).keys()
        for channel in TOLD_BY:
            for part in ("ready", "delayed", "parked"):
                assert not await self.parts.db.execute("EXISTS", keys.of_chain(self.id, part, channel))


def address(channel: str, i: int) -> str:
    return {"push": f"token-{i}", "sms": f"+346{i:08d}"}[channel]


@pytest.mark.timeout(300)
async def test_nobody_is_left_out_told_twice_or_left_with_a_name(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], seed: int
):
    """Forty things that happen to an alert; then it is told to its end, and closed."""
    parts.clock = Later()
    await register(parts, INSIDE)
    await register(parts, NEAR, first=INSIDE, places={"home": {"point": list(CADIZ)}})
    numbers = {i: (await parts.registry.get(f"p{i}")).number for i in range(INSIDE + NEAR)}
    course = Course(parts, sandbox, sample, seed)
    await course.begin()
    try:
        for _ in range(40):
            await course.act()
        await course.resume()
        await course.reopen()
        await course.settle()
        before = {channel: course.told(channel) for channel in TOLD_BY}
        for i in range(INSIDE + NEAR * course.wide):
            assert before["push"][address("push", i)], f"p{i} got no push"
            spared = numbers[i] in course.acknowledged and course.escalates
            assert before["sms"][address("sms", i)] or spared or ("sms", numbers[i]) in course.in_hand, f"p{i}: no SMS"
        each = Counter((version, to) for _, version, to, count, *_ in sandbox.push.recorded for _ in range(count))
        assert not [one for one, times in each.items() if times > 1]
        assert max(before["sms"].values(), default=0) <= 1 + course.everybody
        assert await parts.follow_ups.close(course.id, ANA, "found")
        for _ in range(course.chance.choice((0, 6))):
            await course.chance.choice((course.send, course.plan, course.look, course.die, course.wait))()
        await course.settle()
        for channel in TOLD_BY:
            got = course.told(channel) - before[channel]
            for i, number in numbers.items():
                if (channel, number) not in course.in_hand:
                    was_told = bool(before[channel][address(channel, i)])
                    assert got[address(channel, i)] == was_told, f"p{i} by {channel}: the end"
    except AssertionError as fault:
        fault.add_note("\n".join(map(str, course.log)))
        raise
