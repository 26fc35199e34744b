"""Published alerts."""

from __future__ import annotations

from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from tests.integration.acts import finish, send


async def over_and_told(parts: Container, notice: str) -> None:
    """A version that tells of a step has told all."""
    record = await parts.alerts.get(notice)
    await worker_of(parts).plans.planner.plan(record)
    await send(parts, record)
    assert await finish(parts.work, notice) == "done"
