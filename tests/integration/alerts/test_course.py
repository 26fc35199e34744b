"""The course of an alert: who did what, and when its messages left and arrived."""

from __future__ import annotations

from typing import Any

import numpy as np

from alertd.model.states import CHANNELS, State
from alertd.service.alerts import timeline
from alertd.service.alerts.timeline import Timeline
from alertd.service.container import Container
from alertd.service.records.audit import DONE, REFUSED, Noted
from channels.sandbox import Sandbox
from tests.integration.acts import ANA, BEA, planned, register, send, submitted


async def acted(parts: Container, act: str, name: str, outcome: str | None = DONE) -> None:
    number = await parts.audit.begin(BEA, act, name)
    if outcome:
        await parts.audit.end(BEA, act, outcome, Noted(object=name), of=number)


async def test_the_acts_on_an_alert_are_told_oldest_first(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Its own and its later versions' alone, page by page; what only reads it and what was refused is no part of it, and what has
    no outcome is said to have none. Of an audit that is too long it is said that older ones were not looked for.
    """
    await register(parts, 20)
    mine, other = [(await submitted(parts, sample)).record for _ in range(2)]
    number = await parts.audit.begin(ANA, "alert.create", "")
    await parts.audit.end(ANA, "alert.create", DONE, Noted(record=mine), of=number)
    await acted(parts, "alert.approve", mine.id, REFUSED)
    await acted(parts, "alert.approve", mine.id)
    await acted(parts, "alert.approve", other.id)
    await acted(parts, "ledger.read", mine.id)
    await acted(parts, "alert.cancel", f"{mine.id}-2", None)
    history = await Timeline(parts.audit, parts.work, look=4).history(mine)
    assert [(one.act, one.outcome, one.by) for one in history.acts] == [
        ("alert.create", "done", ANA.subject), ("alert.approve", "done", BEA.subject),
        ("alert.cancel", "begun", BEA.subject),
    ]  # fmt: skip
    assert history.whole
    short = await Timeline(parts.audit, parts.work, look=4, looks=1).history(mine)
    assert [one.act for one in short.acts] == ["alert.cancel"]
    assert not short.whole


async def test_the_curve_ends_at_what_the_ledger_counts(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """By channel, never falling, as many at its end as were handed over and delivered; what failed is in neither."""
    await register(parts, 30)
    record = await planned(parts, sample, channels=["push", "mail"])
    before = await parts.timeline.curve(record, reads_ledger=True)
    assert not any(before.handed_over["push"])
    await send(parts, record)
    curve = await parts.timeline.curve(await parts.alerts.get(record.id), reads_ledger=True)
    assert curve.handed_over["push"][-1] == 30
    assert curve.handed_over["push"] == sorted(curve.handed_over["push"])
    assert curve.handed_over["mail"][-1] == 0
    assert curve.delivered["push"][-1] == 0
    assert (await parts.work.receipt(record.id, 0, "push", State.DELIVERED, 0, (State.ACCEPTED,))).old
    assert (await parts.timeline.curve(record, reads_ledger=True)).delivered["push"][-1] == 1


def test_a_curve_has_room_for_any_time():
    """Nothing falls off: an hour, a day and a week later the same points hold all of it, the step grown to fit."""
    counts, step = np.zeros((2, len(CHANNELS), timeline.POINTS), np.int64), timeline.STEP_MS
    for n, hours in enumerate((0, 1, 24, 168), 1):
        ms = np.array([hours * 3_600_000], np.uint32)
        counts, step = timeline.added(counts, step, 0, np.array([0]), ms)
        assert counts.sum() == n
        assert hours * 3_600_000 < timeline.POINTS * step
    assert timeline.POINTS * step < 2 * 168 * 3_600_000
