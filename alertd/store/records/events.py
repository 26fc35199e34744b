"""Events: first stored with their chain, then moved to the stream of their organisation.

A script that changes a chain stores the event in the same step, in the chain's slot. The herald then moves it to the organisation's
stream, which is in another slot: each event once, in the chain's order, even if processes die in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection

WINDOW = 1_000  # events in one read of a search
REMEMBERED_S = 30.0
AT_ONCE = 100  # events of one chain that are moved in one step
#: Chains per round, few enough that a round ends before the herald's lease.
DUE_AT_ONCE = 512
ANNOUNCED = b"0"  # due time of a chain that was announced and not read since
#: The time that a process has to read a chain. After that another process reads it.
HELD_MS = 5_000
LET_GO = ""
#: The longest wait before a chain is read again.
LONGEST_WAIT_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvents:
    """New events of a chain, oldest first. Each is JSON; its member `n` is its number in the chain."""

    org: str
    lent: tuple[str, ...]  # neighbour organisations that also get events of the chain, because it asks their permission
    waits: bool  # whether late reports wait for one common event
    events: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A chain (an alert with its later versions) that may have new occurrences to copy into the events."""

    held: str  # until when this process holds it; a new announcement changes it
    is_announced: bool  # whether it was announced and not read since


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRead:
    """Result of reading the events of one chain."""

    orgs: tuple[str, ...]  # organisations that got its events, first the one that owns the chain
    chain: str
    held: str  # `held` of its `Due`
    wait: int | str  # ms until it is due again, or LET_GO


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """One event of an organisation's stream."""

    number: int
    event: bytes  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events after a number, and the range of the whole stream."""

    events: list[KeptEvent]
    first: int  # number of the oldest stored event; `last` + 1 if the stream is empty
    last: int  # number of the latest event ever


class Events:
    """The repository of events."""

    def __init__(self, connection: Connection, *, keep: int, keep_days: int) -> None:
        self._db = connection
        self._kept = (keep, keep_days * DAY_MS)

    async def leads(self, name: str, lease_ms: int) -> bool:
        """Returns whether this process is the herald, which moves events, for the next `lease_ms`."""
        return bool(await self._db.run("process_lease", [keys.HERALD], name, lease_ms))

    async def due(self) -> dict[str, Due]:
        """Returns the chains that are due to be read now, and holds each for this process."""
        found = await self._db.run_many(
            [
                (
                    "due_told",
                    [keys.told_key(shard)],
                    [DUE_AT_ONCE // keys.SHARDS, LONGEST_WAIT_MS, HELD_MS, self._db.skew_ms],
                )
                for shard in range(keys.SHARDS)
            ]
        )
        due = dict[str, Due]()
        for held, *flat in found:
            for chain, at in zip(flat[::2], flat[1::2], strict=True):
                due[chain.decode()] = Due(held=held.decode(), is_announced=at == ANNOUNCED)
        return due

    async def schedule_reads(self, reads: Sequence[NextRead]) -> None:
        """Stores when each chain is due again, or removes it if it has no more events (LET_GO).

        A chain that was announced meanwhile keeps its due time. The number of the last moved event is stored until the chain is removed,
        so that a slow process cannot move an event twice.
        """
        by_shard: dict[int, list[Arg]] = {}
        for read in reads:
            by_shard.setdefault(keys.shard_of(read.chain), [self._db.skew_ms]).extend(
                (read.chain, read.held, read.wait)
            )
        gone = await self._db.run_many(
            [("schedule_reads", [keys.told_key(shard)], arguments) for shard, arguments in by_shard.items()]
        )
        orgs = {read.chain: read.orgs for read in reads}
        let_go = [chain.decode() for chains in gone for chain in chains]
        if let_go:
            await self._db.execute_many(
                [("HDEL", self._names(org)[1], chain) for chain in let_go for org in orgs[chain]]
            )

    async def take_events(self, chains: Mapping[str, int]) -> list[NewEvents]:
        """Returns the events of each chain after the given number, in one round trip. Deletes the earlier ones from the chain."""
        answers = await self._db.run_many(
            [
                ("take_events", [keys.chain(chain)], (after, AT_ONCE, self._db.skew_ms))
                for chain, after in chains.items()
            ]
        )
        return [
            NewEvents(org=org.decode(), waits=waits == b"1", lent=tuple(lent.decode().split()), events=events)
            for org, waits, lent, *events in answers
        ]

    async def bring(self, org: str, events: Sequence[tuple[str, int, bytes]]) -> None:
        """Adds events (chain, number in the chain, JSON) to the organisation's stream, durably and each once.

        Only after that may the caller take later events of these chains.
        """
        flat = [part for event in events for part in event]
        await self._db.run_durably("events", self._names(org), self._db.skew_ms, *self._kept, *flat)

    async def trim(self, org: str) -> None:
        """Deletes events that are too old."""
        await self._db.run("events", self._names(org), self._db.skew_ms, *self._kept)

    async def page(self, org: str, after: int, limit: int) -> Page:
        """Returns the events after a number, oldest first."""
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
        """Returns the event with this number, None if it is no longer stored."""
        found = await self._db.execute("XRANGE", keys.org_events(org), f"{number}-0", f"{number}-0")
        return _kept(found[0]).event if found else None

    async def number_of(self, org: str, event_id: str) -> int | None:
        """Returns the number of the event with this id, or None. Searches the whole stream."""
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
    """Announces chains before late reports are written to them. Skips a chain that it announced in the last REMEMBERED_S."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._at: dict[str, float] = {}

    async def of(self, chains: Iterable[str]) -> None:
        """Says that events of these alerts (chains of versions) are about to be written, so that the process that copies
        events to the organisations' streams reads them soon. Call it before they are written. Raises
        StoreUnavailableError.
        """
        now = asyncio.get_running_loop().time()
        self._at = {chain: at for chain, at in self._at.items() if now - at < REMEMBERED_S}
        fresh = set(chains) - self._at.keys()
        if fresh:
            await self._db.execute_many([announcement(chain) for chain in fresh])
            self._at |= dict.fromkeys(fresh, now)


def announcement(chain: str) -> tuple[Arg, ...]:
    """Returns the command that announces a chain: it is about to get an event, and the process that publishes events
    reads it immediately.
    """
    return "ZADD", keys.told_key(keys.shard_of(chain)), ANNOUNCED, chain


def _kept(entry: Any) -> KeptEvent:
    name, flat = entry
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    return KeptEvent(int(name.decode().partition("-")[0]), fields[b"event"])
