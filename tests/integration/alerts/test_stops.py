"""One person stops and two resume, over a real store: nothing passes the gate meanwhile, and nobody is lost by it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
import structlog

from alertd.common.clock import DAY_MS
from alertd.runtime.worker import worker_of
from alertd.service.access import Credential
from alertd.service.alerts.approval import submit
from alertd.service.alerts.stops import FRESH_S
from alertd.service.container import Container
from alertd.service.delivery.schedule import Expiry
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.organisations.organisations import SERVICE, of_key, of_org
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, CARL, alert_of, counts, lease_of, planned, register, send, slug, submitted
from tests.integration.delivery.workers import ended, working
from tests.waiting import until

ORG = of_org("default")


async def leased(parts: Container, record: AlertRecord) -> bool:
    """Whether anybody is given work of this alert now."""
    lease = await lease_of(parts.work, record.id, "push")
    if lease is not None:
        await parts.work.end(lease, [], lease.rows)
    return lease is not None


@pytest.mark.parametrize("scope", [SERVICE, ORG, of_key("default", ANA.key_id), of_key("default", BEA.key_id)])
async def test_a_stop_holds_what_is_under_way(parts: Container, sample: dict[str, Any], scope: str):
    """The whole service's, the organisation's, that of the author's key and that of the approver's; two people resume."""
    await register(parts, 20)
    record = await planned(parts, sample)
    outcome = await parts.stop_control.stop(scope, CARL, "Something is wrong")
    assert (outcome.halted, outcome.stop.by) == (1, CARL.subject)
    assert not await leased(parts, record)
    assert (await parts.stop_control.resume(scope, CARL)).stop is not None
    assert not await leased(parts, record)
    dora = dataclasses.replace(CARL, key_id="d", subject="dora@centre.example")
    outcome = await parts.stop_control.resume(scope, dora)
    assert (outcome.stop, outcome.halted) == (None, 0)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 20}


@pytest.mark.parametrize("scope", [of_org("other"), of_key("default", CARL.key_id), of_key("other", ANA.key_id)])
async def test_a_stop_holds_nothing_else(parts: Container, sample: dict[str, Any], scope: str):
    """What is sent by other keys, or for other organisations, goes on."""
    await register(parts, 20)
    record = await planned(parts, sample)
    assert (await parts.stop_control.stop(scope, CARL, "Theirs")).halted == 0
    assert await leased(parts, record)


async def test_work_that_was_leased_before_meets_a_held_gate(parts: Container, sample: dict[str, Any]):
    """The intents of a chunk are refused, its rows go back to the queue, and nobody is lost or told twice."""
    await register(parts, 20)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await parts.stop_control.stop(ORG, CARL, "Something is wrong")
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    assert await counts(parts, record) == {"queued": 20}
    await parts.stop_control.resume(ORG, ANA)
    await parts.stop_control.resume(ORG, BEA)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 20}


async def test_an_end_outlives_a_stop_of_days(parts: Container, sample: dict[str, Any]):
    """Whoever was told hears that it is over once the stop is lifted."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await send(parts, record)
    await parts.stop_control.stop(ORG, CARL, "A key in the wrong hands")
    closed = await parts.follow_ups.close(record.id, BEA, "She was found, well.")
    parts.db.skew_ms += 5_000  # what is on its way has arrived
    end, worker = await parts.alerts.get(closed.told_by), worker_of(parts)
    assert await worker.plans.planner.plan(end)
    parts.db.skew_ms += 6 * DAY_MS
    await worker.ending.expire(end.id)
    for who in (ANA, BEA):
        await parts.stop_control.resume(ORG, who)
    await send(parts, record)
    assert await counts(parts, end) == {"accepted": 20}


async def test_an_end_that_not_everybody_was_told_is_an_error_in_the_log(parts: Container, sample: dict[str, Any]):
    """A week is too late, and nobody may think that all of them know."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await send(parts, record)
    closed = await parts.follow_ups.close(record.id, BEA, "She was found, well.")
    later = Expiry(parts.alerts, parts.work, Later(7 * DAY_MS), parts.metrics)
    with structlog.testing.capture_logs() as logs:
        await later.expire(closed.told_by)
        await later.expire(record.id)
    assert [(one["event"], one["alert"]) for one in logs] == [("follow_up.expired_unfinished", closed.told_by)]


async def test_one_person_does_not_resume(parts: Container):
    """Not by saying it twice, not under another spelling, not with a key they made, not with a test key."""
    await parts.stop_control.stop(ORG, ANA, "Something is wrong")
    again = dataclasses.replace(CARL, subject=" Carl@Centre.example ", key_id="c2")
    made = dataclasses.replace(BEA, key_id="b2", makers=(CARL.subject,))
    for _ in range(2):
        assert (await parts.stop_control.resume(ORG, CARL)).stop.first == CARL.subject
    assert (await parts.stop_control.resume(ORG, again)).stop is not None
    assert await slug(parts.stop_control.resume(ORG, made)) == "same-person"
    assert await slug(parts.stop_control.resume(ORG, dataclasses.replace(BEA, test=True))) == "not-allowed"
    assert await slug(parts.stop_control.stop(ORG, dataclasses.replace(BEA, test=True), "x")) == "not-allowed"
    assert ORG in await parts.stop_control.active("default")


async def test_whoever_stops_again_is_heard(parts: Container):
    """Who asked to resume before must ask again; until then the first stop keeps its author and its reason."""
    await parts.stop_control.stop(ORG, ANA, "First")
    assert (await parts.stop_control.stop(ORG, BEA, "Second")).stop.reason == "First"
    await parts.stop_control.resume(ORG, CARL)
    assert (await parts.stop_control.stop(ORG, BEA, "Second")).stop.first == ""
    assert (await parts.stop_control.resume(ORG, BEA)).stop is not None
    assert (await parts.stop_control.resume(ORG, CARL)).stop is None


async def test_nothing_is_opened_while_it_is_stopped(parts: Container, sample: dict[str, Any]):
    """No approval, and no test, which needs none; submitting and cancelling go on, and a draft."""
    await register(parts, 20, tester=True)
    sent = await planned(parts, sample)
    await parts.stop_control.stop(ORG, CARL, "Something is wrong")
    pending = (await submitted(parts, sample)).record
    assert await slug(parts.approval.approve(pending.id, BEA)) == "stop-active"
    assert await slug(submit(parts.intake, parts.approval, alert_of(sample, status="Test"), ANA)) == "stop-active"
    draft = await parts.intake.submit(alert_of(sample, status="Test"), ANA, draft=True)
    assert await slug(parts.approval.submit(draft.record.id, ANA)) == "stop-active"
    assert (await parts.follow_ups.cancel(sent.id, BEA, "over", notify=False)).record.state == "cancelled"
    assert (await parts.approval.reject(pending.id, BEA, "over")).state == "rejected"


async def test_a_stopped_key_does_nothing_more(parts: Container, sample: dict[str, Any]):
    """It neither submits nor approves, makes no other key and lifts no stop; nor is what it submitted approved by others."""
    await register(parts, 20)
    before = (await submitted(parts, sample)).record
    await parts.stop_control.stop(of_key("default", ANA.key_id), BEA, "In the wrong hands")
    for draft in (False, True):
        assert await slug(submit(parts.intake, parts.approval, alert_of(sample), ANA, draft=draft)) == "stop-active"
    assert await slug(parts.approval.approve(before.id, BEA)) == "stop-active"
    assert await slug(parts.stop_control.check_key(ANA)) == "stop-active"
    assert await slug(parts.stop_control.resume(of_key("default", ANA.key_id), ANA)) == "stop-active"
    other = await parts.intake.submit(alert_of(sample, author={"subject": BEA.subject}), BEA)
    assert await slug(parts.approval.approve(other.record.id, ANA)) == "stop-active"
    assert (await parts.approval.approve(other.record.id, CARL)).state == "approved"


async def test_scopes_are_ones_own(parts: Container):
    """Only an administrator stops the service; a key must be there, and of one's organisation."""
    writer = Credential(key_id="w", org="default", subject="w", scopes=frozenset({"alerts:write"}))
    made, _ = await parts.access.create(org="default", subject="x", scopes=frozenset({"alerts:write"}))
    foreign, _ = await parts.access.create(org="other", subject="x", scopes=frozenset({"alerts:write"}))
    assert await parts.stop_control.scope_of("organisation", None, writer) == ORG
    assert await parts.stop_control.scope_of("key", made.key_id, writer) == of_key("default", made.key_id)
    assert await parts.stop_control.scope_of("service", None, ANA) == SERVICE
    assert await slug(parts.stop_control.scope_of("service", None, writer)) == "not-allowed"
    assert await slug(parts.stop_control.scope_of("key", foreign.key_id, writer)) == "not-found"
    await parts.stop_control.stop(of_org("other"), ANA, "Theirs")
    assert await parts.stop_control.active("default") == {}


async def test_fan_outs_that_overtake_each_other_end_as_the_last_says(parts: Container, sample: dict[str, Any]):
    """A halt of an earlier generation changes nothing where a later one was: neither way."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await parts.stop_control.stop(ORG, ANA, "x")
    stopped = await parts.stop_control._stops.read_standing()
    await parts.stop_control.resume(ORG, BEA)
    await parts.stop_control.resume(ORG, CARL)
    await parts.stop_control._stops.apply_stops(stopped, [record.id])
    assert await leased(parts, record)
    lifted = await parts.stop_control._stops.read_standing()
    await parts.stop_control.stop(ORG, ANA, "x")
    await parts.stop_control._stops.apply_stops(lifted, [record.id])
    assert not await leased(parts, record)


async def test_a_stop_counts_although_its_record_went_back(parts: Container, sample: dict[str, Any]):
    """A master that falls back behind its replica may lose what was stopped and let go on; the chains on others know of it."""
    await register(parts, 20)
    record = await planned(parts, sample)
    before = await parts.stop_control._stops.read_standing()
    for _ in range(3):
        await parts.stop_control.stop(ORG, CARL, "x")
        await parts.stop_control.resume(ORG, ANA)
        await parts.stop_control.resume(ORG, BEA)
    await parts.db.execute("HSET", keys.STOPS, "generation", before.generation)
    parts.db.skew_ms += 1_000  # people act seconds apart, not several times in a millisecond
    assert (await parts.stop_control.stop(ORG, CARL, "x")).halted == 1
    assert not await leased(parts, record)


async def test_a_stop_that_came_back_counts_once_it_is_said_again(parts: Container, sample: dict[str, Any]):
    """Its record went back to before it was lifted, and the chains know that it was: whoever stops again is obeyed."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await parts.stop_control.stop(ORG, CARL, "x")
    before = await parts.db.hash_of(keys.STOPS)
    await parts.stop_control.resume(ORG, ANA)
    await parts.stop_control.resume(ORG, BEA)
    assert await leased(parts, record)
    await parts.db.execute("HSET", keys.STOPS, *(part for field in before.items() for part in field))
    parts.db.skew_ms += 1_000  # people act seconds apart, not several times in a millisecond
    assert (await parts.stop_control.stop(ORG, CARL, "x")).halted == 1
    assert not await leased(parts, record)


async def test_a_stop_that_is_said_again_is_written_again(parts: Container):
    """Whoever said it before may have heard that it was not confirmed: the answer to them now is about what is on disk."""
    first = (await parts.stop_control.stop(ORG, CARL, "x")).stop
    before = await parts.stop_control._stops.read_standing()
    assert (await parts.stop_control.stop(ORG, ANA, "y")).stop == first
    assert (await parts.stop_control._stops.read_standing()).generation > before.generation
    again = await asyncio.gather(
        *(parts.stop_control.stop(ORG, ANA, "y") for _ in range(40))
    )  # and nobody is told to try again
    assert {one.stop for one in again} == {first}


async def test_two_who_stop_at_once_are_both_heard(parts: Container):
    """Each changes the record only as it read it."""
    scopes = [of_key("default", f"k{i}") for i in range(8)]
    await asyncio.gather(*(parts.stop_control.stop(scope, ANA, "x") for scope in scopes))
    assert set(await parts.stop_control.active("default")) == set(scopes)


async def test_a_worker_obeys_what_nobody_put_on_its_chains(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Whoever stopped, or resumed, and died before they reached the chains: the record alone is enough, both ways."""
    await register(parts, 200)
    sandbox.push.script.set(Rule("", "slow", delay_s=0.3))
    taken = await submitted(parts, sample)
    stops = parts.stop_control._stops
    async with working(parts):
        record = await parts.approval.approve(taken.record.id, BEA)
        await until(lambda: _some_sent(parts, record))
        seen = await stops.read_standing()
        stop = (await parts.stop_control.stop(of_org("other"), ANA, "x")).stop
        assert await stops.change(await stops.read_standing(), ORG, stop)
        began = asyncio.get_running_loop().time()
        await until(lambda: _halted(parts, record))
        assert asyncio.get_running_loop().time() - began < 1
        assert seen.generation < (await stops.read_standing()).generation
        sandbox.push.script.set()
        assert await stops.change(await stops.read_standing(), ORG, None)
        await until(ended(parts, record.id))
    assert await counts(parts, record) == {"accepted": 200}
    assert sandbox.push.recorded.counts()["doubled"] == 0


async def test_a_resume_that_the_store_lost_is_put_on_again(parts: Container, sample: dict[str, Any]):
    """A server that fell back to before it let an alert go was away, so what was put on the chains is put on them once more."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await parts.stop_control.stop(ORG, CARL, "Something is wrong")
    halted = await parts.db.hash_of(keys.chain(record.id))
    await parts.stop_control.resume(ORG, ANA)
    await parts.stop_control.resume(ORG, BEA)
    await parts.stop_control.apply_to_live()
    assert await leased(parts, record)
    await parts.db.execute("HSET", keys.chain(record.id), *(part for pair in halted.items() for part in pair))
    await parts.stop_control.apply_to_live()
    assert not await leased(parts, record)
    parts.stop_control.reapply_next()
    await parts.stop_control.apply_to_live()
    assert await leased(parts, record)


async def test_a_worker_that_hears_nothing_sends_nothing(parts: Container, sample: dict[str, Any]):
    """Half a second after it last read what is stopped it takes no work, and what it has it gives back."""
    await register(parts, 20)
    record = await planned(parts, sample)
    worker = worker_of(parts)
    await worker._read_alerts()
    await worker.plans.round()
    await parts.stop_control.apply_to_live()
    assert await worker.feeder.leases("push", 1, loud=False) or await worker.feeder.leases("push", 1, loud=True)
    parts.stop_control._heard -= 0.6
    assert parts.stop_control.may_miss_stop()
    assert not await worker.feeder.leases("push", 1, loud=False)
    assert not await worker.feeder.leases("push", 1, loud=True)
    assert await counts(parts, record) == {"queued": 20}


async def test_nothing_is_sent_from_the_store_of_another_installation(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """One that is put in the place of ours below a worker: what is under way there is told by nobody here, until ours is back."""
    await register(parts, 20)
    record = await planned(parts, sample, channels=["push"])
    await parts.db.execute("SET", keys.KEY_CHECK, "another's")
    async with working(parts):
        with pytest.raises(StoreUnavailableError):
            await parts.stop_control.apply_to_live()
        await asyncio.sleep(2 * FRESH_S)  # in which it would have been sent
        assert sandbox.push.recorded.total == 0
        await parts.db.execute("SET", keys.KEY_CHECK, parts.db.codec.check_value)
        await until(ended(parts, record.id))
    assert await counts(parts, record) == {"accepted": 20}


async def test_one_alert_waits_and_goes_on(parts: Container, sample: dict[str, Any]):
    """Nothing of it passes the gate; the others go on. Both are decisions about a version that was seen."""
    await register(parts, 20)
    record, other = await planned(parts, sample), await planned(parts, sample)
    record = await parts.alerts.get(record.id)
    waiting = await parts.stop_control.pause(record, ANA, waits=True, rev=record.rev)
    assert (waiting.chain.paused, waiting.state, waiting.last_step.by) == (True, "sending", ANA.subject)
    assert not await leased(parts, record)
    assert await leased(parts, other)
    assert await slug(parts.stop_control.pause(record, ANA, waits=False, rev=record.rev)) == "version-changed"
    assert (await parts.stop_control.pause(record, ANA, waits=True, rev=None)).rev == waiting.rev
    await parts.stop_control.stop(ORG, ANA, "x")
    assert not (await parts.stop_control.pause(record, BEA, waits=False, rev=None)).chain.paused
    assert not await leased(parts, record)
    await parts.stop_control.resume(ORG, BEA)
    await parts.stop_control.resume(ORG, CARL)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 20}
    pending = (await submitted(parts, sample)).record
    assert await slug(parts.stop_control.pause(pending, ANA, waits=True, rev=None)) == "precondition-failed"


async def _some_sent(parts: Container, record: AlertRecord) -> bool:
    return bool((await parts.work.counts(record.id)).get("push", {}).get("in_flight"))


async def _halted(parts: Container, record: AlertRecord) -> bool:
    return bool(await parts.db.execute("HGET", f"{{a:{record.id}}}", "halt"))
