"""What happened, as organisations are told it: on its way from each chain, and then one stream of an organisation.

A chain's scripts keep an event in the step that it tells of, in the chain's own slot. From there it is brought to its
organisation's stream, which is in another: each once, in the chain's order, however often a process dies in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alertd.store import keys
from alertd.store.connection import Connection

WINDOW = 1_000  # events looked through at once
REMEMBERED_S = 30.0
AT_ONCE = 100  # events of one chain that are brought in one step


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a chain has to tell, oldest first: JSON, with `n`, its number in the chain."""

    org: str
    waits: bool  # late reports are still to be told of, together
    events: list[bytes]


@dataclass(frozen=True, slots=True)
class Kept:
    """One event of an organisation's stream."""

    number: int
    event: bytes  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events after a number, and what the stream holds at all."""

    events: list[Kept]
    first: int  # number of the oldest that is kept; one more than `last` where none is
    last: int  # number of the last there ever was


class Events:
    """The repository of events."""

    def __init__(self, connection: Connection, *, keep: int, keep_days: int) -> None:
        self._db = connection
        self._kept = (keep, keep_days * 86_400_000)

    async def leads(self, name: str, lease_ms: int) -> bool:
        """Whether this process is the one that brings events on their way, for so long."""
        return bool(await self._db.run("hold", [keys.HERALD], name, lease_ms))

    async def announced(self) -> dict[str, bytes]:
        """Chains that may have something to tell, each with what tells whether it was announced again."""
        found = await self._db.hashes([keys.told(shard) for shard in range(keys.SHARDS)])
        return {chain.decode(): seen for shard in found for chain, seen in shard.items()}

    async def retire(self, org: str, chain: str, seen: bytes) -> None:
        """A chain has nothing left to tell; it stays if it was announced again since. How far it got is known till then, so that
        nobody who was slow brings again what another has brought.
        """
        if await self._db.run("retire", [keys.told(keys.shard_of(chain))], chain, seen):
            await self._db.execute("HDEL", keys.org_events(org, ":marks"), chain)

    async def told(self, chains: Iterable[str]) -> list[Told]:
        """What each of these chains has to tell, in one round trip."""
        answers = await self._db.run_many(
            [("told", [keys.chain(chain)], (0, AT_ONCE, self._db.skew_ms)) for chain in chains]
        )
        return [_told(answer) for answer in answers]

    async def bring(self, org: str, chain: str, events: Sequence[tuple[int, bytes]]) -> Told:
        """Adds what a chain told, by its number there, to the organisation's events, durably, and then takes it from the chain.
        Answers what else it has to tell.
        """
        flat = [part for event in events for part in event]
        await self._db.run_durably("events", self._names(org), chain, self._db.skew_ms, *self._kept, *flat)
        return _told(await self._db.run("told", [keys.chain(chain)], events[-1][0], AT_ONCE, self._db.skew_ms))

    async def trim(self, org: str) -> None:
        """Lets go of what is too old."""
        await self._db.run("events", self._names(org), "", self._db.skew_ms, *self._kept)

    async def page(self, org: str, after: int, limit: int) -> Page:
        """The events after a number, oldest first."""
        name, marks = self._names(org)
        found, oldest, last = await self._db.execute_many(
            [
                ("XRANGE", name, f"({after}-0" if after else "-", "+", "COUNT", limit),
                ("XRANGE", name, "-", "+", "COUNT", 1),
                ("HGET", marks, "last"),
            ]
        )
        events, top = [_kept(entry) for entry in found], int(last or 0)
        first = _kept(oldest[0]).number if oldest else top + 1
        return Page(events=events, first=first, last=max(top, events[-1].number if events else 0))

    async def one(self, org: str, number: int) -> bytes | None:
        """An event by its number, None for one that is no longer kept."""
        found = await self._db.execute("XRANGE", keys.org_events(org), f"{number}-0", f"{number}-0")
        return _kept(found[0]).event if found else None

    async def number_of(self, org: str, event_id: str) -> int | None:
        """The number of an event by its id: a look through all of them."""
        name, after, said = keys.org_events(org), "-", f'"id":"{event_id}"'.encode()
        while found := await self._db.execute("XRANGE", name, after, "+", "COUNT", WINDOW):
            entries = [_kept(entry) for entry in found]
            for entry in entries:
                if said in entry.event:
                    return entry.number
            after = f"({entries[-1].number}-0"
        return None

    def _names(self, org: str) -> list[str]:
        return [keys.org_events(org), keys.org_events(org, ":marks")]


class Announcements:
    """Announces chains that get late reports, before those are written. An announcement holds for longer than it is remembered."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._at: dict[str, float] = {}

    async def of(self, chains: Iterable[str]) -> None:
        """Raises StoreUnavailableError."""
        now = asyncio.get_running_loop().time()
        self._at = {chain: at for chain, at in self._at.items() if now - at < REMEMBERED_S}
        fresh = set(chains) - self._at.keys()
        if fresh:
            await self._db.execute_many([("HINCRBY", keys.told(keys.shard_of(chain)), chain, 1) for chain in fresh])
            self._at |= dict.fromkeys(fresh, now)


def _told(answer: list[bytes]) -> Told:
    return Told(org=answer[0].decode(), waits=answer[1] == b"1", events=answer[2:])


def _kept(entry: Any) -> Kept:
    name, flat = entry
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    return Kept(int(name.decode().partition("-")[0]), fields[b"event"])
