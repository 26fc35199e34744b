"""Sending over real carriers: what is settled when, who is removed, what is counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from alertd.model.states import AlertState, State
from alertd.runtime.worker import worker_of
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.retries import FIRST_WAIT_S
from alertd.service.container import Container
from alertd.service.people.dead_addresses import Dead
from alertd.service.people.registration_intake import Entry
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import FAILURES, PROBE_MS, SHORTEST_REST_MS
from alertd.store.delivery.work import Work
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.people.spots import Change
from channels.base import Outcome, Prepared
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import counts, lease_of, planned, register, registration, send, silence, tokens


async def until_settled(parts: Container, record: AlertRecord, accepted: int) -> None:
    async with asyncio.timeout(60):
        while (await counts(parts, record)).get("accepted", 0) < accepted:  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.02)


async def test_answers_are_settled_while_the_carrier_is_waited_for(parts: Container, sandbox: Sandbox, sample: dict):
    """A carrier that asks for an hour's rest leaves nothing in flight meanwhile, and a cancel ends the wait."""
    parts.settings = parts.settings.model_copy(
        update={"worker": parts.settings.worker.model_copy(update={"chunk": 50})}
    )
    await register(parts, 150)
    await send(parts, await planned(parts, sample))  # the connections are there
    sandbox.push.script.set(Rule("token-", "throttle", times=30, retry_after_s=3000))
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    drain = asyncio.create_task(worker_of(parts).feeder.dispatch.drain(lease, lambda: False))
    await until_settled(parts, record, 20)
    assert await counts(parts, record) == {"accepted": 20, "queued": 130}
    assert not drain.done()
    await parts.alerts.step(record.id, AlertState.CANCELLED)
    await asyncio.wait_for(drain, 5)
    assert sum(version == record.id for _, version, *_ in sandbox.push.recorded) == 20


@pytest.mark.parametrize(("channel", "becomes"), [("sms", {"unknown": 25}), ("push", {"accepted": 25, "doubled": 25})])
async def test_what_a_carrier_had_that_is_no_more_is_as_its_channel_has_it(
    parts: Container, sample: dict[str, Any], channel: str, becomes: dict[str, int]
):
    """A worker died with it, and the carrier is not in the settings any more: no other sends a text message again."""
    await register(parts, 25)
    record = await planned(parts, sample, channels=[channel])
    lease = await lease_of(parts.work, record.id, channel)
    await parts.work.gate(lease, [], lease.rows, 99)
    await silence(parts.db, record.id)
    await send(parts, record, channel)
    assert await counts(parts, record, channel) == becomes


async def test_one_recipient_s_limit_stops_nobody_else(parts: Container, sandbox: Sandbox, sample: dict):
    """A carrier that wants an hour's rest for one of a hundred has all the others, and the next alert's."""
    await register(parts, 150)
    sandbox.push.script.set(Rule("token-7", "throttle", times=1, retry_after_s=3600))
    record = await planned(parts, sample)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 149, "queued": 1}
    assert (await parts.limits.take("fcm", 1_000, 1_000, 5, loud=False)).granted == 5


async def test_one_who_is_throttled_again_and_alone_stops_nobody_else(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Their later tries come by themselves: all that is answered then is theirs."""
    await register(parts, 30)
    sandbox.push.script.set(Rule("token-7", "throttle"))
    record = await planned(parts, sample)
    await send(parts, record)
    tried = 0
    for _ in range(8):
        parts.db.skew_ms += 61_000
        if lease := await lease_of(parts.work, record.id, "push"):
            assert lease.tries == [tried + 1]
            await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
            tried += 1
        assert (await parts.limits.take("fcm", 1_000, 1_000, 5, loud=False)).granted == 5
    assert tried > 2


async def test_a_carrier_that_throttles_many_new_recipients_is_paused_and_later_tries_wait_alone(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """So many at once speak of the carrier. Tried again, each of them waits as long as it was told, and nobody else does."""
    await register(parts, 30)
    sandbox.push.script.set(Rule("token-", "throttle", retry_after_s=600))
    record = await planned(parts, sample)
    await send(parts, record)
    assert (await parts.limits.take("fcm", 1_000, 1_000, 5, loud=False)).granted == 0
    for _ in range(2):
        parts.db.skew_ms += 600_001
        assert await send(parts, record) == 1
        assert (await parts.limits.take("fcm", 1_000, 1_000, 5, loud=False)).granted == 5
        parts.db.skew_ms += 599_000
        assert await send(parts, record) == 0


async def test_a_loud_message_is_tried_again_when_its_carrier_said(parts: Container, sandbox: Sandbox, sample: dict):
    """Each answer is `503` with `Retry-After: 3`: the phone has its message after three times three seconds, not after minutes."""
    await register(parts, 30)
    sandbox.push.script.set(Rule("token-7", "unavailable", times=3, retry_after_s=3))
    record = await planned(parts, sample, level="child-alert")
    await send(parts, record)
    for _ in range(3):
        assert sandbox.push.recorded.count("token-7") == 0
        parts.db.skew_ms += 3_000
        await send(parts, record)
    assert await counts(parts, record) == {"accepted": 30}


async def test_a_probe_that_is_accepted_ends_a_pause(parts: Container, sandbox: Sandbox, sample: dict):
    """A carrier that was said to rest for an hour is tried with one message of a loud alert, and has the rest at once."""
    await register(parts, 30)
    record = await planned(parts, sample, level="child-alert")
    await parts.limits.pause("fcm", 3_600)
    parts.db.skew_ms += PROBE_MS
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 30}


async def test_a_carrier_is_tried_with_what_is_really_sent(parts: Container, sandbox: Sandbox, sample: dict):
    """Of a lease whose first people have left since, the carrier that failed is tried with the first who has not, at once, and has the rest."""
    await register(parts, 30)
    record = await planned(parts, sample)
    for number in range(10):
        await parts.registry.forget(f"p{number}")
    await parts.limits.failed("fcm", FAILURES)
    parts.db.skew_ms += SHORTEST_REST_MS
    async with asyncio.timeout(4):  # less than what becomes of a try is waited for
        await send(parts, record)
    assert await counts(parts, record) == {"accepted": 20, "suppressed": 10}
    assert await parts.limits.open_breakers(["fcm"]) == {"fcm": False}


async def test_dead_addresses_stop_no_carrier_that_is_the_only_one(parts: Container, sandbox: Sandbox, sample: dict):
    """It says of more addresses in a row that they are dead than are believed, and it may be right: it takes the next alert at once."""
    sandbox.push.script.set(Rule("token-", "unregistered"))
    await register(parts, 3 * FAILURES)
    record = await planned(parts, sample)
    await send(parts, record)
    assert await counts(parts, record) == {"queued": 3 * FAILURES}
    assert await parts.limits.open_breakers(["fcm"]) == {"fcm": False}
    sandbox.push.script.set()
    assert (await parts.limits.take("fcm", 1_000, 1_000, 5, loud=False)).granted == 5


async def test_what_was_under_way_ends_no_pause(parts: Container, sandbox: Sandbox, sample: dict):
    """A carrier failed, and asks for a rest while it has a chunk of before: that it takes this one ends the failures, and not the rest."""
    parts.settings = parts.settings.model_copy(
        update={"worker": parts.settings.worker.model_copy(update={"chunk": 10})}
    )
    await register(parts, 30)
    dispatch, stop = worker_of(parts).feeder.dispatch, asyncio.Event()
    sandbox.push.script.set(Rule("token-", "unavailable"))
    failed = await planned(parts, sample)
    await dispatch.drain(await lease_of(parts.work, failed.id, "push"), lambda: bool(dispatch.health.failing))
    assert dispatch.health.failing == {"fcm"}
    sandbox.push.script.set(Rule("token-", "slow", delay_s=2))
    record = await planned(parts, sample)
    drain = asyncio.create_task(dispatch.drain(await lease_of(parts.work, record.id, "push"), stop.is_set))
    async with asyncio.timeout(60):
        while not (await counts(parts, record)).get("in_flight"):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.01)
    await parts.limits.pause("fcm", 3_000)
    await until_settled(parts, record, 10)
    stop.set()
    await drain
    assert await counts(parts, record) == {"accepted": 10, "queued": 20}
    assert not dispatch.health.failing
    assert (await parts.limits.take("fcm", 1_000, 1_000, 5, loud=False)).granted == 0


async def test_stopping_ends_the_wait_for_permits(parts: Container, sandbox: Sandbox, sample: dict):
    """A worker that stops while its carrier rests gives back what it has, and another may take it at once."""
    await register(parts, 30)
    record = await planned(parts, sample)
    await parts.limits.pause("fcm", 3000)
    stop = asyncio.Event()
    lease = await lease_of(parts.work, record.id, "push")
    drain = asyncio.create_task(worker_of(parts).feeder.dispatch.drain(lease, stop.is_set))
    async with asyncio.timeout(5):
        while not _waits(parts):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(drain, 5)
    assert len((await lease_of(parts.work, record.id, "push")).rows) == 30


def _waits(parts: Container) -> bool:
    """Whether permits were asked for and not given."""
    return b'limit_wait_seconds_count{carrier="fcm",channel="push"} 0.0' not in parts.metrics.text()


async def test_dead_addresses_go_after_their_answers_are_settled(parts: Container, sandbox: Sandbox, sample: dict):
    """Of a lease with several dead addresses all are removed, of one person too; who has another token keeps it."""
    sandbox.push.script.set(Rule("dead", "unregistered"))
    two = [{"channel": "push", "token": name} for name in ("dead-a", "token-other")]
    both = [{"channel": "push", "token": name} for name in ("dead-b", "dead-c")]
    await register(parts, 20)
    await parts.registry.put_many(
        [Entry("p20", registration(20, addresses=two)), Entry("p21", registration(21, addresses=both))]
    )
    record = await planned(parts, sample)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 21, "failed": 3}
    assert await tokens(parts, ["p19", "p20", "p21"]) == [["token-19"], ["token-other"], []]
    # Nobody claims the dead ones any more.
    assert await parts.registry.put("new", registration(99, addresses=both))
    assert await tokens(parts, ["new"]) == [["dead-b", "dead-c"]]


async def test_token_that_rotated_while_it_was_sent_to_survives(parts: Container):
    """The carrier says the old token is dead; the new one under the same number is not touched."""
    await register(parts, 1)
    person = await parts.registry.get("p0")
    await parts.registry.put("p0", registration(0, addresses=[{"channel": "push", "token": "fresh"}]))
    assert await parts.dead_addresses.gone([Dead(person.number, person.addresses[0].number, "token-0")]) == 0
    assert await tokens(parts, ["p0"]) == [["fresh"]]


class Away(Connection):
    """A store that is away for some calls: those of these numbers."""

    calls = 0
    away: tuple[int, ...] = ()
    takes = False  # whether it does what it cannot confirm, like a disk that is full

    async def run_durably(self, *args: Any) -> Any:
        self.calls += 1
        if self.calls not in self.away:
            return await super().run_durably(*args)
        if self.takes:
            await super().run_durably(*args)
        raise StoreUnavailableError


async def test_answers_outlive_a_store_that_is_away(parts: Container, redis: Redis, sandbox: Sandbox, sample: dict):
    """What was answered while the store restarts is settled when it is back, and nobody is told again."""
    away = Away(redis, parts.db.codec)
    away.away = (2, 3, 4)  # the first is the gate's leave, the second would settle
    await register(parts, 30)
    await send(parts, await planned(parts, sample))  # the connections are there
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await replace(worker_of(parts).feeder.dispatch, work=Work(away)).drain(lease, lambda: False)
    assert await counts(parts, record) == {"accepted": 30}
    await silence(parts.db, record.id)
    assert await send(parts, record) == 0
    assert sandbox.push.recorded.counts()["doubled"] == 0


@pytest.mark.parametrize("takes", [True, False])
async def test_leave_that_was_never_heard_of_is_given_back(
    parts: Container, redis: Redis, sandbox: Sandbox, sample: dict, takes: bool
):
    """A store that gives leave and cannot say so, or gives none: nothing was sent, so nobody is unknown or in doubt."""
    away = Away(redis, parts.db.codec)
    away.away, away.takes = (1, 2), takes
    await register(parts, 30)
    record = await planned(parts, sample, channels=["sms"])
    lease = await lease_of(parts.work, record.id, "sms", parts.carriers.held("sms"))
    await replace(worker_of(parts).feeder.dispatch, work=Work(away)).drain(lease, lambda: False)
    assert await counts(parts, record, "sms") == {"queued": 30}
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 30}
    assert sandbox.sms.recorded.counts()["doubled"] == 0


async def test_what_fails_before_anything_is_sent_leaves_nobody_in_doubt(
    parts: Container, sandbox: Sandbox, sample: dict
):
    """Of one of them it cannot be told whether they sleep: all wait a little, apart, and once it is mended each has one message, and no second."""
    await register(parts, 30)
    record = await planned(parts, sample)
    known = await parts.registry.get("p3")
    odd = msgspec.structs.replace(known, version=known.version + 1, time_zone="UTC", quiet=(0, 99_999))
    assert await parts.people.put([Change(known, odd)]) == [True]
    with pytest.raises(ValueError, match="hour"):
        await send(parts, record)
    assert await counts(parts, record) == {"queued": 30}
    assert await send(parts, record) == 0  # not at once
    assert await parts.people.put([Change(odd, msgspec.structs.replace(known, version=odd.version + 1))]) == [True]
    parts.db.skew_ms += int(1000 * FIRST_WAIT_S)
    await send(parts, record)
    assert (await counts(parts, record)).get("accepted", 0) < 30  # not all at once
    parts.db.skew_ms += int(1000 * FIRST_WAIT_S)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 30}
    assert sandbox.push.recorded.counts()["doubled"] == 0
    assert {row["tries"] async for _, rows, _ in parts.work.ledger(record.id) for row in rows} == {1}


class Breaking:
    """A carrier that nobody knows of what it has sent."""

    name = "push"

    def prepare(self, message: Any) -> Prepared:
        return Prepared(message)

    async def send(self, *_: Any) -> list[Outcome]:
        raise ArithmeticError

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""


async def test_what_fails_while_it_is_sent_may_have_arrived(parts: Container, sample: dict):
    """It is in doubt, and counted as somebody's second if it goes again."""
    await register(parts, 30)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    parts.carriers = Carriers([Carrier(name="breaking", number=9, channel=Breaking())])
    with pytest.raises(ArithmeticError):
        await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    assert await counts(parts, record) == {"in_flight": 30}


@pytest.mark.parametrize("crashed", [0, 4])
async def test_what_is_sent_again_after_a_crash_is_counted(parts: Container, sample: dict, crashed: int):
    """Each message that may be somebody's second counts once, and nothing else does."""
    await register(parts, 30)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    await parts.work.gate(lease, [], lease.rows[:crashed], parts.carriers.of("push")[0].number)  # and no more is heard
    await silence(parts.db, record.id)
    await send(parts, record)
    assert (await counts(parts, record))["accepted"] == 30
    assert f'alertd_duplicates_total{{channel="push"}} {float(crashed)}' in parts.metrics.text().decode()
    doubled = [
        State(row["state"]) async for _, rows, _ in parts.work.ledger(record.id) for row in rows if row["tries"] > 127
    ]
    assert doubled == [State.ACCEPTED] * crashed
