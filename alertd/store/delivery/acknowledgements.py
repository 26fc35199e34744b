"""Acknowledgements of alerts by push and web push. An escalating alert reads them before it sends an SMS.

`receipt.lua` stores the receipt and sets the subscriber's bit in one step, so an acknowledgement with an answer is never lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.clock import DAY_MS, HOUR_MS
from alertd.common.ids import chain_of
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: Each process stores at most once in NOTED_EVERY_MS that some app acknowledges alerts. `lately` trusts the stored time for BELIEVED_MS.
NOTED_EVERY_MS = HOUR_MS
BELIEVED_MS = 30 * DAY_MS
_MARK = "acknowledged"


class Acknowledgements:
    """Reads the acknowledgements of alerts, and whether any app of the installation acknowledges at all."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._noted_ms = -NOTED_EVERY_MS

    async def of(self, alert_id: str, numbers: Sequence[int]) -> list[bool]:
        """Returns, for each subscriber number, whether the subscriber has acknowledged the alert since it was last shown to all recipients."""
        bits: bytes = await self._db.run("acked", [keys.chain(chain_of(alert_id))], alert_id, *numbers)
        return [bit == ord("1") for bit in bits]

    async def note(self, now_ms: int) -> None:
        """Records that an app acknowledged an alert at `now_ms` (UNIX ms). Writes at most once an hour."""
        if now_ms - self._noted_ms >= NOTED_EVERY_MS:
            await self._db.execute("HSET", keys.COUNTERS, _MARK, now_ms)
            self._noted_ms = now_ms

    async def lately(self, now_ms: int) -> bool:
        """Returns whether any app acknowledged an alert in the 30 days before `now_ms` (UNIX ms)."""
        noted = await self._db.execute("HGET", keys.COUNTERS, _MARK)
        return noted is not None and now_ms - int(noted) < BELIEVED_MS
