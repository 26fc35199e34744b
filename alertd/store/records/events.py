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
REMEMBERED_S = 30.0  # seconds for which `Announcements` does not announce an alert again
AT_ONCE = 100  # events of one alert that are moved in one step
#: Alerts (chains) whose events are moved in one round, few enough that a round ends before the herald's lease.
DUE_AT_ONCE = 512
ANNOUNCED = b"0"  # due time of an announced alert until its events are read
#: The time (ms) that a process has to read an alert's events. After that another process reads them.
HELD_MS = 5_000
LET_GO = ""
#: The longest wait (ms) before an alert's events are read again.
LONGEST_WAIT_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvents:
    """Events of an alert (of all its versions) that are not in its organisation's stream yet, oldest first. Each is JSON; its member `n` is
    its number in the alert.
    """

    org: str
    lent: tuple[str, ...]  # neighbour organisations that the alert asks for permission; they get its events too
    waits: bool  # the alert has late reports that later become one event
    events: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An alert (chain) with events that this process must now read and move to its organisation's stream."""

    held: str  # until when this process holds it; a new announcement changes it
    is_announced: bool  # it was announced and not read since


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRead:
    """When an alert's events must be read again, after they were read."""

    orgs: tuple[str, ...]  # organisations that got its events, first the one that owns the alert
    chain: str
    held: str  # `held` of its `Due`
    wait: int | str  # ms until its events are due again; LET_GO: no more events are expected


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """One event of an organisation's stream."""

    number: int
    event: bytes  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some events of an organisation's stream, and the range of numbers of the whole stream."""

    events: list[KeptEvent]
    first: int  # number of the oldest stored event; `last` + 1 if the stream is empty
    last: int  # number of the latest event ever


class Events:
    """The repository of events: those still stored with their alert, and the stream of each organisation."""

    def __init__(self, connection: Connection, *, keep: int, keep_days: int) -> None:
        self._db = connection
        self._kept = (keep, keep_days * DAY_MS)

    async def leads(self, name: str, lease_ms: int) -> bool:
        """Takes or renews the lease of the herald, the one process that moves events, for `lease_ms`. Returns whether this process (`name`)
        has it.
        """
        return bool(await self._db.run("process_lease", [keys.HERALD], name, lease_ms))

    async def due(self) -> dict[str, Due]:
        """Returns the alerts with events that are due now, by id of the first version. No other process gets them for HELD_MS."""
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
        """Stores when the events of each alert are due again, or removes the alert if it has no more events (LET_GO).

        An alert that was announced meanwhile keeps its due time. The number of the last moved event is stored until the alert is removed,
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
        """Returns the events of each alert after the given number, at most AT_ONCE of each, in one round trip. Deletes the events up to
        that number, which are in the stream already.
        """
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
        """Adds events (alert, number in the alert, JSON) to the organisation's stream, durably. Skips those that it has already.

        Only after that may the caller take later events of these alerts.
        """
        flat = [part for event in events for part in event]
        await self._db.run_durably("events", self._names(org), self._db.skew_ms, *self._kept, *flat)

    async def trim(self, org: str) -> None:
        """Deletes the events of an organisation's stream that are too many or too old."""
        await self._db.run("events", self._names(org), self._db.skew_ms, *self._kept)

    async def page(self, org: str, after: int, limit: int) -> Page:
        """Returns at most `limit` events of an organisation's stream after the number `after`, oldest first."""
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
        """Returns the number of the event with this id in an organisation's stream, or None. Searches the whole stream."""
        name, after, said = keys.org_events(org), "-", f'"id":"{event_id}"'.encode()
        while found := await self._db.execute("XRANGE", name, after, "+", "COUNT", WINDOW):
            entries = [_kept(entry) for entry in found]
            for entry in entries:
                if said in entry.event:
                    return entry.number
            after = f"({entries[-1].number}-0"
        return None

    def _names(self, org: str) -> list[str]:
        """Returns the store keys of an organisation's stream, and of the numbers of the last events moved to it."""
        return [keys.org_events(org), keys.org_events(org, ":marks")]


class Announcements:
    """Announces alerts before late reports are written to them. Skips an alert that it announced in the last REMEMBERED_S."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._at: dict[str, float] = {}

    async def of(self, chains: Iterable[str]) -> None:
        """Announces that events of these alerts are about to be written, so that the herald (the process that copies events to the
        organisations' streams) reads them soon. Call it before they are written. Raises StoreUnavailableError.
        """
        now = asyncio.get_running_loop().time()
        self._at = {chain: at for chain, at in self._at.items() if now - at < REMEMBERED_S}
        fresh = set(chains) - self._at.keys()
        if fresh:
            await self._db.execute_many([announcement(chain) for chain in fresh])
            self._at |= dict.fromkeys(fresh, now)


def announcement(chain: str) -> tuple[Arg, ...]:
    """Returns the command that announces an alert (`chain`): it is about to get an event, and the process that moves events to the
    organisations' streams reads it immediately.
    """
    return "ZADD", keys.told_key(keys.shard_of(chain)), ANNOUNCED, chain


def _kept(entry: Any) -> KeptEvent:
    """Reads an event from an entry of an organisation's stream."""
    name, flat = entry
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    return KeptEvent(int(name.decode().partition("-")[0]), fields[b"event"])
