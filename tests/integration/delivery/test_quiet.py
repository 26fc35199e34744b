"""Quiet hours: who sleeps is told in the morning of what is not loud, and only of how it stands then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from alertd.model.kinds import Notify
from alertd.model.registration import PushAddress
from alertd.model.states import CHANNELS, AlertState
from alertd.model.subscriber import to_document
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.people.dead_addresses import Dead
from alertd.service.people.registration_intake import parse_registration
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.scripts import STALLED_MS
from alertd.store.people.spots import Change
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.clocks import Later
from tests.integration.acts import (
    ANA,
    BEA,
    alert_of,
    counts,
    explained,
    lease_of,
    over,
    planned,
    register,
    send,
    texted,
    told,
)
from tests.integration.delivery.deferrals import asleep

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
async def people(parts: Container) -> None:
    """20 who are awake and 10 who sleep for two hours more."""
    parts.clock = Later()
    await register(parts, 20)
    await register(parts, 10, first=20, **asleep())


def pass_time(parts: Container, ms: int) -> None:
    assert isinstance(parts.clock, Later)
    parts.clock.ahead_ms += ms
    parts.db.skew_ms += ms


async def told_of(parts: Container, record: AlertRecord, version: str) -> dict[str, int]:
    """What came of a version of it, a minute later."""
    pass_time(parts, 60_000)
    notice = await parts.alerts.get(version)
    assert await worker_of(parts).plans.planner.plan(notice)
    await send(parts, record)
    return await counts(parts, notice)


async def test_whose_quiet_hours_begin_while_a_slow_carrier_has_them_is_let_sleep(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Of a chunk most is not written yet where a carrier takes a second for each."""
    begin = datetime.fromtimestamp(parts.clock.now_ms() / 1000, UTC).replace(second=0, microsecond=0) + timedelta(
        minutes=30
    )
    hours = {"from": f"{begin:%H:%M}", "to": f"{begin + timedelta(hours=1):%H:%M}"}
    await register(parts, 200, time_zone="UTC", quiet=hours)
    sandbox.sms.script.set(Rule("", "slow", delay_s=1.0))
    record = await planned(parts, sample, channels=["sms"])
    pass_time(parts, int(begin.timestamp() * 1000) - parts.clock.now_ms() - 2_500)
    await send(parts, record, "sms")
    found = await counts(parts, record, "sms")
    assert 0 < found["accepted"] == len(texted(sandbox)) < 150
    assert found["accepted"] + found["queued"] == 200


async def test_who_sleeps_is_told_when_their_quiet_hours_end(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Nobody of them a second before, everybody after, once; the wait is no stall, no attempt, and is explained."""
    record = await planned(parts, sample)
    await send(parts, record)
    assert told(sandbox) == [*range(20)]
    assert await counts(parts, record) == {"accepted": 20, "queued": 10}
    (message,) = (await explained(parts, "p20", record)).messages
    assert (message.state, message.reason, message.attempts) == ("queued", "quiet_hours", 0)
    for _ in range(2):
        pass_time(parts, STALLED_MS + 1)
        assert not await over(parts, record)
    assert await parts.db.execute("HGET", f"{{a:{record.id}}}:v:{record.id}", "stalled") is None
    pass_time(parts, HOUR_MS)
    await send(parts, record)
    assert told(sandbox) == [*range(20)]
    pass_time(parts, HOUR_MS)
    await send(parts, record)
    assert told(sandbox) == [*range(30)]
    assert await counts(parts, record) == {"accepted": 30}
    assert await over(parts, record)


async def test_what_is_loud_wakes_everybody(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """A child's life is worth a night's sleep."""
    loud = await planned(parts, sample, level="child-alert")
    await send(parts, loud)
    assert told(sandbox) == [*range(30)]
    assert await counts(parts, loud) == {"accepted": 30}


async def test_only_the_newest_version_is_told_in_the_morning(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """What waited of an alert that was updated meanwhile is not sent: the update is, once."""
    record = await planned(parts, sample)
    await send(parts, record)
    taken = await parts.update_proposals.submit(record.id, alert_of(sample, level="appeal"), Notify.FULL, ANA)
    update = await parts.approval.approve(taken.record.id, BEA)
    assert await over(parts, await parts.alerts.get(record.id))
    pass_time(parts, 60_000)
    assert await worker_of(parts).plans.planner.plan(update)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 20, "cancelled": 10}
    assert await counts(parts, update) == {"accepted": 20, "queued": 10}
    pass_time(parts, 2 * HOUR_MS)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 30}
    versions = {address: version for _, version, address, *_ in sandbox.push.recorded if address == "token-25"}
    assert versions == {"token-25": update.id}


async def test_an_alert_that_ends_in_the_night_wakes_nobody(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Whoever slept through it is not told of it, and the ledger says why."""
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    record = await planned(parts, sample, expires=ends)
    await send(parts, record)
    pass_time(parts, HOUR_MS + 1_000)
    await parts.alerts.step(record.id, AlertState.EXPIRED)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record) == {"accepted": 20, "expired": 10}
    (message,) = (await explained(parts, "p20", record)).messages
    assert (message.state, message.reason) == ("expired", "quiet_hours")
    assert told(sandbox) == [*range(20)]


@pytest.mark.parametrize("act", ["stand down", "restrict"])
async def test_what_takes_a_name_off_a_sleeper_s_phone_does_not_wait(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], act: str
):
    """An end, and a restriction, takes the alert's place on phones at once, whoever sleeps: it does not wait with the name still there."""
    loud = await planned(parts, sample, level="child-alert")
    await send(parts, loud)
    done = {"stand down": parts.follow_ups.stand_down, "restrict": parts.amendment.restrict}[act]
    followed = await done(loud.id, ANA, "found")
    assert await told_of(parts, loud, followed.told_by) == {"accepted": 30}


@pytest.mark.parametrize("followed_by", ["", "stand down"])
async def test_a_busy_carrier_is_asked_each_minute_for_what_rings_and_what_takes_a_name_away(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], followed_by: str
):
    """A dozen refusals of one phone are a dozen minutes: nobody waits ten for the next try, with the child in danger or the name still there."""
    record = await planned(parts, sample, level="child-alert")
    if followed_by:
        await send(parts, record)
        notice = await parts.alerts.get((await parts.follow_ups.stand_down(record.id, ANA, "found")).told_by)
        pass_time(parts, 60_000)
        assert await worker_of(parts).plans.planner.plan(notice)
    told_by = notice if followed_by else record
    sandbox.push.script.set(Rule("token-3", "unavailable", times=12))
    await send(parts, record)
    assert (await counts(parts, told_by))["queued"] == 1
    for _ in range(12):
        pass_time(parts, 61_000)
        await send(parts, record)
    assert await counts(parts, told_by) == {"accepted": 30}


async def test_what_waits_for_the_morning_lives_as_long_as_its_alert(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """The alert's end is put off while they sleep, to whom its return is still to be told."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    loud = await planned(parts, sample, level="child-alert", expires=ends.isoformat())
    await send(parts, loud)
    down = (await parts.follow_ups.stand_down(loud.id, ANA, "found")).told_by
    await told_of(parts, loud, down)
    back = (await parts.follow_ups.reopen(loud.id, BEA, "not her")).told_by
    assert await told_of(parts, loud, back) == {"accepted": 20, "queued": 10}
    await parts.amendment.extend(loud.id, BEA, ends + timedelta(hours=10), "still missing")
    pass_time(parts, 2 * HOUR_MS)
    for alert_id in (loud.id, back):
        await worker_of(parts).ending.expire(alert_id)
    await send(parts, loud)
    assert await counts(parts, await parts.alerts.get(back)) == {"accepted": 30}


async def test_a_try_that_comes_due_in_the_night_waits_for_the_morning(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """What was planned in the day and given back is looked at again when it is taken again."""
    record = await planned(parts, sample)
    person = await parts.registry.get("p3")
    lease = await lease_of(parts.work, record.id, "push", parts.carriers.held("push"))
    await parts.work.end(lease, [], lease.rows)
    await parts.registry.patch(person.id, asleep(1))
    pass_time(parts, 1_000)
    await send(parts, record)
    assert told(sandbox) == [i for i in range(20) if i != 3]


@pytest.mark.parametrize("way", ["put", "patch"])
async def test_who_changes_their_phone_in_the_night_is_told_in_the_morning(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], way: str
):
    """The new token comes with the whole registration, as apps give it: it is told once, and the old one is not."""
    record = await planned(parts, sample)
    await send(parts, record)
    document = to_document(await parts.registry.get("p20"))
    document["addresses"][0] = {"channel": "push", "token": "token-120"}
    if way == "put":
        await parts.registry.put("p20", parse_registration(document))
    else:
        await parts.registry.patch("p20", {"addresses": document["addresses"]})
    pass_time(parts, 2 * HOUR_MS + 60_000)
    await send(parts, record)
    assert told(sandbox) == [*range(20), *range(21, 30), 120]
    assert await counts(parts, record) == {"accepted": 30}


@pytest.mark.parametrize("way", ["whole", "address"])
async def test_whose_dead_phone_comes_back_with_another_token_is_told_in_the_morning(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], way: str
):
    """The old token was dead before the new one came, in a call of its own: what waits goes to the new one."""
    record = await planned(parts, sample)
    await send(parts, record)
    person = await parts.registry.get("p20")
    assert await parts.dead_addresses.gone([Dead(person.number, 0, "token-20")]) == 1
    if way == "whole":
        fresh = {**to_document(person), "addresses": [{"channel": "push", "token": "token-120"}]}
        await parts.registry.put("p20", parse_registration(fresh))
    else:
        await parts.registry.put_address("p20", 0, PushAddress(channel="push", token="token-120"))
    pass_time(parts, 2 * HOUR_MS + 60_000)
    await send(parts, record)
    assert told(sandbox) == [*range(20), *range(21, 30), 120]
    assert await counts(parts, record) == {"accepted": 30}


async def test_who_leaves_in_the_night_is_not_told_in_the_morning(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Erased, a phone given up for another place, no consent any more, STOP: nobody of them, and none is lost for it."""
    record = await planned(parts, sample)
    await send(parts, record)
    await parts.registry.forget("p20")
    await parts.registry.drop_address("p21", 0)
    await parts.registry.patch("p22", {"kinds": ["general"]})
    await parts.suppression.stop([(CHANNELS.index("push"), "token-23")])
    await parts.registry.patch("p24", {"time_zone": "Pacific/Kiritimati", "quiet": None})
    pass_time(parts, 2 * HOUR_MS + 60_000)
    await send(parts, record)
    assert told(sandbox) == [*range(20), *range(24, 30)]
    assert await counts(parts, record) == {"accepted": 26, "suppressed": 4}


async def test_whose_time_zone_is_not_known_here_is_told(parts: Container, sample: dict[str, Any]):
    """Nobody knows whether they sleep, and those who are told with them do not wait for them."""
    person = await parts.registry.get("p25")
    wanted = replace(person, version=person.version + 1, time_zone="Nowhere/Else")
    await parts.registry._written.one(Change(person, wanted))
    record = await planned(parts, sample)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 21, "queued": 9}
