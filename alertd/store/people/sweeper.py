"""Settles marked cell records: unmarks those that the subscriber's record confirms, deletes the others, and compacts the cell.

A marked record is changed only if the same slot held the same record a grace period ago. So the deletion cannot hurt a query that may have
missed the successor, or a move in progress. A record marked as left that is true after all (its move failed) is restored only if the
cell did not change for a grace period, because the mark of a second move looks the same.

The sweeper also deletes unmarked places that were seen longer ago than any alert may ask for: their hour would wrap and look new again.

One worker sweeps at a time, the holder of the sweeper's lease. The lease only saves work. A second sweeper would do no harm, because an
observation counts only while the cell is dirty since the same moment.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertd.common.clock import HOUR_MS, Clock
from alertd.model.subscriber import without_past
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.people.spots import spots_of
from alertd.store.people.subscribers import GRACE_MS, IN_DOUBT_AT_ONCE, TOO_OLD_H, People
from geofences import records

LOOKED_AT = 25  # cells per round in which the sweeper searches for places that are too old
CELLS_A_ROUND = 200  # dirty cells per round, so that a round never blocks the loop for long
LEADS_MS = 15_000  # lease of the sweeper, five rounds: if its worker dies, another one takes over


@dataclass(frozen=True, slots=True)
class _Sight:
    """A dirty cell (one with marked records) as the sweeper first saw it. After a grace period, the sweeper settles the records that are
    still as they were.
    """

    since: float  # when the sweeper first saw it, monotonic seconds
    dirty: int  # since when the cell is dirty (ms, server clock): changes with every compaction, by any sweeper
    generation: bytes  # changes when a record of the cell is added, marked as left or relabelled
    marked: dict[int, bytes]  # marked records by slot (position in the cell)


@dataclass(slots=True)
class Sweeper:
    """Settles the records marked `moved`, some cells each time it runs (`round`): confirms or deletes them. Keeps its observations only in
    memory: after a restart the grace period starts again, which is safe.
    """

    connection: Connection
    people: People
    clock: Clock
    _seen: dict[keys.Cell, _Sight] = field(default_factory=dict)
    _name: str = field(default_factory=lambda: secrets.token_hex(8))

    async def round(self) -> int:
        """Settles the cells that have been dirty longest (at most CELLS_A_ROUND), unless another worker sweeps. Returns the number of cells
        that became clean.
        """
        if not await self.connection.run("process_lease", [keys.SWEEPER], self._name, LEADS_MS):
            self._seen.clear()
            return 0
        groups = await self._used_groups()
        await self._find_old(groups)
        dirty = await self._dirty(groups)
        self._seen = {cell: sight for cell, sight in self._seen.items() if dirty.get(cell) == sight.dirty}
        return sum([await self._settle(cell, since) for cell, since in dirty.items()])

    async def _used_groups(self) -> list[str]:
        """Returns the names of all groups (`g:<z8>`, `r:<region>`) that have or had cells of subscribers."""
        used = await self.connection.execute("GET", keys.TILE_GROUPS)
        tiles = np.flatnonzero(np.unpackbits(np.frombuffer(used or b"", np.uint8)))
        regions = await self.connection.execute("SMEMBERS", keys.REGION_GROUPS)
        return [f"g:{int(group)}" for group in tiles] + [f"r:{int(number)}" for number in regions]

    async def _find_old(self, groups: Sequence[str]) -> None:
        """Looks into a few random cells for places that were seen too long ago, and marks a cell with one as dirty, so that it is settled.

        Random, so that a restart loses no progress: with a million cells, each is almost surely checked a hundred times before an hour
        wraps.
        """
        chosen = [secrets.choice(groups) for _ in range(LOOKED_AT)] if groups else []
        counts = await self.connection.execute_many([("GET", keys.cells(group)) for group in chosen])
        used = [np.flatnonzero(np.frombuffer(of_group or b"", "<u4")).tolist() for of_group in counts]
        cells = {
            keys.Cell(group, keys.first_member(group) + secrets.choice(places))
            for group, places in zip(chosen, used, strict=True)
            if places
        }
        for cell in cells:  # one by one: a hot cell is megabytes
            blob = await self.connection.execute("GET", cell.key) or b""
            plain = await asyncio.to_thread(self.connection.codec.cells.open, cell, blob)
            if await asyncio.to_thread(_old, plain, self._now_h):
                names = [cell.key, cell.dirty, cell.gens]
                await self.connection.run("cells_replace", names, cell.member, self.connection.skew_ms, "left")

    @property
    def _now_h(self) -> int:
        """The present hour, counted from 1970."""
        return self.clock.now_ms() // HOUR_MS

    async def _dirty(self, groups: Sequence[str]) -> dict[keys.Cell, int]:
        """Returns the cells of all `groups` that have been dirty (to settle) longest, CELLS_A_ROUND at most, each with
        the moment at which it became dirty (ms, server clock).
        """
        found = await self.connection.execute_many(
            [("ZRANGE", keys.dirty(group), 0, CELLS_A_ROUND - 1, "WITHSCORES") for group in groups]
        )
        cells = [
            (since, keys.Cell(group, member))
            for group, answer in zip(groups, found, strict=True)
            for member, since in _scored(answer)
        ]
        cells.sort(key=lambda pair: pair[0])
        return {cell: since for since, cell in cells[:CELLS_A_ROUND]}

    async def _settle(self, cell: keys.Cell, since: int) -> int:
        """Settles one dirty cell, if it was first seen a grace period ago: confirms or deletes its marked records. Else only notes them.
        Returns 1 if the cell became clean, else 0.
        """
        seen, now = self._seen.get(cell), self.clock.monotonic()
        if seen and (now - seen.since) * 1000 < GRACE_MS:
            return 0  # without reading it: a hot cell has megabytes, and stays dirty for several rounds
        sealed, generation = await self.connection.execute_many([("GET", cell.key), ("HGET", cell.gens, cell.member)])
        generation = generation or b""
        blob = await asyncio.to_thread(self.connection.codec.cells.open, cell, sealed or b"")
        marks = await asyncio.to_thread(_marks, blob)
        if not seen:
            self._seen[cell] = _Sight(now, since, generation, marks)
            return 0
        ripe = {slot: record for slot, record in marks.items() if seen.marked.get(slot) == record}
        old = await asyncio.to_thread(_old, blob, self._now_h)
        truth = await self._truth(cell, sorted({_number(record) for record in (*ripe.values(), *old.values())}))
        kept, clean = await asyncio.to_thread(_kept, blob, ripe, old, truth, quiet=seen.generation == generation)
        done = await self.connection.run(
            "cells_compact",
            [cell.key, cell.cells, cell.dirty, cell.gens],
            cell.member,
            generation,
            await asyncio.to_thread(self.connection.codec.cells.seal, cell, kept),
            "1" if clean else "0",
            self.connection.skew_ms,
            cell.count_at,
        )
        if done:
            del self._seen[cell]
        return int(bool(done and clean))

    async def _truth(self, cell: keys.Cell, numbers: list[int]) -> dict[bytes, bytes]:
        """Returns the cell records that the subscribers' own records place in this cell, by identity. Leaves out places that were seen too
        long ago.
        """
        truth, since_s = dict[bytes, bytes](), (self._now_h - TOO_OLD_H) * 3_600
        for first in range(0, len(numbers), IN_DOUBT_AT_ONCE):
            people = await self.people.get_many(numbers[first : first + IN_DOUBT_AT_ONCE])
            there = [without_past(person, since_s) for person in people if person]
            spots = [spot for person in there for spot in spots_of(person) if spot.cell == cell]
            truth |= {records.identity(spot.record): spot.record for spot in spots}
        return truth


def _scored(answer: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Returns (member, score) pairs of a sorted set, as integers, from a RESP2 or a RESP3 reply."""
    flat = [value for pair in answer for value in pair] if answer and isinstance(answer[0], list) else answer
    return ((int(member), int(float(score))) for member, score in zip(flat[::2], flat[1::2], strict=True))


def _marks(blob: bytes) -> dict[int, bytes]:
    """Returns the records marked `moved` in a cell (decrypted), by slot."""
    return _those(blob, records.moved(records.unpack(blob).flags))


def _old(blob: bytes, now_h: int) -> dict[int, bytes]:
    """Returns by slot the records that look too old: their hour of sighting is long ago, and they have no mark `moved`. The stored hour
    may have wrapped around, so the caller must check the subscriber's own record.
    """
    flags = records.unpack(blob).flags
    return _those(blob, ~records.moved(flags) & (records.age_h(flags, now_h) > TOO_OLD_H))


def _those(blob: bytes, chosen: NDArray[np.bool_]) -> dict[int, bytes]:
    """Returns the chosen records of a cell by slot."""
    slots: list[int] = np.flatnonzero(chosen).tolist()
    return {slot: blob[slot * records.SIZE : (slot + 1) * records.SIZE] for slot in slots}


def _kept(
    blob: bytes, ripe: dict[int, bytes], old: dict[int, bytes], truth: dict[bytes, bytes], *, quiet: bool
) -> tuple[bytes, bool]:
    """Returns the records of the cell to keep, and whether none of them is marked. `ripe`: marked records that are old enough to settle;
    `old`: records that look too old; both by slot. `truth`: what the subscribers' own records say.

    Keeps unmarked records and recently marked ones. Keeps the ripe ones, without their mark, and those that look too old, if `truth`
    confirms them.
    """
    found, rows = records.unpack(blob), np.frombuffer(blob, np.uint8).reshape(-1, records.SIZE).copy()
    marked, keep = records.moved(found.flags), found.numbers != 0
    about = np.isin(found.numbers, np.array([_number(record) for record in ripe.values()], np.uint64))
    there = {records.identity(rows[slot].tobytes()) for slot in np.flatnonzero(about & ~marked)}
    young = {records.identity(rows[slot].tobytes()) for slot in np.flatnonzero(about & marked) if slot not in ripe}
    keep[[slot for slot, record in old.items() if records.identity(record) not in truth]] = False
    for slot, record in ripe.items():
        place = records.identity(record)
        if place not in truth or place in there:
            keep[slot] = False
        elif (
            place in young
        ):  # a move may be about to unmark that one, and two unmarked ones would count the subscriber twice
            continue
        elif quiet or not _is_left(record):
            there.add(place)
            rows[slot], marked[slot] = np.frombuffer(truth[place], np.uint8), False
    return rows[keep].tobytes(), not marked[keep].any()


def _number(record: bytes) -> int:
    """Returns the subscriber number of a record."""
    return int.from_bytes(record[: records.NUMBER_BYTES], "little")


def _is_left(record: bytes) -> bool:
    """Returns whether the record is marked as left: its subscriber moved away."""
    return record == records.left(record)
