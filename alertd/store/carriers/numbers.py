"""The number (one byte) that stands for each carrier in ledger rows."""

from __future__ import annotations

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


class CarrierNumbers:
    """Assigns numbers to carriers, and finds a carrier's name by its number."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def of(self, name: str) -> int:
        """Returns the carrier's number. Assigns a new one at first use; a number is never reused."""
        known = await self._db.execute("HGET", keys.CARRIERS, name)
        if known is None:
            fresh = await self._db.execute("HINCRBY", keys.COUNTERS, "carriers", 1)
            await self._db.execute("HSETNX", keys.CARRIERS, name, fresh)
            known = await self._db.execute("HGET", keys.CARRIERS, name)
        return int(known)

    async def names(self) -> dict[int, str]:
        """Returns the names of all carriers, by number."""
        found = await self._db.hash_of(keys.CARRIERS)
        return {int(number): name.decode() for name, number in found.items()}
