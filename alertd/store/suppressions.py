"""The suppression list: addresses whose owners want nothing more, under keyed hashes, so that none can be read from the store.

Who has such an address, or whether anybody has, makes no difference to it: it outlives the subscriber.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.store import keys
from alertd.store.connection import Connection


class Suppressions:
    """The repository of the list. Addresses are hashed as `Names.address_hash` does it."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, hashed: Sequence[str], since_s: int) -> int:
        """Put addresses on the list, durably. One that is there keeps its time. Answers how many were not there before."""
        answers = await self._db.execute_durably([("SET", keys.suppression(name), since_s, "NX") for name in hashed])
        return sum(answer is not None for answer in answers)

    async def drop(self, hashed: Sequence[str]) -> int:
        """Take addresses off the list, durably. Answers how many were there."""
        return sum(await self._db.execute_durably([("DEL", keys.suppression(name)) for name in hashed]))

    async def since(self, hashed: Sequence[str]) -> list[int | None]:
        """Since when (UNIX s) each stands there, None if it does not. One read for all."""
        found = await self._db.mget([keys.suppression(name) for name in hashed])
        return [int(raw) if raw else None for raw in found]
