"""Mailboxes that were called dead once: since when, under keyed hashes, so that none can be read from the store."""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.engine.named_values import named, values_of

#: What was said longer ago than this is forgotten: outages a season apart do not add up, for the mailbox may have had mail in between.
KEPT_S = 30 * DAY_MS // 1000


class HardBounces:
    """Of every mailbox, hashed as `Names.address_hash` does it."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def note(self, hashed: Sequence[str], now_s: int) -> list[int]:
        """They are called dead now. Answers since when (UNIX s) each has been."""
        if not hashed:
            return []
        await self._db.run_many(
            [named(self._db, keys.called_dead, name, "SET", now_s, "NX", "EX", KEPT_S) for name in hashed]
        )
        return [int(raw or now_s) for raw in await values_of(self._db, keys.called_dead, hashed)]

    async def forget(self, hashed: Sequence[str]) -> None:
        """They are removed: whoever brings one anew is believed, until it is called dead again."""
        if hashed:
            await self._db.run_many([named(self._db, keys.called_dead, name, "DEL") for name in hashed])
