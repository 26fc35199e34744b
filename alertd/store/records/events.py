"""What happened, as organisations are told it: on its way from each chain, and then one stream of an organisation.

A chain's scripts keep an event in the step that it tells of, in the chain's own slot. From there it is brought to its
organisation's stream, which is in another: each once, in the chain's order, however often a process dies in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection

WINDOW = 1_000  # events looked through at once
REMEMBERED_S = 30.0
AT_ONCE = 100  # events of one chain that are brought in one step
#: Chains a round: a round is over before the lease of whoever brings events is.
DUE_AT_ONCE = 512
ANNOUNCED = b"0"  # when a chain is due that nobody has looked at since it was announced
#: So long for a look: when whoever looks dies, another does then.
HELD_MS = 5_000
LET_GO = ""
#: The longest that a chain waits for the next look at it.
LAST_LOOK_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a chain has to tell, oldest first: JSON, with `n`, its number in the chain."""

    org: str
    lent: tuple[str, ...]  # neighbours that are told of it, too, by what they are asked
    waits: bool  # late reports are still to be told of, together
    events: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A chain that is to be looked at."""

    held: str  # until when: what is announced meanwhile is told by it
    is_announced: bool  # and nobody has looked at it since


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of looking at a chain."""

    orgs: tuple[str, ...]  # that were told: whose chain it is first
    chain: str
    held: str  # of its `Due`
    wait: int | str  # ms until it is due again, or LET_GO


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """One event of an organisation's stream."""

    number: int
    event: bytes  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events after a number, and what the stream holds at all."""

    events: list[KeptEvent]
    first: int  # number of the oldest that is kept; one more than `last` where none is
    last: int  # number of the last there ever was


class Events:
    """The repository of events."""

    def __init__(self, connection: Connection, *, keep: int, keep_days: int) -> None:
        self._db = connection
        self._kept = (keep, keep_days * DAY_MS)

    async def leads(self, name: str, lease_ms: int) -> bool:
        """Whether this process is the one that brings events on their way, for so long."""
        return bool(await self._db.run("hold", [keys.HERALD], name, lease_ms))

    async def due(self) -> dict[str, Due]:
        """Chains that are to be looked at now, as they were announced or once more. Each is held for a look."""
        found = await self._db.run_many(
            [
                (
                    "due_told",
                    [keys.told_key(shard)],
                    [DUE_AT_ONCE // keys.SHARDS, LAST_LOOK_MS, HELD_MS, self._db.skew_ms],
                )
                for shard in range(keys.SHARDS)
            ]
        )
        due = dict[str, Due]()
        for held, *flat in found:
            for chain, at in zip(flat[::2], flat[1::2], strict=True):
                due[chain.decode()] = Due(held=held.decode(), is_announced=at == ANNOUNCED)
        return due

    async def record_looks(self, looks: Sequence[Look]) -> None:
        """When chains are due again; those that are let go have nothing left to tell. One that was announced again since stays as it
        is. How far a chain got is known till it goes, so that nobody who was slow brings again what another has brought.
        """
        by_shard: dict[int, list[Arg]] = {}
        for look in looks:
            by_shard.setdefault(keys.shard_of(look.chain), [self._db.skew_ms]).extend(
                (look.chain, look.held, look.wait)
            )
        gone = await self._db.run_many(
            [("looked", [keys.told_key(shard)], arguments) for shard, arguments in by_shard.items()]
        )
        orgs = {look.chain: look.orgs for look in looks}
        let_go = [chain.decode() for chains in gone for chain in chains]
        if let_go:
            await self._db.execute_many(
                [("HDEL", self._names(org)[1], chain) for chain in let_go for org in orgs[chain]]
            )

    async def take_events(self, chains: Mapping[str, int]) -> list[Told]:
        """What each of these chains has to tell after that number, in one round trip; what came before is taken from it."""
        answers = await self._db.run_many(
            [("told", [keys.chain(chain)], (after, AT_ONCE, self._db.skew_ms)) for chain, after in chains.items()]
        )
        return [
            Told(org=org.decode(), waits=waits == b"1", lent=tuple(lent.decode().split()), events=events)
            for org, waits, lent, *events in answers
        ]

    async def bring(self, org: str, events: Sequence[tuple[str, int, bytes]]) -> None:
        """Adds what chains told, each by its number there, to their organisation's events, durably: each once. When it is there, and not
        before, the chain may be asked for what comes after.
        """
        flat = [part for event in events for part in event]
        await self._db.run_durably("events", self._names(org), self._db.skew_ms, *self._kept, *flat)

    async def trim(self, org: str) -> None:
        """Lets go of what is too old."""
        await self._db.run("events", self._names(org), self._db.skew_ms, *self._kept)

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
            await self._db.execute_many([announcement(chain) for chain in fresh])
            self._at |= dict.fromkeys(fresh, now)


def announcement(chain: str) -> tuple[Arg, ...]:
    """The command by which a chain is announced: something is about to happen to it, and it is looked at at once."""
    return "ZADD", keys.told_key(keys.shard_of(chain)), ANNOUNCED, chain


def _kept(entry: Any) -> KeptEvent:
    name, flat = entry
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    return KeptEvent(int(name.decode().partition("-")[0]), fields[b"event"])
