"""Who belongs to an area: the packed tiles inside it, the border tiles point by point, the places that name a region.

A record without `moved` is the truth: before a subscriber's record changes, what it leaves is marked and what it enters
carries the mark already, so whatever is in doubt says so, and only that is looked up. The query has a hard deadline; a
record that was left stays, marked, for longer than that (`people.GRACE_MS`), so nobody slips between two reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.store import keys
from alertd.store.connection import Connection, StoreUnavailableError
from geofences import cover as covers
from geofences import records
from geofences.tiles import position

REPLY_BYTES = 1_000_000  # of one MGET: a hot tile alone may be 3 MB, and the server answers nobody else meanwhile
_GROUPS = 1 << 16  # z8 ancestors


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whom an alert is for."""

    area: shapely.MultiPolygon
    regions: Sequence[int] = ()  # numbers of the regions whose people count as inside
    kind: int  # bit of the kind that must have been consented to
    places: frozenset[int]  # place kinds that count
    max_age_h: int | None = None  # of a timed place
    testers_only: bool = False
    now_h: int = 0  # hours since 1970


@dataclass(frozen=True, kw_only=True)
class Found:
    """People, sorted by number, each once; flags and leaf region of the first place they were found at."""

    numbers: NDArray[np.uint64]
    flags: NDArray[np.uint32]
    regions: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.numbers)


#: Given numbers in doubt, those whose own record says they belong to what is wanted, with flags and region.
Authority = Callable[[NDArray[np.uint64], Wanted], Awaitable[records.Records]]


class Audience:
    """Finds people by place."""

    def __init__(self, connection: Connection, authority: Authority, *, deadline_s: float) -> None:
        self._db = connection
        self._authority = authority
        self._deadline_s = deadline_s

    async def find(self, wanted: Wanted) -> Found:
        """Everyone inside. Raises StoreUnavailableError when the deadline passes: a partial audience is never given."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._find(wanted)
        except TimeoutError:
            raise StoreUnavailableError(
                "The audience could not be read in time; nothing was changed. Try again."
            ) from None

    async def _find(self, wanted: Wanted) -> Found:
        cover = await asyncio.to_thread(covers.cover, wanted.area)
        inner, border = await self._tiles(cover)
        sure: list[records.Records] = []
        doubtful: list[NDArray[np.uint64]] = []

        def sift(found: records.Records) -> None:
            kept = _take(found, eligible(found.flags, wanted))
            in_doubt = records.moved(kept.flags)
            doubtful.append(kept.numbers[in_doubt])
            sure.append(_take(kept, ~in_doubt))

        async for _, blob in self._read(inner):
            sift(_living(blob))
        async for cell, blob in self._read(border):
            found = _living(blob)
            doubtful.append(found.numbers[records.moved(found.flags)])  # their place here is not to be trusted
            sift(await asyncio.to_thread(_refined, wanted.area, cell.member, _take(found, ~records.moved(found.flags))))
        async for _, blob in self._read(await self._region_cells(wanted.regions)):
            sift(_living(blob))

        in_doubt = _unique(np.concatenate(doubtful)) if doubtful else np.empty(0, np.uint64)
        if len(in_doubt):
            sure.append(await self._authority(in_doubt, wanted))
        return await asyncio.to_thread(_merged, sure)

    async def _tiles(self, cover: covers.Cover) -> tuple[list[tuple[keys.Cell, int]], list[tuple[keys.Cell, int]]]:
        """The non-empty tiles of a cover with their records: inner, border."""
        used = await self._db.execute("GET", keys.TILE_GROUPS)
        bits = np.unpackbits(np.frombuffer(used or b"", np.uint8), count=_GROUPS)
        ancestors = covers.z8_ancestors(cover)
        groups = ancestors[bits[ancestors] == 1]
        tiles, counts = await self._cells([f"g:{group}" for group in groups])
        order = np.argsort(tiles)
        tiles, counts = tiles[order], counts[order]
        picked = []
        for chosen in covers.select(cover, tiles):
            sizes = counts[np.searchsorted(tiles, chosen)]
            picked.append([(keys.tile_cell(int(tile)), int(size)) for tile, size in zip(chosen, sizes, strict=True)])
        return picked[0], picked[1]

    async def _region_cells(self, regions: Sequence[int]) -> list[tuple[keys.Cell, int]]:
        if not regions:
            return []
        used = {int(number) for number in await self._db.execute("SMEMBERS", keys.REGION_GROUPS)}
        cells: list[tuple[keys.Cell, int]] = []
        for number in used.intersection(regions):
            shards, counts = await self._cells([f"r:{number}"])
            cells += [(keys.Cell(f"r:{number}", int(s)), int(c)) for s, c in zip(shards, counts, strict=True)]
        return cells

    async def _cells(self, groups: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        answers = await self._db.execute_many([("HGETALL", f"{{{group}}}:cells") for group in groups])
        flat: list[bytes] = []
        for answer in answers:
            flat += [part for pair in answer.items() for part in pair] if isinstance(answer, dict) else answer
        numbers = np.array(flat, dtype="S12").astype(np.int64).reshape(-1, 2)
        return numbers[:, 0].astype(np.uint32), numbers[:, 1]

    async def _read(self, cells: Iterable[tuple[keys.Cell, int]]) -> AsyncIterator[tuple[keys.Cell, bytes]]:
        """The cells' contents, in replies of bounded size."""
        for group in _bounded(cells):
            blobs = await self._db.mget([cell.key for cell in group])
            for cell, blob in zip(group, blobs, strict=True):
                if blob:
                    yield cell, blob


def eligible(flags: NDArray[np.uint32], wanted: Wanted) -> NDArray[np.bool_]:
    """Which records may count. What is in doubt may: its flags say nothing, so the authority decides."""
    places = np.zeros(8, bool)
    places[list(wanted.places)] = True
    fit = places[records.place_kind(flags)] & ((records.kinds(flags) & wanted.kind) != 0)
    if wanted.testers_only:
        fit &= records.tester(flags)
    if wanted.max_age_h is not None:
        fit &= records.age_h(flags, wanted.now_h) <= wanted.max_age_h
    result: NDArray[np.bool_] = fit | records.moved(flags)
    return result


def _bounded(cells: Iterable[tuple[keys.Cell, int]]) -> Iterable[list[keys.Cell]]:
    group: list[keys.Cell] = []
    size = 0
    for cell, count in cells:
        if group and size + count * records.SIZE > REPLY_BYTES:
            yield group
            group, size = [], 0
        group.append(cell)
        size += count * records.SIZE
    if group:
        yield group


def _living(blob: bytes) -> records.Records:
    found = records.unpack(blob)
    return _take(found, found.numbers != 0)


def _refined(area: shapely.MultiPolygon, tile: int, found: records.Records) -> records.Records:
    lon, lat = position(np.full(len(found), tile, np.uint32), found.x, found.y)
    return _take(found, covers.inside(area, lon, lat))


def _take(found: records.Records, mask: NDArray[np.bool_]) -> records.Records:
    return records.Records(
        numbers=found.numbers[mask],
        x=found.x[mask],
        y=found.y[mask],
        regions=found.regions[mask],
        flags=found.flags[mask],
    )


def _unique(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(numbers)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered


def _merged(parts: Sequence[records.Records]) -> Found:
    """Sort and keep the first of each number: ten times faster than `np.unique`."""
    numbers = np.concatenate([part.numbers for part in parts]) if parts else np.empty(0, np.uint64)
    flags = np.concatenate([part.flags for part in parts]) if parts else np.empty(0, np.uint32)
    regions = np.concatenate([part.regions for part in parts]) if parts else np.empty(0, np.uint32)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    first = np.r_[True, numbers[1:] != numbers[:-1]] if len(numbers) else np.empty(0, bool)
    return Found(numbers=numbers[first], flags=flags[order][first], regions=regions[order][first])
