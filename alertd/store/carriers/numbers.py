"""Carriers' numbers: the byte that each has in ledgers."""

from __future__ import annotations

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


class CarrierNumbers:
    """Gives them out, and knows them by their numbers."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def of(self, name: str) -> int:
        """Given at first use, never given to another."""
        known = await self._db.execute("HGET", keys.CARRIERS, name)
        if known is None:
            fresh = await self._db.execute("HINCRBY", keys.COUNTERS, "carriers", 1)
            await self._db.execute("HSETNX", keys.CARRIERS, name, fresh)
            known = await self._db.execute("HGET", keys.CARRIERS, name)
        return int(known)

    async def names(self) -> dict[int, str]:
        """The carriers' names by their numbers."""
        found = await self._db.hash_of(keys.CARRIERS)
        return {int(number): name.decode() for name, number in found.items()}
