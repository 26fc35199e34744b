"""Who acknowledged an alert on a screen: what an alert that escalates asks before it sends an SMS.

The script that takes a receipt sets a person's bit in the same step, so an acknowledgement that was answered is never forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.clock import DAY_MS, HOUR_MS
from alertd.common.ids import chain_of
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: It is written so seldom that there is an app that acknowledges, and believed for so long.
NOTED_EVERY_MS = HOUR_MS
BELIEVED_MS = 30 * DAY_MS
_MARK = "acknowledged"


class Acknowledgements:
    """Of every alert that escalates, and of the service."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._noted_ms = -NOTED_EVERY_MS

    async def of(self, alert_id: str, numbers: Sequence[int]) -> list[bool]:
        """Who of these subscribers, by their numbers, acknowledged an alert by push or web push since it was last shown to everybody."""
        bits: bytes = await self._db.run("acked", [keys.chain(chain_of(alert_id))], alert_id, *numbers)
        return [bit == ord("1") for bit in bits]

    async def note(self, now_ms: int) -> None:
        """An app acknowledged something."""
        if now_ms - self._noted_ms >= NOTED_EVERY_MS:
            await self._db.execute("HSET", keys.COUNTERS, _MARK, now_ms)
            self._noted_ms = now_ms

    async def lately(self, now_ms: int) -> bool:
        """Whether any app did so in the last month."""
        noted = await self._db.execute("HGET", keys.COUNTERS, _MARK)
        return noted is not None and now_ms - int(noted) < BELIEVED_MS
