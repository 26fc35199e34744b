"""The keys of cases. What is sealed under one is listed, so that it is known what goes with it when it is destroyed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from alertd.store import keys
from alertd.store.codec import Box
from alertd.store.connection import Connection
from alertd.store.tombstones import Tombstone

#: Ids of photos begin so; the others are of alerts.
PHOTO = "med_"


class Cases:
    """The repository of cases' keys."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def box(self, case: str, holder: str) -> Box:
        """The key of a case, made at first use, for an alert or a photo that is to be sealed under it."""
        name = keys.case(case)
        fresh = self._db.codec.new_case_key(name)
        wrapped = await self._db.run("case_hold", [name, keys.case_held(case)], fresh, holder, self._db.skew_ms)
        return self._db.codec.case_box(wrapped, name)

    async def held(self, case: str) -> dict[str, int]:
        """What is sealed under a case's key now, alerts and photos, and when that was last done, in UNIX ms."""
        return {name.decode(): int(at) for name, at in (await self._db.hash_of(keys.case_held(case))).items()}

    async def drop(self, case: str, held: Mapping[str, int]) -> bool:
        """Take the key away, durably; no if something was sealed under it since that was `held`."""
        names = [keys.case(case), keys.case_held(case), keys.case_dropped(case)]
        return bool(await self._db.run_durably("case_drop", names, *(part for pair in held.items() for part in pair)))

    async def dropped(self, case: str) -> Tombstone | None:
        """The tombstone of a key that was taken away and is not destroyed yet."""
        wrapped = await self._db.execute("GET", keys.case_dropped(case))
        return Tombstone(case=case, key=self._fingerprint(case, wrapped)) if wrapped else None

    async def destroy(self, case: str, photos: Iterable[str] = ()) -> None:
        """The key that was taken away, and photos sealed under it; the next rewrite of the append-only file leaves nothing of them."""
        for photo in photos:
            await self._db.execute("DEL", keys.media(photo))
        await self._db.execute_many([("DEL", keys.case_dropped(case)), ("HINCRBY", keys.PURGES, "asked", 1)])

    async def risen(self, tombstones: Iterable[Tombstone]) -> list[Tombstone]:
        """Those whose keys are there again: of a store that was put back from a copy."""
        stones = list(tombstones)
        names = [(name(stone.case), stone) for stone in stones for name in (keys.case, keys.case_dropped)]
        found = await self._db.mget([name for name, _ in names]) if names else []
        return [
            stone
            for (_, stone), wrapped in zip(names, found, strict=True)
            if wrapped and self._fingerprint(stone.case, wrapped) == stone.key
        ]

    async def bury(self, case: str) -> None:
        """Take the key away whatever is sealed under it."""
        await self._db.execute_many([("DEL", keys.case(case)), ("DEL", keys.case_held(case))])

    def _fingerprint(self, case: str, wrapped: bytes) -> str:
        """Tells a key from the next of the same case, and nothing of it."""
        raw = self._db.codec.master.open(wrapped, keys.case(case))
        return self._db.codec.hashed("case-key", base64.b64encode(raw).decode())
