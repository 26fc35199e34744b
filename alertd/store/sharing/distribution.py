"""What distributors have of alerts: by alert and distributor, and who has something that is told or is to be taken down.

All of an organisation's are in the slot of its events, so that what is told of them is written with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from alertd.model.distribution import Track
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.sharing.webhooks import parts_of

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Track).decode


class Holder(NamedTuple):
    """That a distributor has an alert."""

    distributor: str
    chain: str
    owed: int  # since when it has to take it down, UNIX ms; 0: it has not to


class Tracks:
    """The repository of these."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def get(self, org: str, chain: str, distributor: str) -> tuple[Track, bytes]:
        """What a distributor has of an alert, and what stands for it in `put`."""
        raw = await self._db.execute("HGET", keys.org_events(org, f":distribution:{chain}"), distributor) or b""
        return (_decode(raw) if raw else Track()), raw

    async def of_alert(self, org: str, chain: str) -> dict[str, Track]:
        """By distributor, those that were removed since, too."""
        found = await self._db.hash_of(keys.org_events(org, f":distribution:{chain}"))
        return {distributor.decode(): _decode(raw) for distributor, raw in found.items()}

    async def put(  # noqa: PLR0913  a track, and what follows from it in the same step
        self, org: str, chain: str, distributor: str, track: Track, *, seen: bytes, now_ms: int,
        events: Iterable[bytes] = (), look: bool = False, way: int | None = None,
    ) -> bool:  # fmt: skip
        """Keep it in place of what was seen, durably, and tell events of it; with `look`, it is looked at again at once. False when it is another
        since; or the distributor is told another way than it was seen to be, which is asked before something is sent.
        """
        parts = (f":distribution:{chain}", ":holders", "", ":marks")
        holds = track.owed or (0 if track.has and not track.over else "")
        names = [*parts_of(org, distributor), *(keys.org_events(org, part) for part in parts)]
        asked = (now_ms if look else "", "" if way is None else way)
        return bool(
            await self._db.run_durably(
                "track", names, distributor, seen, _encode(track), chain, holds, now_ms, *asked, *events
            )
        )

    async def holders(self, orgs: Sequence[str]) -> dict[str, list[Holder]]:
        """By organisation, who has something that is told or is to be taken down, the longest owed first."""
        found = await self._db.hashes([keys.org_events(org, ":holders") for org in orgs]) if orgs else []
        return {org: sorted(map(_holder, one.items()), key=_by_age) for org, one in zip(orgs, found, strict=True)}

    async def refused(self, holders: Mapping[str, Sequence[Holder]]) -> dict[str, list[Holder]]:
        """Of those, by organisation, who refused to take something down, or never took the word of it."""
        owing = [(org, one) for org, found in holders.items() for one in found if one.owed]
        raw = await self._db.execute_many(
            [("HGET", keys.org_events(org, f":distribution:{one.chain}"), one.distributor) for org, one in owing]
        )
        found = dict[str, list[Holder]]()
        for (org, one), said in zip(owing, raw, strict=True):
            if said and _decode(said).refused:
                found.setdefault(org, []).append(one)
        return found


def _holder(pair: tuple[bytes, bytes]) -> Holder:
    distributor, chain = pair[0].decode().split(" ")
    return Holder(distributor, chain, int(pair[1]))


def _by_age(one: Holder) -> tuple[bool, int, str]:
    return not one.owed, one.owed, one.chain
