"""An alert that is approved to start later: told from then on, to whoever is there then, or to nobody where it is not what was approved."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alertd.common.errors import Problem
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.delivery.schedule import Schedule
from alertd.store.alerts.records import AlertRecord
from alertd.store.organisations.operators import OperatorStore
from tests.clocks import Later
from tests.integration.acts import (
    ANA,
    APPROVER,
    BEA,
    CARL,
    SEVILLA,
    alert_of,
    draw,
    employ,
    register,
    send,
    slug,
    submitted,
    working,
)

HOUR_MS = 3_600_000
PEOPLE = 40


def at(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def scheduled(parts: Container, sample: dict[str, Any], **changes: Any) -> AlertRecord:
    """Submitted by Ana for in two hours, approved by Bea."""
    taken = await submitted(parts, sample, starts=at(2), **changes)
    return await parts.approval.approve(taken.record.id, BEA)


class Clock(Later):
    """Of all who ask whether it is time, the store's scripts too."""

    def __init__(self, parts: Container) -> None:
        super().__init__()
        self._parts = parts
        parts.approval.clock = self

    def passes(self, hours: float) -> None:
        self.ahead_ms += int(hours * HOUR_MS)
        self._parts.db.skew_ms += int(hours * HOUR_MS)


@pytest.fixture
async def clock(parts: Container) -> Clock:
    await register(parts, PEOPLE)
    await employ(parts)
    return Clock(parts)


async def tick(parts: Container, clock: Clock) -> list[str]:
    """What each of two workers does at the same moment. Answers what was due."""
    workers = [Schedule(parts.alerts, parts.approval, parts.audit, parts.regions, clock) for _ in range(2)]
    due = await workers[0].due()
    await asyncio.gather(*(worker.start(one) for worker in workers for one in due))
    return due


async def test_it_is_told_when_its_time_has_come_to_whoever_is_there(
    parts: Container, clock: Clock, sample: dict[str, Any]
):
    """Until then nobody is, and it shows nothing; whoever came since is told and whoever left is not, once each. The event and the audit
    name whoever approved it.
    """
    record = await scheduled(parts, sample)
    assert (record.state, record.approval.by, record.times.start) == (AlertState.SCHEDULED, BEA.subject, 0)
    clock.passes(1.9)
    assert await tick(parts, clock) == []
    assert not await worker_of(parts).plans.planner.plan(await parts.alerts.get(record.id))
    await parts.registry.forget("p0")
    await register(parts, 1, first=PEOPLE)
    clock.passes(0.2)
    assert await tick(parts, clock) == [record.id]
    started = await parts.alerts.get(record.id)
    assert (started.state, started.approval.by, started.people) == (AlertState.APPROVED, BEA.subject, PEOPLE)
    assert await worker_of(parts).plans.planner.plan(started)
    await send(parts, started)
    assert (await parts.work.counts(record.id))["push"]["accepted"] == PEOPLE
    assert await tick(parts, clock) == []
    entries = await parts.audit.page("default", before=None, limit=9)
    assert {(one.by, one.outcome) for one in entries if one.act == "alert.start"} == {(BEA.subject, "done")}


async def test_another_audience_than_was_approved_is_told_nothing(
    parts: Container, clock: Clock, sample: dict[str, Any]
):
    """It says so, and waits for its second person, who sees the new estimate and has it told at once: its time has come."""
    record = await scheduled(parts, sample)
    await register(parts, 300, first=PEOPLE)
    clock.passes(2.1)
    await tick(parts, clock)
    stopped = await parts.alerts.get(record.id)
    assert (stopped.state, stopped.approval.by) == (AlertState.PENDING, "")
    assert stopped.last_step.reason.startswith("It did not start. The audience is no longer the one that was seen.")
    assert await tick(parts, clock) == []
    with pytest.raises(Problem) as refused:
        await parts.approval.approve(record.id, BEA)
    assert (refused.value.slug, refused.value.extra["seen"]) == ("audience-changed", "<100")
    again = await parts.approval.approve(record.id, BEA, people=refused.value.extra["now"])
    assert (again.state, again.people) == (AlertState.APPROVED, 300 + PEOPLE)
    entries = await parts.audit.page("default", before=None, limit=9)
    told = [(one.outcome, one.facts["problem"]) for one in entries if one.act == "alert.start"]
    assert set(told) == {("refused", "audience-changed")}


async def test_what_its_target_names_now_is_not_told_in_its_place(
    parts: Container, clock: Clock, sample: dict[str, Any]
):
    """The approver saw the region as it was; as it is now nobody has seen it. Submitted anew it is the ground of now."""
    await draw(parts, SEVILLA)
    record = await scheduled(parts, sample, target={"regions": ["X-PATROL"]})
    await draw(parts, (SEVILLA[0] + 0.001, SEVILLA[1]))
    clock.passes(2.1)
    await tick(parts, clock)
    stopped = await parts.alerts.get(record.id)
    assert (stopped.state, stopped.approval.by) == (AlertState.PENDING, "")
    assert "The area of this alert's target has changed" in stopped.last_step.reason


@pytest.mark.parametrize("change", [{"disabled": 1}, {"roles": ("author",)}])
async def test_whoever_may_not_approve_any_more_has_approved_nothing(
    parts: Container, clock: Clock, sample: dict[str, Any], change: dict[str, Any]
):
    """Whoever let them go may have had a reason: somebody looks at what they approved."""
    record = await scheduled(parts, sample)
    operators = OperatorStore(parts.db)
    await operators.remove(APPROVER)
    assert await operators.add(msgspec.structs.replace(APPROVER, **change))
    clock.passes(2.1)
    await tick(parts, clock)
    stopped = await parts.alerts.get(record.id)
    assert (stopped.state, stopped.approval.by) == (AlertState.PENDING, "")
    assert stopped.last_step.reason == "It did not start. Its approver may no longer approve alerts."


async def test_a_ring_that_nobody_would_be_told_in_any_more_stops_it(
    parts: Container, clock: Clock, sample: dict[str, Any]
):
    """It was held up until its end was nearer than the delay of the ring."""
    rings = [{"center": SEVILLA, "radius_km": 1 + minutes, "delay_min": minutes} for minutes in (0, 60)]
    record = await scheduled(parts, sample, target={"rings": rings}, expires=at(4))
    await parts.stop_control.stop("org:default", ANA, "A key is in the wrong hands")
    clock.passes(3.1)
    await tick(parts, clock)
    for who in (ANA, BEA):
        await parts.stop_control.resume("org:default", who)
    await tick(parts, clock)
    assert (
        await parts.alerts.get(record.id)
    ).last_step.reason == "It did not start. Some people would be notified after the alert has ended."


async def test_it_is_called_off_before(parts: Container, clock: Clock, sample: dict[str, Any]):
    """Cancelled, nobody is told of anything, for nobody was told; and its time passes."""
    record = await scheduled(parts, sample)
    done = await parts.follow_ups.cancel(record.id, ANA, "She is home")
    assert (done.record.state, done.told_by) == (AlertState.CANCELLED, None)
    clock.passes(2.1)
    await tick(parts, clock)
    assert (await parts.alerts.get(record.id)).state is AlertState.CANCELLED
    assert await parts.alerts.versions([record.id]) == [record.id]


async def test_what_is_changed_is_approved_anew(parts: Container, clock: Clock, sample: dict[str, Any]):
    """While it is scheduled nobody changes it. Returned, it is approved by nobody any more, and does not start."""
    record = await scheduled(parts, sample)
    assert await slug(parts.intake.amend(record, {"level": "appeal"}, ANA)) == "precondition-failed"
    assert await slug(parts.approval.submit(record.id, ANA)) == "precondition-failed"
    await parts.approval.give_back(record.id, CARL, "another hour")
    returned = await parts.alerts.get(record.id)
    assert (returned.state, returned.approval.by) == (AlertState.RETURNED, "")
    clock.passes(2.1)
    await tick(parts, clock)
    assert (await parts.alerts.get(record.id)).state is AlertState.RETURNED
    await parts.intake.amend(returned, {"starts": at(4)}, ANA)
    await parts.approval.submit(record.id, ANA)
    assert await slug(parts.approval.approve(record.id, ANA)) == "same-person"
    assert (await parts.approval.approve(record.id, BEA)).state is AlertState.SCHEDULED
    clock.passes(2)
    await tick(parts, clock)
    assert (await parts.alerts.get(record.id)).state is AlertState.APPROVED


async def test_no_other_approval_starts_it_early(parts: Container, clock: Clock, sample: dict[str, Any]):
    """Whoever approved it may say so again; another person, an update and its author alone do nothing to it."""
    record = await scheduled(parts, sample)
    assert (await parts.approval.approve(record.id, BEA)).rev == record.rev
    assert await slug(parts.approval.approve(record.id, CARL)) == "precondition-failed"
    update = alert_of(sample, level="appeal")
    assert await slug(parts.update_proposals.submit(record.id, update, "none", ANA)) == "precondition-failed"
    waits = (await submitted(parts, sample, starts=at(2))).record
    alone = parts.approval.approve_alone(waits, ANA, "nobody here", people=None, plates=())
    assert await slug(alone) == "precondition-failed"
    assert (await parts.alerts.get(record.id)).state is AlertState.SCHEDULED


async def test_a_child_that_was_found_is_not_told_of_later(parts: Container, clock: Clock, sample: dict[str, Any]):
    """Hiding the case takes the approval away from what of it was to start."""
    record = await scheduled(parts, sample)
    await parts.case_stand_down.stand_down(sample["case"]["number"], CARL, "found")
    clock.passes(2.1)
    await tick(parts, clock)
    assert (await parts.alerts.get(record.id)).state is AlertState.RETURNED


async def test_a_stop_keeps_it_from_starting(parts: Container, clock: Clock, sample: dict[str, Any]):
    """Until two people lift it."""
    record = await scheduled(parts, sample)
    await parts.stop_control.stop("org:default", ANA, "A key is in the wrong hands")
    clock.passes(2.1)
    assert await tick(parts, clock) == [record.id]
    assert (await parts.alerts.get(record.id)).state is AlertState.SCHEDULED
    for who in (ANA, BEA):
        await parts.stop_control.resume("org:default", who)
    await tick(parts, clock)
    assert (await parts.alerts.get(record.id)).state is AlertState.APPROVED


async def test_a_store_that_was_put_back_starts_nothing(parts: Container, clock: Clock, sample: dict[str, Any]):
    """It may have been called off since the copy was made."""
    record = await scheduled(parts, sample)
    await parts.restoring.settle("2026-01-01T00:00:00Z", parts.clock.now_ms())
    clock.passes(2.1)
    await tick(parts, clock)
    restored = await parts.alerts.get(record.id)
    assert (restored.state, restored.approval.by) == (AlertState.RETURNED, "")


@pytest.mark.parametrize("hours", [-1, 30])
async def test_a_time_that_is_none_is_refused(parts: Container, clock: Clock, sample: dict[str, Any], hours: int):
    """One that has passed, or comes after the end."""
    with pytest.raises(Problem) as refusal:
        await submitted(parts, sample, starts=at(hours))
    assert [fault.pointer for fault in refusal.value.faults] == ["/starts"]


async def test_an_update_is_told_at_once(parts: Container, clock: Clock, sample: dict[str, Any]):
    """It has the start of its alert, which has come, and no other."""
    start = at(2)
    taken = await submitted(parts, sample, starts=start)
    await parts.approval.approve(taken.record.id, BEA)
    clock.passes(2.1)
    await tick(parts, clock)
    later = alert_of(sample, starts=at(3))
    assert await slug(parts.update_proposals.submit(taken.record.id, later, "none", ANA)) == "invalid-request"
    update = await parts.update_proposals.submit(
        taken.record.id, alert_of(sample, starts=start, level="appeal"), "none", ANA
    )
    assert (await parts.approval.approve(update.record.id, BEA)).state is AlertState.APPROVED


async def test_a_worker_starts_it(parts: Container, sample: dict[str, Any]):
    """Whichever runs then; a Test needs no second person, and starts as well."""
    await register(parts, PEOPLE)
    await register(parts, 5, first=PEOPLE, tester=True)
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    taken = await submitted(parts, sample, starts=soon, status="Test")
    record = await parts.approval.begin(taken.record, ANA)
    assert record.state is AlertState.SCHEDULED
    async with working(parts), asyncio.timeout(60):
        while (now := await parts.alerts.get(record.id)).state is not AlertState.SENT:  # noqa: ASYNC110  the worker tells nobody here
            await asyncio.sleep(0.05)
    assert now.times.start >= record.times.starts
    assert now.people == 5
