"""A store that was put back from a copy tells nobody anything by itself, and hides whom it named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.alerts import AlertState, LedgerReason
from alertd.app import Parts, opened
from alertd.store import keys
from alertd.store.codec import Codec
from alertd.store.connection import Connection
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import BEA, CARL, counts, lease_of, over, planned, register, send, sent, submitted, tell
from tests.integration.conftest import settings_for
from tests.integration.test_updating import reasons

MADE = "2026-11-24T12:00:00+00:00"


async def test_nothing_open_goes_on_by_itself(parts: Parts, sample: dict[str, Any], store: Connection):
    """What was to be sent is unknown, also where a worker had it; the alert is stood down, and nobody is told so. Opened again it
    sends nothing until somebody asks for it; closed it reaches whoever may have been told.
    """
    await register(parts, 20)
    record = await planned(parts, sample, target={"rings": [
        {"center": [-5.98, 37.39], "radius_km": 1}, {"center": [-5.98, 37.39], "radius_km": 30, "delay_min": 15},
    ]})  # fmt: skip
    assert await lease_of(parts.work, record.id, "push", parts.carriers.held("push"))
    done = await parts.restoring.settle(MADE)
    assert (done["stood_down"], done["unknown"]) == (1, 20)
    found = await parts.alerts.get(record.id)
    assert (found.state, found.by) == (AlertState.STOOD_DOWN, "alertd restore")
    assert MADE in found.reason
    assert await parts.alerts.versions([record.id]) == [record.id]
    assert await counts(parts, record) == {"unknown": 20}
    assert await reasons(parts, record.id) == {LedgerReason.PUT_BACK}
    assert not +(await parts.restoring.settle(MADE))
    await parts.following.reopen(record.id, BEA, "still missing")
    assert await send(parts, record) == 0
    assert await over(parts, record)
    closed = await parts.following.close(record.id, CARL, "found")
    assert await tell(parts, closed, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}


async def test_what_happens_from_then_on_is_called_by_no_name_that_was_told(
    parts: Parts, sample: dict[str, Any], sandbox: Sandbox, redis: Redis, codec: Codec, library: Library
):
    """Programs know by its id what they had, and ask by a cursor for what is new: of an alert that was approved after the copy was made they
    hear that it went back.
    """
    await register(parts, 20)
    pending = (await submitted(parts, sample)).record
    assert await parts.events.leads()
    await parts.events.bring()
    copy = {name: await redis.dump(name) for name in await redis.keys("*")}
    await parts.approval.approve(pending.id, BEA)
    await parts.events.bring()
    before = await parts.events.read("default", None, 100)
    await redis.flushdb()
    for name, dumped in copy.items():
        await redis.restore(name, 0, dumped, replace=True)
    await redis.delete(keys.HERALD)
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        await again.restoring.settle(MADE)
        assert (await again.events.read("default", before.cursor, 100)).more is False
        assert await again.events.leads()
        await again.events.bring()
        [(_, event)] = (await again.events.read("default", before.cursor, 100)).events
        told_since = json.loads(event)
        assert (told_since["type"], told_since["data"]["alert"]) == ("alert.returned", pending.id)
        assert told_since["id"] not in {json.loads(one)["id"] for _, one in before.events}


async def test_whoever_was_told_is_not_told_again(parts: Parts, sample: dict[str, Any], sandbox: Sandbox):
    """An alert that was sent is hidden like any other, and its ledger stays."""
    record = await sent(parts, sample, channels=["push"])
    got = sandbox.push.recorded.total
    await parts.restoring.settle(MADE)
    assert (await parts.alerts.get(record.id)).state is AlertState.STOOD_DOWN
    assert await counts(parts, record) == {"accepted": 20}
    assert await send(parts, record) == 0
    assert sandbox.push.recorded.total == got


async def test_what_waits_goes_back_and_what_is_over_stays(parts: Parts, sample: dict[str, Any]):
    """It may have been approved since. The audit has it, and can be followed."""
    await register(parts, 20)
    pending = (await submitted(parts, sample)).record
    ended = await planned(parts, sample)
    await parts.following.cancel(ended.id, BEA, "x", notify=False)
    await parts.restoring.settle(MADE)
    assert (await parts.alerts.get(pending.id)).state is AlertState.RETURNED
    assert (await parts.alerts.get(ended.id)).state is AlertState.CANCELLED
    (entry, begun) = await parts.audit.page("default", before=None, limit=2)
    assert (entry.act, entry.by, entry.facts["copy"], entry.facts["returned"], entry.of) == (
        "store.restore", "alertd restore", MADE, 1, begun.number,
    )  # fmt: skip
    assert (await parts.audit.verify("default", None)).broken is None


@pytest.mark.parametrize("what", ["its case", "what followed it"])
async def test_one_that_cannot_be_read_keeps_no_other_from_being_hidden(
    parts: Parts, sample: dict[str, Any], sandbox: Sandbox, what: str
):
    """Nor the service from starting. It is sent to nobody itself, and where that can be read that is shown, it is hidden."""
    await register(parts, 20)
    damaged = await planned(parts, sample)
    other = await planned(parts, {**sample, "case": {**sample["case"], "number": "another"}})
    if what == "its case":
        await parts.db.execute("SETRANGE", keys.case(damaged.case), 20, b"\xff\xff\xff\xff")
    else:
        await parts.following.stand_down(damaged.id, BEA, "x")
        await parts.following.reopen(damaged.id, BEA, "y")
        name = keys.of_chain(damaged.id, "version", f"{damaged.id}-2")
        fields = await parts.db.hash_of(name)
        for field in (field for field, value in fields.items() if value.startswith(b"\x01")):
            await parts.db.execute("HSET", name, field, b"\x01damaged")
    with capture_logs() as lines:
        done = await parts.restoring.settle(MADE)
    unread = [line["alert"] for line in lines if line["event"] == "alert cannot be read"]
    assert (done["stood_down"], unread) == ((1, [damaged.id]) if what == "its case" else (2, []))
    assert (await parts.alerts.get(other.id)).state is AlertState.STOOD_DOWN
    assert await counts(parts, damaged) == {"unknown": 20}
    assert await send(parts, damaged) == 0
    assert sandbox.push.recorded.total == 0
