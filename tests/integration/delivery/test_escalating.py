"""Escalation: push first, then an SMS to those whose phone did not say that it has the alert."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from alertd.common.ids import TokenPurpose
from alertd.model.kinds import Notify
from alertd.model.states import State
from alertd.runtime.worker import worker_of
from alertd.service.alerts.later_audience import ANSWERED_MS, SETTLE_MS
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.scripts import STALLED_MS
from channels.base import ReportState
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.clocks import Later
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
    silence,
    started_before,
    texted,
)
from tests.integration.alerts.updates import WIDER, in_cadiz
from tests.integration.delivery.deferrals import asleep
from tests.waiting import until

AFTER_MS = 60_000
ESCALATES = {"channels": ["push", "sms"], "policy": {"mode": "escalate", "after_s": 60}}
NO_PHONE = {"addresses": [{"channel": "sms", "number": "+34600000099"}]}


@pytest.fixture(autouse=True)
async def people(parts: Container) -> None:
    """30 with the app and a number, one with a number alone."""
    await register(parts, 30)
    await register(parts, 1, first=99, **NO_PHONE)


async def acknowledge(parts: Container, record: AlertRecord, people: set[str], channel: str = "push") -> None:
    """Their phones say that they have the alert."""
    rows = [one async for one in parts.reports.deliveries(record)]
    numbers = {name: (await parts.registry.get(name)).number for name in people}
    named = {parts.db.codec.hashed(f"delivery:{record.id}", str(number)) for number in numbers.values()}
    for one in rows:
        if one.channel == channel and one.subscriber in named:
            tag = parts.tags.make(record.id, one.row, TokenPurpose.ACK)
            assert await parts.receipts.acknowledged(
                parts.receipts.reference(tag, TokenPurpose.ACK), ReportState.DELIVERED
            )


async def test_an_sms_goes_to_those_who_did_not_acknowledge(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """At once to whoever has no screen; after the time, to whoever was silent; to nobody who acknowledged, and the ledger says why."""
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    await send(parts, record, "sms")
    assert await counts(parts, record) == {"accepted": 30}
    assert await counts(parts, record, "sms") == {"accepted": 1, "queued": 30}
    await acknowledge(parts, record, {f"p{i}" for i in range(20)})
    parts.db.skew_ms += AFTER_MS - 10_000
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 1, "queued": 30}
    parts.db.skew_ms += 11_000
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 11, "suppressed": 20}
    assert len(texted(sandbox)) == 11
    found = await parts.explanations.explain(await parts.registry.get("p3"), record)
    assert {one.channel: (one.state, one.reason) for one in found.messages} == {
        "push": ("delivered", "none"), "sms": ("suppressed", "acknowledged"),
    }  # fmt: skip
    assert await over(parts, record)


async def test_whoever_acknowledges_while_a_slow_carrier_has_them_gets_no_sms(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Of a chunk most is not written yet where a carrier takes a second for each."""
    await register(parts, 150, first=100)
    sandbox.sms.script.set(Rule("", "slow", delay_s=1.0))
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    parts.db.skew_ms += AFTER_MS + 1_000
    going = asyncio.create_task(send(parts, record, "sms"))
    await until(lambda: texted(sandbox))
    await acknowledge(parts, record, {f"p{i}" for i in (*range(30), *range(100, 250))})
    await going
    found = await counts(parts, record, "sms")
    assert found["accepted"] == len(texted(sandbox)) < 120
    assert found["accepted"] + found["suppressed"] == 181


async def test_a_worker_that_dies_with_the_sms_loses_no_one(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Whoever leased what had waited and went silent is followed; an acknowledgement meanwhile still counts."""
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    await send(parts, record, "sms")
    parts.db.skew_ms += AFTER_MS + 1_000
    lease = await lease_of(parts.work, record.id, "sms", parts.carriers.held("sms"))
    assert lease
    assert (lease.alike.unheard, len(lease.rows)) == (True, 30)
    await acknowledge(parts, record, {"p7"})
    await silence(parts.db, record.id)
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 30, "suppressed": 1}


async def test_what_waits_for_an_acknowledgement_is_no_stall_and_ends_with_the_alert(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """The wait is asked for; a cancel in it sends no SMS, and leaves nothing behind."""
    policy = {"mode": "escalate", "after_s": 3_600}
    record = await planned(parts, sample, channels=["push", "sms"], policy=policy)
    await send(parts, record)
    await send(parts, record, "sms")
    for _ in range(3):
        assert not await over(parts, record)
        parts.db.skew_ms += STALLED_MS
    assert await parts.db.execute("HGET", f"{{a:{record.id}}}:v:{record.id}", "stalled") is None
    await parts.follow_ups.cancel(record.id, BEA, "found", notify=False)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record, "sms") == {"accepted": 1, "cancelled": 30}
    assert len(texted(sandbox)) == 1


async def test_an_update_asks_anew(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Whoever acknowledged the alert gets no SMS of it; of its update they get one unless they acknowledge that, too. Who had an SMS
    gets its change by SMS.
    """
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    await acknowledge(parts, record, {f"p{i}" for i in range(30)})
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 1, "suppressed": 30}
    taken = await parts.update_proposals.submit(
        record.id, alert_of(sample, **ESCALATES, level="appeal"), Notify.FULL, ANA
    )
    update = await parts.approval.approve(taken.record.id, BEA)
    assert await worker_of(parts).plans.planner.plan(started_before(update, SETTLE_MS))
    await send(parts, record)
    await acknowledge(parts, update, {"p1"})
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 30, "suppressed": 1}


async def test_the_preview_says_whether_any_app_acknowledges(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any]
):
    """Where none ever did, everyone will get the SMS, and it says so; after the first acknowledgement it does not."""
    _, key = await parts.access.create(org="default", subject=ANA.subject, scopes=frozenset({"admin"}))
    ask = {"target": {"regions": ["41091"]}, "policy": {"mode": "escalate"}}

    async def notice() -> str | None:
        answer = await client.post("/v1/targets/preview", json=ask, headers={"Authorization": f"Bearer {key}"})
        assert answer.status == 200
        return (await answer.json())["notice"]

    assert "everyone with a number" in (await notice() or "")
    record = await planned(parts, sample)
    await send(parts, record)
    await acknowledge(parts, record, {"p1"})
    assert await notice() is None


async def test_without_escalation_nothing_waits(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """By default every address is used at once, and no acknowledgement is noted for it."""
    record = await planned(parts, sample, channels=["push", "sms"])
    await send(parts, record)
    await acknowledge(parts, record, {"p1"})
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 31}
    assert not any(await parts.acknowledgement_store.of(record.id, range(40)))
    assert State.DELIVERED.word in await counts(parts, record)


@pytest.mark.parametrize("notify", [Notify.NONE, Notify.NEWLY])
async def test_who_acknowledged_the_alert_gets_no_sms_of_what_shows_nothing_new(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], notify: Notify
):
    """An update that tells nobody again is acknowledged by nobody: what was acknowledged before it counts. The others, and whoever has
    no screen, get the SMS.
    """
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    await acknowledge(parts, record, {f"p{i}" for i in range(20)})
    taken = await parts.update_proposals.submit(record.id, alert_of(sample, **ESCALATES), notify, ANA)
    update = await parts.approval.approve(taken.record.id, BEA)
    assert await worker_of(parts).plans.planner.plan(started_before(update, SETTLE_MS))
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 11, "suppressed": 20}
    assert len(texted(sandbox)) == 11


async def told(parts: Container, alert: AlertRecord, version: str) -> AlertRecord:
    """A version that follows an alert, planned as if the time were over in which what came before may arrive, and pushed."""
    record = await parts.alerts.get(version)
    told = replace(record.follow_up, alerted=record.follow_up.alerted - ANSWERED_MS)
    times = replace(record.times, start=record.times.start - ANSWERED_MS)
    older = replace(record, times=times, follow_up=told)
    assert await worker_of(parts).plans.planner.plan(older)
    await send(parts, alert)
    return record


async def restricted(parts: Container, record: AlertRecord) -> str:
    return (await parts.amendment.restrict(record.id, ANA, "x")).told_by


async def brought_back(parts: Container, record: AlertRecord) -> str:
    await told(parts, record, (await parts.follow_ups.stand_down(record.id, ANA, "x")).told_by)
    return (await parts.follow_ups.reopen(record.id, BEA, "x")).told_by


@pytest.mark.parametrize("shown_by", [restricted, brought_back])
async def test_who_acknowledges_what_took_the_alert_s_place_gets_no_sms(
    parts: Container,
    sandbox: Sandbox,
    sample: dict[str, Any],
    shown_by: Callable[[Container, AlertRecord], Awaitable[str]],
):
    """A phone that was off gets the last of what was sent in one place: the alert without its name, or brought back. It has the alert."""
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    await acknowledge(parts, record, {"p0"})
    shown = await told(parts, record, await shown_by(parts, record))
    await acknowledge(parts, shown, {f"p{i}" for i in range(1, 20)})
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 11, "suppressed": 20}


async def test_who_acknowledges_that_it_is_over_has_not_the_alert(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """It comes back, and may never have been on their screen."""
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    over = await told(parts, record, (await parts.follow_ups.stand_down(record.id, ANA, "x")).told_by)
    await acknowledge(parts, over, {"p0"})
    await parts.follow_ups.reopen(record.id, BEA, "x")
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 31}


@pytest.mark.parametrize("notify", [Notify.NONE, Notify.NEWLY])
async def test_what_was_acknowledged_before_everybody_was_told_anew_counts_no_more(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], notify: Notify
):
    """An update asks anew: who acknowledges nothing of it gets its SMS, also where a third version, which shows nothing new, brings that."""
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    await acknowledge(parts, record, {f"p{i}" for i in range(20)})
    for word in (Notify.FULL, notify):
        taken = await parts.update_proposals.submit(record.id, alert_of(sample, **ESCALATES, level="appeal"), word, ANA)
        await parts.approval.approve(taken.record.id, BEA)
        update = await told(parts, record, taken.record.id)
        if word is Notify.FULL:
            await acknowledge(parts, update, {"p1"})
            await acknowledge(parts, record, {"p20"})  # late, of what is on no screen any more
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 30, "suppressed": 1}


async def permitted(parts: Container, record: AlertRecord, sample: dict[str, Any], **changes: Any) -> AlertRecord:
    """A neighbour permits more, which tells nobody again; planned, and pushed."""
    taken = await parts.update_proposals.submit(record.id, alert_of(sample, **ESCALATES, **changes), Notify.NEWLY, ANA)
    return await told(parts, record, (await parts.approval.approve(taken.record.id, BEA)).id)


async def test_what_a_neighbour_permits_puts_no_sms_off(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Whoever had the alert on their screen by then gets the SMS when they would have; whoever has it since has their whole time."""
    await in_cadiz(parts, 10)
    record = await planned(parts, sample, **ESCALATES)
    await send(parts, record)
    parts.db.skew_ms += AFTER_MS - ANSWERED_MS
    update = await permitted(parts, record, sample, target=WIDER)
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 1, "queued": 40}
    parts.db.skew_ms += ANSWERED_MS + 1_000
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 31, "queued": 10}
    parts.db.skew_ms += AFTER_MS
    await send(parts, record, "sms")
    assert await counts(parts, update, "sms") == {"accepted": 41}


async def test_who_slept_has_the_time_to_acknowledge(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """In the morning the push goes first, and an SMS after the time to those alone who are silent."""
    parts.clock = Later()
    await register(parts, 10, first=40, **asleep(1))
    record = await planned(parts, sample, **ESCALATES)
    parts.db.skew_ms += AFTER_MS + 1_000
    await send(parts, record, "sms")
    assert len(texted(sandbox)) == 31
    parts.clock.ahead_ms += 3_600_000
    parts.db.skew_ms += 3_600_000
    await send(parts, record)
    await send(parts, record, "sms")
    assert len(texted(sandbox)) == 31
    assert (await counts(parts, record))["accepted"] == 40
    await acknowledge(parts, record, {f"p{i}" for i in range(40, 47)})
    parts.clock.ahead_ms += AFTER_MS
    parts.db.skew_ms += AFTER_MS
    await send(parts, record, "sms")
    assert len(texted(sandbox)) == 34
    assert await counts(parts, record, "sms") == {"accepted": 34, "suppressed": 7}
