"""The encryption keys of cases. Each has a list of the alerts and photos under it, which become unreadable if the key is destroyed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from alertd.common.ids import chain_of, version_id
from alertd.store.engine import keys
from alertd.store.engine.codec import Box
from alertd.store.engine.connection import Arg, Connection
from alertd.store.records.tombstones import Tombstone

#: Prefix of photo ids; the other ids are of alerts.
PHOTO = "med_"
#: Maximum time of a request (ms). A purge that began earlier and has not ended will never end.
PURGING_MS = 60_000


#: The field that has the legal hold in the store key `{c:<case>}:kept`.
HOLD = "hold"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A legal hold: the case must not be purged. A case belongs to one organisation, and so does its hold."""

    org: str  # organisation of the person who set the hold
    by: str  # the person who set it
    hands: tuple[str, ...]  # everyone who has, or may have, the API key that was used
    at: int  # UNIX milliseconds
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Hold).decode


@dataclass(frozen=True, slots=True)
class Cases:
    """Stores the encryption keys of cases. Everything about a case is sealed with its key, so removing the key deletes the case."""

    db: Connection

    async def box(self, case: str, holder: str, beside: Sequence[Sequence[Arg]] = ()) -> Box:
        """Returns the key of a case, which seals the alert or photo `holder`. Makes the key at first use, and adds `holder` to the list
        of what the key seals. Executes the commands `beside` in the same round trip.
        """
        name = keys.case(case)
        fresh, names = self.db.codec.new_key(name), [name, keys.case_held(case)]
        hold = self.db.commands([("case_key", names, (fresh, holder, self.db.skew_ms))])
        wrapped, *_ = await self.db.execute_many([*hold, *beside])
        return self.db.codec.case_box(wrapped, name)

    async def held(self, case: str) -> dict[str, int]:
        """Returns the alerts and photos that the case's key has sealed, each with the time of the last seal (UNIX ms)."""
        return {name.decode(): int(at) for name, at in (await self.db.hash_of(keys.case_held(case))).items()}

    async def drop(self, case: str, held: Mapping[str, int]) -> bool:
        """Moves the key of a case aside, durably, so that no process can use it; `destroy` deletes it later. `held` is the result of
        `held()`. Moves nothing and returns False if something was sealed with the key since then, or if the case has a legal hold.
        """
        names = [keys.case(case), keys.case_held(case), keys.case_dropped(case), keys.case_kept(case)]
        return bool(await self.db.run_durably("case_drop", names, *(part for pair in held.items() for part in pair)))

    async def dropped(self, case: str) -> Tombstone | None:
        """Returns the tombstone of a key that `drop` moved aside and `destroy` has not deleted yet, None if there is no such key."""
        wrapped = await self.db.execute("GET", keys.case_dropped(case))
        return Tombstone(case=case, key=self._fingerprint(case, wrapped)) if wrapped else None

    async def destroy(self, case: str, photos: Iterable[str] = ()) -> None:
        """Deletes the key that `drop` moved aside, and the case's photos. The next rewrite of the append-only file removes them from the disk."""
        # Photos first, so that a crash leaves none behind without its key.
        await self.db.execute_many([("DEL", keys.media(photo)) for photo in photos])
        await self.db.execute_many([("DEL", keys.case_dropped(case)), ("HINCRBY", keys.PURGES, "asked", 1)])

    async def risen(self, tombstones: Iterable[Tombstone]) -> list[Tombstone]:
        """Returns those of the tombstones that stand for a destroyed key which is in use again, because a backup was restored."""
        return await self._there(list(tombstones), keys.case)

    async def undone(self, tombstones: Iterable[Tombstone]) -> list[Tombstone]:
        """Returns those of the tombstones that stand for a key which `drop` moved aside and `destroy` has not deleted yet. The case may
        have a new key by now, with new alerts.
        """
        return await self._there(list(tombstones), keys.case_dropped)

    async def _there(self, stones: list[Tombstone], name: Callable[[str], str]) -> list[Tombstone]:
        """Returns those of the tombstones that stand for a key which is in the store under `name(case)`."""
        found = await self.db.mget([name(stone.case) for stone in stones]) if stones else []
        return [
            stone
            for stone, wrapped in zip(stones, found, strict=True)
            if wrapped and self._fingerprint(stone.case, wrapped) == stone.key
        ]

    async def bury(self, case: str) -> None:
        """Deletes the key of a case and its legal hold, even if something is sealed under the key."""
        names = (keys.case(case), keys.case_held(case), keys.case_kept(case))
        await self.db.execute_many([("DEL", name) for name in names])

    async def is_kept(self, case: str) -> bool:
        """Returns whether the case has a legal hold."""
        return bool(await self.db.execute("HEXISTS", keys.case_kept(case), HOLD))

    async def hold(self, case: str) -> tuple[Hold, bytes] | None:
        """Returns the legal hold on a case and its sealed form, which `let_go` compares, or None."""
        sealed = await self.db.execute("HGET", keys.case_kept(case), HOLD)
        box = await self._key(case) if sealed else None
        return (_decode(box.open(sealed, keys.case_kept(case))), sealed) if box else None

    async def keep(self, case: str, hold: Hold) -> bool | None:
        """Sets a legal hold on a case, durably. Its photos and archived ledgers then do not expire.

        Returns False if the case has a hold, None if the case does not exist or is being purged.
        """
        name, box = keys.case_kept(case), await self._key(case)
        if box is None:
            return None
        sealed = box.seal(_encode(hold), name)
        done = await self.db.run_durably("case_set_hold", [name], b"", sealed, self.db.skew_ms, PURGING_MS)
        if done >= 0:  # also if the hold was there already: a crash may have come before this step
            aging = [*await self._photos(case), *await self._ledgers(case)]
            if aging:
                await self.db.execute_many([("PERSIST", name) for name in aging])
        return None if done < 0 else bool(done)

    async def let_go(self, case: str, seen: bytes, *, until_ms: int) -> bool:
        """Removes the legal hold that was read as `seen`, durably. Photos and archived ledgers of the case expire again, none before
        `until_ms` (UNIX ms).

        Returns False if the case has another hold, or none.
        """
        name = keys.case_kept(case)
        done = await self.db.run_durably("case_set_hold", [name], seen, b"", self.db.skew_ms, PURGING_MS)
        if done == 1:
            ages = dict.fromkeys(await self._photos(case), until_ms)
            ages |= {name: max(date, until_ms) for name, date in (await self._ledgers(case)).items()}
            if ages:
                await self.db.execute_many([("PEXPIREAT", *age) for age in ages.items()])
        return bool(done)

    async def begin_purge(self, case: str) -> int:
        """Forbids new legal holds on a case while it is purged. Returns until when (ms, store clock), 0 if the case has a hold."""
        began = int(await self.db.run("case_purging", [keys.case_kept(case)], self.db.skew_ms))
        return began and began + PURGING_MS

    async def end_purge(self, case: str) -> None:
        """Allows legal holds on the case again."""
        await self.db.execute("HDEL", keys.case_kept(case), "purging")

    async def _photos(self, case: str) -> list[str]:
        """Returns the store keys of a case's photos."""
        return [keys.media(one) for one in await self.held(case) if one.startswith(PHOTO)]

    async def _ledgers(self, case: str) -> dict[str, int]:
        """Returns the store keys of a case's archived ledgers that expire, each with its expiry (UNIX ms)."""
        chains = sorted({chain_of(one) for one in await self.held(case) if not one.startswith(PHOTO)})
        versions = await version_ids(self.db, chains)
        dates = [("HGET", keys.of_chain(chain_of(one), "version", one), "archived") for one in versions]
        found = await self.db.execute_many(dates) if dates else []
        return {
            keys.of_chain(chain_of(one), "closed", one): int(date)
            for one, date in zip(versions, found, strict=True)
            if int(date or 0)
        }

    async def _key(self, case: str) -> Box | None:
        """Returns the encryption key of a case, None if it does not exist."""
        wrapped = await self.db.execute("GET", keys.case(case))
        return self.db.codec.case_box(wrapped, keys.case(case)) if wrapped else None

    def _fingerprint(self, case: str, wrapped: bytes) -> str:
        """Returns an HMAC of a case's key (`wrapped`), which shows whether a key is the same without revealing it."""
        raw = self.db.codec.master.open(wrapped, keys.case(case))
        return self.db.codec.hashed("case-key", base64.b64encode(raw).decode())


async def version_ids(db: Connection, chains: Sequence[str]) -> list[str]:
    """Returns the ids of all versions of these alerts (`chains`: ids of first versions), in one round trip."""
    found = await db.execute_many([("HMGET", keys.chain(chain), "last", "lives") for chain in chains]) if chains else []
    return [
        version_id(chain, n, (lives or b"").decode())
        for chain, (last, lives) in zip(chains, found, strict=True)
        for n in range(1, int(last or 1) + 1)
    ]
