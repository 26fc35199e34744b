"""The suppression list, and mailboxes with a hard bounce. Keys are HMACs (`NameIndex.address_hash`), so the store reveals no address."""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Call, Connection, named, names_of, values_of

#: A hard bounce is forgotten after this many seconds, because the mailbox may have received mail since: outages months apart do not add up.
KEPT_S = 30 * DAY_MS // 1000


class Suppressions:
    """The suppression list: addresses that are never written to.

    An entry does not depend on a subscriber and outlives one. Its value is the time it was added (UNIX s), negative if an operator added it
    and not the owner of the address.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, hashed: Sequence[str], since_s: int) -> int:
        """Adds addresses (by their hashes) that their owners opted out, durably, since `since_s` (UNIX s). An address that is on the list
        keeps its entry. Returns the number of new ones.
        """
        answers = await self._db.run_many([self._call(name, "SET", since_s, "NX") for name in hashed], durable=True)
        return sum(answer is not None for answer in answers)

    async def hold(self, hashed: Sequence[str], since_s: int) -> int:
        """Adds addresses for an operator, durably, so that their owners cannot remove them. An address that is on the list keeps its time.
        Returns the number of new ones.
        """
        found = await self.since(hashed)
        pairs = zip(hashed, found, strict=True)
        await self._db.run_many([self._call(name, "SET", -(since or since_s)) for name, since in pairs], durable=True)
        return found.count(None)

    async def release(self, hashed: Sequence[str]) -> int:
        """Removes addresses from the list at their owners' wish, durably. An address that an operator added stays. Returns the number of
        removed ones.
        """
        found = zip(hashed, await values_of(self._db, keys.suppression, hashed), strict=True)
        kept = [(names_of(self._db, keys.suppression, name), raw) for name, raw in found if raw]
        own = [("unclaim", names, [raw]) for names, raw in kept if not raw.startswith(b"-")]
        return sum(await self._db.run_many(own, durable=True)) if own else 0

    async def drop(self, hashed: Sequence[str]) -> int:
        """Removes addresses from the list, durably, also those that an operator added. Returns the number of removed ones."""
        return sum(await self._db.run_many([self._call(name, "DEL") for name in hashed], durable=True))

    async def since(self, hashed: Sequence[str]) -> list[int | None]:
        """Returns for each address when it was added (UNIX s), or None. Reads all in one round trip."""
        found = await values_of(self._db, keys.suppression, hashed)
        return [abs(int(raw)) if raw else None for raw in found]

    async def is_held(self, hashed: str) -> bool:
        """Returns whether an operator added an address, so that its owner cannot remove it."""
        [raw] = await values_of(self._db, keys.suppression, [hashed])
        return (raw or b"").startswith(b"-")

    def _call(self, name: str, command: str, *args: Arg) -> Call:
        """Returns the script call that runs `command` on an address's entry."""
        return named(self._db, keys.suppression, name, command, *args)


class HardBounces:
    """Mailboxes that refused a mail for good (hard bounce), and the time of the first such bounce."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def note(self, hashed: Sequence[str], now_s: int) -> list[int]:
        """Records a hard bounce of each mailbox at `now_s`. Returns for each the time of its first bounce in the last KEPT_S (UNIX s)."""
        if not hashed:
            return []
        await self._db.run_many(
            [named(self._db, keys.called_dead, name, "SET", now_s, "NX", "EX", KEPT_S) for name in hashed]
        )
        return [int(raw or now_s) for raw in await values_of(self._db, keys.called_dead, hashed)]

    async def forget(self, hashed: Sequence[str]) -> None:
        """Deletes the entries of removed addresses, so that an address that is registered again starts without bounces."""
        if hashed:
            await self._db.run_many([named(self._db, keys.called_dead, name, "DEL") for name in hashed])
