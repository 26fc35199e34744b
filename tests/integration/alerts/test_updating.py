"""An update of an alert, over a real store and the sandbox's carriers: who was told is told as it says, who is newly inside is told."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.model.cap.messages import MsgType
from alertd.model.cap.reader import parse_message
from alertd.model.kinds import Notify, PurgeReason
from alertd.model.states import AlertState, LedgerReason, State
from alertd.runtime.worker import worker_of
from alertd.service.alerts.later_audience import ANSWERED_MS, MOST_GAPS
from alertd.service.container import Container
from alertd.service.delivery.planner import Planner
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work_records import Lease
from channels.sandbox import Sandbox
from tests.integration.acts import (
    ALL,
    ANA,
    BEA,
    CARL,
    alert_of,
    counts,
    is_about,
    lease_of,
    over,
    photo,
    planned,
    register,
    registration,
    send,
    sent,
    silence,
    slug,
    started_before,
    submitted,
    yes,
)
from tests.integration.alerts.updates import (
    WIDER,
    again,
    got,
    in_cadiz,
    is_in_state,
    is_retired,
    plan,
    proposed,
    reasons,
    updated,
)
from tests.integration.batches import unsent
from tests.integration.delivery.workers import working
from tests.integration.media.conftest import showing
from tests.sampling import sampled
from tests.unit.alertd.samples import changed
from tests.waiting import until


async def test_only_what_is_told_tells_of_an_alert(parts: Container, sample: dict[str, Any]):
    """An update that waits for its second person, or was rejected, takes no place before what was told."""
    record = await sent(parts, sample, channels=["push"])
    waits = await proposed(parts, record, sample)
    assert await parts.reports.told_by(record.id) is None
    await parts.approval.reject(waits.record.id, BEA, "Wrong area")
    assert await parts.reports.told_by(record.id) is None
    update = await updated(parts, record, sample)
    assert await parts.reports.told_by(record.id) == update.id


async def test_the_told_are_told_again_and_the_newly_inside_once(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """At the token of now, though they moved away; whoever is newly inside is told of the alert; nobody else is."""
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    await register(parts, 3, first=200, places={"home": {"point": [-3.7, 40.4]}})
    await parts.registry.put("p0", registration(0, addresses=[{"channel": "push", "token": "rotated"}]))
    await parts.registry.put("p1", registration(1, places={"home": {"point": [-3.7, 40.4]}}))
    taken = await proposed(parts, record, sample)
    assert (taken.record.state, taken.record.update.renotify_count) == (AlertState.PENDING, 20)
    update = await parts.approval.approve(taken.record.id, BEA)
    assert (update.id, update.state) == (f"{record.id}-2", AlertState.APPROVED)
    await plan(parts, update)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 25}
    assert (await parts.alerts.get(update.id)).people == 25
    told = [f"token-{i}" for i in (*range(1, 20), *range(100, 105))] + ["rotated"]
    assert got(sandbox, update.id) == sorted(told)


async def test_an_update_says_about_how_many_people_are_on_its_new_ground(parts: Container, sample: dict[str, Any]):
    """Whoever is on the alert's own ground is not among them, also who registered since."""
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 300)
    await register(parts, 300, first=500)
    assert is_about((await proposed(parts, record, sample)).record.update.new_recipients, 300)


async def test_it_is_loud_for_some_and_the_alert_for_others(parts: Container, sample: dict[str, Any]):
    """Whoever was told is told that it was changed, as loud as it is or in silence; whoever was not gets the alert as it is now."""
    record = await sent(parts, sample, channels=["push"], level="child-alert")
    case = changed(sample, "case/children/0/hair", "black")["case"]
    for notify, loudness in ((Notify.FULL, "loud"), (Notify.SILENT, "silent")):
        update = await updated(parts, record, sample, notify, level="child-alert", case=case)
        text = await again(parts, update.id)
        assert f'"loudness":"{loudness}"' in text
        assert '"occasion":"update"' in text
        assert f'"chain":"{record.id}"' in text
        new = await again(parts, update.id, was_told=False)
        assert '"loudness":"loud"' in new
        assert '"occasion":"alert"' in new


async def test_silence_speaks_through_push_alone(parts: Container, sample: dict[str, Any]):
    """Whoever was told by SMS and mail gets neither twice; whoever is newly inside gets all three."""
    record = await sent(parts, sample)
    await in_cadiz(parts, 5)
    update = await updated(parts, record, sample, Notify.SILENT, channels=list(ALL))
    found = {channel: n["targeted"] for channel, n in (await parts.work.counts(update.id)).items()}
    assert found == {"push": 25, "sms": 5, "mail": 5}


async def test_whoever_wants_no_more_of_the_kind_hears_of_no_change(parts: Container, sample: dict[str, Any]):
    """Though it would make no sound: it shows them the alert, and takes nothing away."""
    record = await sent(parts, sample, people=21, channels=["push"])
    await parts.registry.patch("p3", {"kinds": []})
    update = await updated(parts, record, sample, Notify.SILENT)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 20, "suppressed": 1}


async def test_without_notice_only_what_is_shown_changes(parts: Container, sample: dict[str, Any]):
    """Nobody is told; the API and CAP say the new end and words, CAP as an Update of what it was."""
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    case = changed(sample, "case/children/0/hair", "black")["case"]
    update = await updated(parts, record, sample, Notify.NONE, case=case)
    assert (update.people, update.update.renotify_count, update.update.new_recipients) == (0, 0, 0)
    assert await parts.work.counts(update.id) == {}
    assert await over(parts, update)
    assert await parts.alerts.state(update.id) is AlertState.SENT
    now = await parts.alerts.get(record.id)
    assert b'"hair":"black"' in now.document
    message = parse_message(await parts.cap_out.document(now))
    assert (message.msg_type, len(message.references)) == (MsgType.UPDATE, 1)
    assert message.references[0].identifier == record.id


async def test_what_is_queued_is_told_anew(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """While the first version is being sent: its queue is cancelled as superseded, each of them is told once, by the second."""
    await register(parts, 130)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    before = len(got(sandbox, record.id))
    assert 0 < before < 130
    update = await updated(parts, record, sample, Notify.SILENT)
    await send(parts, record)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record) == {"accepted": before, "cancelled": 130 - before}
    assert await reasons(parts, record.id) == {0, LedgerReason.SUPERSEDED}
    assert await parts.alerts.state(record.id) is AlertState.SENT
    assert await counts(parts, update) == {"accepted": 130}
    assert len(set(got(sandbox, update.id))) == 130


async def test_without_notice_the_queued_are_still_told(parts: Container, sample: dict[str, Any]):
    """With the words of now, if they are still inside; those newly inside are not, and those who were told are not."""
    await register(parts, 130)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    told = (await counts(parts, record))["accepted"]  # all of the lease, but on a machine that is out of breath
    await in_cadiz(parts, 5)
    update = await updated(parts, record, sample, Notify.NONE)
    assert (await parts.work.counts(update.id))["push"]["targeted"] == 130 - told


async def test_what_is_in_flight_is_waited_for(parts: Container, sample: dict[str, Any]):
    """No longer than it can take; it counts as told, whatever comes of it."""
    await register(parts, 20)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await parts.work.gate(lease, [], lease.rows, 1)
    taken = await proposed(parts, record, sample)
    update = await parts.approval.approve(taken.record.id, BEA)
    assert not await worker_of(parts).plans.planner.plan(update)
    await plan(parts, update)
    assert (await lease_of(parts.work, record.id, "push")).alike.again


@pytest.mark.parametrize("notify", [Notify.SILENT, Notify.NEWLY, Notify.NONE])
async def test_what_a_slow_carrier_gets_no_more_is_told_by_the_update(
    parts: Container, sample: dict[str, Any], notify: Notify
):
    """Of a chunk that is under way for long, whatever was not asked for when the update took the alert's place: none of them was told."""
    record, lease, update = await _in_flight(parts, sample, notify)
    planner, long_ago = worker_of(parts).plans.planner, started_before(update, 15_000)
    assert not await planner.plan(long_ago)
    await parts.work.end(lease, unsent(lease.rows), [])
    assert await planner.plan(long_ago)
    assert await counts(parts, record) == {"cancelled": 20}
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 20}


@pytest.mark.parametrize(
    ("notify", "lost"),
    sampled(
        itertools.product([Notify.SILENT, Notify.NEWLY, Notify.NONE], [False, True]),
        lambda notify, lost: lost == (notify is Notify.NEWLY),
    ),
)
async def test_while_nobody_can_settle_what_is_in_flight_no_time_goes_by(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], notify: Notify, lost: bool
):
    """The store was away, or all workers were killed with it in hand: when they are back the update waits for what becomes of it, and tells
    whoever was told by nobody.
    """
    record, lease, update = await _in_flight(parts, sample, notify)
    parts.db.skew_ms += ANSWERED_MS + 10_000
    planner = worker_of(parts).plans.planner
    assert not await planner.plan(update)
    if lost:
        await silence(parts.db, record.id)
    else:
        await parts.work.end(lease, unsent(lease.rows), [])
    assert await over(parts, await parts.alerts.get(record.id))
    assert await planner.plan(update)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 20}
    assert got(sandbox, update.id) == sorted(f"token-{i}" for i in range(20))


async def test_what_is_reported_while_all_workers_are_away_is_no_sign_of_them(parts: Container, sample: dict[str, Any]):
    """Phones go on to say what they got, and servers take that in: for what is in flight no time goes by."""
    record, _, update = await _in_flight(parts, sample, Notify.NONE)
    for _ in range(ANSWERED_MS // 1_000 + 1):
        parts.db.skew_ms += 1_000
        await parts.work.receipt(record.id, 0, "push", State.DELIVERED, 0, [State.ACCEPTED])
    assert not await worker_of(parts).plans.planner.plan(update)


async def test_a_store_that_comes_and_goes_puts_no_update_off_for_ever(parts: Container, sample: dict[str, Any]):
    """What nobody ever settles is waited for after a few gaps, and then counts as told."""
    _, _, update = await _in_flight(parts, sample, Notify.NONE)
    planner = worker_of(parts).plans.planner
    for _ in range(MOST_GAPS):
        parts.db.skew_ms += ANSWERED_MS // 2
        assert not await planner.plan(update)
    parts.db.skew_ms += ANSWERED_MS // 2
    assert await planner.plan(update)


@pytest.mark.parametrize(
    ("notify", "channel"),
    sampled(
        itertools.product([Notify.SILENT, Notify.NEWLY, Notify.NONE], ["push", "sms"]),
        lambda notify, channel: notify is Notify.NEWLY or channel == "push",
    ),
)
async def test_whom_a_killed_worker_had_in_hand_is_told_by_the_update(
    parts: Container, sample: dict[str, Any], notify: Notify, channel: str
):
    """Without the update another worker would have sent it again where it takes its twin's place, and have left a text message that may have
    arrived. Whoever is told of the end is told of it in both cases.
    """
    await register(parts, 20)
    record = await planned(parts, sample, channels=[channel])
    lease = await lease_of(parts.work, record.id, channel)
    await parts.work.gate(lease, [], lease.rows[:5], 1)
    taken = await proposed(parts, record, sample, notify, channels=[channel])
    update = await parts.approval.approve(taken.record.id, BEA)
    for _ in range(2):
        await silence(parts.db, record.id)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record, channel) == {"unknown": 5, "cancelled": 15}
    await plan(parts, update)
    await send(parts, record, channel)
    assert await counts(parts, update, channel) == {"accepted": 20 if channel == "push" else 15}
    close = await parts.alerts.get((await parts.follow_ups.close(record.id, ANA, "found")).told_by)
    await plan(parts, close)
    assert (await parts.work.counts(close.id))[channel]["targeted"] == 20


async def test_a_crash_in_the_middle_of_planning_loses_nobody(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Whoever goes on finds the same people, though the ledgers they were found in have moved on."""
    record = await sent(parts, sample, people=60, channels=["push"])
    await in_cadiz(parts, 60)
    taken = await proposed(parts, record, sample)
    update = await parts.approval.approve(taken.record.id, BEA)
    dies = Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=(25, 25))
    assert not await dies.plan(update, yes)
    await send(parts, record)
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(update.id))
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 120}
    assert len(set(got(sandbox, update.id))) == 120


async def test_one_waits_at_a_time(parts: Container, sample: dict[str, Any]):
    """A second is refused, the same one said again is the same; one that was returned gives way to the next; the next after it tells all."""
    record = await sent(parts, sample, channels=["push"])
    first = await proposed(parts, record, sample)
    assert (await proposed(parts, record, sample)).record.id == first.record.id
    assert await slug(proposed(parts, record, sample, Notify.SILENT)) == "precondition-failed"
    await parts.approval.give_back(first.record.id, BEA, "Wider")
    assert await slug(parts.intake.amend(await parts.alerts.get(first.record.id), {}, ANA)) == "precondition-failed"
    second = await proposed(parts, record, sample, Notify.SILENT)
    assert second.record.id == f"{record.id}-3"
    assert await parts.alerts.state(first.record.id) is AlertState.REJECTED
    assert await slug(parts.approval.approve(second.record.id, ANA)) == "same-person"
    await in_cadiz(parts, 5)
    await plan(parts, await parts.approval.approve(second.record.id, BEA, people=25))
    third = await proposed(parts, record, sample)
    update = await parts.approval.approve(third.record.id, BEA)
    assert await parts.alerts.state(second.record.id) is AlertState.SUPERSEDED
    await plan(parts, update)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 25}


async def test_the_end_reaches_both_audiences(parts: Container, sample: dict[str, Any]):
    """Those who were told at first and those who were newly inside; an update that waits ends with the alert, whose photo is gone."""
    media = await photo(parts)
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    update = await updated(parts, record, sample, case=showing(sample, media))
    await send(parts, record)
    await parts.photos.show(media, "push")
    assert (await parts.reports.standing(update.id, 0)).is_told(parts.clock.now_ms())
    waits = await proposed(parts, record, sample)
    done = await parts.follow_ups.cancel(record.id, ANA, "x")
    await plan(parts, await parts.alerts.get(done.told_by))
    await send(parts, record)
    assert await counts(parts, await parts.alerts.get(done.told_by)) == {"accepted": 25}
    assert await parts.alerts.state(waits.record.id) is AlertState.REJECTED
    assert not (await parts.reports.standing(update.id, 0)).is_told(parts.clock.now_ms())
    assert await slug(parts.photos.show(media, "push")) == "gone"


async def test_a_photo_that_was_replaced_is_shown_no_more(parts: Container, sample: dict[str, Any]):
    """Not before the second person said yes, and the new one not either."""
    old, new = await photo(parts), await photo(parts)
    record = await planned_with(parts, sample, old)
    taken = await proposed(parts, record, sample, case=showing(sample, new))
    await parts.photos.show(old, "push")
    assert await slug(parts.photos.show(new, "push")) == "not-found"
    await parts.photos.show(new, "push", BEA)
    await parts.approval.approve(taken.record.id, BEA)
    await parts.photos.show(new, "push")
    assert await slug(parts.photos.show(old, "push")) == "gone"


async def planned_with(parts: Container, sample: dict[str, Any], media: str) -> AlertRecord:
    await register(parts, 20)
    return await planned(parts, sample, case=showing(sample, media))


async def test_a_stand_down_holds_an_update_and_a_return_lets_it_go_on(parts: Container, sample: dict[str, Any]):
    """What is queued of it is put aside with the alert, and goes out when that is reopened: nobody newly inside is lost."""
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    update = await updated(parts, record, sample)
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert await parts.alerts.state(update.id) is AlertState.STOOD_DOWN
    assert await over(parts, record)
    assert await lease_of(parts.work, record.id, "push") is None
    assert await slug(proposed(parts, record, sample)) == "precondition-failed"
    await parts.follow_ups.reopen(record.id, BEA, "x")
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 25}
    for one in (record, update):
        assert await over(parts, one)
        assert await parts.alerts.state(one.id) is AlertState.SENT


async def test_a_restriction_takes_the_facts_out_of_an_update_too(parts: Container, sample: dict[str, Any]):
    """Of one that is being told and of one that waits, which is approved no more; nobody is told less for it. What is updated
    then names nobody.
    """
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    update = await updated(parts, record, sample)
    waits = await proposed(parts, record, sample, Notify.SILENT)
    seen = (await parts.alerts.get(waits.record.id)).rev
    await parts.amendment.restrict(record.id, ANA, "x")
    assert "Luc" not in await again(parts, update.id, was_told=False)
    assert b"Luc" not in (await parts.alerts.get(waits.record.id)).document
    assert await slug(parts.approval.approve(waits.record.id, BEA, rev=seen)) == "version-changed"
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 25}
    assert await slug(parts.approval.approve(waits.record.id, BEA)) == "approval-stale"
    await parts.approval.give_back(waits.record.id, BEA, "Its facts are out")
    assert await slug(proposed(parts, record, sample)) == "invalid-request"


async def test_its_end_moves_that_of_the_alert(parts: Container, sample: dict[str, Any]):
    """An extension after it moves both, so that what is queued of it lives on."""
    record = await sent(parts, sample, channels=["push"])
    ends = (time_of(record.expires) - timedelta(hours=1)).isoformat()
    update = await updated(parts, record, sample, expires=ends)
    assert (await parts.alerts.get(record.id)).expires == update.expires == record.expires - 3_600_000
    later = time_of(record.expires) + timedelta(hours=5)
    await parts.amendment.extend(record.id, BEA, later, "x")
    assert {one.expires for one in await parts.alerts.heads([record.id, update.id])} == {record.expires + 18_000_000}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"status": "Exercise"}, "/status"),
        ({"case": {"number": "SE-2026-118"}}, "/case/number"),
        (
            {"kind": "general", "level": "warning", "case": {}, "info": {"es": {"headline": "x", "description": "x"}}},
            "/kind",
        ),
        ({"channels": ["push"]}, "/channels"),
        ({"external_id": "another"}, "/external_id"),
    ],
)
async def test_what_is_another_alert_is_refused(
    parts: Container, sample: dict[str, Any], changes: dict[str, Any], pointer: str
):
    """Another status, case, kind or name, or a channel that people would never hear the end on."""
    await register(parts, 20)
    record = await planned(parts, sample, channels=["push", "mail"])
    case = {**sample["case"], **changes.get("case", {})} if changes.get("case") != {} else {}
    with pytest.raises(Problem) as refusal:
        await proposed(parts, record, sample, **{"channels": ["push", "mail"], **changes, "case": case})
    assert pointer in {fault.pointer for fault in refusal.value.faults}
    assert await parts.alerts.versions([record.id]) == [record.id]


@pytest.mark.parametrize("state", ["pending", "closed", "cancelled", "stood_down"])
async def test_what_is_not_told_is_not_updated(parts: Container, sample: dict[str, Any], state: str):
    """Nor approved, where the alert has ended meanwhile: its update has ended, too."""
    await register(parts, 20)
    if state == "pending":
        record = (await submitted(parts, sample)).record
        assert await slug(proposed(parts, record, sample)) == "precondition-failed"
        return
    record = await planned(parts, sample)
    waits = (await proposed(parts, record, sample)).record
    step = {"closed": "close", "cancelled": "cancel", "stood_down": "stand_down"}[state]
    await getattr(parts.follow_ups, step)(record.id, ANA, "x")
    assert await slug(parts.approval.approve(waits.id, BEA)) == "precondition-failed"
    assert await slug(proposed(parts, record, sample)) == "precondition-failed"


async def test_an_alert_that_was_updated_is_purged_with_its_updates(parts: Container, sample: dict[str, Any]):
    """No version has a document afterwards, and its photo is gone."""
    media = await photo(parts)
    record = await planned_with(parts, sample, media)
    update = await updated(parts, record, sample, case=showing(sample, media))
    await parts.follow_ups.cancel(record.id, ANA, "x", notify=False)
    await parts.purging.purge(record.id, CARL, PurgeReason.RETENTION)
    assert [one.document for one in (await parts.alerts.get(record.id), await parts.alerts.get(update.id))] == [
        b"",
        b"",
    ]
    assert await slug(parts.photos.show(media, "push", ANA)) == "gone"


async def test_workers_tell_it_by_themselves(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """From the approval on, with nobody planning but the workers; the chain ends, and an update that waits keeps nothing alive."""
    record = await sent(parts, sample, channels=["push"])
    await in_cadiz(parts, 5)
    taken = await proposed(parts, record, sample)
    async with working(parts):
        await until(lambda: is_retired(parts))
        await parts.approval.approve(taken.record.id, BEA)
        await until(lambda: is_in_state(parts, taken.record.id, AlertState.SENT))
        await until(lambda: is_retired(parts))
    assert len(got(sandbox, taken.record.id)) == 25


async def test_an_update_before_anybody_is_planned_tells_them_all_for_the_first_time(
    parts: Container, sample: dict[str, Any]
):
    """The first version comes to its end with nobody in its ledger."""
    await register(parts, 20)
    first = await parts.approval.approve((await submitted(parts, sample)).record.id, BEA)
    update = await updated(parts, first, sample, Notify.NONE)
    assert not await worker_of(parts).plans.planner.plan(first)
    await send(parts, first)
    assert await counts(parts, update) == {"accepted": 20}
    assert await over(parts, first)
    assert await parts.alerts.state(first.id) is AlertState.SENT
    assert await parts.work.counts(first.id) == {}


async def test_an_exercise_is_updated_at_once_and_said_again_it_is_the_same(parts: Container, sample: dict[str, Any]):
    """As an exercise needs no second person, none is needed for its update; a client that repeats its call makes no second one."""
    await register(parts, 20, tester=True)
    taken = await submitted(parts, sample, status="Exercise")
    record = await parts.approval.begin(taken.record, ANA)
    assert await worker_of(parts).plans.planner.plan(record)
    update = (await proposed(parts, record, sample, status="Exercise")).record
    assert update.state is AlertState.APPROVED
    alert = alert_of(sample, target=WIDER, status="Exercise")
    again = await parts.update_proposals.submit(record.id, alert, Notify.FULL, ANA, again=True)
    assert again.record.id == update.id
    assert await parts.alerts.versions([record.id]) == [record.id, update.id]


async def _in_flight(
    parts: Container, sample: dict[str, Any], notify: Notify
) -> tuple[AlertRecord, Lease, AlertRecord]:
    """An alert of which everything is in flight, what of it is, and its update, which is approved and not planned."""
    await register(parts, 20)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    assert lease is not None
    await parts.work.gate(lease, [], lease.rows, 1)
    return record, lease, await parts.approval.approve((await proposed(parts, record, sample, notify)).record.id, BEA)
