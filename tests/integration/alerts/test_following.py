"""What follows an alert, over a real store and the sandbox's carriers: exactly those who may have been told are told."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from alertd.common.ids import Reference
from alertd.model.kinds import CancelReason, Notify, Occasion
from alertd.model.states import CHANNELS, AlertState, State
from alertd.runtime.worker import worker_of
from alertd.service.alerts.follow_up import CLOSE, Followed
from alertd.service.alerts.later_audience import SETTLE_MS, later_version, may_have_been_told
from alertd.service.container import Container
from alertd.store.alerts.records import Footing
from alertd.store.delivery.work_records import BatchKey, Gate, Settlement
from alertd.store.engine.connection import Connection
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import (
    ALL,
    ANA,
    BEA,
    CARL,
    alert_of,
    counts,
    finish,
    lease_of,
    over,
    planned,
    register,
    registration,
    send,
    sent,
    slug,
    started_before,
    submitted,
    tell,
)
from tests.integration.alerts.updates import is_in_state, is_retired
from tests.integration.delivery.workers import working
from tests.waiting import until

#: Names and places of the sample, which no end may tell.
SECRET = ("Luc", "Santa Justa")


async def test_what_is_told_of_an_alert_that_is_over_is_found(parts: Container, sample: dict[str, Any]):
    """By the alert, from then on, and in a list of what is being told, for as long as it is; the alert itself is none of that."""
    record = await sent(parts, sample)
    assert await parts.reports.told_by(record.id) is None
    done = await parts.follow_ups.close(record.id, ANA, "Found, well")
    assert await parts.reports.told_by(record.id) == done.told_by
    assert [one.id for one in await parts.reports.telling(ANA.org)] == [done.told_by]
    assert not await parts.reports.telling("another")
    await tell(parts, done)
    assert await over(parts, await parts.alerts.get(done.told_by))
    assert not await parts.reports.telling(ANA.org)
    assert await parts.reports.told_by(record.id) == done.told_by


async def test_a_close_reaches_those_who_were_told_and_nobody_else(parts: Container, sample: dict[str, Any]):
    """On each channel they were told on; not whoever came into the area since, nor whose message came to nothing."""
    record = await sent(parts, sample)
    await register(parts, 10, first=100)
    done = await parts.follow_ups.close(record.id, ANA, "Found, well")
    assert (done.record.state, done.record.last_step.reason, done.told_by) == (
        AlertState.CLOSED,
        "Found, well",
        f"{record.id}-2",
    )
    assert await tell(parts, done) == {channel: {"targeted": 20, "accepted": 20} for channel in ALL}


async def test_what_was_stood_down_is_hidden_although_its_end_is_told_later(parts: Container, sample: dict[str, Any]):
    """The family is to know first: phones that were not told yet that it is stood down still are, and everybody of the end when that is told."""
    record = await sent(parts, sample)
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert (await parts.follow_ups.close(record.id, ANA, "Found", notify=False)).told_by is None
    assert await tell(parts, down, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}
    done = await parts.follow_ups.close(record.id, ANA, "Found")
    assert await tell(parts, done) == {channel: {"targeted": 20, "accepted": 20} for channel in ALL}


async def test_a_return_is_said_twice_and_done_once(parts: Container, sample: dict[str, Any]):
    """Also when nothing was left to send: whose answer was lost would else be told that the alert is no more stood down than it was."""
    record = await sent(parts, sample, channels=["push"])
    await tell(parts, await parts.follow_ups.stand_down(record.id, ANA, "x"), ("push",))
    await tell(parts, await parts.follow_ups.reopen(record.id, BEA, "x"), ("push",))
    assert await over(parts, record)
    again = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert again.record.state is AlertState.SENT
    assert len(await parts.alerts.versions([record.id])) == 3
    assert await slug(parts.follow_ups.reopen(record.id, CARL, "x")) == "precondition-failed"


async def test_who_ends_an_alert_that_was_updated_since_it_was_read_looks_again(
    parts: Container, sample: dict[str, Any]
):
    """An update may tell on more channels: the end is told on them, too."""
    record = await sent(parts, sample, channels=["push"])
    update = await parts.update_proposals.submit(record.id, alert_of(sample, channels=list(ALL)), Notify.FULL, ANA)
    before = await parts.alerts.get(record.id)
    await parts.approval.approve(update.record.id, BEA)
    end = later_version(before, 3, Occasion.CLOSE, CLOSE.follows, by="a", expires=before.expires, loudness="normal")
    footing = Footing(sources=CLOSE.sources, last=2, rev=None)
    assert await parts.alerts.follow(before, footing, CLOSE.new, end, fields={}) == (False, "again")


async def test_an_end_in_other_words_is_refused(parts: Container, sample: dict[str, Any]):
    """By whoever said it too: another outcome or code would be thrown away. In the same words it is answered as before."""
    closed, cancelled = [await sent(parts, sample, channels=["push"]) for _ in range(2)]
    first = await parts.follow_ups.close(closed.id, ANA, "Found, well")
    assert await parts.follow_ups.close(closed.id, ANA, "Found, well") == first
    assert await slug(parts.follow_ups.close(closed.id, ANA, "Found, hurt")) == "precondition-failed"
    assert await slug(parts.follow_ups.cancel(closed.id, ANA, "A mistake")) == "precondition-failed"
    first = await parts.follow_ups.cancel(cancelled.id, ANA, "x", code=CancelReason.SENT_IN_ERROR)
    assert await parts.follow_ups.cancel(cancelled.id, ANA, "x", code=CancelReason.SENT_IN_ERROR) == first
    assert await slug(parts.follow_ups.cancel(cancelled.id, ANA, "x")) == "precondition-failed"


async def test_it_reaches_them_at_the_address_of_now(parts: Container, sample: dict[str, Any]):
    """A token rotated since is the one that is sent to; who left, or was forgotten, is not."""
    record = await sent(parts, sample, channels=["push"])
    addresses_of = [{"channel": "push", "token": "rotated"}]
    await parts.registry.put("p0", registration(0, addresses=addresses_of))
    await parts.registry.forget("p1")
    await parts.registry.put("p2", registration(2, places={"home": {"point": [-3.7, 40.4]}}))
    done = await parts.follow_ups.close(record.id, ANA, "Found, well")
    assert (await tell(parts, done, ("push",)))["push"] == {"targeted": 19, "accepted": 19}
    people = [await parts.registry.get("p0")]
    assert [a.value for a in people[0].addresses] == ["rotated"]


async def test_who_may_have_been_told_is_told(parts: Container, sample: dict[str, Any], store: Connection):
    """In flight, in doubt and unknown count, and what its carrier took and reported as failed; refused, suppressed and never sent do not."""
    await register(parts, 20)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    states = {
        0: "in flight",
        1: "accepted",
        2: "delivered",
        3: "unknown",
        4: "failed",
        5: "suppressed",
        6: "doubted",
        7: "reported",
    }
    await parts.work.gate(lease, [], lease.rows[:8], 1)
    settled = [
        Settlement(lease.rows[1], State.ACCEPTED, 0, 1), Settlement(lease.rows[2], State.ACCEPTED, 0, 1),
        Settlement(lease.rows[3], State.UNKNOWN, 0, 1), Settlement(lease.rows[4], State.FAILED, 0, 1),
        Settlement(lease.rows[5], State.SUPPRESSED, 0, 1), Settlement(lease.rows[6], State.QUEUED, 0, 1, doubt=True),
        Settlement(lease.rows[7], State.ACCEPTED, 0, 1),
    ]  # fmt: skip
    assert (await parts.work.gate(lease, settled, [], 1))[0] is Gate.GO
    await parts.work.receipt(record.id, lease.rows[2], "push", State.DELIVERED, 0, [State.ACCEPTED])
    await parts.work.receipt(record.id, lease.rows[7], "push", State.FAILED, 0, [State.ACCEPTED])
    found = await may_have_been_told(parts.work, [record.id], ["push"])
    assert len(states) == 8
    assert (found >> np.uint64(3)).tolist() == sorted(lease.refs[i][0] for i in (0, 1, 2, 3, 6, 7))
    assert not len(await may_have_been_told(parts.work, [record.id], ["sms"]))


async def test_whose_sms_is_reported_as_failed_and_then_as_delivered_is_told_the_end(
    parts: Container, sample: dict[str, Any]
):
    """Also where the second report comes when those who are told the end were found. Who wants no more is sent nothing all the same."""
    record = await sent(parts, sample, channels=["sms"])
    late, left = (Reference(record.id, row) for row in (0, 1))
    for one in (late, left):
        assert await parts.receipts.report(one, State.FAILED, 0, "text")
    number, _ = await parts.work.ref(record.id, left.row)
    [who] = await parts.people.read_many([number])
    await parts.suppression.stop([(one.channel, one.value) for one in who.addresses])
    done = await parts.follow_ups.close(record.id, BEA, "found")
    assert await tell(parts, done, ("sms",)) == {"sms": {"targeted": 19, "accepted": 19}}
    assert await parts.receipts.report(late, State.DELIVERED, 0, "text")
    ends = [ref async for _, _, refs in parts.work.ledger(done.told_by) for ref in refs]
    assert await parts.work.ref(record.id, late.row) in ends


async def test_whose_sms_was_to_be_sent_again_is_told_the_end(parts: Container, sample: dict[str, Any]):
    """A carrier took it and reported it as failed: it may report yet that it arrived, also while it waits for another try."""
    record = await sent(parts, sample, channels=["sms"])
    assert await parts.receipts.report(Reference(record.id, 0), State.FAILED, 0, "text")
    assert await parts.resending.resend(record, BEA, (State.FAILED,), None) == 1
    done = await parts.follow_ups.close(record.id, BEA, "found")
    assert await tell(parts, done, ("sms",)) == {"sms": {"targeted": 20, "accepted": 20}}


async def test_ends_name_nobody(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Neither the child, nor the place, nor the outcome is in what goes out, on any channel."""
    record = await sent(parts, sample)
    done = await parts.follow_ups.close(record.id, ANA, "Found, well")
    await tell(parts, done)
    notice = await parts.alerts.get(done.told_by)
    messages = worker_of(parts).feeder.dispatch.selection.messages
    for channel in ALL:
        ready = await messages.ready(notice.id, BatchKey(channel=channel, language="es"), parts.carriers.of(channel)[0])
        text = repr(ready.prepared.payload)
        assert not [word for word in (*SECRET, "Found") if word in text], channel
        assert not ready.loud
    assert sandbox.push.recorded.counts()["doubled"] == 0


async def test_stand_down_hides_and_comes_back(parts: Container, sample: dict[str, Any]):
    """The gate is held and what is queued stays; push alone tells it; the return goes to those who were told of it."""
    await register(parts, 20)
    record = await planned(parts, sample, channels=["push", "sms"])
    lease = await lease_of(parts.work, record.id, "push")
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    down = await parts.follow_ups.stand_down(record.id, ANA, "She may be at home")
    assert down.record.state is AlertState.STOOD_DOWN
    assert not (await parts.reports.standing(record.id, 0)).is_told(0)
    assert await tell(parts, down) == {"push": {"targeted": 20, "accepted": 20}}
    assert await counts(parts, record, "sms") == {"queued": 20}
    assert (await parts.follow_ups.stand_down(record.id, ANA, "She may be at home")).record.rev == down.record.rev
    assert await lease_of(parts.work, record.id, "sms") is None
    again = await parts.follow_ups.reopen(record.id, BEA, "She is not")
    assert again.record.state is AlertState.SENDING
    assert await tell(parts, again, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 20}
    done = await parts.follow_ups.close(record.id, ANA, "Found")
    assert await tell(parts, done) == {
        "push": {"targeted": 20, "accepted": 20}, "sms": {"targeted": 20, "accepted": 20},
    }  # fmt: skip


@pytest.mark.parametrize("act", ["restrict", "stand_down", "close"])
async def test_it_is_taken_off_the_screen_of_whoever_wants_no_more_of_the_kind(
    parts: Container, sample: dict[str, Any], act: str
):
    """They have it on their phone, so it goes to them without a sound, and by nothing but push. Whoever withdrew, or left, gets nothing more."""
    record = await sent(parts, sample, channels=["push", "mail"])
    for name, kinds in (("p3", []), ("p4", ["general"])):
        await parts.registry.patch(name, {"kinds": kinds})
    await parts.registry.patch("p5", {"consent": {"withdrawn_at": "2026-11-01T00:00:00Z"}})
    await parts.suppression.stop([(CHANNELS.index("push"), "token-6")])
    if act == "restrict":
        done = await parts.amendment.restrict(record.id, ANA, "x")
    else:
        done = await {"stand_down": parts.follow_ups.stand_down, "close": parts.follow_ups.close}[act](
            record.id, ANA, "x"
        )
    notice = await parts.alerts.get(done.told_by)
    assert await worker_of(parts).plans.planner.plan(started_before(notice, SETTLE_MS))
    dispatch, heard = worker_of(parts).feeder.dispatch, dict[bool, str]()
    while lease := await lease_of(parts.work, record.id, "push"):
        ready = await dispatch.selection.messages.ready(notice.id, lease.alike, parts.carriers.of("push")[0])
        heard[lease.alike.muted] = re.findall(r'"loudness": ?"(\w+)"', repr(ready.prepared.payload))[0]
        await dispatch.drain(lease, lambda: False)
    await send(parts, record, "mail")
    found = await parts.work.counts(notice.id)
    assert found["push"] == {"targeted": 19, "queued": 0, "in_flight": 0, "accepted": 18, "suppressed": 1}
    assert heard == {True: "silent", False: "silent" if act == "restrict" else "normal"}
    mail = {"targeted": 20, "queued": 0, "in_flight": 0, "accepted": 17, "suppressed": 3}
    assert found.get("mail") == (mail if act == "close" else None)


async def test_whoever_wants_no_more_of_the_kind_hears_of_no_return(parts: Container, sample: dict[str, Any]):
    """It was taken off their screen, and stays off."""
    record = await sent(parts, sample, channels=["push"])
    await parts.registry.patch("p3", {"kinds": []})
    down = await parts.follow_ups.stand_down(record.id, ANA, "She may be at home")
    assert await tell(parts, down, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}
    again = await parts.follow_ups.reopen(record.id, BEA, "She is not")
    assert await tell(parts, again, ("push",)) == {"push": {"targeted": 20, "accepted": 19, "suppressed": 1}}


async def test_a_notice_that_is_overtaken_is_told_no_more(parts: Container, sample: dict[str, Any]):
    """Reopened before anybody heard that it was stood down: the first notice ends, and nobody needs the second."""
    record = await sent(parts, sample, channels=["push"])
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    again = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert await parts.alerts.state(down.told_by) is AlertState.SUPERSEDED
    assert not await worker_of(parts).plans.planner.plan(await parts.alerts.get(down.told_by))
    assert await tell(parts, again, ("push",)) == {}


async def test_a_cancel_is_told_by_its_reason(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """In prepared words; one that nobody was told of tells nobody; one without a start tells nobody at all."""
    record = await sent(parts, sample, channels=["push"])
    done = await parts.follow_ups.cancel(record.id, ANA, "It was a test", code=CancelReason.SENT_IN_ERROR)
    assert (await parts.alerts.get(done.told_by)).last_step.code == "sent-in-error"
    assert (await tell(parts, done, ("push",)))["push"]["accepted"] == 20
    pending = (await submitted(parts, sample)).record
    rejected = await parts.follow_ups.cancel(pending.id, ANA, "x")
    assert (rejected.record.state, rejected.told_by) == (AlertState.REJECTED, None)


async def test_a_close_can_be_held_until_the_family_knows(parts: Container, sample: dict[str, Any]):
    """Closed in silence it is hidden at once; closed again it is told, once, even after its end."""
    record = await sent(parts, sample, channels=["push"])
    silent = await parts.follow_ups.close(record.id, ANA, "x", notify=False)
    assert (silent.record.state, silent.told_by) == (AlertState.CLOSED, None)
    assert (await parts.follow_ups.close(record.id, ANA, "x", notify=False)).told_by is None
    done = await parts.follow_ups.close(record.id, ANA, "x")
    assert (await tell(parts, done, ("push",)))["push"]["accepted"] == 20
    assert (await parts.follow_ups.close(record.id, ANA, "x")).told_by == done.told_by
    assert await slug(parts.follow_ups.close(record.id, BEA, "x")) == "precondition-failed"


async def test_an_alert_that_has_ended_can_be_closed(parts: Container, sample: dict[str, Any]):
    """Its time is over, and the child is found: those who were told hear of it."""
    record = await sent(parts, sample, channels=["push"])
    await parts.alerts.step(record.id, AlertState.EXPIRED)
    done = await parts.follow_ups.close(record.id, ANA, "Found")
    assert (done.record.state, done.record.last_step.reason) == (AlertState.EXPIRED, "Found")
    assert (await tell(parts, done, ("push",)))["push"]["accepted"] == 20


async def test_two_who_end_it_at_once_tell_it_once(parts: Container, sample: dict[str, Any]):
    """One of them is done, and the other hears that it is."""
    record = await sent(parts, sample, channels=["push"])
    answers = await asyncio.gather(
        *(parts.follow_ups.close(record.id, who, "x") for who in (ANA, BEA, CARL)), return_exceptions=True
    )
    assert len([one for one in answers if isinstance(one, Followed)]) == 1
    assert await parts.alerts.versions([record.id]) == [record.id, f"{record.id}-2"]


@pytest.mark.parametrize("state", ["draft", "pending", "rejected"])
async def test_breaches_are_refused(parts: Container, sample: dict[str, Any], state: str):
    """Nothing follows what was never sent; nobody reopens what was not stood down; a version that tells is not decided about."""
    await register(parts, 20)
    record = (await submitted(parts, sample)).record
    if state == "rejected":
        await parts.approval.reject(record.id, BEA, "x")
    for step in (parts.follow_ups.stand_down, parts.follow_ups.reopen, parts.follow_ups.close):
        assert await slug(step(record.id, BEA, "x")) == "precondition-failed"
    test_key = dataclasses.replace(BEA, test=True)
    assert await slug(parts.follow_ups.close(record.id, test_key, "x")) == "not-allowed"
    foreign = dataclasses.replace(BEA, org="other")
    assert await slug(parts.follow_ups.close(record.id, foreign, "x")) == "not-found"
    other = await planned(parts, sample)
    done = await parts.follow_ups.stand_down(other.id, ANA, "x")
    for step in (parts.follow_ups.close, parts.follow_ups.reopen, parts.follow_ups.stand_down):
        assert await slug(step(done.told_by, BEA, "x")) == "precondition-failed"
    assert await slug(parts.follow_ups.close(other.id, ANA, "x", rev=1)) == "version-changed"


async def test_what_is_in_flight_is_waited_for(parts: Container, sample: dict[str, Any]):
    """So that nobody is told the end first; but no longer than it can take."""
    await register(parts, 20)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await parts.work.gate(lease, [], lease.rows, 1)
    done = await parts.follow_ups.close(record.id, ANA, "x")
    notice = await parts.alerts.get(done.told_by)
    planner = worker_of(parts).plans.planner
    assert not await planner.plan(notice)
    assert await planner.plan(started_before(notice, SETTLE_MS))
    assert (await parts.work.counts(notice.id))["push"]["queued"] == 20


async def test_a_worker_that_is_late_lets_no_chain_go_that_has_work_again(parts: Container, sample: dict[str, Any]):
    """Seen to be over, then cancelled, then let go by whoever saw it: its end is told all the same, and then the chain goes."""
    record = await sent(parts, sample)
    seen = (await parts.alerts.live())[record.id]
    word = await finish(parts.work, record.id)
    assert word == "done"
    await parts.follow_ups.cancel(record.id, ANA, "x")
    ending = worker_of(parts).ending
    await ending.follow(record.id, word, seen)
    assert record.id in await parts.alerts.live()
    await ending.follow(record.id, "done", (await parts.alerts.live())[record.id])
    assert record.id not in await parts.alerts.live()


async def test_workers_tell_it_by_themselves(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """From the approval to the close, with nobody planning but the workers; each address hears twice, and the chain ends."""
    await register(parts, 50)
    taken = await submitted(parts, sample, channels=["push", "mail"])
    async with working(parts):
        record = await parts.approval.approve(taken.record.id, BEA)
        await until(lambda: is_in_state(parts, record.id, AlertState.SENT))
        done = await parts.follow_ups.close(record.id, ANA, "Found")
        await until(lambda: is_in_state(parts, done.told_by, AlertState.SENT))
        await until(lambda: is_retired(parts))
    found = await parts.work.counts(done.told_by)
    assert {channel: n["accepted"] for channel, n in found.items()} == {"push": 50, "mail": 50}


async def test_that_an_alert_reached_nobody_is_told_when_it_ends(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Its carrier took no message for as long as it lived, so it was never sent."""
    await register(parts, 20)
    sandbox.push.script.set(Rule("", "unavailable"))
    record = await planned(parts, sample)
    await send(parts, record)
    parts.db.skew_ms += record.expires - parts.clock.now_ms() + 1
    await parts.alerts.step(record.id, AlertState.EXPIRED)
    assert await over(parts, await parts.alerts.get(record.id))
    with capture_logs() as lines:
        await worker_of(parts).ending.follow(record.id, "done", (await parts.alerts.live())[record.id])
    assert [(line["event"], line["people"]) for line in lines] == [("alert.reached_nobody", 20)]


async def test_that_an_alert_was_sent_is_told_once(parts: Container, sample: dict[str, Any]):
    """However often its chain has something to tell again, and whichever worker finds it over."""
    record = await sent(parts, sample)
    for worker in (worker_of(parts), worker_of(parts)):
        await parts.alerts.mark_live(record.id)
        assert await finish(parts.work, record.id) == "done"
        await worker.ending.follow(record.id, "done", (await parts.alerts.live())[record.id])
    assert parts.metrics.registry.get_sample_value("alertd_last_send_seconds_count") == 1
