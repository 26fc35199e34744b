"""What `/metrics/fleet` says of alerts: how long one waits for its second person, and what is still to be told."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.service.container import Container
from tests.integration.acts import ANA, alert_of, planned, register, send

HOUR_MS = 3_600_000


async def told(parts: Container, series: str) -> float:
    """The value of a series."""
    text = await parts.fleet.metrics()
    (value,) = [line.rpartition(" ")[2] for line in text.whole.decode().splitlines() if line.startswith(f"{series} ")]
    return float(value)


async def test_an_alert_waits_since_it_was_submitted(parts: Container, sample: dict[str, Any]):
    """Not since it was begun: nobody is woken for the time that its author took to write it."""
    await register(parts, 40)
    parts.db.skew_ms = -HOUR_MS
    draft = await parts.intake.submit(alert_of(sample), ANA, draft=True)
    parts.db.skew_ms = -HOUR_MS // 6
    await parts.approval.submit(draft.record.id, ANA)
    parts.db.skew_ms = 0
    assert await told(parts, "alertd_pending_oldest_seconds") == pytest.approx(600, abs=30)


async def test_what_is_still_to_be_told_is_counted_by_its_loudness(parts: Container, sample: dict[str, Any]):
    """By channel, with how long ago it was approved; nothing once all of it is handed over."""
    await register(parts, 40)
    parts.db.skew_ms = -HOUR_MS
    record = await planned(parts, sample)
    parts.db.skew_ms = 0
    of_push = '{channel="push",lane="normal"}'
    assert await told(parts, f"alertd_queue_references{of_push}") == 40
    assert await told(parts, f"alertd_queue_oldest_seconds{of_push}") == pytest.approx(3600, abs=30)
    assert await told(parts, 'alertd_queue_references{channel="push",lane="loud"}') == 0
    await send(parts, record)
    for series in ("references", "oldest_seconds"):
        assert await told(parts, f"alertd_queue_{series}{of_push}") == 0
