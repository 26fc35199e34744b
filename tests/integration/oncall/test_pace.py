"""A pace: so many messages a minute and no more, as many calls as a hotline can take."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from alertd.model.alert import Policy, Target
from alertd.model.states import State
from alertd.service.areas.targeting import paced_s, ring_paces
from alertd.service.container import Container
from alertd.service.delivery.planner import Planner
from alertd.store.delivery.work_records import BatchKey, Pace, Settlement, When, pack_ref
from alertd.store.engine import keys
from channels.sandbox import Sandbox
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, SEVILLA, counts, lease_of, over, planned, register, send, submitted, yes
from tests.integration.delivery.deferrals import asleep

MINUTE_MS = 60_000
ONE_A_MINUTE = {"pace_per_min": 1}
PEOPLE = 20  # as few as may be told


async def test_a_pace_lets_so_many_go_a_minute(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """One a minute from the approval on, until everyone was told once."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample, policy=ONE_A_MINUTE)
    for told in range(1, PEOPLE + 1):
        await send(parts, record)
        assert sandbox.push.recorded.total == told
        parts.db.skew_ms += MINUTE_MS
    assert await over(parts, record)
    assert await counts(parts, record) == {"accepted": PEOPLE}
    assert len({address for _, _, address, *_ in sandbox.push.recorded}) == PEOPLE


async def test_what_waited_through_a_pause_does_not_come_at_once(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """After an hour in which nothing went the next goes, and the one after it a minute later."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample, policy=ONE_A_MINUTE)
    await send(parts, record)
    await parts.stop_control.pause(record, ANA, waits=True, rev=None)
    parts.db.skew_ms += 60 * MINUTE_MS
    await send(parts, record)
    assert sandbox.push.recorded.total == 1
    await parts.stop_control.pause(record, BEA, waits=False, rev=None)
    for told in (2, 3):
        await send(parts, record)
        await send(parts, record)
        assert sandbox.push.recorded.total == told
        parts.db.skew_ms += MINUTE_MS


async def test_no_number_of_batches_that_wait_for_their_pace_hides_a_retry(parts: Container, sample: dict[str, Any]):
    """All of them are due after an hour's pause, before the one message that is to be tried again."""
    await register(parts, PEOPLE)
    record = (await submitted(parts, sample)).record
    await parts.approval.approve(record.id, BEA)
    refs, paced = [pack_ref(number + 1, 0) for number in range(PEOPLE)], BatchKey(channel="push", language="es")
    when = When(paces={0: Pace("all", 10)})
    for cursor in range(600):
        assert await parts.work.plan(record.id, cursor, cursor + 1, [(paced, refs[0])], last=False, when=when) == "ok"
    other = BatchKey(channel="push", language="es", ring=1)
    assert await parts.work.plan(record.id, 600, 601, [(other, refs[1])], last=True) == "ok"
    first, lease = [await lease_of(parts.work, record.id, "push") for _ in range(2)]
    assert (first.rows, lease.rows) == ([0], [600])
    await parts.work.gate(lease, [], [600], 1)
    parts.db.skew_ms += 70 * MINUTE_MS
    await parts.work.end(lease, [Settlement(600, State.QUEUED, 0, 1, delay_ms=1)], [])
    parts.db.skew_ms += 1_000
    assert [(await lease_of(parts.work, record.id, "push")).rows for _ in range(2)] == [[1], [600]]
    parts.db.skew_ms += 6_000
    assert (await lease_of(parts.work, record.id, "push")).rows == [2]


async def test_who_is_told_in_the_morning_is_told_at_the_pace(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Whatever brought them back into the queue: the hotline is called by no more than it can take."""
    parts.clock = Later()
    await register(parts, PEOPLE, **asleep(1))
    record = await planned(parts, sample, policy=ONE_A_MINUTE)

    def minutes(count: int) -> None:
        parts.clock.ahead_ms += count * MINUTE_MS
        parts.db.skew_ms += count * MINUTE_MS

    for _ in range(PEOPLE):
        await send(parts, record)
        minutes(1)
    assert await counts(parts, record) == {"queued": PEOPLE}
    minutes(61 - PEOPLE)
    for told in range(1, PEOPLE + 1):
        await send(parts, record)
        assert sandbox.push.recorded.total == told
        assert not await over(parts, record) or told == PEOPLE
        minutes(1)
    assert await counts(parts, record) == {"accepted": PEOPLE}


async def test_all_channels_share_a_pace(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Who answers the hotline does not care what way the message went."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample, policy=ONE_A_MINUTE, channels=["push", "mail"])
    for told in range(1, 5):
        for channel in ("mail", "push"):
            await send(parts, record, channel)
        assert sandbox.push.recorded.total + sandbox.mail.recorded.total == told
        parts.db.skew_ms += MINUTE_MS


async def test_a_ring_of_its_own_pace_slows_no_other(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Those near are told at once, those further out one a minute."""
    await register(parts, PEOPLE)
    await register(parts, 3, first=PEOPLE, places={"home": {"point": [SEVILLA[0], 37.57]}})
    near, far = {"center": list(SEVILLA), "radius_km": 5}, {"center": list(SEVILLA), "radius_km": 30, **ONE_A_MINUTE}
    record = await planned(parts, sample, target={"rings": [far, near]})
    for told in range(PEOPLE + 1, PEOPLE + 4):
        await send(parts, record)
        assert sandbox.push.recorded.total == told
        parts.db.skew_ms += MINUTE_MS


async def test_a_planner_that_resumes_goes_on_behind_the_last(parts: Container, sample: dict[str, Any]):
    """However often a plan is left, each batch has ten seconds' worth and a turn of its own."""
    await register(parts, 25)
    taken = await submitted(parts, sample, policy={"pace_per_min": 30})
    record = await parts.approval.approve(taken.record.id, BEA)
    planner = Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=(5, 10))
    while not await planner.plan(record, yes):
        record = await parts.alerts.get(record.id)
    waiting = await parts.db.execute("ZRANGE", keys.of_chain(record.id, "delayed", "push"), 0, -1, "WITHSCORES")
    turns = [float(score) for _, score in waiting]
    assert [after - turn for turn, after in pairwise(turns)] == [10_000] * 4
    headers = await parts.db.hash_of(keys.of_chain(record.id, "batches", record.id))
    assert [int(header.split()[-1]) for header in headers.values()] == [5] * 5


async def test_whoever_was_told_hears_of_a_change_at_once(parts: Container, sample: dict[str, Any]):
    """A correction is not slowed by the pace of what it corrects."""
    await register(parts, PEOPLE)
    taken = await submitted(parts, sample, policy=ONE_A_MINUTE)
    record = await parts.approval.approve(taken.record.id, BEA)
    refs = b"".join(pack_ref(number, 1) for number in range(1, PEOPLE + 1))
    again = BatchKey(channel="push", language="es", again=True)
    when = When(paces={0: Pace("all", 1)})
    assert await parts.work.plan(record.id, 0, PEOPLE, [(again, refs)], last=True, when=when) == "ok"
    lease = await lease_of(parts.work, record.id, "push")
    assert lease is not None
    assert len(lease.rows) == PEOPLE


@pytest.mark.parametrize(
    ("policy", "of_rings", "seconds"),
    [
        (None, [None], {}),
        (30, [], {0: 20}),
        (30, [60, None], {0: 60, 1: 20, 2: 60}),  # 10 of the rest and 20 of the second share the policy's
        (None, [60, None], {1: 20}),
    ],
)
def test_what_a_pace_takes_is_known_before(policy: int | None, of_rings: list[int | None], seconds: dict[int, float]):
    """A ring without a pace of its own shares the policy's with all that have none."""
    ring = {"center": SEVILLA, "radius_km": 5}
    target = Target(
        regions=("41091",),
        rings=tuple({**ring, "pace_per_min": pace} for pace in of_rings),  # type: ignore[arg-type]
    )
    found = ring_paces(target, Policy(pace_per_min=policy))
    assert paced_s(found, dict(enumerate([10, 20, 20][: len(of_rings) + 1]))) == seconds
