"""An end that is put off: what is queued lives on, nobody hears of it, and it takes a second person as the first end did."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.model.alert import Alert
from alertd.model.cap.messages import MsgType
from alertd.model.cap.reader import parse_message
from alertd.model.kinds import Notify
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.delivery.message_cache import POLL_S
from alertd.store.delivery.work_records import BatchKey
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.photos.photos import KEPT_AFTER_MS
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.clocks import Later
from tests.integration.acts import (
    ANA,
    BEA,
    CARL,
    alert_of,
    counts,
    lease_of,
    over,
    photo,
    planned,
    register,
    send,
    sent,
    slug,
    submitted,
)
from tests.integration.media.conftest import showing

HOUR_MS = 3_600_000


def later(record: Any, hours: float = 10) -> datetime:
    return time_of(record.expires) + timedelta(hours=hours)


async def expiry(parts: Container, alert_id: str, at_ms: int) -> list[str]:
    return [one for one in await parts.alerts.times.to_end(at_ms) if one == alert_id]


async def test_it_lives_on_and_nobody_hears_of_it(parts: Container, sample: dict[str, Any]):
    """What is queued goes out after the old end, with the new one in its words; no version tells of it."""
    await register(parts, 20)
    record = await planned(parts, sample, channels=["push"], external_id="x-1")
    messages, alike = worker_of(parts).feeder.dispatch.selection.messages, BatchKey(channel="push", language="es")
    carrier = parts.carriers.of("push")[0]
    assert (await messages.ready(record.id, alike, carrier)).expires_ms == record.expires
    done = await parts.amendment.extend(record.id, BEA, later(record), "Still missing")
    assert (done.record.expires, done.told_by) == (record.expires + 10 * HOUR_MS, None)
    assert Alert.model_validate_json(done.record.document).expires == later(record)
    assert await parts.alerts.versions([record.id]) == [record.id]
    await parts.clock.sleep(POLL_S)
    ready = await messages.ready(record.id, alike, carrier)
    assert ready.expires_ms == done.record.expires
    assert str(done.record.expires // 1000) in repr(ready.prepared.payload)
    parts.db.skew_ms += record.expires + HOUR_MS - parts.clock.now_ms()
    lease = await lease_of(parts.work, record.id, "push")
    assert (await parts.work.gate(lease, [], lease.rows, 1))[0] == "go"


async def test_the_end_stays_on_the_clocks_of_the_sender(parts: Container, sample: dict[str, Any]):
    """Whoever puts it off by another clock: an end that people read is of the same day as before."""
    await register(parts, 20)
    record = await planned(parts, sample)
    elsewhere = later(record).astimezone(timezone(timedelta(hours=9)))
    done = await parts.amendment.extend(record.id, BEA, elsewhere, "x")
    assert done.record.alert.expires == elsewhere
    assert done.record.alert.expires.utcoffset() == record.alert.expires.utcoffset() != elsewhere.utcoffset()


async def test_what_an_update_says_of_the_end_is_read_again(parts: Container, sample: dict[str, Any]):
    """By whoever has its message in memory: a push with the old end in it would be thrown away by the phone."""
    await register(parts, 20)
    record = await planned(parts, sample)
    taken = await parts.update_proposals.submit(record.id, alert_of(sample, level="appeal"), Notify.FULL, ANA)
    update = await parts.approval.approve(taken.record.id, BEA)
    messages, alike = worker_of(parts).feeder.dispatch.selection.messages, BatchKey(channel="push", language="es")
    carrier = parts.carriers.of("push")[0]
    assert (await messages.ready(update.id, alike, carrier)).expires_ms == update.expires
    done = await parts.amendment.extend(record.id, BEA, later(update), "Still missing")
    await parts.clock.sleep(POLL_S)
    assert (await messages.ready(update.id, alike, carrier)).expires_ms == done.record.expires > update.expires


async def test_the_end_comes_when_it_is_put_off_to(parts: Container, sample: dict[str, Any], store: Connection):
    """Not at the old one, even if whoever ends alerts had found it due before; nor if nobody noted the new one."""
    await register(parts, 20)
    record = await planned(parts, sample)
    done = await parts.amendment.extend(record.id, BEA, later(record), "x")
    assert await expiry(parts, record.id, record.expires + 1) == []
    assert await expiry(parts, record.id, done.record.expires + 1) == [record.id]
    shard = keys.shard_of(record.id)
    await store.execute("ZADD", keys.expiry(shard), record.expires, record.id)
    await worker_of(parts).ending.expire(record.id)
    assert await parts.alerts.state(record.id) is AlertState.SENDING
    assert await expiry(parts, record.id, record.expires + 1) == []


async def refused(parts: Container, sandbox: Sandbox, sample: dict[str, Any]) -> Any:
    """An alert that nine of twenty got: the carrier took none of the others, when less was left than they have to wait."""
    await register(parts, 20)
    sandbox.push.script.set(Rule("token-1", "unavailable"))
    record = await planned(parts, sample)
    now, parts.clock = parts.clock, Later(record.expires - 9_000 - parts.clock.now_ms())
    await send(parts, record)
    parts.clock = now
    assert await counts(parts, record) == {"accepted": 9, "queued": 11}
    return record


async def test_who_was_to_be_tried_after_the_end_is_told_once_it_is_put_off(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Their wait outlasts the alert that it was, and nobody gave them up for it."""
    record = await refused(parts, sandbox, sample)
    await parts.amendment.extend(record.id, BEA, later(record), "Still missing")
    sandbox.push.script.set()
    parts.db.skew_ms += record.expires + HOUR_MS - parts.clock.now_ms()
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 20}


async def test_who_was_to_be_tried_after_the_end_expires_with_the_alert(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Where the end stands; and the ledger says what kept them from being told."""
    record = await refused(parts, sandbox, sample)
    parts.db.skew_ms += record.expires - parts.clock.now_ms() + 1
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record) == {"accepted": 9, "expired": 11}
    lost = [one async for one in parts.reports.deliveries(record) if one.state == "expired"]
    assert {one.reason for one in lost} == {"unavailable"}


async def test_photos_last_as_long(parts: Container, sample: dict[str, Any], store: Connection):
    """They are kept for as long after the new end as they were after the old one."""
    await register(parts, 20)
    media = await photo(parts)
    record = await planned(parts, sample, case=showing(sample, media))
    done = await parts.amendment.extend(record.id, BEA, later(record), "x")
    assert await store.execute("PEXPIRETIME", keys.media(media)) == done.record.expires + KEPT_AFTER_MS


async def test_what_was_told_stays_told(parts: Container, sample: dict[str, Any]):
    """Of an alert that is sent or stood down no row is touched, and it can be closed as before."""
    record = await sent(parts, sample, channels=["push"])
    before = await counts(parts, record)
    done = await parts.amendment.extend(record.id, BEA, later(record), "x")
    assert (done.record.state, await counts(parts, record)) == (AlertState.SENT, before)
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    again = await parts.amendment.extend(record.id, BEA, later(record, 20), "x")
    assert again.record.state is AlertState.STOOD_DOWN
    assert await parts.alerts.state(down.told_by) is AlertState.APPROVED
    reopened = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert (await parts.alerts.get(reopened.told_by)).expires == again.record.expires
    await send(parts, record)


async def test_an_actual_alert_takes_a_second_person(parts: Container, sample: dict[str, Any]):
    """Not its author: the name would be told for longer than anybody else has agreed to. A Test takes nobody."""
    record = await sent(parts, sample, channels=["push"])
    assert await slug(parts.amendment.extend(record.id, ANA, later(record), "x")) == "same-person"
    carl = await parts.amendment.extend(record.id, CARL, later(record), "x")
    assert carl.record.expires == record.expires + 10 * HOUR_MS
    assert (await parts.amendment.extend(record.id, CARL, later(record), "x")).record.rev == carl.record.rev
    drill = (await submitted(parts, sample, status="Test")).record
    drill = await parts.approval.begin(drill, ANA)
    assert (await parts.amendment.extend(drill.id, ANA, later(drill), "x")).record.expires > drill.expires


async def test_cap_says_it_as_an_update(parts: Container, sample: dict[str, Any]):
    """With the new end, and each change under a name of its own."""
    record = await sent(parts, sample, channels=["push"])
    first = parse_message(await parts.cap_out.document(record))
    one = parse_message(
        await parts.cap_out.document((await parts.amendment.extend(record.id, BEA, later(record), "x")).record)
    )
    assert (one.msg_type, one.infos[0].expires) == (MsgType.UPDATE, later(record).replace(microsecond=0))
    await parts.clock.sleep(0.002)
    two = parse_message(await parts.cap_out.document((await parts.amendment.restrict(record.id, BEA, "x")).record))
    assert two.references == (first.reference, one.reference)
    assert len({first.identifier, one.identifier, two.identifier}) == 3


async def test_breaches_are_refused(parts: Container, sample: dict[str, Any]):
    """An end that is earlier, the same, in the past or too far; an alert that is not told, or has ended meanwhile."""
    await register(parts, 20)
    pending = (await submitted(parts, sample)).record
    assert await slug(parts.amendment.extend(pending.id, BEA, later(pending), "x")) == "precondition-failed"
    record = await planned(parts, sample)
    for hours in (0, -1, -100, 31 * 24):
        with pytest.raises(Problem) as refusal:
            await parts.amendment.extend(record.id, BEA, later(record, hours), "x")
        assert refusal.value.slug == "invalid-request"
        assert {fault.pointer for fault in refusal.value.faults} == {"/expires"}
    assert await slug(parts.amendment.extend(record.id, BEA, later(record), "x", rev=1)) == "version-changed"
    test_key = dataclasses.replace(BEA, test=True)
    assert await slug(parts.amendment.extend(record.id, test_key, later(record), "x")) == "not-allowed"
    parts.db.skew_ms += record.expires - parts.clock.now_ms() + 1
    assert await slug(parts.amendment.extend(record.id, BEA, later(record), "x")) == "expired"
    assert (await parts.alerts.get(record.id)).expires == record.expires
