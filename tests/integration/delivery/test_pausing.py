"""An alert that is told waits, and goes on, whichever of its versions tells it; that it is over waits only by intent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.model.states import AlertState
from alertd.service.container import Container
from tests.integration.acts import ANA, BEA, counts, lease_of, planned, register, send, sent, slug
from tests.integration.alerts.updates import updated


async def test_a_pause_is_over_with_an_update_and_holds_one(parts: Container, sample: dict[str, Any]):
    """Whoever approves the update of an alert that waits wants it told; the update can be made to wait as well, until it comes back."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await parts.alerts.pause(record.id, waits=True, by=ANA.subject, rev=None)
    update = await updated(parts, record, sample)
    assert not (await parts.alerts.get(record.id)).chain.paused
    await parts.alerts.pause(update.id, waits=True, by=ANA.subject, rev=None)
    assert await lease_of(parts.work, record.id, "push") is None
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    await parts.follow_ups.reopen(record.id, BEA, "x")
    assert not (await parts.alerts.get(update.id)).chain.paused
    again = await parts.stop_control.pause(update, ANA, waits=True, rev=None)
    assert again.chain.paused
    assert await lease_of(parts.work, record.id, "push") is None
    await parts.stop_control.pause(again, ANA, waits=False, rev=again.rev)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 20}


@pytest.mark.parametrize(("first", "then"), [("alert", "update"), ("update", "alert")])
async def test_whichever_version_is_named_what_is_told_waits_and_goes_on(
    parts: Container, sample: dict[str, Any], first: str, then: str
):
    """Of an alert that was sent and is told anew: each version says that it waits and has another revision, and the alert's events
    say so once.
    """
    record = await sent(parts, sample, channels=["push"])
    await register(parts, 5, first=100)
    update = await updated(parts, record, sample, channels=["push"])
    versions = {"alert": record, "update": update}
    before = await parts.alerts.heads([record.id, update.id])
    waiting = await parts.stop_control.pause(versions[first], ANA, waits=True, rev=None)
    after = await parts.alerts.heads([record.id, update.id])
    assert waiting.chain.paused
    assert all(head.chain.paused for head in after)
    assert [head.rev for head in after] == [head.rev + 1 for head in before]
    assert await lease_of(parts.work, record.id, "push") is None
    stale = parts.stop_control.pause(versions[then], BEA, waits=False, rev=before[0 if then == "alert" else 1].rev)
    assert await slug(stale) == "version-changed"
    assert not (await parts.stop_control.pause(versions[then], BEA, waits=False, rev=None)).chain.paused
    await send(parts, record)
    assert (await counts(parts, update))["accepted"] == 25
    await parts.events.leads()
    await parts.events.bring()
    told = [json.loads(event) for _, event in (await parts.events.read_page("default", None, 100)).events]
    words = [(one["type"], one["data"]["alert"]) for one in told if one["type"] in {"alert.paused", "alert.resumed"}]
    assert words == [("alert.paused", record.id), ("alert.resumed", record.id)]


async def test_what_waits_with_nothing_left_to_tell_can_go_on(parts: Container, sample: dict[str, Any]):
    """Else what is sent again of it would wait for ever. What does not wait cannot be made to."""
    record = await sent(parts, sample, channels=["push"])
    assert await slug(parts.stop_control.pause(record, ANA, waits=True, rev=None)) == "precondition-failed"
    await register(parts, 5)
    record = await planned(parts, sample)
    await parts.stop_control.pause(record, ANA, waits=True, rev=None)
    await parts.alerts.step(record.id, AlertState.EXPIRED)
    assert not (await parts.stop_control.pause(record, BEA, waits=False, rev=None)).chain.paused


@pytest.mark.parametrize("step", ["cancel", "close", "stand_down"])
async def test_that_it_is_over_waits_for_nobody_who_has_not_seen_it(
    parts: Container, sample: dict[str, Any], step: str
):
    """Whoever halts an alert a moment after somebody else ended it means the alert, not its end."""
    record = await sent(parts, sample, channels=["push"])
    await register(parts, 5, first=100)
    done = await getattr(parts.follow_ups, step)(record.id, ANA, "x")
    assert await slug(parts.stop_control.pause(record, BEA, waits=True, rev=None)) == "precondition-failed"
    assert await slug(parts.stop_control.pause(record, BEA, waits=True, rev=record.rev)) == "version-changed"
    seen = await parts.alerts.get(record.id)
    assert not seen.chain.paused
    assert (await parts.stop_control.pause(seen, BEA, waits=True, rev=seen.rev)).chain.paused
    assert (await getattr(parts.follow_ups, step)(record.id, ANA, "x")).told_by == done.told_by
    assert not (await parts.stop_control.pause(seen, BEA, waits=False, rev=None)).chain.paused
