"""The keys of cases. What is sealed under one is listed, so that it is known what goes with it when it is destroyed."""

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

#: Ids of photos begin so; the others are of alerts.
PHOTO = "med_"
#: No request takes longer: a purge that was begun before it and is not done never will be.
PURGING_MS = 60_000


#: The field of a hold in the key `{c:<case>}:kept`.
HOLD = "hold"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Why a case is kept whole. A case is one organisation's, and so is its hold."""

    org: str  # of the person who put it there
    by: str
    hands: tuple[str, ...]  # everyone who has, or can have, the key that it was asked for with
    at: int  # UNIX milliseconds
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Hold).decode


@dataclass(frozen=True, slots=True)
class Cases:
    """The repository of cases' keys."""

    db: Connection

    async def box(self, case: str, holder: str, beside: Sequence[Sequence[Arg]] = ()) -> Box:
        """The key of a case, made at first use, for an alert or a photo that is to be sealed under it; what is `beside` it is done, too."""
        name = keys.case(case)
        fresh, names = self.db.codec.new_key(name), [name, keys.case_held(case)]
        hold = self.db.commands([("case_hold", names, (fresh, holder, self.db.skew_ms))])
        wrapped, *_ = await self.db.execute_many([*hold, *beside])
        return self.db.codec.case_box(wrapped, name)

    async def held(self, case: str) -> dict[str, int]:
        """What is sealed under a case's key now, alerts and photos, and when that was last done, in UNIX ms."""
        return {name.decode(): int(at) for name, at in (await self.db.hash_of(keys.case_held(case))).items()}

    async def drop(self, case: str, held: Mapping[str, int]) -> bool:
        """Take the key away, durably; no if something was sealed under it since that was `held`, or a hold is on it."""
        names = [keys.case(case), keys.case_held(case), keys.case_dropped(case), keys.case_kept(case)]
        return bool(await self.db.run_durably("case_drop", names, *(part for pair in held.items() for part in pair)))

    async def dropped(self, case: str) -> Tombstone | None:
        """The tombstone of a key that was taken away and is not destroyed yet."""
        wrapped = await self.db.execute("GET", keys.case_dropped(case))
        return Tombstone(case=case, key=self._fingerprint(case, wrapped)) if wrapped else None

    async def destroy(self, case: str, photos: Iterable[str] = ()) -> None:
        """The key that was taken away, and photos sealed under it; the next rewrite of the append-only file leaves nothing of them."""
        # Photos first: none is left that nobody looks for.
        await self.db.execute_many([("DEL", keys.media(photo)) for photo in photos])
        await self.db.execute_many([("DEL", keys.case_dropped(case)), ("HINCRBY", keys.PURGES, "asked", 1)])

    async def risen(self, tombstones: Iterable[Tombstone]) -> list[Tombstone]:
        """Those whose keys are there again: of a store that was put back from a copy."""
        return await self._there(list(tombstones), keys.case)

    async def undone(self, tombstones: Iterable[Tombstone]) -> list[Tombstone]:
        """Those whose keys were taken away and are not destroyed yet. The case may have another key by now, with what is told of it."""
        return await self._there(list(tombstones), keys.case_dropped)

    async def _there(self, stones: list[Tombstone], name: Callable[[str], str]) -> list[Tombstone]:
        found = await self.db.mget([name(stone.case) for stone in stones]) if stones else []
        return [
            stone
            for stone, wrapped in zip(stones, found, strict=True)
            if wrapped and self._fingerprint(stone.case, wrapped) == stone.key
        ]

    async def bury(self, case: str) -> None:
        """Take the key away whatever is sealed under it, and whatever keeps it."""
        names = (keys.case(case), keys.case_held(case), keys.case_kept(case))
        await self.db.execute_many([("DEL", name) for name in names])

    async def is_kept(self, case: str) -> bool:
        """Whether a hold keeps a case from being purged."""
        return bool(await self.db.execute("HEXISTS", keys.case_kept(case), HOLD))

    async def hold(self, case: str) -> tuple[Hold, bytes] | None:
        """The hold on a case, and its sealed form, which `let_go` compares; or None."""
        sealed = await self.db.execute("HGET", keys.case_kept(case), HOLD)
        box = await self._key(case) if sealed else None
        return (_decode(box.open(sealed, keys.case_kept(case))), sealed) if box else None

    async def keep(self, case: str, hold: Hold) -> bool | None:
        """Put a hold on a case, durably, and let none of its photos and ledgers go by its age. Returns False if it has one, None if the case is
        gone or is being purged.
        """
        name, box = keys.case_kept(case), await self._key(case)
        if box is None:
            return None
        sealed = box.seal(_encode(hold), name)
        done = await self.db.run_durably("case_keep", [name], b"", sealed, self.db.skew_ms, PURGING_MS)
        if done >= 0:  # also where it is said again: a crash may have come between
            aging = [*await self._photos(case), *await self._ledgers(case)]
            if aging:
                await self.db.execute_many([("PERSIST", name) for name in aging])
        return None if done < 0 else bool(done)

    async def let_go(self, case: str, seen: bytes, *, until_ms: int) -> bool:
        """Remove the hold that was seen, durably. Its photos and ledgers go by their age again, none before `until_ms`. Returns False if another
        hold is there, or none.
        """
        name = keys.case_kept(case)
        done = await self.db.run_durably("case_keep", [name], seen, b"", self.db.skew_ms, PURGING_MS)
        if done == 1:
            ages = dict.fromkeys(await self._photos(case), until_ms)
            ages |= {name: max(date, until_ms) for name, date in (await self._ledgers(case)).items()}
            if ages:
                await self.db.execute_many([("PEXPIREAT", *age) for age in ages.items()])
        return bool(done)

    async def begin_purge(self, case: str) -> int:
        """From now on no hold is put on a case, for as long as a purge takes. Answers until when, in ms of the store's clock; 0 where there is a hold."""
        began = int(await self.db.run("case_purging", [keys.case_kept(case)], self.db.skew_ms))
        return began and began + PURGING_MS

    async def end_purge(self, case: str) -> None:
        await self.db.execute("HDEL", keys.case_kept(case), "purging")

    async def _photos(self, case: str) -> list[str]:
        return [keys.media(one) for one in await self.held(case) if one.startswith(PHOTO)]

    async def _ledgers(self, case: str) -> dict[str, int]:
        """The compressed ledgers of a case that go by their age, and when, in UNIX ms."""
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
        wrapped = await self.db.execute("GET", keys.case(case))
        return self.db.codec.case_box(wrapped, keys.case(case)) if wrapped else None

    def _fingerprint(self, case: str, wrapped: bytes) -> str:
        """Tells a key from the next of the same case, and nothing of it."""
        raw = self.db.codec.master.open(wrapped, keys.case(case))
        return self.db.codec.hashed("case-key", base64.b64encode(raw).decode())


async def version_ids(db: Connection, chains: Sequence[str]) -> list[str]:
    """The ids of all versions of chains, in one round trip."""
    found = await db.execute_many([("HMGET", keys.chain(chain), "last", "lives") for chain in chains]) if chains else []
    return [
        version_id(chain, n, (lives or b"").decode())
        for chain, (last, lives) in zip(chains, found, strict=True)
        for n in range(1, int(last or 1) + 1)
    ]
