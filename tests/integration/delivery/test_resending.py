"""An operator sends again what may not have arrived."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.model.states import AlertState, State
from alertd.runtime.worker import worker_of
from alertd.service.alerts.follow_up import Followed
from alertd.service.alerts.later_audience import SETTLE_MS
from alertd.service.container import Container
from alertd.store.delivery.work_records import Settlement
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import ANA, BEA, counts, lease_of, over, planned, register, send, sent, started_before
from tests.integration.alerts.updates import updated

BOTH = (State.UNKNOWN, State.FAILED)


async def test_the_failed_are_told_when_they_are_sent_again(parts: Container, sandbox: Sandbox, sample: dict):
    """Ten whom the carrier refused are told at the second try and nobody else again; the alert sends, and is sent again."""
    await register(parts, 30)
    sandbox.push.script.set(*[Rule(f"token-{i}", "bad-request") for i in range(10, 20)])
    record = await planned(parts, sample)
    await send(parts, record)
    assert await over(parts, record)
    assert await counts(parts, record) == {"accepted": 20, "failed": 10}
    sandbox.push.script.set()
    assert await parts.resending.resend(record, BEA, BOTH, None) == 10
    assert await counts(parts, record) == {"accepted": 20, "queued": 10}
    assert await parts.alerts.state(record.id) is AlertState.SENDING
    assert record.id in await parts.alerts.live()
    assert await parts.resending.resend(record, BEA, BOTH, None) == 0
    await send(parts, record)
    assert await over(parts, record)
    assert await counts(parts, record) == {"accepted": 30}
    told = [address for _, _, address, *_ in sandbox.push.recorded]
    assert len(told) == len(set(told)) == 30


async def test_the_unknown_are_marked_when_they_are_sent_again(parts: Container, sandbox: Sandbox, sample: dict):
    """What may have arrived is counted as told twice, and only the channel that was named is sent again."""
    await register(parts, 25)
    record = await planned(parts, sample, channels=["push", "sms"])
    await send(parts, record)
    lease = await lease_of(parts.work, record.id, "sms")
    await parts.work.gate(lease, [], lease.rows, 1)
    await parts.work.end(lease, [Settlement(row, State.UNKNOWN, 0, 1) for row in lease.rows], ())
    assert await counts(parts, record, "sms") == {"unknown": 25}
    assert await parts.resending.resend(record, BEA, BOTH, "push") == 0
    assert await parts.resending.resend(record, BEA, (State.FAILED,), None) == 0
    assert await parts.resending.resend(record, BEA, (State.UNKNOWN,), "sms") == 25
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 25, "doubled": 25}
    assert await counts(parts, record) == {"accepted": 25}


@pytest.mark.parametrize("state", [AlertState.CANCELLED, AlertState.STOOD_DOWN, AlertState.EXPIRED])
async def test_nothing_is_sent_again_of_what_is_over(
    parts: Container, sandbox: Sandbox, sample: dict, state: AlertState
):
    """Whoever stood it down, or its end, has the last word: refused, and the ledger stays as it is."""
    await register(parts, 25)
    sandbox.push.script.set(Rule("token-", "bad-request"))
    record = await planned(parts, sample)
    await send(parts, record)
    await parts.alerts.step(record.id, state)
    with pytest.raises(Problem) as refusal:
        await parts.resending.resend(record, BEA, BOTH, None)
    assert refusal.value.slug == "precondition-failed"
    assert await counts(parts, record) == {"failed": 25}


async def refused(parts: Container, version: str) -> str:
    """What whoever sends a version again is told, where it is refused."""
    with pytest.raises(Problem) as refusal:
        await parts.resending.resend(await parts.alerts.get(version), BEA, BOTH, None)
    assert refusal.value.slug == "precondition-failed"
    return refusal.value.detail


async def resent(parts: Container, version: str) -> int:
    return await parts.resending.resend(await parts.alerts.get(version), BEA, BOTH, None)


async def half_told(parts: Container, done: Followed) -> str:
    """The version that tells of a step, as if the moment that it waits were over: ten are told, and ten refused."""
    notice = await parts.alerts.get(done.told_by)
    assert await worker_of(parts).plans.planner.plan(started_before(notice, SETTLE_MS))
    await send(parts, done.record)
    assert await over(parts, notice)
    assert await counts(parts, notice) == {"accepted": 10, "failed": 10}
    return notice.id


async def test_a_version_is_sent_again_only_while_it_is_true(parts: Container, sandbox: Sandbox, sample: dict):
    """That it is over, while it is over; that it goes on, while it goes on: so after the close no phone hears of the child again."""
    record = await sent(parts, sample, channels=["push"])
    sandbox.push.script.set(*[Rule(f"token-{i}", "bad-request") for i in range(10, 20)])
    restricted = await half_told(parts, await parts.amendment.restrict(record.id, ANA, "x"))
    down = await half_told(parts, await parts.follow_ups.stand_down(record.id, ANA, "x"))
    assert "stood_down" in await refused(parts, restricted)
    sandbox.push.script.set()
    assert await resent(parts, down) == 10
    await send(parts, record)
    assert await over(parts, await parts.alerts.get(down))
    sandbox.push.script.set(*[Rule(f"token-{i}", "bad-request") for i in range(10, 20)])
    up = await half_told(parts, await parts.follow_ups.reopen(record.id, BEA, "x"))
    assert "stand-down" in await refused(parts, down)
    end = await half_told(parts, await parts.follow_ups.close(record.id, ANA, "found"))
    sandbox.push.script.set()
    before = len(list(sandbox.push.recorded))
    for one in (restricted, down, up):
        assert "closed" in await refused(parts, one)
    assert await resent(parts, end) == 10
    await send(parts, record)
    assert {version for _, version, *_ in list(sandbox.push.recorded)[before:]} == {end}


async def test_of_two_versions_that_tell_the_same_the_later_is_sent_again(
    parts: Container, sandbox: Sandbox, sample: dict
):
    """Whoever was not told the first time is told by the second; an update that is told before both is as true as ever."""
    record = await sent(parts, sample, channels=["push"])
    update = await updated(parts, record, sample)
    await send(parts, record)
    sandbox.push.script.set(*[Rule(f"token-{i}", "bad-request") for i in range(10, 20)])
    first = await half_told(parts, await parts.follow_ups.stand_down(record.id, ANA, "x"))
    await parts.follow_ups.reopen(record.id, BEA, "x")
    assert await resent(parts, update.id) == 0
    second = await half_told(parts, await parts.follow_ups.stand_down(record.id, ANA, "x"))
    assert "later version" in await refused(parts, first)
    assert await resent(parts, second) == 10


async def test_nothing_is_sent_again_under_a_stop(parts: Container, sandbox: Sandbox, sample: dict):
    """A stop holds it, too."""
    await register(parts, 25)
    record = await planned(parts, sample)
    await parts.stop_control.stop("org:default", BEA, "Wrong picture")
    with pytest.raises(Problem) as refusal:
        await parts.resending.resend(record, BEA, BOTH, None)
    assert refusal.value.slug == "stop-active"


async def test_the_same_call_sends_again_once(parts: Container, client: Any, sandbox: Sandbox, sample: dict):
    """Under one Idempotency-Key what has failed in between stays; whoever may not approve sends nothing; the audit has the count."""
    await register(parts, 25)
    sandbox.push.script.set(Rule("token-", "bad-request"))
    record = await planned(parts, sample)
    await send(parts, record)
    path = f"/v1/alerts/{record.id}/deliveries/resend"
    _, reader = await parts.access.create(
        org="default", subject="carl", scopes=frozenset({"alerts:read", "ledger:read"})
    )
    _, token = await parts.access.create(
        org="default", subject="bea", scopes=frozenset({"alerts:approve", "audit:read"})
    )
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "again-1"}
    assert (await client.post(path, headers={"Authorization": f"Bearer {reader}"})).status == 403
    wrong = await client.post(path, json={"states": ["accepted"]}, headers={"Authorization": f"Bearer {token}"})
    assert (wrong.status, (await wrong.json())["errors"][0]["pointer"]) == (400, "/states/0")
    first = await client.post(path, json={"states": ["failed"]}, headers=headers)
    assert (first.status, (await first.json())["resent"]) == (200, 25)
    await send(parts, record)
    second = await client.post(path, json={"states": ["failed"]}, headers=headers)
    answer = await second.json()
    assert (answer["resent"], answer["channels"]["push"]["failed"]) == (None, 25)
    log = await (await client.get("/v1/audit", headers={"Authorization": f"Bearer {token}"})).json()
    assert 25 in [entry["facts"].get("resent") for entry in log["entries"]]
