"""Who acknowledged an alert on a screen: what an alert that escalates asks before it sends an SMS.

The script that takes a receipt sets a person's bit in the same step, so an acknowledgement that was answered is never forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.ids import chain_of
from alertd.store import keys
from alertd.store.connection import Connection

#: It is written so seldom that there is an app that acknowledges, and believed for so long.
NOTED_EVERY_MS = 3_600_000
BELIEVED_MS = 30 * 24 * 3_600_000
_MARK = "acknowledged"


class Acks:
    """Of every alert that escalates, and of the service."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._noted_ms = -NOTED_EVERY_MS

    async def of(self, versions: Sequence[str], numbers: Sequence[int]) -> list[bool]:
        """Who of these subscribers, by their numbers, acknowledged one of some versions of an alert by push or web push."""
        asked = [word for number in numbers for word in ("GET", "u1", number)]
        bits = await self._db.execute_many(
            [("BITFIELD_RO", keys.of_chain(chain_of(one), "acked", one), *asked) for one in versions]
        )
        return [any(each) for each in zip(*bits, strict=True)]

    async def note(self, now_ms: int) -> None:
        """An app acknowledged something."""
        if now_ms - self._noted_ms >= NOTED_EVERY_MS:
            await self._db.execute("HSET", keys.COUNTERS, _MARK, now_ms)
            self._noted_ms = now_ms

    async def lately(self, now_ms: int) -> bool:
        """Whether any app did so in the last month."""
        noted = await self._db.execute("HGET", keys.COUNTERS, _MARK)
        return noted is not None and now_ms - int(noted) < BELIEVED_MS
