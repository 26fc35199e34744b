"""The times at which alerts start and end. Workers look for due ones regularly, so a crashed process loses no timer."""

from __future__ import annotations

from collections.abc import Callable

from alertd.common.ids import chain_of
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: Maximum number of due alerts that one round reads from each shard. The next round reads the rest.
_DUE_AT_ONCE = 100


class AlertSchedule:
    """The repository of alerts' start and end times. A time is written before the alert's record has it, so that a crash cannot lose it."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def note_end(self, record: AlertRecord) -> None:
        """Stores when an alert ends. If a crash prevents this after an extension, the check at the earlier end finds the new end in the
        alert's record.
        """
        await self._db.execute("ZADD", _of(keys.expiry, record.id), record.expires, record.id)

    async def bring_forward(self, record: AlertRecord) -> None:
        """Stores an earlier end before the alert's record gets it; keeps an end that is earlier still. If the record never gets it, the
        check comes too early and stores the right end again.
        """
        await self._db.execute("ZADD", _of(keys.expiry, record.id), "LT", record.expires, record.id)

    async def note_start(self, record: AlertRecord) -> None:
        """Stores when an alert starts."""
        await self._db.execute("ZADD", _of(keys.starts, record.id), record.times.starts, record.id)

    async def to_end(self, now_ms: int) -> list[str]:
        """Returns the ids of alerts whose stored end is not after `now_ms` (UNIX ms). The alert itself may have a later end by now."""
        return await self._due(keys.expiry, now_ms)

    async def to_start(self, now_ms: int) -> list[str]:
        """Returns the ids of alerts whose start is not after `now_ms` (UNIX ms)."""
        return await self._due(keys.starts, now_ms)

    async def end_done(self, alert_id: str) -> None:
        """Deletes the stored end of an alert, because the alert has ended."""
        await self._db.execute("ZREM", _of(keys.expiry, alert_id), alert_id)

    async def start_done(self, alert_id: str) -> None:
        """Deletes the stored start of an alert, because it has started or will not start."""
        await self._db.execute("ZREM", _of(keys.starts, alert_id), alert_id)

    async def _due(self, name: Callable[[int], str], now_ms: int) -> list[str]:
        """Returns the ids of alerts in these sets with a time not after `now_ms`, at most _DUE_AT_ONCE of each set."""
        found = await self._db.execute_many(
            [("ZRANGEBYSCORE", name(shard), "-inf", now_ms, "LIMIT", 0, _DUE_AT_ONCE) for shard in range(keys.SHARDS)]
        )
        return [alert_id.decode() for shard in found for alert_id in shard]


def _of(name: Callable[[int], str], alert_id: str) -> str:
    """Returns the store key of the set (of starts or ends) for an alert: that of the shard of the alert's chain. `name`
    makes the key from the shard.
    """
    return name(keys.shard_of(chain_of(alert_id)))
