"""Running workers, and waiting for what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from tests.integration.acts import BEA, submitted


@asynccontextmanager
async def working(parts: Container) -> AsyncIterator[asyncio.Task[None]]:
    worker = worker_of(parts)
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        await task


async def approved(parts: Container, sample: dict[str, Any], **changes: Any) -> str:
    taken = await submitted(parts, sample, **changes)
    return (await parts.approval.approve(taken.record.id, BEA)).id


def ended(parts: Container, alert_id: str) -> Callable[[], Awaitable[bool]]:
    async def is_sent() -> bool:
        return await parts.alerts.state(alert_id) is AlertState.SENT

    return is_sent
