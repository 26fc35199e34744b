"""Purges of a case, and everything that the store holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alertd.model.kinds import PurgeReason
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.connection import Connection
from alertd.store.records.case_keys import Cases
from tests.integration.acts import (
    ANA,
    finish,
    sent,
    tell,
)

WHY = PurgeReason.RETENTION


async def closed(parts: Container, sample: dict[str, Any], **changes: Any) -> AlertRecord:
    """Told by push, closed, and told so."""
    record = await sent(parts, sample, channels=["push"], **changes)
    done = await parts.follow_ups.close(record.id, ANA, "Found, well")
    await tell(parts, done, ("push",))
    assert await finish(parts.work, done.told_by) == "done"
    return await parts.alerts.get(record.id)


async def everything(store: Connection) -> dict[bytes, bytes]:
    """All keys of the store, as they would be copied."""
    return {name: await store.execute("DUMP", name) for name in await store.execute("KEYS", "*")}


async def put_back(store: Connection, copy: dict[bytes, bytes]) -> None:
    await store.execute("FLUSHALL")
    for name, dump in copy.items():
        await store.execute("RESTORE", name, 0, dump, "REPLACE")  # whoever is at work may have written meanwhile


class Meanwhile(Cases):
    """Something is sealed under a case's key right before it is taken away."""

    async def drop(self, case: str, held: Mapping[str, int]) -> bool:
        await self.box(case, "another")
        return await super().drop(case, held)
