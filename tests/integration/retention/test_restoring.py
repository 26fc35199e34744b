"""A store that was put back from a copy tells nobody anything by itself, and hides whom it named."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.common.errors import Problem
from alertd.common.ids import TokenPurpose, sequence_of
from alertd.model.states import CHANNELS, AlertState, LedgerReason
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.service.records.restoring import Restoring
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.records.tombstones import Tombstones
from channels.base import ReportState
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    BEA,
    CARL,
    counts,
    lease_of,
    over,
    planned,
    register,
    send,
    sent,
    submitted,
    tell,
)
from tests.integration.alerts.updates import plan, proposed, reasons, updated
from tests.integration.conftest import settings_for
from tests.integration.retention.backups import copied, put_back
from tests.unit.alertd.samples import changed

HAIR = "case/children/0/hair"
MADE = "2026-11-24T12:00:00+00:00"


async def test_nothing_open_goes_on_by_itself(parts: Container, sample: dict[str, Any], store: Connection):
    """What was to be sent is unknown, also where a worker had it; the alert is stood down, and nobody is told so. Opened again it
    sends nothing until somebody asks for it; closed it reaches whoever may have been told.
    """
    await register(parts, 20)
    record = await planned(parts, sample, target={"rings": [
        {"center": [-5.98, 37.39], "radius_km": 1}, {"center": [-5.98, 37.39], "radius_km": 30, "delay_min": 15},
    ]})  # fmt: skip
    assert await lease_of(parts.work, record.id, "push", parts.carriers.held("push"))
    done = await parts.restoring.settle(MADE, parts.clock.now_ms())
    assert (done["stood_down"], done["unknown"]) == (1, 20)
    found = await parts.alerts.get(record.id)
    assert (found.state, found.last_step.by) == (AlertState.STOOD_DOWN, "alertd restore")
    assert MADE in found.last_step.reason
    assert await parts.alerts.versions([record.id]) == [record.id]
    assert await counts(parts, record) == {"unknown": 20}
    assert await reasons(parts, record.id) == {LedgerReason.PUT_BACK}
    assert not +(await parts.restoring.settle(MADE, parts.clock.now_ms()))
    await parts.follow_ups.reopen(record.id, BEA, "still missing")
    assert await send(parts, record) == 0
    assert await over(parts, record)
    closed = await parts.follow_ups.close(record.id, CARL, "found")
    assert await tell(parts, closed, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}


async def test_what_happens_from_then_on_is_called_by_no_name_that_was_told(
    parts: Container, sample: dict[str, Any], sandbox: Sandbox, redis: Redis, codec: Codec, library: Library
):
    """Programs know by its id what they had, and ask by a cursor for what is new: of an alert that was approved after the copy was made they
    hear that it went back.
    """
    await register(parts, 20)
    pending = (await submitted(parts, sample)).record
    assert await parts.events.leads()
    await parts.events.bring()
    copy = await copied(redis)
    await parts.approval.approve(pending.id, BEA)
    await parts.events.bring()
    before = await parts.events.read_page("default", None, 100)
    await put_back(redis, copy)
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        await again.restoring.settle(MADE, again.clock.now_ms())
        assert (await again.events.read_page("default", before.cursor, 100)).more is False
        assert await again.events.leads()
        await again.events.bring()
        [(_, event)] = (await again.events.read_page("default", before.cursor, 100)).events
        told_since = json.loads(event)
        assert (told_since["type"], told_since["data"]["alert"]) == ("alert.returned", pending.id)
        assert told_since["id"] not in {json.loads(one)["id"] for _, one in before.events}


async def test_phones_take_what_is_told_from_then_on(
    parts: Container, sample: dict[str, Any], sandbox: Sandbox, redis: Redis, codec: Codec, library: Library
):
    """They drop what has a lower number than they had. Nobody here knows how many updates were told since the copy was made, nor since the same
    copy was put back before.
    """
    record = await sent(parts, sample, channels=["push"])
    copy = await copied(redis)
    await parts.events.bring()
    for hair in ("black", "blond"):
        await told_of(parts, record, sample, hair)
    revs = [(await parts.alerts.get(record.id)).rev]
    numbers = [1, 2, 3]
    for _ in range(2):
        await put_back(redis, copy)
        async with opened(settings_for(sandbox), redis, codec, library=library) as again:
            await again.restoring.settle(MADE, again.clock.now_ms())
            assert (await again.alerts.get(record.id)).rev > revs[-1]
            await again.follow_ups.reopen(record.id, BEA, "still missing")
            numbers.append(sequence_of((await told_of(again, record, sample, "red")).id))
            closed = await again.follow_ups.close(record.id, CARL, "found")
            assert await tell(again, closed, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}
            numbers.append(sequence_of(closed.told_by))
            revs.append(closed.record.rev)
    assert numbers == sorted(set(numbers))
    assert {sequence_of(told_by) for _, told_by, *_ in sandbox.push.recorded} == {*numbers}


@pytest.mark.parametrize("channel", ["mail", "sms"])
async def test_an_update_of_before_a_restore_is_written_anew(
    parts: Container,
    sample: dict[str, Any],
    sandbox: Sandbox,
    redis: Redis,
    codec: Codec,
    library: Library,
    channel: str,
):
    """It may have been told since the copy was made, by its number. Where no phone shows the alert, reopening it tells nothing above that."""
    record = await sent(parts, sample, channels=[channel])
    black = {"case": changed(sample, HAIR, "black")["case"], "channels": [channel]}
    waits = (await proposed(parts, record, sample, **black)).record
    copy = await copied(redis)
    await plan(parts, await parts.approval.approve(waits.id, BEA))
    await send(parts, record, channel)
    await put_back(redis, copy)
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        await again.restoring.settle(MADE, again.clock.now_ms())
        await again.follow_ups.reopen(record.id, BEA, "still missing")
        assert await again.alerts.versions([record.id]) == [record.id, waits.id]
        await again.approval.submit(waits.id, ANA)
        with pytest.raises(Problem, match=r"approval-stale: .* put back from a backup"):
            await again.approval.approve(waits.id, BEA)
        await again.approval.give_back(waits.id, BEA, "to be written anew")
        update = await updated(again, record, sample, **black)
        assert sequence_of(update.id) == 256 + 3
        await send(again, record, channel)
    of_versions = Counter(told_by for _, told_by, *_ in getattr(sandbox, channel).recorded)
    assert set(of_versions.values()) == {20}


class _CutOff(OpenAlerts):
    """A store that is gone once numbers have leapt."""

    async def put_back(self, *_: Any) -> int:
        raise StoreUnavailableError


async def test_a_start_that_fails_after_a_restore_uses_up_nothing(
    parts: Container, sample: dict[str, Any], redis: Redis
):
    """The next one does what is left: numbers leap once for each restore, however many starts it took, or another restore might come to the same."""
    record = await sent(parts, sample, channels=["push"])
    assert await parts.events.leads()
    await parts.events.bring()
    at = parts.clock.now_ms()

    async def numbers() -> tuple[Any, ...]:
        lives = await redis.hget(keys.chain(record.id), "lives")
        last = await redis.hget(keys.org_events("default", ":marks"), "last")
        return lives, last, (await parts.alerts.get(record.id)).rev, parts.settings.store.tombstones_file.read_bytes()

    tombstones, names = Tombstones(parts.settings.store.tombstones_file), parts.organisations.names
    failing = Restoring(
        _CutOff(parts.db), parts.alerts, parts.tracks, tombstones, parts.audit, names, parts.clock, "default"
    )
    with pytest.raises(StoreUnavailableError):
        await failing.settle(MADE, at)
    before = await numbers()
    assert before[0] == b"1:1"
    await parts.restoring.settle(MADE, at)
    settled = await numbers()
    assert (settled[0], settled[1], settled[3]) == (before[0], before[1], before[3])
    assert settled[2] == before[2] + 1  # it is stood down
    await parts.restoring.settle(MADE, at)
    assert await numbers() == settled
    await parts.restoring.settle(MADE, at + 1)
    assert (await numbers())[0] == b"1:2"


async def test_nothing_is_settled_while_it_cannot_be_written_down(parts: Container, sample: dict[str, Any]):
    """Put back once more it would use numbers again that were told: the service does not start, and says why."""
    await register(parts, 20)
    record = await planned(parts, sample)
    parts.settings.store.tombstones_file.mkdir()
    with pytest.raises(IsADirectoryError):
        await parts.restoring.settle(MADE, parts.clock.now_ms())
    assert (await parts.alerts.get(record.id)).state is AlertState.SENDING


async def test_what_was_told_since_the_copy_is_taken_for_nothing_that_is_told_now(
    parts: Container, sample: dict[str, Any], sandbox: Sandbox, redis: Redis, codec: Codec, library: Library
):
    """What an update told is not seen as the end, an app that asks of the update hears that it is nobody's, and no mail of the end goes by its
    name. What was told before the copy is known.
    """
    record = await sent(parts, sample, channels=["push", "mail"])
    before, copy = parts.tags.make(record.id, 3, TokenPurpose.ACK), await copied(redis)
    update = await told_of(parts, record, sample, "black")
    since = parts.tags.make(update.id, 3, TokenPurpose.ACK)
    await put_back(redis, copy)
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        await again.restoring.settle(MADE, again.clock.now_ms())
        closed = await again.follow_ups.close(record.id, CARL, "found")
        assert (await tell(again, closed, ("push", "mail")))["push"] == {"targeted": 20, "accepted": 20}
        (known, unknown) = (again.receipts.reference(tag, TokenPurpose.ACK) for tag in (before, since))
        assert await again.receipts.acknowledged(known, ReportState.SEEN)
        assert await again.reports.standing(unknown.alert_id, unknown.row) is None
        assert not await again.receipts.acknowledged(unknown, ReportState.SEEN)
    mails = [told_by for _, told_by, *_ in sandbox.mail.recorded]
    assert sorted(Counter(mails).values()) == [20, 20, 20]


async def test_whoever_left_since_the_copy_by_a_mails_link_leaves_by_it_again(
    parts: Container, sample: dict[str, Any], sandbox: Sandbox, redis: Redis, codec: Codec, library: Library
):
    """A proxy's log may have the link: nothing else knows of them. Of what the mail said nothing need be there, nor of the life it was told in."""
    record = await sent(parts, sample, channels=["mail"])
    address = (CHANNELS.index("mail"), "p2@people.example")
    copy, versions = await copied(redis), [record.id, (await told_of(parts, record, sample, "black")).id]
    for _ in range(2):
        await put_back(redis, copy)
        async with opened(settings_for(sandbox), redis, codec, library=library) as again:
            await again.restoring.settle(MADE, again.clock.now_ms())
            await again.follow_ups.reopen(record.id, BEA, "still missing")
            versions.append((await told_of(again, record, sample, "red")).id)
    assert [sequence_of(one) // 256 for one in versions] == [0, 0, 1, 2]
    for version in versions:
        tag = parts.tags.make(version, 1, TokenPurpose.LEAVE, parts.people.names.address_hash(*address))
        await put_back(redis, copy)
        assert not await parts.suppression.since(address)
        assert await parts.receipts.leave(parts.receipts.reference(tag, TokenPurpose.LEAVE))
        assert await parts.suppression.since(address)


async def test_an_alert_that_was_put_back_goes_on_as_any_other(
    parts: Container, sample: dict[str, Any], sandbox: Sandbox, redis: Redis, codec: Codec, library: Library
):
    """What tells it anew takes the place of what told it before, is restricted with it, and is purged with it."""
    record = await sent(parts, sample, channels=["push"])
    await put_back(redis, await copied(redis))
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        await again.restoring.settle(MADE, again.clock.now_ms())
        await again.follow_ups.reopen(record.id, BEA, "still missing")
        update = await told_of(again, record, sample, "black")
        waits = (await proposed(again, record, sample, case=changed(sample, HAIR, "red")["case"])).record
        assert await again.alerts.versions([record.id]) == [record.id, f"{record.id}-258", update.id, waits.id]
        restricted = await again.amendment.restrict(record.id, ANA, "her wish")
        assert (await again.alerts.get(update.id)).times.restricted
        await plan(again, await again.alerts.get(restricted.told_by))
        await send(again, record)
        closed = await again.follow_ups.close(record.id, CARL, "found")
        assert (await again.alerts.get(waits.id)).state is AlertState.REJECTED
        await tell(again, closed, ("push",))
        assert await over(again, await again.alerts.get(closed.told_by))
        await again.alerts.purge(record.id, (), "", "")
        versions = await again.alerts.chain(record.id)
    assert len(versions) == 6
    assert {one.state for one in versions} == {AlertState.PURGED}


async def told_of(parts: Container, record: AlertRecord, sample: dict[str, Any], hair: str) -> AlertRecord:
    """An update that everybody was told."""
    alert = (await parts.alerts.get(record.id)).alert
    update = await updated(parts, record, sample, case=changed(sample, HAIR, hair)["case"], channels=alert.channels)
    for channel in alert.channels:
        await send(parts, record, channel)
    return update


async def test_whoever_was_told_is_not_told_again(parts: Container, sample: dict[str, Any], sandbox: Sandbox):
    """An alert that was sent is hidden like any other, and its ledger stays."""
    record = await sent(parts, sample, channels=["push"])
    got = sandbox.push.recorded.total
    await parts.restoring.settle(MADE, parts.clock.now_ms())
    assert (await parts.alerts.get(record.id)).state is AlertState.STOOD_DOWN
    assert await counts(parts, record) == {"accepted": 20}
    assert await send(parts, record) == 0
    assert sandbox.push.recorded.total == got


async def test_what_waits_goes_back_and_what_is_over_stays(parts: Container, sample: dict[str, Any]):
    """It may have been approved since. The audit has it, and can be followed."""
    await register(parts, 20)
    pending = (await submitted(parts, sample)).record
    ended = await planned(parts, sample)
    await parts.follow_ups.cancel(ended.id, BEA, "x", notify=False)
    await parts.restoring.settle(MADE, parts.clock.now_ms())
    assert (await parts.alerts.get(pending.id)).state is AlertState.RETURNED
    assert (await parts.alerts.get(ended.id)).state is AlertState.CANCELLED
    (entry, begun) = await parts.audit.page("default", before=None, limit=2)
    assert (entry.act, entry.by, entry.facts["copy"], entry.facts["returned"], entry.of) == (
        "store.restore", "alertd restore", MADE, 1, begun.number,
    )  # fmt: skip
    assert (await parts.audit.verify("default", None)).broken is None


@pytest.mark.parametrize("what", ["its case", "what followed it"])
async def test_one_that_cannot_be_read_keeps_no_other_from_being_hidden(
    parts: Container, sample: dict[str, Any], sandbox: Sandbox, what: str
):
    """Nor the service from starting. It is sent to nobody itself, and where that can be read that is shown, it is hidden."""
    await register(parts, 20)
    damaged = await planned(parts, sample)
    other = await planned(parts, {**sample, "case": {**sample["case"], "number": "another"}})
    if what == "its case":
        await parts.db.execute("SETRANGE", keys.case(damaged.case), 20, b"\xff\xff\xff\xff")
    else:
        await parts.follow_ups.stand_down(damaged.id, BEA, "x")
        await parts.follow_ups.reopen(damaged.id, BEA, "y")
        name = keys.of_chain(damaged.id, "version", f"{damaged.id}-2")
        fields = await parts.db.hash_of(name)
        for field in (field for field, value in fields.items() if value.startswith(b"\x01")):
            await parts.db.execute("HSET", name, field, b"\x01damaged")
    with capture_logs() as lines:
        done = await parts.restoring.settle(MADE, parts.clock.now_ms())
    unread = [line["alert"] for line in lines if line["event"] == "alert.read_failed"]
    assert (done["stood_down"], unread) == ((1, [damaged.id]) if what == "its case" else (2, []))
    assert (await parts.alerts.get(other.id)).state is AlertState.STOOD_DOWN
    assert await counts(parts, damaged) == {"unknown": 20}
    assert await send(parts, damaged) == 0
    assert sandbox.push.recorded.total == 0
