"""A store whose clock is set back by an hour: what waits waits no longer for it, whoever goes silent is followed, and an end stays where it is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.model.states import AlertState, State
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.store.engine.scripts import RECEIPTS_MS, STALLED_MS
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import ANA, BEA, counts, finish, lease_of, over, planned, register, send, silence

HOUR_MS = 3_600_000
PEOPLE = 20


@pytest.fixture(autouse=True)
async def people(parts: Container) -> None:
    await register(parts, PEOPLE)


def ends(hours: float) -> str:
    """So long from now, by the store's clock as it is at first."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def test_what_is_tried_again_is_tried_as_soon(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """What a carrier did not take at first is sent half a minute later, not an hour."""
    record = await planned(parts, sample)
    sandbox.push.script.set(Rule("token-", "unavailable", times=5))
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": PEOPLE - 5, "queued": 5}
    parts.db.skew_ms -= HOUR_MS
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": PEOPLE - 5, "queued": 5}
    parts.db.skew_ms += 30_000
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": PEOPLE}


async def test_an_sms_comes_as_soon_to_who_did_not_acknowledge(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """A minute after the approval, whatever the clock shows by then."""
    escalates = {"mode": "escalate", "after_s": 60}
    record = await planned(parts, sample, channels=["push", "sms"], policy=escalates)
    await send(parts, record)
    parts.db.skew_ms -= HOUR_MS
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"queued": PEOPLE}
    parts.db.skew_ms += 61_000
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": PEOPLE}


async def test_whoever_goes_silent_is_followed(parts: Container, sample: dict[str, Any]):
    """What a worker had in hand when it died is another's a lease later."""
    record = await planned(parts, sample)
    first = await lease_of(parts.work, record.id, "push")
    await parts.work.gate(first, [], first.rows[:4], 1)
    parts.db.skew_ms -= HOUR_MS
    await silence(parts.db, record.id)
    second = await lease_of(parts.work, record.id, "push")
    assert second is not None
    assert (second.rows, sum(second.doubted)) == (first.rows, 4)


async def test_a_stall_is_told(parts: Container, sample: dict[str, Any]):
    """Nothing goes although something is due: whoever is on call hears of it after a minute."""
    record = await planned(parts, sample)
    await finish(parts.work, record.id)
    parts.db.skew_ms -= HOUR_MS
    for _ in range(7):
        await finish(parts.work, record.id)
        parts.db.skew_ms += STALLED_MS // 6
    await finish(parts.work, record.id)
    assert await parts.db.execute("HGET", f"{{a:{record.id}}}:v:{record.id}", "stalled")


async def test_it_ends_when_the_clock_says_so(parts: Container, sample: dict[str, Any]):
    """Neither an hour early, by how long it was told, nor late; then it has ended, though the clock is set back once more."""
    record = await planned(parts, sample, expires=ends(0.5))
    await finish(parts.work, record.id)
    parts.db.skew_ms -= HOUR_MS
    for _ in range(3):
        await finish(parts.work, record.id)
        parts.db.skew_ms += HOUR_MS // 3
    lease = await lease_of(parts.work, record.id, "push")
    assert lease is not None
    rev = await parts.alerts.rev(record.id)
    assert await parts.work.goes_on(lease, rev)
    parts.db.skew_ms += HOUR_MS // 2
    assert not await parts.work.goes_on(lease, rev)
    await worker_of(parts)._expire()
    parts.db.skew_ms -= HOUR_MS
    assert await parts.alerts.state(record.id) is AlertState.EXPIRED
    await silence(parts.db, record.id)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record) == {"expired": PEOPLE}


async def test_a_clock_that_is_put_right_again_hastens_nothing(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Back by an hour and forward again: a pace of one a minute stays that."""
    record = await planned(parts, sample, policy={"pace_per_min": 1})
    for told in range(1, 4):
        await send(parts, record)
        assert sandbox.push.recorded.total == told
        parts.db.skew_ms -= HOUR_MS
        await send(parts, record)
        parts.db.skew_ms += HOUR_MS + 1_000
        await send(parts, record)
        assert sandbox.push.recorded.total == told
        parts.db.skew_ms += 60_000


async def test_who_was_told_hears_at_once_that_it_was_restricted(parts: Container, sample: dict[str, Any]):
    """The names are taken off their screens as soon as what is on its way has had the time to arrive."""
    record = await planned(parts, sample)
    await send(parts, record)
    parts.db.skew_ms -= HOUR_MS
    version = (await parts.amendment.restrict(record.id, ANA, "found")).told_by
    planner = worker_of(parts).plans.planner
    async with asyncio.timeout(30):
        while not await planner.plan(await parts.alerts.get(version)):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.1)
    await send(parts, record)
    assert await counts(parts, await parts.alerts.get(version)) == {"accepted": PEOPLE}


async def test_what_begins_after_the_step_is_not_hurried(parts: Container, sample: dict[str, Any]):
    """Its chain's clock is not ahead: what is on its way has the time to arrive before the names are taken off the screens."""
    parts.db.skew_ms -= HOUR_MS
    record = await planned(parts, sample)
    assert await lease_of(parts.work, record.id, "push")
    version = (await parts.amendment.restrict(record.id, ANA, "found")).told_by
    assert not await worker_of(parts).plans.planner.plan(await parts.alerts.get(version))


async def test_an_end_can_still_be_put_off(parts: Container, sample: dict[str, Any]):
    """Half an hour before its end, which the clock's step brings no nearer."""
    record = await planned(parts, sample, expires=ends(0.5))
    await send(parts, record)
    parts.db.skew_ms -= HOUR_MS
    for _ in range(4):
        await finish(parts.work, record.id)
        parts.db.skew_ms += HOUR_MS // 4
    await parts.amendment.extend(record.id, BEA, datetime.now(UTC) + timedelta(hours=3), "still missing")


async def test_late_reports_are_told_of_a_minute_later(parts: Container, sample: dict[str, Any]):
    """Not an hour and a minute."""
    record = await planned(parts, sample)
    await send(parts, record)
    parts.db.skew_ms -= HOUR_MS
    await parts.work.receipt(record.id, 0, "push", State.DELIVERED, 0, (State.ACCEPTED,))
    assert await parts.events.leads()
    await parts.events.bring()
    parts.db.skew_ms += RECEIPTS_MS + 1_000
    await parts.events.bring()
    found = await parts.events.read_page("default", None, 1_000)
    assert "alert.receipts" in [json.loads(event)["type"] for _, event in found.events]
