"""Who belongs to an area: the packed tiles inside it, the border tiles point by point, the places that name a region.

A record without `moved` is the truth: before a subscriber's record changes, what it leaves is marked and what it enters
carries the mark already, so whatever is in doubt says so, and only that is looked up. The query has a hard deadline; a
record that was left stays, marked, for longer than that (`people.GRACE_MS`), so nobody slips between two reads.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alertd.store.areas.outlines import Outlines
from alertd.store.engine import keys
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.cell_seal import Blocks, CellSeal, names_of
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.match_filter import IN_DOUBT, YES, MatchFilter, table, verdicts
from alertd.store.people.matches import Matches, found
from geofences import records, scan
from geofences.inside import DEPTH, inside_tiles
from geofences.tiles import ANCESTOR_ZOOM, ZOOM, deinterleave

#: Of one MGET, since the server answers nobody else meanwhile. A hot tile alone may be 3 MB.
REPLY_BYTES, REPLY_CELLS = 2_000_000, 2_000
#: Of tiles and regions, read together where all records are.
GROUPS_AT_ONCE = 64
#: Threads that read and sift: numpy, shapely and the socket let each other go on.
THREADS = min(4, os.cpu_count() or 1)
_NONE = np.empty(0, np.uint32)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Cells to read."""

    groups: Sequence[str]
    group: NDArray[np.intp]  # which of the groups each is of
    members: NDArray[np.uint32]  # tile codes, or shards
    counts: NDArray[np.uint32]  # of records, tombstones too

    @property
    def keys(self) -> list[str]:
        """As `keys.Cell.key` of each: a country has thousands of tiles, and four fifths of the time would go into the objects."""
        heads = [f"{{{group}}}:" for group in self.groups]
        return [f"{heads[i]}{member}" for i, member in zip(self.group.tolist(), self.members.tolist(), strict=True)]

    @property
    def names(self) -> Blocks:
        """As `cell_seal.names_of` has them."""
        return names_of(self.groups, self.group, self.members)

    def those(self, chosen: NDArray[np.bool_] | slice) -> _Cells:
        return replace(self, group=self.group[chosen], members=self.members[chosen], counts=self.counts[chosen])

    def bounded(self) -> Iterator[_Cells]:
        """These in groups of at most about `REPLY_BYTES` and of `REPLY_CELLS`."""
        records_before, cells_before = np.cumsum(self.counts, dtype=np.int64), np.arange(len(self.members))
        window = records_before * records.SIZE // REPLY_BYTES + cells_before // REPLY_CELLS
        edges = [*(np.flatnonzero(np.diff(window, prepend=-1))).tolist(), len(self.members)]
        yield from map(self.those, map(slice, edges[:-1], edges[1:]))


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One reply to read and sift."""

    cells: _Cells
    is_border: bool  # the records' points must be tested


@dataclass(frozen=True, kw_only=True)
class _Sifted:
    """What of a reply belongs to what is wanted."""

    numbers: NDArray[np.uint64]
    whats: NDArray[np.uint64]  # the records' other halves, in which flags and leaf region are
    in_doubt: NDArray[np.uint64]  # numbers of those whose place says nothing


@dataclass(frozen=True, kw_only=True)
class _Sieve:
    """What decides which records belong to what is wanted."""

    wanted: MatchFilter
    table: NDArray[np.uint8]
    squares: Callable[[], scan.Scan]  # of the border tiles, for whoever has points to test
    seal: CellSeal

    def sift(self, job: _Job, blobs: Sequence[bytes | None]) -> _Sifted:
        """The records that belong to what is wanted, and the numbers in doubt."""
        held, counts = _opened(self.seal, job.cells, blobs)
        verdict = verdicts(held, self.wanted, self.table)
        in_doubt, sure = held.where(verdict == IN_DOUBT).numbers, verdict == YES
        held = held.where(sure)
        if job.is_border:
            of_each = np.repeat(np.arange(len(counts)), counts)[sure]
            held = held.where(inside_tiles(self.wanted.area, self.squares(), job.cells.members, of_each, held))
        return _Sifted(numbers=held.numbers, whats=held.high, in_doubt=in_doubt)


#: Given numbers in doubt, those whose own record says they belong to what is wanted, with flags and region.
Authority = Callable[[NDArray[np.uint64], MatchFilter], Awaitable[records.Records]]


class Audience:
    """Finds people by place."""

    def __init__(
        self, bulk: BulkReads, seal: CellSeal, authority: Authority, *, deadline_s: float, threads: int = THREADS
    ) -> None:
        self._bulk = bulk
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="audience")
        self._share = threads
        self._seal = seal
        self._authority = authority
        self._deadline_s = deadline_s
        self._outlines = Outlines()

    def close(self) -> None:
        """Give back the connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._bulk.close()

    async def find(self, wanted: MatchFilter) -> Matches:
        """Everyone inside. Raises StoreUnavailableError when the deadline passes: a partial audience is never given."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._find(wanted)
        except TimeoutError:
            raise StoreUnavailableError(
                "The audience could not be read in time; nothing was changed. Try again."
            ) from None

    def every_record(self) -> Iterator[tuple[str, NDArray[np.uint32], records.Records]]:
        """All records of all places, some megabytes at a time and in the calling thread: the kind of their cells (`g` for tiles, `r` for
        regions), the tile or shard of each record, and the records, those that are in doubt among them.
        """
        tiles = np.flatnonzero(np.unpackbits(np.frombuffer(self._bulk.mget([keys.TILE_GROUPS])[0] or b"", np.uint8)))
        regions = sorted(int(number) for number in self._bulk.many([("SMEMBERS", keys.REGION_GROUPS)])[0])
        for kind, groups in (("g", tiles.tolist()), ("r", regions)):
            for first in range(0, len(groups), GROUPS_AT_ONCE):
                cells = self._cells([f"{kind}:{group}" for group in groups[first : first + GROUPS_AT_ONCE]])
                parts = list(cells.bounded())
                for part, blobs in zip(parts, self._bulk.mgets(part.keys for part in parts), strict=True):
                    # A cell that a damaged file cut off in the middle of a record must not hide everybody else.
                    whole = [blob if blob and len(blob) % records.SIZE == 0 else None for blob in blobs]
                    held, counts = _opened(self._seal, part, whole)
                    yield kind, np.repeat(part.members, counts), held

    async def _find(self, wanted: MatchFilter) -> Matches:
        outline, jobs = await self._in_thread(self._outlined, wanted)
        squares = partial(outline.at, ZOOM + DEPTH)
        sifted = await self._read(jobs, _Sieve(wanted=wanted, table=table(wanted), squares=squares, seal=self._seal))
        self._outlines.keep(wanted.shape, outline)
        parts = [(one.numbers, one.whats) for one in sifted]
        in_doubt = np.unique(np.concatenate([np.empty(0, np.uint64), *(one.in_doubt for one in sifted)]))
        if len(in_doubt):
            confirmed = await self._authority(in_doubt, wanted)
            parts.append((confirmed.numbers, confirmed.high))
        return await self._in_thread(found, parts)

    def _in_thread(self, function: Callable[..., T], *args: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _outlined(self, wanted: MatchFilter) -> tuple[scan.Outline, list[_Job]]:
        """The area's outline, and what is to be read, the long jobs, those of the border, first."""
        outline = self._outlines.get(wanted.shape) or scan.Outline(wanted.area)
        tiles = self._tiles(outline.at(ANCESTOR_ZOOM))
        verdicts = outline.at(ZOOM).verdicts(*deinterleave(tiles.members))
        wholes = tiles.those(verdicts == scan.INSIDE), self._region_cells(wanted.regions)
        jobs = [_Job(cells=cells, is_border=True) for cells in tiles.those(verdicts == scan.BORDER).bounded()]
        return outline, jobs + [_Job(cells=cells, is_border=False) for whole in wholes for cells in whole.bounded()]

    def _tiles(self, ancestors: scan.Scan) -> _Cells:
        """All tiles of the z8 ancestors that the area touches."""
        (used,) = self._bulk.mget([keys.TILE_GROUPS])
        groups = np.flatnonzero(np.unpackbits(np.frombuffer(used or b"", np.uint8)))
        touched = ancestors.verdicts(*deinterleave(groups)) != scan.OUTSIDE
        return self._cells([f"g:{group}" for group in groups[touched].tolist()])

    def _region_cells(self, regions: Sequence[int]) -> _Cells:
        """The cells of the places that name one of the regions."""
        used = self._bulk.many([("SMEMBERS", keys.REGION_GROUPS)])[0] if regions else []
        return self._cells([f"r:{number}" for number in {int(member) for member in used}.intersection(regions)])

    def _cells(self, groups: Sequence[str]) -> _Cells:
        """The cells of groups, and how many records each has."""
        answers = self._bulk.many([("GET", keys.cells(group)) for group in groups])
        counts = [np.frombuffer(answer or b"", "<u4") for answer in answers]
        used = [np.flatnonzero(of_group) for of_group in counts]
        members = [keys.first_member(group) + places for group, places in zip(groups, used, strict=True)]
        return _Cells(
            groups=groups,
            group=np.repeat(np.arange(len(groups)), [len(places) for places in used]),
            members=np.concatenate([_NONE, *members], dtype=np.uint32, casting="unsafe"),
            counts=np.concatenate([_NONE, *(of[places] for of, places in zip(counts, used, strict=True))]),
        )

    async def _read(self, jobs: Sequence[_Job], sieve: _Sieve) -> list[_Sifted]:
        """Read and sift in threads, in the order of the jobs. When this is left, no thread goes on."""
        todo, done, over = deque(enumerate(jobs)), dict[int, _Sifted](), threading.Event()
        try:
            await asyncio.gather(
                *(self._in_thread(self._work, todo, done, sieve, over) for _ in range(min(self._share, len(jobs))))
            )
            return [done[place] for place in range(len(jobs))]
        finally:
            over.set()

    def _work(
        self, todo: deque[tuple[int, _Job]], done: dict[int, _Sifted], sieve: _Sieve, over: threading.Event
    ) -> None:
        """One thread's share."""
        own, taken = replace(sieve, wanted=sieve.wanted.own()), deque[tuple[int, _Job]]()
        for blobs in self._bulk.mgets(job.cells.keys for _, job in _taken(todo, taken, over)):
            place, job = taken.popleft()
            done[place] = own.sift(job, blobs)


def _taken(
    todo: deque[tuple[int, _Job]], taken: deque[tuple[int, _Job]], over: threading.Event
) -> Iterator[tuple[int, _Job]]:
    """One job after another that no other thread has; `taken` keeps those that are not done."""
    while not over.is_set():
        try:
            taken.append(todo.popleft())
        except IndexError:
            return
        yield taken[-1]


def _opened(seal: CellSeal, cells: _Cells, blobs: Sequence[bytes | None]) -> tuple[records.Records, list[int]]:
    """The records of many cells, and how many each has. All at once: one by one, thousands of tiles take five times as long."""
    whole = [blob or b"" for blob in blobs]
    counts = [len(blob) // records.SIZE for blob in whole]
    joined = b"".join(whole)
    if records.SIZE * sum(counts) != len(joined):  # or the records after it would be read as somebody else's
        raise ValueError("a cell holds a broken record")
    words = seal.open_all(cells.names, counts, joined)
    return records.Records(words[:, 0], words[:, 1]), counts
