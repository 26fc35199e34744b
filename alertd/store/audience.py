"""Who belongs to an area: the packed tiles inside it, the border tiles point by point, the places that name a region.

A record without `moved` is the truth: before a subscriber's record changes, what it leaves is marked and what it enters
carries the mark already, so whatever is in doubt says so, and only that is looked up. The query has a hard deadline; a
record that was left stays, marked, for longer than that (`people.GRACE_MS`), so nobody slips between two reads.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.store import keys
from alertd.store.bulk import Bulk
from alertd.store.connection import StoreUnavailableError
from alertd.store.found import Found, found
from alertd.store.wanted import IN_DOUBT, YES, Wanted, verdicts
from geofences import cover as covers
from geofences import records, refine
from geofences.tiles import ANCESTOR_ZOOM

#: Of one MGET, since the server answers nobody else meanwhile. A hot tile alone may be 3 MB.
REPLY_BYTES, REPLY_CELLS = 1_000_000, 2_000
#: Threads that read and sift: numpy, shapely and the socket let each other go on.
THREADS = min(4, os.cpu_count() or 1)
_GROUPS = 1 << 16  # z8 ancestors
T = TypeVar("T")
#: Cells, and how many records each has.
_Counted = tuple[NDArray[np.uint32], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Cells to read."""

    keys: list[str]
    members: NDArray[np.uint32]  # tile codes, or shards
    counts: NDArray[np.int64]  # of records, tombstones too


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


#: Given numbers in doubt, those whose own record says they belong to what is wanted, with flags and region.
Authority = Callable[[NDArray[np.uint64], Wanted], Awaitable[records.Records]]


class Audience:
    """Finds people by place."""

    def __init__(self, bulk: Bulk, authority: Authority, *, deadline_s: float, threads: int = THREADS) -> None:
        self._bulk = bulk
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="audience")
        self._share = threads
        self._authority = authority
        self._deadline_s = deadline_s

    def close(self) -> None:
        """Give back the connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._bulk.close()

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
        cover, groups = await asyncio.gather(
            self._in_thread(lambda: covers.cover(_copied(wanted.area))), self._in_thread(self._groups, wanted.area)
        )
        jobs = await self._in_thread(self._jobs, cover, groups, wanted.regions)
        sifted = await self._read(jobs, wanted)
        parts = [(one.numbers, one.whats) for one in sifted]
        in_doubt = np.unique(np.concatenate([np.empty(0, np.uint64), *(one.in_doubt for one in sifted)]))
        if len(in_doubt):
            confirmed = await self._authority(in_doubt, wanted)
            parts.append((confirmed.numbers, confirmed.high))
        return await self._in_thread(found, parts)

    def _in_thread(self, function: Callable[..., T], *args: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _groups(self, area: shapely.MultiPolygon) -> _Counted:
        """The non-empty tiles of the z8 ancestors that the area touches. A coarse cover finds them while the fine one is made."""
        (used,) = self._bulk.mget([keys.TILE_GROUPS])
        bits = np.unpackbits(np.frombuffer(used or b"", np.uint8), count=_GROUPS)
        ancestors = covers.z8_ancestors(covers.cover(_copied(area), zoom=ANCESTOR_ZOOM))
        tiles, counts = self._cells([f"g:{group}" for group in ancestors[bits[ancestors] == 1]])
        order = np.argsort(tiles)
        return tiles[order], counts[order]

    def _jobs(self, cover: covers.Cover, groups: _Counted, regions: Sequence[int]) -> list[_Job]:
        """What is to be read, the long jobs, those of the border, first."""
        inner, border = _tiles(cover, *groups)
        whole = [inner, *self._region_cells(regions)]
        jobs = [_Job(cells=cells, is_border=True) for cells in _bounded(border)]
        return jobs + [_Job(cells=cells, is_border=False) for one in whole for cells in _bounded(one)]

    async def _read(self, jobs: Sequence[_Job], wanted: Wanted) -> list[_Sifted]:
        """Read and sift in threads, in the order of the jobs. When this is left, no thread goes on."""
        todo, done, over = deque(enumerate(jobs)), dict[int, _Sifted](), threading.Event()
        try:
            await asyncio.gather(*(self._in_thread(self._work, todo, done, wanted, over) for _ in range(self._share)))
            return [done[place] for place in range(len(jobs))]
        finally:
            over.set()

    def _work(
        self, todo: deque[tuple[int, _Job]], done: dict[int, _Sifted], wanted: Wanted, over: threading.Event
    ) -> None:
        """One thread's share."""
        area = _copied(wanted.area)
        while todo and not over.is_set():
            try:
                place, job = todo.popleft()
            except IndexError:  # another thread was quicker
                break
            blobs = self._bulk.mget(job.cells.keys)
            done[place] = _sifted(job.cells, blobs, wanted, area if job.is_border else None)

    def _region_cells(self, regions: Sequence[int]) -> list[_Cells]:
        """The cells of the places that name a region, by region."""
        if not regions:
            return []
        (members,) = self._bulk.many([("SMEMBERS", keys.REGION_GROUPS)])
        found = []
        for number in {int(member) for member in members}.intersection(regions):
            shards, counts = self._cells([f"r:{number}"])
            names = [keys.Cell(f"r:{number}", shard).key for shard in shards.tolist()]
            found.append(_Cells(keys=names, members=shards, counts=counts))
        return found

    def _cells(self, groups: Sequence[str]) -> _Counted:
        """The cells of groups, and how many records each has."""
        answers = self._bulk.many([("HGETALL", keys.cells(group)) for group in groups])
        text = b" ".join(word for answer in answers for word in _flat(answer))
        pairs = np.fromstring(text, np.int64, sep=" ").reshape(-1, 2)  # half as long as int() of each
        return pairs[:, 0].astype(np.uint32), pairs[:, 1]


def _flat(answer: dict[bytes, bytes] | list[bytes]) -> Iterable[bytes]:
    """A hash as its fields and values in turn, in either form the protocol has for it."""
    return itertools.chain.from_iterable(answer.items()) if isinstance(answer, dict) else answer


def _copied(area: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """For one thread: a geometry is prepared in place."""
    return cast("shapely.MultiPolygon", shapely.from_wkb(shapely.to_wkb(area)))


def _tiles(cover: covers.Cover, tiles: NDArray[np.uint32], counts: NDArray[np.int64]) -> tuple[_Cells, _Cells]:
    """Of these tiles, sorted, those of the cover: inner, border."""
    inner, border = (
        _Cells(keys=keys.tile_keys(chosen.tolist()), members=chosen, counts=counts[np.searchsorted(tiles, chosen)])
        for chosen in covers.select(cover, tiles)
    )
    return inner, border


def _bounded(cells: _Cells) -> Iterator[_Cells]:
    """The cells in groups of at most about `REPLY_BYTES` and of `REPLY_CELLS`."""
    window = np.cumsum(cells.counts * records.SIZE) // REPLY_BYTES + np.arange(len(cells.keys)) // REPLY_CELLS
    edges = [0, *(np.flatnonzero(np.diff(window)) + 1).tolist(), len(cells.keys)]
    for some in map(slice, edges[:-1], edges[1:]):
        if cells.keys[some]:
            yield _Cells(keys=cells.keys[some], members=cells.members[some], counts=cells.counts[some])


def _sifted(cells: _Cells, blobs: Sequence[bytes | None], wanted: Wanted, area: shapely.MultiPolygon | None) -> _Sifted:
    """The records that belong to what is wanted (and lie in `area`, if given), and the numbers in doubt."""
    held, counts = _unpacked(blobs)
    verdict = verdicts(held.flags, wanted)
    in_doubt, sure = held.where(verdict == IN_DOUBT).numbers, verdict == YES
    held = held.where(sure)
    if area is not None:
        tiles = np.repeat(cells.members, counts)[sure]
        held = held.where(refine.inside(area, tiles, held.x, held.y))
    return _Sifted(numbers=held.numbers, whats=held.high, in_doubt=in_doubt)


def _unpacked(blobs: Sequence[bytes | None]) -> tuple[records.Records, list[int]]:
    """The records of many cells, and how many each has. All at once: one by one, thousands of tiles take five times as long."""
    whole = [blob or b"" for blob in blobs]
    counts = [len(blob) // records.SIZE for blob in whole]
    joined = b"".join(whole)
    if records.SIZE * sum(counts) != len(joined):  # or the records after it would be read as somebody else's
        raise ValueError("a cell holds a broken record")
    return records.unpack(joined), counts
