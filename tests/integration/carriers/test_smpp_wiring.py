"""Alerts over SMPP: receipts settle rows, whoever sent them and whenever; whoever answers STOP is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.commands.installation.inspection import inspected
from alertd.common.clock import SystemClock
from alertd.common.errors import ConfigError
from alertd.common.ids import Tags, new_id
from alertd.config.carriers import SmppCarrier
from alertd.config.settings import Settings
from alertd.model.states import CHANNELS, AlertState, State
from alertd.model.subscriber import AddressState
from alertd.runtime.assembly import opened
from alertd.runtime.carrier_factory import carrier_of
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.delivery.receipts import Receipts
from alertd.service.people.registration_intake import Entry
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import Budgets
from alertd.store.delivery.message_ids import MessageIds, Sent
from alertd.store.delivery.work import Work
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.organisations.organisations import of_org
from channels.sandbox.script import Rule
from channels.sandbox.smsc import PASSWORD, SENDER, SYSTEM_ID, Habits, SmscSandbox
from channels.smpp.pdu import Status
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    BEA,
    CARL,
    counts,
    lease_of,
    planned,
    register,
    registration,
    send,
    submitted,
    working,
)
from tests.integration.delivery.deferrals import limited
from tests.waiting import until

PEOPLE = 30
CARRIER: dict[str, Any] = {
    "kind": "smpp", "host": "127.0.0.1", "tls": False, "system_id": SYSTEM_ID, "password": PASSWORD, "sender": SENDER
}  # fmt: skip


@pytest.fixture
async def centre() -> AsyncIterator[SmscSandbox]:
    """A centre that reports nothing by itself."""
    running = SmscSandbox(None, Habits(receipts=False), keep=True)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def process(redis: Redis, codec: Codec, centre: SmscSandbox, library: Library) -> Callable[..., Any]:
    """Opens a process over the store; one that sends is bound when it is there."""

    @asynccontextmanager
    async def running(*, sends: bool = True, **options: Any) -> AsyncIterator[Container]:
        section = SmppCarrier(**CARRIER, port=centre.port, **options)
        links = len(centre.links)
        settings = Settings(carriers={"centre": section})
        async with opened(settings, redis, codec, sends=sends, library=library) as parts:
            await until(lambda: not sends or sum(link.takes for link in centre.links) > links)
            yield parts

    return running


def ended(parts: Container, record: AlertRecord, **wanted: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return await counts(parts, record, "sms") == wanted

    return is_so


async def told(parts: Container, sample: dict[str, Any]) -> AlertRecord:
    """An alert by SMS that every one of `PEOPLE` got."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample, channels=["sms"])
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": PEOPLE}
    return record


def ids(centre: SmscSandbox) -> list[str]:
    """What the centre called the parts of the messages it took, in their order."""
    assert centre.messages
    return [f"{0x1001 + n:x}" for n in range(len(centre.messages))]


async def test_alert_ends_delivered_by_receipts(process: Any, centre: SmscSandbox, sample: dict):
    """Of an alert in several parts to many, each row becomes what its receipts say."""
    centre.habits.receipts = True
    centre.script.set(Rule("+34600000007", "undelivered"))
    async with process() as parts:
        await register(parts, PEOPLE)
        record = await planned(parts, sample, channels=["sms"])
        await send(parts, record, "sms")
        await until(ended(parts, record, delivered=PEOPLE - 1, failed=1))
        assert len(centre.messages) > PEOPLE
        text = parts.metrics.text().decode()
        assert f'alertd_receipts_total{{carrier="centre",channel="sms",state="delivered"}} {PEOPLE - 1}.0' in text
        assert f'alertd_delivery_seconds_count{{channel="sms"}} {PEOPLE - 1}.0' in text


@pytest.mark.parametrize(("refusal", "state", "doubled"), [("unavailable", "queued", 1), ("blocked", "unknown", 0)])
async def test_whoever_has_parts_of_a_message_may_have_been_told(
    process: Any, centre: SmscSandbox, sample: dict, refusal: str, state: str, doubled: int
):
    """The centre takes all parts but one: they are paid for, the whole goes again in doubt where that may help, and the end is told."""
    centre.script.set(Rule("+34600000003", refusal, times=1))
    async with process() as parts:
        limited(parts, clock=SystemClock(), alert_segments=10**9)
        await register(parts, PEOPLE)
        record = await planned(parts, sample, channels=["sms"])
        await send(parts, record, "sms")
        found = (await parts.work.counts(record.id))["sms"]
        assert (found["accepted"], found[state], found.get("doubled", 0)) == (PEOPLE - 1, 1, doubled)
        spent, _ = await Budgets(parts.db).spent("default", record.id, parts.clock.now_ms())
        assert spent == len(centre.messages) + 1 > PEOPLE + 1
        end = await parts.alerts.get((await parts.follow_ups.cancel(record.id, BEA, "x")).told_by)
        parts.db.skew_ms += 5_000
        assert await worker_of(parts).plans.planner.plan(end)
        assert (await parts.work.counts(end.id))["sms"]["targeted"] == PEOPLE


async def test_receipts_settle_after_a_restart(process: Any, centre: SmscSandbox, sample: dict):
    """A new process knows by the carrier's id whose message was delivered, once all of its parts are."""
    async with process() as parts:
        record = await told(parts, sample)
    async with process() as parts:
        names = ids(centre)
        for name in names[:-1]:
            centre.report(name)
        await until(ended(parts, record, delivered=PEOPLE - 1, accepted=1))
        centre.report(names[-1], "UNDELIV")
        await until(ended(parts, record, delivered=PEOPLE - 1, failed=1))


async def test_parts_of_two_tries_are_no_whole(process: Any, centre: SmscSandbox, sample: dict):
    """Of what failed by its last part and was sent again one part arrives: it has failed, whatever arrived before."""
    async with process() as parts:
        record = await told(parts, sample)
        names = ids(centre)
        who = centre.messages[-1].text("destination_addr")
        each = [one.text("destination_addr") for one in centre.messages].count(who)
        for name in names[-each:-1]:
            centre.report(name)
        centre.report(names[-1], "UNDELIV")
        await until(ended(parts, record, accepted=PEOPLE - 1, failed=1))
        assert await parts.resending.resend(await parts.alerts.get(record.id), BEA, {State.FAILED}, "sms") == 1
        await send(parts, record, "sms")
        assert await counts(parts, record, "sms") == {"accepted": PEOPLE, "doubled": 1}
    async with process() as parts:
        arrives, *fail = ids(centre)[-each:]
        centre.report(arrives)
        for name in fail:
            centre.report(name, "UNDELIV")
        await until(ended(parts, record, accepted=PEOPLE - 1, failed=1, doubled=1))


async def test_parts_are_counted_over_processes(process: Any, centre: SmscSandbox, sample: dict):
    """The centre tells one worker of one part and another of the next: the message is delivered all the same."""
    async with process() as parts:
        record = await told(parts, sample)
        sender = centre.links[0]
        async with process():
            other = next(link for link in centre.links if link is not sender)
            for n, name in enumerate(ids(centre)):
                centre.report(name, by=(sender, other)[n % 2])
            await until(ended(parts, record, delivered=PEOPLE))


async def test_receipts_before_the_answers_settle(process: Any, centre: SmscSandbox, sample: dict):
    """What a centre tells another process before the messages are known here is held, and counts when they are."""
    async with process() as parts, process():
        other = centre.links[1]
        for n in range(PEOPLE * 6):
            centre.report(f"{0x1001 + n:x}", by=other)
        size = await parts.db.execute("DBSIZE")
        await until(lambda: is_size(parts, size + PEOPLE * 6))
        await register(parts, PEOPLE)
        record = await planned(parts, sample, channels=["sms"])
        await send(parts, record, "sms")
        assert PEOPLE < len(centre.messages) <= PEOPLE * 6
        assert await counts(parts, record, "sms") == {"delivered": PEOPLE}


async def test_an_answer_that_comes_late_counts(process: Any, centre: SmscSandbox, sample: dict):
    """Unknown when its time is over; accepted when the centre says so after all, and delivered, whichever process hears of that."""
    slow = Rule("", "slow", delay_s=2, times=10_000)
    centre.script.set(slow)
    async with process(window=500, timeout_s=0.5) as parts, process():
        await register(parts, PEOPLE)
        record = await planned(parts, sample, channels=["sms"])
        sending = asyncio.create_task(send(parts, record, "sms"))
        await until(lambda: slow.times <= 10_000 - PEOPLE)
        sender, other = centre.links
        centre.report("ffffff", by=sender)  # so that the bind is kept
        await sending
        assert await counts(parts, record, "sms") == {"unknown": PEOPLE}
        await until(ended(parts, record, accepted=PEOPLE))
        for name in ids(centre):
            centre.report(name, by=other)
        await until(ended(parts, record, delivered=PEOPLE))


class Away(Connection):
    """A store that is away for the first so many calls of many scripts."""

    away = 3

    async def run_many(self, calls: Any, *, durable: bool = False) -> list[Any]:
        if self.away:
            self.away -= 1
            raise StoreUnavailableError
        return await super().run_many(calls, durable=durable)


class Deaf(Connection):
    """A store that is away when it is first told of receipts."""

    away = 1

    async def run_each(self, calls: Any) -> list[Any]:
        if self.away:
            self.away -= 1
            raise StoreUnavailableError
        return await super().run_each(calls)


async def test_what_was_said_before_outlives_a_store_that_is_away(
    process: Any, redis: Redis, centre: SmscSandbox, sample: dict
):
    """A receipt that came before its message was known counts, though the store goes away right when whose it is was told."""
    async with process() as parts, process():
        for n in range(PEOPLE * 6):
            centre.report(f"{0x1001 + n:x}", by=centre.links[1])
        size = await parts.db.execute("DBSIZE")
        await until(lambda: is_size(parts, size + PEOPLE * 6))
        await register(parts, PEOPLE)
        record = await planned(parts, sample, channels=["sms"])
        deaf = Deaf(redis, parts.db.codec)
        parts.receipts = Receipts(
            Work(deaf),
            parts.acknowledgement_store,
            MessageIds(parts.db),
            parts.suppression,
            parts.dead_addresses,
            parts.tags,
            parts.clock,
            parts.metrics,
        )
        lease = await lease_of(parts.work, record.id, "sms")
        await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
        assert deaf.away == 0
        assert await counts(parts, record, "sms") == {"delivered": PEOPLE}


async def test_ids_outlive_a_store_that_is_away(process: Any, redis: Redis, centre: SmscSandbox, sample: dict):
    """What a carrier calls its messages is told to the store when it is back, and receipts find them by it."""
    async with process() as parts:
        await register(parts, PEOPLE)
        record = await planned(parts, sample, channels=["sms"])
        away = Away(redis, parts.db.codec)
        parts.receipts = Receipts(
            parts.work,
            parts.acknowledgement_store,
            MessageIds(away),
            parts.suppression,
            parts.dead_addresses,
            parts.tags,
            parts.clock,
            parts.metrics,
        )
        lease = await lease_of(parts.work, record.id, "sms")
        await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
        assert away.away == 0
        assert await counts(parts, record, "sms") == {"accepted": PEOPLE}
    async with process() as parts:
        for name in ids(centre):
            centre.report(name)
        await until(ended(parts, record, delivered=PEOPLE))


@pytest.mark.alone
async def test_stop_stops_that_number_in_mid_alert(process: Any, centre: SmscSandbox, sample: dict):
    """Within a second of the STOP nothing more goes to that number, of this alert too, and everyone else is told."""
    async with process(rate=60, burst=1) as parts:
        await register(parts, 60)
        taken = await submitted(parts, sample, channels=["sms"])
        record = await parts.approval.approve(taken.record.id, BEA)
        worker = worker_of(parts)
        running = asyncio.create_task(worker.run())
        await until(lambda: centre.recorded.total > 3)
        told_by_then = {address for _, _, address, *_ in centre.recorded}
        number = next(f"+346{n:08d}" for n in reversed(range(60)) if f"+346{n:08d}" not in told_by_then)
        centre.say(number, "Stop!")
        async with asyncio.timeout(1):
            await until(lambda: is_stopped(parts, number))
        assert centre.recorded.count(number) == 0
        await until(lambda: is_sent(parts, record.id))
        worker.stop()
        await running
        assert await counts(parts, record, "sms") == {"accepted": 59, "suppressed": 1}
        assert centre.recorded.count(number) == 0
        assert 'alertd_optouts_total{channel="sms"} 1.0' in parts.metrics.text().decode()


async def stopped(parts: Container, number: str) -> int:
    """The state of a number."""
    person = await parts.registry.lookup(2, number)
    return next(address.state for address in person.addresses if address.value == number)


async def is_sent(parts: Container, alert_id: str) -> bool:
    return await parts.alerts.state(alert_id) is AlertState.SENT


async def test_a_worker_that_ends_with_a_full_window_tells_nobody_twice(
    process: Any, centre: SmscSandbox, sample: dict
):
    """What it wrote and was not answered is unknown, what found no room goes by the next worker."""
    centre.script.set(Rule("", "stall"))
    async with process(window=50, timeout_s=1) as parts:
        await register(parts, PEOPLE)
        taken = await submitted(parts, sample, channels=["sms"])
        record = await parts.approval.approve(taken.record.id, BEA)
        worker = worker_of(parts)
        running = asyncio.create_task(worker.run())
        await until(lambda: centre.recorded.total)
        worker.stop()
        await running
        asked = centre.recorded.total
        assert 0 < asked < PEOPLE
        assert await counts(parts, record, "sms") == {"unknown": asked, "queued": PEOPLE - asked}
    centre.script.set()
    async with process() as parts, working(parts):
        await until(lambda: is_sent(parts, record.id))
        assert await counts(parts, record, "sms") == {"unknown": asked, "accepted": PEOPLE - asked}
    assert centre.recorded.counts() == {"total": PEOPLE, "addresses": PEOPLE, "doubled": 0}


@pytest.mark.alone
async def test_a_stop_meets_a_centre_that_is_slow(process: Any, centre: SmscSandbox, sample: dict):
    """A second after the answer nothing more is written; what was is answered, and the rest goes once when two have lifted the stop."""
    slow = Rule("", "slow", delay_s=3, times=10_000)
    centre.script.set(slow)
    async with process(window=50) as parts:
        await register(parts, PEOPLE)
        taken = await submitted(parts, sample, channels=["sms"])
        record = await parts.approval.approve(taken.record.id, BEA)
        async with working(parts):
            await until(lambda: slow.times < 10_000)
            await parts.stop_control.stop(of_org("default"), CARL, "Something is wrong")
            await asyncio.sleep(1)
            written = slow.times
            await until(lambda: none_in_flight(parts, record))
            assert slow.times == written
            found = await counts(parts, record, "sms")
            assert found.keys() == {"accepted", "queued"}
            centre.script.set()
            await parts.stop_control.resume(of_org("default"), ANA)
            await parts.stop_control.resume(of_org("default"), BEA)
            await until(lambda: is_sent(parts, record.id))
        assert await counts(parts, record, "sms") == {"accepted": PEOPLE}
    assert centre.recorded.counts() == {"total": PEOPLE, "addresses": PEOPLE, "doubled": 0}


async def none_in_flight(parts: Container, record: AlertRecord) -> bool:
    return "in_flight" not in await counts(parts, record, "sms")


async def test_start_undoes_the_stop_of_that_number_alone(process: Any, centre: SmscSandbox):
    """Of several answers of one person the last counts; another number of theirs stays stopped, and so does their mailbox."""
    numbers = ["+34600000001", "+34600000002"]
    addresses = [*({"channel": "sms", "number": n} for n in numbers), {"channel": "mail", "mailbox": "a@b.example"}]
    async with process() as parts:
        await parts.registry.put_many([Entry("p", registration(1, addresses=addresses))])
        await parts.suppression.stop([(CHANNELS.index("mail"), "a@b.example")])
        for number in numbers:
            centre.say(number, "BAJA")
        await until(lambda: states(parts, [AddressState.STOPPED] * 3))
        for text in ("START", "stop", "start", "help", "I saw her, start looking here"):
            centre.say(numbers[0], text)
        centre.say("+34699999999", "stop")
        after = [AddressState.ACTIVE, AddressState.STOPPED, AddressState.STOPPED]
        await until(lambda: states(parts, after))
        await until(lambda: centre.acknowledged[Status.OK] == 8)
        assert await states(parts, after)


async def states(parts: Container, wanted: list[AddressState]) -> bool:
    return [address.state for address in (await parts.registry.get("p")).addresses] == wanted


async def test_number_without_its_plus_is_the_same(process: Any, centre: SmscSandbox):
    """Centres that do not say that a number is international leave the plus out."""
    async with process() as parts:
        await register(parts, 1)
        fields = {"source_addr": "34600000000", "destination_addr": SENDER, "short_message": b"stop"}
        centre.deliver(fields, {})
        await until(lambda: is_stopped(parts, "+34600000000"))


async def is_stopped(parts: Container, number: str) -> bool:
    return await stopped(parts, number) == AddressState.STOPPED


async def test_receipts_for_nobody_and_repeated_ones_change_nothing(process: Any, centre: SmscSandbox, sample: dict):
    """A thousand of each are acknowledged; the ledger is as it was, and the store holds one thing more."""
    async with process() as parts:
        record = await told(parts, sample)
        for name in ids(centre):
            centre.report(name)
        await until(ended(parts, record, delivered=PEOPLE))
        before = [rows.tobytes() async for _, rows, _ in parts.work.ledger(record.id)]
        size = await parts.db.execute("DBSIZE")
        for _ in range(1000):
            centre.report("ffffff")
            centre.report(ids(centre)[0], "UNDELIV")
        await until(lambda: centre.acknowledged[Status.OK] == 2000 + len(ids(centre)))
        await until(lambda: is_size(parts, size + 1))
    async with process() as parts:  # and to one that knows nothing
        for _ in range(1000):
            centre.report(ids(centre)[0])
        await until(lambda: centre.acknowledged[Status.OK] == 3000 + len(ids(centre)))
        assert [rows.tobytes() async for _, rows, _ in parts.work.ledger(record.id)] == before


async def is_size(parts: Container, size: int) -> bool:
    return bool(await parts.db.execute("DBSIZE") == size)


async def test_alert_that_cannot_be_read_keeps_no_other_from_its_reports(
    process: Any, centre: SmscSandbox, sample: dict
):
    """Its reports are taken, say nothing, and come no more."""
    async with process() as parts:
        record = await told(parts, sample)
        broken = new_id(1)
        await parts.db.execute("SET", keys.of_chain(broken, "batches", broken), "no hash")
        tags = Tags(parts.db.codec.derived("tags"))
        await parts.receipts.sent("centre", "sms", [Sent(tags.make(broken, 0), ("dead",), 1000)])
    async with process() as parts:
        for name in ("dead", *ids(centre)):
            centre.report(name)
        await until(ended(parts, record, delivered=PEOPLE))


@pytest.mark.parametrize("sends", [False, True])
async def test_only_who_sends_binds(process: Any, centre: SmscSandbox, sends: bool):
    """Centres count the binds of an account: the API has none, a worker as many as the settings say."""
    async with process(sends=sends, connections=2, receivers=1):
        await until(lambda: not sends or sum(link.sends or link.takes for link in centre.links) == 3)
        assert centre.links_made == (3 if sends else 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "centre.example"},
        {"password": "correct horse " * 5},
        {"ca_file": "/no/such/file"},
        {"sender": "1" * 30},
    ],
)
def test_faulty_section_is_named(wrong: dict[str, Any]):
    """Before anything is started, and by `alertd check`, without what is secret in it."""
    section = SmppCarrier(**{**CARRIER, **wrong})
    with pytest.raises(ConfigError, match=r"carriers\.centre(\.ca_file:| cannot be used)") as refused:
        carrier_of("centre", section, Settings())
    assert "correct horse " * 5 not in str(refused.value)
    (finding,) = [
        one for one in inspected(Settings(carriers={"centre": section}), None) if one.part == "carrier centre"
    ]
    assert not finding.ok
