"""When alerts are to start and to end: a sweep finds what has come, so that no timer dies with its process."""

from __future__ import annotations

from collections.abc import Callable

from alertd.common.ids import chain_of
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: Of a shard, so many that have come are looked at in one round: the rest is the next round's.
_DUE_AT_ONCE = 100


class AlertSchedule:
    """Both are written before the state that they are of, so that no crash hides them."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def note_end(self, record: AlertRecord) -> None:
        """Where it is put off and not known by then, that is found out when the end comes that it had before."""
        await self._db.execute("ZADD", _of(keys.expiry, record.id), record.expires, record.id)

    async def bring_forward(self, record: AlertRecord) -> None:
        """Before it says so: where it does not come to that, its end is looked for too early, and noted anew."""
        await self._db.execute("ZADD", _of(keys.expiry, record.id), "LT", record.expires, record.id)

    async def note_start(self, record: AlertRecord) -> None:
        await self._db.execute("ZADD", _of(keys.starts, record.id), record.times.starts, record.id)

    async def to_end(self, now_ms: int) -> list[str]:
        """Alerts whose end has come."""
        return await self._due(keys.expiry, now_ms)

    async def to_start(self, now_ms: int) -> list[str]:
        """Alerts that were to start by then."""
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
