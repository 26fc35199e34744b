"""Workers at a text message centre that counts binds: who has none leaves the messages to who has, and speaks ill of no carrier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.config.carriers import SmppCarrier, TwilioCarrier
from alertd.config.settings import Settings
from alertd.model.states import AlertState
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.carriers.health import NOBODY
from alertd.service.container import Container
from alertd.store.carriers.limits import FAILURES
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.engine.heartbeats import BOUND_MS
from alertd.store.engine.heartbeats import bound as bound_of
from channels.sandbox import Sandbox
from channels.sandbox.smsc import PASSWORD, SENDER, SYSTEM_ID, Habits, SmscSandbox
from geofences.regions import Library
from tests.integration.acts import BEA, counts, lease_of, planned, register, send, silence, submitted, working
from tests.integration.carriers.binds import answers, bind_of
from tests.waiting import until

PEOPLE, ALERTS = 20, 8
SLOW = {"rate": 0.05, "burst": 1}  # takes one message, and the next after a minute


@pytest.fixture
async def centre() -> AsyncIterator[SmscSandbox]:
    """A centre that allows one bind."""
    running = SmscSandbox(None, Habits(receipts=False, binds=1))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def process(redis: Redis, codec: Codec, centre: SmscSandbox, library: Library) -> Callable[..., Any]:
    """Opens a process over the store, which the centre has let in, or refused, when it is there."""

    @asynccontextmanager
    async def running(**carriers: TwilioCarrier) -> AsyncIterator[Container]:
        section = SmppCarrier(
            kind="smpp", host="127.0.0.1", port=centre.port, tls=False, system_id=SYSTEM_ID, password=PASSWORD,
            sender=SENDER, rate=0 if carriers else 200, burst=None if carriers else 20, on_unknown="resend" if carriers else "hold",
        )  # fmt: skip
        settings = Settings(carriers={"centre": section, **carriers})
        async with opened(settings, redis, codec, library=library) as parts:
            await until(lambda: bind_of(parts).is_bound or bind_of(parts).down)
            yield parts

    return running


def text_of(sandbox: Sandbox, **limits: float) -> TwilioCarrier:
    """Another carrier of SMS."""
    sms = sandbox.endpoints["sms"]
    return TwilioCarrier(
        kind="twilio", account=sms["account"], password=sms["secret"], sender=sms["sender"], endpoint=sms["endpoint"],
        ca_file=sms["ca_file"], **limits,
    )  # fmt: skip


async def approved(parts: Container, sample: dict[str, Any]) -> list[str]:
    """Alerts to everybody by SMS."""
    taken = [await submitted(parts, sample, channels=["sms"]) for _ in range(ALERTS)]
    return [(await parts.approval.approve(one.record.id, BEA)).id for one in taken]


def sent(parts: Container, alert_ids: Sequence[str]) -> Callable[[], Awaitable[bool]]:
    async def are_sent() -> bool:
        return set(await parts.alerts.states(alert_ids)) == {AlertState.SENT}

    return are_sent


async def test_who_is_not_bound_takes_nothing(process: Any, centre: SmscSandbox, sample: dict[str, Any]):
    """Of two workers one is bound: it tells everybody and leads, and the other tries nothing, by which a carrier would rest for both."""
    async with process() as one, process() as two:
        await register(one, PEOPLE)
        async with working(one, two):
            alert_ids = await approved(one, sample)
            await until(sent(one, alert_ids))
            assert await one.events.leads()
        assert answers(one)["accepted", "none"] == PEOPLE * ALERTS
        assert answers(two) == {}
        assert await one.limits.open_breakers(["centre"]) == {"centre": False}
        assert centre.recorded.total == PEOPLE * ALERTS


async def test_the_other_takes_over(process: Any, centre: SmscSandbox, sample: dict[str, Any]):
    """When the bound one ends in mid-alert the other is let in, and tells the rest; nobody is told twice."""
    async with AsyncExitStack() as first:
        one = await first.enter_async_context(process())
        async with process() as two, working(two):
            await register(two, PEOPLE)
            await first.enter_async_context(working(one))
            alert_ids = await approved(two, sample)
            await until(lambda: centre.recorded.total > PEOPLE)
            await first.aclose()
            told = centre.recorded.total
            assert told < PEOPLE * ALERTS
            await until(sent(two, alert_ids))
            assert answers(two)["accepted", "none"] == PEOPLE * ALERTS - told
            assert not {answer for answer, _ in answers(two)} & {"retry", "never", "unknown"}
            assert centre.recorded.total == PEOPLE * ALERTS


async def test_a_bind_that_is_lost_in_mid_alert(process: Any, centre: SmscSandbox, sample: dict[str, Any]):
    """Whichever of them is let in next: what was not written is told by it, what was is unknown, and nothing is stuck."""
    async with process() as one, process() as two:
        await register(one, PEOPLE)
        async with working(one, two):
            alert_ids = await approved(one, sample)
            await until(lambda: centre.recorded.total > PEOPLE)
            centre.links[0].cut()
            bind_of(two).soon()
            await until(sent(one, alert_ids))
        found = [(await one.work.counts(alert_id))["sms"] for alert_id in alert_ids]
        assert sum(of.get("accepted", 0) + of.get("unknown", 0) for of in found) == PEOPLE * ALERTS
        assert centre.recorded.total <= PEOPLE * ALERTS


async def test_where_nobody_is_bound_the_carrier_fails(process: Any, centre: SmscSandbox, sample: dict[str, Any]):
    """As any that does not work: it is tried and rests, the messages wait for it, and are told when it lets somebody in."""
    centre.habits.binds = 0
    async with process() as parts:
        await register(parts, FAILURES)
        record = await planned(parts, sample, channels=["sms"])
        worker = worker_of(parts)
        for _ in range(NOBODY - 1):
            assert not worker.health.takes("sms")
            await worker.health.beat()
        assert worker.health.takes("sms")
        lease = await lease_of(parts.work, record.id, "sms", parts.carriers.held("sms"))
        await worker.feeder.dispatch.drain(lease, lambda: False)
        assert await counts(parts, record, "sms") == {"queued": FAILURES}
        assert answers(parts) == {("retry", "credentials"): FAILURES}
        assert await parts.limits.open_breakers(["centre"]) == {"centre": True}
        centre.habits.binds = 1
        bind_of(parts).soon()
        await until(lambda: bind_of(parts).is_bound)
        parts.db.skew_ms += 60_000
        await send(parts, record, "sms")
        assert await counts(parts, record, "sms") == {"accepted": FAILURES}
        assert await parts.limits.open_breakers(["centre"]) == {"centre": False}


async def test_a_reserve_takes_over_where_nobody_is_bound(
    process: Any, centre: SmscSandbox, sandbox: Sandbox, sample: dict[str, Any]
):
    """Not while it may be that somebody is; by then the carrier is known to fail, and it is as with any other."""
    centre.habits.binds = 0
    async with process(text=text_of(sandbox, weight=0)) as parts:
        await register(parts, 2 * FAILURES)
        record = await planned(parts, sample, channels=["sms"])
        async with working(parts):
            await until(sent(parts, [record.id]))
        assert await counts(parts, record, "sms") == {"accepted": 2 * FAILURES}
        assert sandbox.sms.recorded.total == 2 * FAILURES


async def test_nobody_waits_for_a_slow_carrier_that_another_is_bound_beside(
    process: Any, centre: SmscSandbox, sandbox: Sandbox, sample: dict[str, Any]
):
    """Who is not bound sends by another carrier what that takes at once, and gives the rest back to who is."""
    async with process(text=text_of(sandbox, **SLOW)) as one, process(text=text_of(sandbox, **SLOW)) as two:
        await register(one, PEOPLE)
        record = await planned(one, sample, channels=["sms"])
        worker = worker_of(two)
        await worker_of(one).health.beat()
        await worker.health.beat()
        await worker.feeder.dispatch.drain(await lease_of(two.work, record.id, "sms"), lambda: False)
        assert await counts(one, record, "sms") == {"accepted": 1, "queued": PEOPLE - 1}
        assert not worker.health.takes("sms")
        await send(one, record, "sms")
        assert await counts(one, record, "sms") == {"accepted": PEOPLE}
        assert (centre.recorded.total, sandbox.sms.recorded.total) == (PEOPLE - 1, 1)


async def test_what_may_have_arrived_waits_for_who_is_bound(
    process: Any, centre: SmscSandbox, sandbox: Sandbox, sample: dict[str, Any]
):
    """It goes by the carrier that it was given to, whoever has it, and not by another."""
    async with process(text=text_of(sandbox, **SLOW)) as one, process(text=text_of(sandbox, **SLOW)) as two:
        await register(one, PEOPLE)
        record = await planned(one, sample, channels=["sms"])
        lost = await lease_of(one.work, record.id, "sms")
        await one.work.gate(lost, [], lost.rows, one.carriers.named("centre").number)
        await silence(one.db, record.id)
        two.db.skew_ms = one.db.skew_ms
        worker = worker_of(two)
        await worker_of(one).health.beat()
        await worker.health.beat()
        await worker.feeder.dispatch.drain(await lease_of(two.work, record.id, "sms"), lambda: False)
        assert await counts(one, record, "sms") == {"queued": PEOPLE, "doubled": PEOPLE}
        await send(one, record, "sms")
        assert (centre.recorded.total, sandbox.sms.recorded.total) == (PEOPLE, 0)


async def test_a_bind_is_known_for_as_long_as_its_process_says_so(store: Connection):
    """To all, and for a moment more; of another carrier it says nothing."""
    bound = bound_of(store)
    assert await bound.find(["centre"]) == {"centre": False}
    assert await bound.announce({"centre": True, "other": False}) == {"centre": True, "other": False}
    assert await bound.announce({"centre": False, "other": False}) == {"centre": True, "other": False}
    assert 0 < await store.execute("PTTL", keys.bound("centre")) <= BOUND_MS
