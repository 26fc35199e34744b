"""Settles marked records: what their subscriber confirms is cleared, what it disowns goes, and the cell is compacted.

A marked record is touched only if the same slot held the same record a whole grace ago: no query that may have missed its
successor and no move that is still under way can be hurt by its going. A record that was left and turns out to be true (its
mover failed) is restored only when nothing in the cell was touched for a grace, since a second mover's mark looks the same.
One sweeper at a time: the worker that holds the sweeper's lease runs it. The lease saves work; what makes a second sweeper
harmless is that a sight counts only while its cell is dirty since the very moment it was seen dirty since.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alertd.clock import Clock
from alertd.store import keys
from alertd.store.connection import Connection
from alertd.store.people import GRACE_MS, People, cell_of, record_of
from geofences import records

CELLS_A_ROUND = 200  # what one round looks at, so that it never holds the loop for long
LEASE_MS = 15_000  # five rounds: another worker goes on when the sweeping one is gone


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a dirty cell looked like when it was first seen so."""

    since: float  # monotonic seconds
    dirty: int  # since when it is dirty (ms, server): changes with every compaction, whoever compacts
    generation: bytes
    marked: dict[int, bytes]  # by slot


@dataclass(slots=True)
class Sweeper:
    """Keeps what it saw in memory only: after a restart the grace begins anew, which is safe."""

    connection: Connection
    people: People
    clock: Clock
    grace_ms: int = GRACE_MS
    _seen: dict[keys.Cell, _Sight] = field(default_factory=dict)
    _name: str = field(default_factory=lambda: secrets.token_hex(8))

    async def round(self) -> int:
        """Look at the dirty cells once, if nobody else is at it. Answers how many became clean."""
        if not await self.connection.run("hold", [keys.SWEEPER], self._name, LEASE_MS):
            self._seen.clear()
            return 0
        dirty = await self._dirty()
        self._seen = {cell: sight for cell, sight in self._seen.items() if dirty.get(cell) == sight.dirty}
        return sum([await self._settle(cell, since) for cell, since in dirty.items()])

    async def _dirty(self) -> dict[keys.Cell, int]:
        """The cells that have been dirty longest, and since when."""
        used = await self.connection.execute("GET", keys.TILE_GROUPS)
        tiles = np.flatnonzero(np.unpackbits(np.frombuffer(used or b"", np.uint8)))
        regions = await self.connection.execute("SMEMBERS", keys.REGION_GROUPS)
        groups = [f"g:{int(group)}" for group in tiles] + [f"r:{int(number)}" for number in regions]
        found = await self.connection.execute_many(
            [("ZRANGE", f"{{{group}}}:dirty", 0, CELLS_A_ROUND - 1, "WITHSCORES") for group in groups]
        )
        cells = [
            (since, keys.Cell(group, member))
            for group, answer in zip(groups, found, strict=True)
            for member, since in _scored(answer)
        ]
        cells.sort(key=lambda pair: pair[0])
        return {cell: since for since, cell in cells[:CELLS_A_ROUND]}

    async def _settle(self, cell: keys.Cell, since: int) -> int:
        now = self.clock.monotonic()
        blob, generation = await self.connection.execute_many([("GET", cell.key), ("HGET", cell.gens, cell.member)])
        parts = [blob[i : i + records.SIZE] for i in range(0, len(blob or b""), records.SIZE)]
        marks = {i: part for i, part in enumerate(parts) if _is_marked(part)}
        fresh = _Sight(now, since, generation or b"", marks)
        seen = self._seen.setdefault(cell, fresh)
        if (now - seen.since) * 1000 < self.grace_ms:
            return 0
        kept = await self._confirmed(cell, parts, seen, quiet=seen.generation == fresh.generation)
        clean = not any(_is_marked(part) for part in kept)
        done = await self.connection.run(
            "cells_compact",
            [cell.key, cell.cells, cell.dirty, cell.gens],
            cell.member,
            fresh.generation,
            b"".join(kept),
            "1" if clean else "0",
            self.connection.skew_ms,
        )
        if done:
            del self._seen[cell]
        return int(bool(done and clean))

    async def _confirmed(self, cell: keys.Cell, parts: list[bytes], seen: _Sight, *, quiet: bool) -> list[bytes]:
        """The records to keep: unmarked ones, young marks as they are, and old marks whose subscriber is there."""
        ripe = {i for i, part in enumerate(parts) if seen.marked.get(i) == part}
        truth = await self._truth(cell, sorted({int.from_bytes(parts[i][:5], "little") for i in ripe}))
        there = {_place(part) for part in parts if not _is_marked(part)}
        kept = []
        for i, part in enumerate(parts):
            place = _place(part)
            if part[:5] == bytes(5) or (i in ripe and (place not in truth or place in there)):
                continue
            if i in ripe and (quiet or not _is_left(part)):
                there.add(place)
                kept.append(truth[place])
            else:
                kept.append(part)
        return kept

    async def _truth(self, cell: keys.Cell, numbers: list[int]) -> dict[bytes, bytes]:
        """The records that these subscribers' own records say belong in the cell."""
        return {
            _place(record): record
            for person in await self.people.get_many(numbers)
            if person
            for place in person.places
            if cell_of(place, person.number) == cell
            for record in (record_of(person, place),)
        }


def _scored(answer: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Members and scores of a sorted set, as either protocol gives them."""
    flat = [value for pair in answer for value in pair] if answer and isinstance(answer[0], list) else answer
    return ((int(member), int(float(score))) for member, score in zip(flat[::2], flat[1::2], strict=True))


def _is_marked(part: bytes) -> bool:
    return bool(part[13] & 0x80)


def _is_left(part: bytes) -> bool:
    return part == records.left(part)


def _place(part: bytes) -> bytes:
    """What tells one place of one subscriber in one cell: number, position, place kind."""
    return part[:9] + bytes((part[13] & 7,))
