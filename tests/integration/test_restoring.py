"""A store that was put back from a copy tells nobody anything by itself, and hides whom it named."""

from __future__ import annotations

from typing import Any

from alertd.alerts import AlertState, LedgerReason
from alertd.app import Parts
from alertd.store.connection import Connection
from channels.sandbox import Sandbox
from tests.integration.acts import BEA, CARL, counts, lease_of, over, planned, register, send, submitted
from tests.integration.test_following import sent, told
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
    assert await lease_of(parts.work, record.id, "push", parts.carriers.held())
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
    assert await told(parts, closed, ("push",)) == {"push": {"targeted": 20, "accepted": 20}}


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
