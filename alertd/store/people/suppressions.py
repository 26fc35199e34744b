"""Addresses that get nothing, or may soon: the suppression list, and mailboxes that were called dead once. Both are under keyed hashes
(`NameIndex.address_hash`), so that no address can be read from the store.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Call, Connection, named, names_of, values_of

#: What was said of a mailbox longer ago than this is forgotten: outages a season apart do not add up, for it may have had mail in between.
KEPT_S = 30 * DAY_MS // 1000


class Suppressions:
    """The repository of the list of addresses whose owners want nothing more.

    Who has such an address, or whether anybody has, makes no difference to it: it outlives the subscriber. The time since when it stands there is
    below zero where somebody put it there who keeps the list, and not its owner.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, hashed: Sequence[str], since_s: int) -> int:
        """Put addresses on the list, durably. One that is there keeps its time. Answers how many were not there before."""
        answers = await self._db.run_many([self._call(name, "SET", since_s, "NX") for name in hashed], durable=True)
        return sum(answer is not None for answer in answers)

    async def hold(self, hashed: Sequence[str], since_s: int) -> int:
        """The same by whoever keeps the list: its owners take none of these off."""
        found = await self.since(hashed)
        pairs = zip(hashed, found, strict=True)
        await self._db.run_many([self._call(name, "SET", -(since or since_s)) for name, since in pairs], durable=True)
        return found.count(None)

    async def release(self, hashed: Sequence[str]) -> int:
        """Their owners take addresses off the list, durably: those that they put there. Answers how many these were."""
        found = zip(hashed, await values_of(self._db, keys.suppression, hashed), strict=True)
        kept = [(names_of(self._db, keys.suppression, name), raw) for name, raw in found if raw]
        own = [("unclaim", names, [raw]) for names, raw in kept if not raw.startswith(b"-")]
        return sum(await self._db.run_many(own, durable=True)) if own else 0

    async def drop(self, hashed: Sequence[str]) -> int:
        """Take addresses off the list, durably. Answers how many were there."""
        return sum(await self._db.run_many([self._call(name, "DEL") for name in hashed], durable=True))

    async def since(self, hashed: Sequence[str]) -> list[int | None]:
        """Since when (UNIX s) each stands there, None if it does not. One read for all."""
        found = await values_of(self._db, keys.suppression, hashed)
        return [abs(int(raw)) if raw else None for raw in found]

    def _call(self, name: str, command: str, *args: Arg) -> Call:
        return named(self._db, keys.suppression, name, command, *args)


class HardBounces:
    """The repository of mailboxes that were called dead: since when each was."""

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
