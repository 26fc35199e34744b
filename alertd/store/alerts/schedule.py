"""When alerts start and end. A sweep reads it, so that a crashed process loses no timer."""

from __future__ import annotations

from collections.abc import Callable

from alertd.common.ids import chain_of
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: How many due alerts of a shard one round reads; the next round reads the rest.
_DUE_AT_ONCE = 100


class AlertSchedule:
    """The repository of start and end times. Each time is written before the state that it belongs to, so that no crash hides it."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def note_end(self, record: AlertRecord) -> None:
        """Note an alert's end. If a crash prevents it after an extension, the sweep at the earlier end finds the new one."""
        await self._db.execute("ZADD", _of(keys.expiry, record.id), record.expires, record.id)

    async def bring_forward(self, record: AlertRecord) -> None:
        """Note an earlier end before the alert has it. If the alert never gets it, the sweep looks too early and notes the end again."""
        await self._db.execute("ZADD", _of(keys.expiry, record.id), "LT", record.expires, record.id)

    async def note_start(self, record: AlertRecord) -> None:
        await self._db.execute("ZADD", _of(keys.starts, record.id), record.times.starts, record.id)

    async def to_end(self, now_ms: int) -> list[str]:
        """Returns the alerts whose end may have come."""
        return await self._due(keys.expiry, now_ms)

    async def to_start(self, now_ms: int) -> list[str]:
        """Returns the alerts that are due to start."""
        return await self._due(keys.starts, now_ms)

    async def end_done(self, alert_id: str) -> None:
        await self._db.execute("ZREM", _of(keys.expiry, alert_id), alert_id)

    async def start_done(self, alert_id: str) -> None:
        await self._db.execute("ZREM", _of(keys.starts, alert_id), alert_id)

    async def _due(self, name: Callable[[int], str], now_ms: int) -> list[str]:
        found = await self._db.execute_many(
            [("ZRANGEBYSCORE", name(shard), "-inf", now_ms, "LIMIT", 0, _DUE_AT_ONCE) for shard in range(keys.SHARDS)]
        )
        return [alert_id.decode() for shard in found for alert_id in shard]


def _of(name: Callable[[int], str], alert_id: str) -> str:
    return name(keys.shard_of(chain_of(alert_id)))
