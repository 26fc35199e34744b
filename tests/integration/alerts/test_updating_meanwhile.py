"""An update and what happens meanwhile: to its alert before it is kept and while it waits, and to who takes it in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from alertd.common.clock import time_of
from alertd.common.ids import Reference, chain_of, sequence_of
from alertd.model.kinds import Notify
from alertd.model.redaction import restricted
from alertd.model.states import AlertState, State
from alertd.runtime.worker import worker_of
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.follow_up import FollowUps
from alertd.service.alerts.later_audience import MOST_VERSIONS, NOBODY
from alertd.service.alerts.updates import UpdateProposals
from alertd.service.areas.reach_preview import ReachPreview
from alertd.service.container import Container
from alertd.service.records.events import event_of
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import FrozenAudience, pack_area
from alertd.store.alerts.records import AlertRecord
from alertd.store.approvals.later_versions import Updates
from alertd.store.engine import keys
from channels.sandbox import Sandbox
from tests.integration.acts import (
    ANA,
    BEA,
    alert_of,
    counts,
    lease_of,
    over,
    planned,
    register,
    send,
    sent,
    silence,
    slug,
    tell,
)
from tests.integration.alerts.updates import CITY, WIDER, again, got, in_cadiz, plan, proposed, updated
from tests.unit.alertd.samples import changed


class _Late(Updates):
    """A store that hears of an update just after somebody took the facts out of its alert."""

    def __init__(self, parts: Container) -> None:
        super().__init__(parts.db, parts.alerts)
        self._parts = parts

    async def propose(self, alert: Any, *args: Any, **more: Any) -> tuple[bool, str]:
        await self._parts.amendment.restrict(alert.id, BEA, "x")
        return await super().propose(alert, *args, **more)


async def test_an_alert_restricted_meanwhile_is_looked_at_again(parts: Container, sample: dict[str, Any]):
    """Told by SMS alone, so that no version tells of it: the facts are refused as where they had been out from the start."""
    record = await sent(parts, sample, channels=["sms"])
    late = UpdateProposals(parts.alerts, _Late(parts), parts.work, parts.intake, parts.approval, parts.photos)
    update = alert_of(sample, target=WIDER, channels=["sms"])
    assert await slug(late.submit(record.id, update, Notify.FULL, ANA)) == "invalid-request"
    assert await parts.alerts.versions([record.id]) == [record.id]


async def test_an_update_undoes_nothing_that_its_author_has_not_seen(parts: Container, sample: dict[str, Any]):
    """The alert's end was put off while it waited, so it is approved no more; the one that takes its place is."""
    record = await sent(parts, sample, channels=["push"])
    waits = (await proposed(parts, record, sample)).record
    later = time_of(record.expires) + timedelta(hours=5)
    await parts.amendment.extend(record.id, BEA, later, "x")
    assert await slug(parts.approval.approve(waits.id, BEA, rev=waits.rev)) == "approval-stale"
    assert (await parts.alerts.get(record.id)).expires == record.expires + 18_000_000
    await parts.approval.give_back(waits.id, BEA, "It ends later now")
    taken = await proposed(parts, record, sample, expires=later.isoformat())
    await parts.approval.approve(taken.record.id, BEA)
    assert (await parts.alerts.get(record.id)).expires == record.expires + 18_000_000


async def test_an_update_of_an_exercise_begins_though_its_first_request_died(parts: Container, sample: dict[str, Any]):
    """It was kept, and nobody began it: the same request said again does, and tells of it in the list."""
    await register(parts, 20, tester=True)
    record = await planned(parts, sample, status="Exercise")
    alert = alert_of(sample, target=WIDER, status="Exercise")
    seen = await parts.update_proposals.submit(record.id, alert, Notify.FULL, ANA, dry_run=True)
    old = await parts.alerts.get(record.id)
    assert await Updates(parts.db, parts.alerts).propose(old, seen.record, pack_area(seen.area.geometry), last=1) == (
        True,
        old.state,
    )
    assert await parts.alerts.state(seen.record.id) is AlertState.PENDING
    again = await parts.update_proposals.submit(record.id, alert, Notify.FULL, ANA, again=True)
    assert (again.record.id, again.record.state) == (seen.record.id, AlertState.APPROVED)
    listed = await parts.alerts.of_org(record.org, before=None, limit=9)
    assert again.record.id in {name for _, name in listed}


class _Dies(Alerts):
    """A process that is killed with its next announcement but one: when what it came for is written, and before it did anything after."""

    left = 2

    async def mark_live(self, *args: Any, **more: Any) -> None:
        self.left -= 1
        if not self.left:
            raise ProcessLookupError
        await super().mark_live(*args, **more)


async def test_an_alert_whose_end_was_brought_forward_ends_then_though_whoever_approved_that_was_killed(
    parts: Container, sample: dict[str, Any]
):
    """With nothing but what is in the store by then: its state says that it is over, and not a day later."""
    record = await sent(parts, sample, channels=["push"])
    sooner = time_of(record.expires) - timedelta(hours=10)
    waits = (await proposed(parts, record, sample, channels=["push"], expires=sooner.isoformat())).record
    new, dying = replace(record, expires=waits.expires), Updates(parts.db, _Dies(parts.db))
    with pytest.raises(ProcessLookupError):
        await dying.approve(new, waits, FrozenAudience(numbers=NOBODY, rings=NOBODY), BEA.subject, sent_by=("a", "b"))
    assert (await parts.alerts.get(record.id)).expires == waits.expires
    assert record.id in await parts.alerts.times.to_end(waits.expires)


@pytest.mark.parametrize("is_planned", [True, False])
async def test_whom_an_update_was_to_tell_is_told_by_the_next(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], is_planned: bool
):
    """Though that says `none` and another follows at once: queued or not planned yet, on each channel, and once. Whoever heard the
    first on the way is not told again.
    """
    await register(parts, 130)
    record = await planned(parts, sample, channels=["push", "sms"])
    for channel in ("push", "sms"):
        await send(parts, record, channel)
    taken = await proposed(parts, record, sample, channels=["push", "sms"])
    first = await parts.approval.approve(taken.record.id, BEA)
    if is_planned:
        await plan(parts, first)
        lease = await lease_of(parts.work, record.id, "push")
        await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    heard = len(got(sandbox, first.id))
    for hair in ("black", "red"):
        case = changed(sample, "case/children/0/hair", hair)["case"]
        last = await updated(parts, record, sample, Notify.NONE, channels=["push", "sms"], case=case)
    assert last.update.renotify_count == 130
    for channel in ("push", "sms"):
        await send(parts, record, channel)
    assert await counts(parts, last) == {"accepted": 130 - heard}
    assert await counts(parts, last, "sms") == {"accepted": 130}
    assert sorted(got(sandbox, first.id) + got(sandbox, last.id)) == sorted(f"token-{i}" for i in range(130))
    nobody = await updated(parts, record, sample, Notify.NONE, channels=["push", "sms"])
    assert (nobody.update.renotify_count, await parts.work.counts(nobody.id)) == (0, {})


async def quietly_updated(parts: Container, record: AlertRecord, sample: dict[str, Any]) -> AlertRecord:
    """An update that would tell nobody, wider and without facts, approved and sent."""
    alert = restricted(alert_of(sample, target=WIDER))
    taken = await parts.update_proposals.submit(record.id, alert, Notify.NONE, ANA)
    update = await parts.approval.approve(taken.record.id, BEA)
    await plan(parts, update)
    await send(parts, record)
    return update


async def test_an_update_without_notice_tells_in_silence_what_was_still_to_be_told(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """That the facts are out, and that it goes on; also where another such follows at once. Whoever is newly inside is told nothing,
    and where nothing was to be told, nobody is.
    """
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    told = [f"token-{i}" for i in range(20)]
    await parts.amendment.restrict(record.id, ANA, "x")
    first = await quietly_updated(parts, record, sample)
    same = restricted(alert_of(sample, target=WIDER))
    assert (await parts.update_proposals.submit(record.id, same, Notify.NONE, ANA, again=True)).record.id == first.id
    assert first.update.notify == Notify.SILENT
    assert got(sandbox, first.id) == sorted(told)
    assert '"loudness":"silent"' in await again(parts, first.id)
    assert await over(parts, await parts.alerts.get(first.id))
    assert got(sandbox, (await quietly_updated(parts, record, sample)).id) == []
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    await plan(parts, await parts.alerts.get(down.told_by))
    await send(parts, record)
    await parts.follow_ups.reopen(record.id, BEA, "x")
    taken = await parts.update_proposals.submit(record.id, restricted(alert_of(sample)), Notify.NONE, ANA)
    assert (await parts.approval.approve(taken.record.id, BEA)).update.notify == Notify.SILENT
    assert got(sandbox, (await quietly_updated(parts, record, sample)).id) == sorted(told)


async def test_a_restriction_that_was_overtaken_is_told_when_it_is_said_again(parts: Container, sample: dict[str, Any]):
    """By a stand-down and a return before anybody heard of it; then it is the same again, as it is to whoever says it while it is told."""
    record = await sent(parts, sample, channels=["push"])
    first = await parts.amendment.restrict(record.id, ANA, "x")
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert (await parts.amendment.restrict(record.id, ANA, "x")).told_by is None
    await parts.follow_ups.reopen(record.id, BEA, "x")
    second = await parts.amendment.restrict(record.id, ANA, "x")
    assert second.told_by not in {None, first.told_by}
    await plan(parts, await parts.alerts.get(second.told_by))
    await send(parts, record)
    assert await counts(parts, await parts.alerts.get(second.told_by)) == {"accepted": 20}
    assert (await parts.amendment.restrict(record.id, BEA, "x")).told_by == second.told_by
    await quietly_updated(parts, record, sample)
    assert (await parts.amendment.restrict(record.id, ANA, "x")).told_by not in {None, second.told_by}


class _Overtaken(Alerts):
    """A store that hears of a decision just after Bea approved what it is about."""

    def __init__(self, parts: Container) -> None:
        super().__init__(parts.db)
        self._parts = parts

    async def step(self, alert_id: str, *args: Any, **more: Any) -> tuple[bool, str]:
        await self._parts.approval.approve(alert_id, BEA)
        return await super().step(alert_id, *args, **more)


async def test_an_update_that_was_approved_meanwhile_is_cancelled_no_more(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Its author is refused, before and after the approval is known, and it is told: the alert never says what nobody is told."""
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    waits = (await proposed(parts, record, sample)).record
    late = Approval(
        _Overtaken(parts), parts.freezing, parts.targeting, parts.texts, parts.stop_control, parts.clock,
        parts.organisations, parts.budget, parts.jurisdiction_split, ReachPreview(parts.targeting, parts.reaches),
    )  # fmt: skip
    following = FollowUps(parts.alerts, late, parts.stop_control, parts.clock)
    for cancel in (following.cancel, parts.follow_ups.cancel):
        assert await slug(cancel(waits.id, ANA, "x")) == "precondition-failed"
    update = await parts.alerts.get(waits.id)
    assert update.state is AlertState.APPROVED
    await plan(parts, update)
    await send(parts, record)
    assert len(got(sandbox, update.id)) == 25


@pytest.mark.parametrize(("notify", "hidden"), [(Notify.SILENT, ["sms", "mail"]), (Notify.FULL, [])])
async def test_the_count_of_the_few_who_are_newly_inside_is_not_told(
    parts: Container, client: TestClient, sample: dict[str, Any], notify: Notify, hidden: list[str]
):
    """Where an update tells them alone on a channel, neither its progress nor its curve has it; the ledger's own counts are whole."""
    record = await sent(parts, sample)
    await in_cadiz(parts, 1)
    update = await updated(parts, record, sample, notify, channels=["push", "sms", "mail"])
    for channel in ("push", "sms", "mail"):
        await send(parts, record, channel)
    assert await over(parts, update)
    _, token = await parts.access.create(org="default", subject="carl", scopes=frozenset({"alerts:read"}))
    bearer = {"Authorization": f"Bearer {token}"}
    path, whole = f"/v1/alerts/{update.id}", {"push", "sms", "mail"}
    progress = await (await client.get(f"{path}/progress", headers=bearer)).json()
    assert (progress["few"], set(progress["channels"])) == (hidden, whole - set(hidden))
    curve = await (await client.get(f"{path}/curve", headers=bearer)).json()
    assert set(curve["handed_over"]) == set(curve["delivered"]) == whole - set(hidden)
    stream = await client.get(f"{path}/progress", headers={**bearer, "Accept": "text/event-stream"})
    assert (await stream.read()).count(b"event: progress") == 1
    assert set(await parts.work.counts(update.id)) == whole


@pytest.mark.parametrize(("targeted", "told"), [("19", None), ("20", 20)])
def test_an_event_to_a_few_has_no_counts(targeted: str, told: int | None):
    """Nor has one of an alert that nobody but its author answers for: comparing two of them would tell where somebody lives."""
    said = {"alert": "01M882R9G938BE2P8KXNZ55750-2", "n": "4", "at": "1", "word": "receipts", "status": "Actual"}
    for occasion in ("", "update"):
        data = json.loads(event_of({**said, "occasion": occasion, "targeted": targeted, "delivered": "1"}))["data"]
        assert (data.get("targeted"), data.get("delivered")) == (told, told and 1)
    for alone in ({"status": "Test"}, {"sent_alone": "1"}):
        assert "targeted" not in json.loads(event_of({**said, **alone, "targeted": targeted, "delivered": "1"}))["data"]


@pytest.mark.parametrize("is_planned", [True, False])
async def test_what_only_an_update_tells_goes_on_after_a_return(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], is_planned: bool
):
    """A worker asks while the alert is stood down: the texts that its update added wait with it, and go out when it is reopened."""
    await register(parts, 25)
    if is_planned:
        await send(parts, record := await planned(parts, sample, channels=["push"]))
    else:
        taken = await parts.intake.submit(alert_of(sample), ANA)
        record = await parts.approval.approve(taken.record.id, BEA)
    update = await updated(parts, record, sample, channels=["push", "sms"])
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    for channel in ("push", "sms"):
        await send(parts, record, channel)
    await parts.follow_ups.reopen(record.id, BEA, "x")
    for channel in ("push", "sms"):
        await send(parts, record, channel)
        assert await counts(parts, update, channel) == {"accepted": 25}


@pytest.mark.parametrize("notify", [Notify.FULL, Notify.SILENT])
async def test_an_update_that_waited_while_its_alert_was_hidden_and_shown_is_written_anew(
    parts: Container, sample: dict[str, Any], notify: Notify
):
    """Phones show what has the highest number: it would have been told below the return, and have been shown on none."""
    record = await sent(parts, sample, channels=["push"])
    waits = (await proposed(parts, record, sample, notify)).record
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    back = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert await slug(parts.approval.approve(waits.id, BEA)) == "approval-stale"
    await parts.approval.give_back(waits.id, BEA, "It was hidden meanwhile")
    update = await updated(parts, record, sample, notify)
    assert sequence_of(update.id) > sequence_of(back.told_by)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 20}


class _Moving(Alerts):
    """A store whose alert comes to another revision just after it was read, as by each step of its sending."""

    steps = 3

    async def get(self, alert_id: str) -> AlertRecord | None:
        found = await super().get(alert_id)
        if found and found.id == chain_of(alert_id) and self.steps:
            self.steps -= 1
            await self._db.execute("HINCRBY", keys.of_chain(alert_id, "version", alert_id), "rev", 1)
        return found


async def test_that_an_alert_goes_on_stands_in_no_update_s_way(parts: Container, sample: dict[str, Any]):
    """Nobody changed what it says, so the same approval holds."""
    record = await sent(parts, sample, channels=["push"])
    waits = (await proposed(parts, record, sample, channels=["push"])).record
    parts.freezing.alerts = moving = _Moving(parts.db)
    assert (await parts.approval.approve(waits.id, BEA)).state is AlertState.APPROVED
    assert moving.steps == 0


@pytest.mark.parametrize("notify", [Notify.FULL, Notify.SILENT])
async def test_whom_a_killed_worker_may_have_told_and_who_is_outside_now_is_told_of_the_change(
    parts: Container, sample: dict[str, Any], notify: Notify
):
    """Nobody inside is told by the old words any more, so nobody else would put them right."""
    await register(parts, 20)
    await in_cadiz(parts, 20)
    record = await planned(parts, sample, target=WIDER, channels=["push"])
    lease = await lease_of(parts.work, record.id, "push")
    await parts.work.gate(lease, [], lease.rows, 1)
    taken = await proposed(parts, record, sample, notify, target=CITY, channels=["push"])
    update = await parts.approval.approve(taken.record.id, BEA)
    for _ in range(2):
        await silence(parts.db, record.id)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record) == {"unknown": 40}
    await plan(parts, update)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 40}


async def test_whose_sms_was_reported_as_failed_is_told_the_alert_inside_and_its_change_outside(
    parts: Container, sample: dict[str, Any]
):
    """Whoever is inside surely hears of it by that; whoever is outside may have the old words, and nobody else would put them right."""
    await register(parts, 20)
    await in_cadiz(parts, 20)
    record = await planned(parts, sample, target=WIDER, channels=["sms"])
    await send(parts, record, "sms")
    for row in range(40):
        assert await parts.receipts.report(Reference(record.id, row), State.FAILED, 0, "text")
    taken = await proposed(parts, record, sample, Notify.FULL, target=CITY, channels=["sms"])
    assert taken.record.update.renotify_count == 40
    update = await parts.approval.approve(taken.record.id, BEA)
    await plan(parts, update)
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 40}


async def test_an_alert_that_was_told_too_often_is_told_no_more_but_of_its_end(
    parts: Container, sample: dict[str, Any]
):
    """A message's tag has a byte for its version: what hides or ends the alert finds room there, however often it was changed."""
    record = await sent(parts, sample, channels=["push"])
    seen = await parts.update_proposals.submit(
        record.id, alert_of(sample, target=WIDER), Notify.FULL, ANA, dry_run=True
    )
    for last in range(1, MOST_VERSIONS):
        update = replace(seen.record, id=f"{record.id}-{last + 1}")
        assert (
            await Updates(parts.db, parts.alerts).propose(record, update, pack_area(seen.area.geometry), last=last)
        )[0]
        assert (await parts.alerts.step(update.id, AlertState.REJECTED))[0]
    assert await slug(proposed(parts, record, sample)) == "precondition-failed"
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert await slug(parts.follow_ups.reopen(record.id, BEA, "x")) == "precondition-failed"
    close = await parts.follow_ups.close(record.id, ANA, "found")
    assert sequence_of(close.told_by) == MOST_VERSIONS + 2
    assert (await tell(parts, close, channels=("push",)))["push"] == {"targeted": 20, "accepted": 20}
