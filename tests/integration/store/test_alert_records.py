"""What is kept of an alert: what it says, and nothing for what it does not say."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from alertd.service.container import Container
from alertd.store.engine import keys
from tests.integration.acts import ANA, alert_of, register, submitted


async def test_what_an_alert_does_not_say_is_not_kept(parts: Container, sample: dict[str, Any], redis: Redis):
    """It reads as it was submitted, whole or without its document."""
    await register(parts, 30)
    record = (await submitted(parts, sample)).record
    kept = await redis.hgetall(keys.of_chain(keys.chain(record.id), "version", record.id))
    assert all(value not in {b"", b"0"} for value in kept.values())
    whole, (head,) = await parts.alerts.get(record.id), await parts.alerts.heads([record.id])
    assert whole
    assert head
    assert whole.document == record.document
    for one in (whole, head):
        assert (one.author.subject, one.target.regions, one.target.seen, one.external_id) == (
            record.author.subject,
            record.target.regions,
            record.target.seen,
            record.external_id,
        )
        assert (one.approval.by, one.approval.glass, one.times.starts, one.update, one.texts) == ("", None, 0, None, 0)


async def test_what_a_draft_says_no_more_is_gone(parts: Container, sample: dict[str, Any]):
    """What is empty takes the place of what was there."""
    await register(parts, 30)
    draft = await parts.intake.submit(alert_of(sample, external_id="x"), ANA, draft=True)
    assert (await parts.approval.get(draft.record.id, ANA)).external_id == "x"
    await parts.intake.amend(draft.record, {"external_id": None}, ANA)
    assert not (await parts.approval.get(draft.record.id, ANA)).external_id
