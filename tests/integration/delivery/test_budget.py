"""The budget of SMS: foreseen where an alert is approved, hard where it is sent, and exceeded only by somebody who says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.clock import DAY_MS
from alertd.common.errors import Problem
from alertd.config.sections import BudgetSection
from alertd.runtime.worker import worker_of
from alertd.service.access import Credential
from alertd.service.alerts.later_audience import SETTLE_MS
from alertd.service.container import Container
from alertd.service.delivery.deferral import ASK_AGAIN_S
from alertd.store.carriers.limits import Budgets
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection, StoreUnavailableError
from alertd.store.engine.scripts import STALLED_MS
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import BEA, counts, finish, lease_of, planned, register, send, slug, submitted
from tests.integration.alerts.updates import updated
from tests.integration.delivery.deferrals import NOON, Noon, limited

SMS = {"channels": ["sms"]}
PEOPLE, MORE = 30, 400
APPROVER = Credential(key_id="d", org="default", subject="dora@centre.example", scopes=frozenset({"alerts:approve"}))


@dataclass
class Midnight(Noon):
    """It passes while the carrier is asked."""

    sandbox: Sandbox

    def now_ms(self) -> int:
        return super().now_ms() + DAY_MS * bool(self.sandbox.sms.recorded.total)


async def segments(parts: Container, sample: dict[str, Any]) -> int:
    """What the sample alert's message has for each of them."""
    limited(parts, alert_segments=10**9)
    record = (await submitted(parts, sample, **SMS)).record
    await parts.approval.approve(record.id, BEA)
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(record.id))
    await send(parts, await parts.alerts.get(record.id), "sms")
    spent, day = await Budgets(parts.db).spent("default", record.id, NOON.now_ms())
    assert spent == day
    assert spent % PEOPLE == 0
    return spent // PEOPLE


@pytest.fixture(autouse=True)
async def people(parts: Container) -> None:
    await register(parts, PEOPLE)


async def test_what_would_surely_cost_more_is_not_approved(parts: Container, sample: dict[str, Any]):
    """It says how much it would be and how much is left; who may exceed it says why, and it goes."""
    each = await segments(parts, sample)
    await register(parts, MORE, first=PEOPLE)  # an estimate of fewer than 100 costs nothing yet
    limited(parts, day_segments=PEOPLE * each + 10)
    record = (await submitted(parts, sample, **SMS)).record
    with pytest.raises(Problem) as refused:
        await parts.approval.approve(record.id, BEA)
    assert (refused.value.slug, refused.value.extra["left"]) == ("over-budget", 10)
    assert MORE / 2 <= refused.value.extra["needed"] <= 2 * MORE * each  # in the language in which it is shortest
    with pytest.raises(Problem) as forbidden:
        await parts.approval.approve(record.id, APPROVER, overspend="a child")
    assert forbidden.value.slug == "not-allowed"
    approved = await parts.approval.approve(record.id, BEA, overspend="The child is in danger of life.")
    assert await worker_of(parts).plans.planner.plan(approved)
    await send(parts, approved, "sms")
    assert await counts(parts, approved, "sms") == {"accepted": PEOPLE + MORE}


async def test_what_is_spent_stops_at_the_limit_and_goes_on_when_there_is_more(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Not one SMS more than may be, the rest waits with its reason; what was not taken is not paid for; a word sends the rest."""
    each = await segments(parts, sample)
    limited(parts, alert_segments=PEOPLE * each)
    record = (await submitted(parts, sample, **SMS)).record
    approved = await parts.approval.approve(record.id, BEA)
    limited(parts, alert_segments=20 * each + 1)
    assert await worker_of(parts).plans.planner.plan(approved)
    sandbox.sms.script.set(Rule("+34600000003", "bad-message", times=1))
    await send(parts, approved, "sms")
    found = await counts(parts, approved, "sms")
    assert (found["queued"], found["accepted"]) == (10, 19)
    parts.db.skew_ms += int(1000 * ASK_AGAIN_S) + 1_000
    await send(parts, approved, "sms")
    assert (await counts(parts, approved, "sms"))["accepted"] == 20
    (message,) = [
        one
        for one in [one async for one in parts.reports.deliveries(approved)]
        if one.state == "queued" and one.attempts == 0
    ][:1]
    assert message.reason == "over_budget"
    for _ in range(2):
        parts.db.skew_ms += STALLED_MS
        await finish(parts.work, record.id)
    assert await parts.db.execute(
        "HEXISTS", keys.of_chain(record.id, "version", record.id), "stalled"
    )  # somebody must decide
    await parts.approval.approve(record.id, BEA, overspend="Found nowhere yet.")
    parts.db.skew_ms += int(1000 * ASK_AGAIN_S) + 1_000
    await send(parts, approved, "sms")
    assert (await counts(parts, approved, "sms"))["accepted"] == 29


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_whoever_was_told_hears_the_end_whatever_is_left(parts: Container, sample: dict[str, Any], how: str):
    """It counts, and is held for nobody: the alert was worth its SMS, and a name stays on no phone for want of money."""
    each = await segments(parts, sample)
    limited(parts, alert_segments=PEOPLE * each + 3)
    record = await planned(parts, sample, **SMS)
    await send(parts, record, "sms")
    done = await getattr(parts.follow_ups, how)(record.id, BEA, "found")
    parts.db.skew_ms += SETTLE_MS
    end = await parts.alerts.get(done.told_by)
    assert await worker_of(parts).plans.planner.plan(end)
    await send(parts, record, "sms")
    assert await counts(parts, end, "sms") == {"accepted": PEOPLE}
    spent, _ = await Budgets(parts.db).spent("default", record.id, NOON.now_ms())
    assert spent > PEOPLE * each + 3


async def test_an_update_is_held_as_its_alert_is(parts: Container, sample: dict[str, Any]):
    """It may be for thousands more than were told before."""
    each = await segments(parts, sample)
    record = await planned(parts, sample, **SMS)
    await send(parts, record, "sms")
    update = await updated(parts, record, sample, **SMS)
    limited(parts, alert_segments=PEOPLE * each + 3)
    await send(parts, record, "sms")
    found = await counts(parts, update, "sms")
    assert (found["queued"], found.get("accepted", 0)) in {(PEOPLE, 0), (PEOPLE - 1, 1)}


async def test_what_is_refused_lifts_no_limit(parts: Container, sample: dict[str, Any]):
    """The next who approves needs a word of their own, and the scope for it."""
    each = await segments(parts, sample)
    await register(parts, MORE, first=PEOPLE)
    limited(parts, alert_segments=3 * each)
    record = (await submitted(parts, sample, **SMS)).record
    assert await slug(parts.approval.approve(record.id, BEA, people=5_000, overspend="a child")) == "audience-changed"
    assert await slug(parts.approval.approve(record.id, APPROVER)) == "over-budget"


async def test_nothing_is_paid_for_who_cannot_be_sent_to(parts: Container, sample: dict[str, Any]):
    """Who has left since the plan takes nobody's place: as many are told as may be, and that many are paid for."""
    each = await segments(parts, sample)
    limited(parts, alert_segments=20 * each)
    record = await planned(parts, sample, **SMS)
    for i in range(0, PEOPLE, 3):
        await parts.registry.forget(f"p{i}")
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 20, "suppressed": 10}
    spent, _ = await Budgets(parts.db).spent("default", record.id, NOON.now_ms())
    assert spent == 20 * each


async def test_what_did_not_go_is_given_back_to_the_day_that_paid(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Midnight comes while they are sent: the new day has what it may have, and not one SMS more."""
    each = await segments(parts, sample)
    sandbox.sms.recorded.clear()
    limited(parts, clock=Midnight(sandbox), day_segments=1000 * each)
    sandbox.sms.script.set(Rule("+34600000003", "bad-message", times=1))
    record = await planned(parts, sample, **SMS)
    await send(parts, record, "sms")
    budgets = Budgets(parts.db)
    assert await budgets.spent("default", record.id, NOON.now_ms()) == ((PEOPLE - 1) * each, (2 * PEOPLE - 1) * each)
    assert await budgets.spent("default", record.id, NOON.now_ms() + DAY_MS) == ((PEOPLE - 1) * each, 0)


class Leaving(Connection):
    """A store that is away whenever SMS are given back."""

    left = 0

    async def run(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        if name == "spend" and int(args[0]) < 0:
            self.left += 1
            raise StoreUnavailableError
        return await super().run(name, names, *args)


async def test_a_store_that_leaves_once_they_are_sent_sends_nobody_a_second(
    parts: Container, redis: Redis, sandbox: Sandbox, sample: dict[str, Any]
):
    """What was answered is settled though what was not taken cannot be given back: that counts as spent."""
    leaving = Leaving(redis, parts.db.codec)
    limited(parts, leaving, alert_segments=10**9)
    sandbox.sms.script.set(Rule("+34600000003", "bad-message", times=1))
    record = await planned(parts, sample, **SMS)
    lease = await lease_of(parts.work, record.id, "sms", parts.carriers.held("sms"))
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    assert leaving.left == 1
    assert await counts(parts, record, "sms") == {"accepted": PEOPLE - 1, "failed": 1}
    assert await send(parts, record, "sms") == 0
    assert sandbox.sms.recorded.counts()["doubled"] == 0


def test_a_limit_of_money_is_one_of_segments():
    """The narrower of both holds, and money without a price is refused."""
    assert BudgetSection(alert_segments=100, alert_cost=5, segment_price=0.04).most == (100, 0)
    assert BudgetSection(alert_cost=5, day_cost=7, segment_price=0.07).most == (71, 100)
    with pytest.raises(ValueError, match="segment_price"):
        BudgetSection(alert_cost=5)


async def test_without_a_limit_nothing_is_counted(parts: Container, sample: dict[str, Any]):
    """By default a child costs what it costs, and nothing is written for it."""
    record = (await submitted(parts, sample, **SMS)).record
    approved = await parts.approval.approve(record.id, BEA)
    assert await worker_of(parts).plans.planner.plan(replace(approved))
    await send(parts, approved, "sms")
    assert await parts.db.execute("KEYS", "{o:*:spent:*") == []
