"""Finds the subscribers in an area: all points of the tiles inside it, the tested points of the border tiles, and places that name a region.

A record without the `moved` mark is true: before a subscriber's record changes, the old cell record gets the mark, and the new one is
written with it. So a query looks up only subscribers with marked records. The query has a hard deadline. A left record stays, marked, for
longer than that (`subscribers.GRACE_MS`), so no subscriber is missed between two reads.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.store.engine import keys
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.cell_seal import CellSeal, names_of
from alertd.store.engine.connection import StoreUnavailableError
from geofences import records, scan
from geofences.polygons import copy_of
from geofences.scan import DEPTH, Outlines, inside_tiles
from geofences.tiles import ANCESTOR_ZOOM, ZOOM, deinterleave

T = TypeVar("T")
Words = NDArray[np.uint64]
#: Maximum size of one MGET, because the server answers no other client meanwhile. One hot tile may have 3 MB.
REPLY_BYTES, REPLY_CELLS = 2_000_000, 2_000
#: Groups of tiles or regions that are read together when all records are read.
GROUPS_AT_ONCE = 64
#: Threads that read and filter. They run in parallel, because numpy, shapely and the socket release the interpreter lock.
THREADS = min(4, os.cpu_count() or 1)
_NONE = np.empty(0, np.uint32)
#: Subscriber numbers, and the high words of their cell records: flags and leaf region. A high word is never 0, because each match consents
#: to a kind of alert.
Part = tuple[Words, Words]
#: If the average distance between subscriber numbers is larger than this, `in_order` sorts them. Else it marks them in
#: an array of all numbers.
SPARSE = 4
_NOBODY: Part = (np.empty(0, np.uint64), np.empty(0, np.uint64))

NO, YES, IN_DOUBT = range(
    3
)  # whether a cell record's flags match; in doubt (marked `moved`): the subscriber's own record decides
#: Number of values of the flag bits that decide a match apart from the hour: the bits between the address counts and
#: the hour.
_DECIDING = 1 << (records.HOUR_SHIFT - records.PLACE_SHIFT)


@dataclass(frozen=True, kw_only=True)
class MatchFilter:
    """The conditions by which an alert's recipients are found."""

    area: shapely.MultiPolygon
    regions: Sequence[int] = ()  # numbers of the regions; a place that names one of them counts as inside
    kind: int  # bit of the alert kind that the subscriber must have consented to
    places: frozenset[int]  # place kinds that count
    max_age_h: int | None = None  # maximum age of a current position, in hours
    testers_only: bool = False
    now_h: int = 0  # hours since 1970

    @cached_property
    def shape(self) -> bytes:
        """Returns the SHA-256 of the area's outline, a cache key."""
        return hashlib.sha256(shapely.to_wkb(self.area)).digest()


def eligible(flags: NDArray[np.uint32], wanted: MatchFilter) -> NDArray[np.bool_]:
    """Returns for each record whether its flags match the filter: kind of place, consent to the alert's kind, tester, age of the position.
    Does not look at the mark `moved`.
    """
    places = np.zeros(8, bool)
    places[list(wanted.places)] = True
    fit: NDArray[np.bool_] = places[records.place_kind(flags)] & ((records.kinds(flags) & wanted.kind) != 0)
    if wanted.testers_only:
        fit &= records.tester(flags)
    if wanted.max_age_h is not None:
        fit &= records.age_h(flags, wanted.now_h) <= wanted.max_age_h
    return fit


def table(wanted: MatchFilter) -> NDArray[np.uint8]:
    """Returns a verdict for each value of the flag bits that decide: NO, YES, or IN_DOUBT for records marked `moved`,
    which the subscriber's own record decides. Ignores the age of the position, which `verdicts` checks when it uses
    this table.
    """
    every = np.arange(_DECIDING, dtype=np.uint32) << np.uint32(records.PLACE_SHIFT)
    found = eligible(every, replace(wanted, max_age_h=None)).astype(np.uint8)
    found[records.moved(every)] = IN_DOUBT
    return found


def verdicts(held: records.Records, wanted: MatchFilter, decided: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns for each record NO, YES or IN_DOUBT: looks its flags up in `decided` (made by `table`) and checks the age of the position."""
    bits = (held.high >> np.uint64(records.FLAGS_SHIFT + records.PLACE_SHIFT)) & np.uint64(_DECIDING - 1)
    found = decided.take(bits.view(np.int64))  # numpy would copy unsigned indices
    if wanted.max_age_h is not None:
        found[(found == YES) & (records.age_h(held.flags, wanted.now_h) > wanted.max_age_h)] = NO
    return found


@dataclass(frozen=True)
class Matches:
    """The matching subscribers: their numbers, ascending and unique, with the flags and leaf region of each.

    A number that was found in several cells has the flags and region of the first part that contains it. Flags and regions are put in order
    only when they are read, because the planner needs the numbers alone.
    """

    numbers: Words
    parts: Sequence[Part] = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def flags(self) -> NDArray[np.uint32]:
        """Returns the flags of each match: channels, kind of place, kinds consented to, tester, time."""
        return self._said.flags

    @property
    def regions(self) -> NDArray[np.uint32]:
        """Returns for each match the number of the smallest region of its place."""
        return self._said.regions

    @cached_property
    def _said(self) -> records.Records:
        """The records of `numbers`, in their order."""
        return records.Records(self.numbers, merge_words(self.parts))


def in_order(parts: Sequence[Words]) -> Words:
    """Returns the subscriber numbers in all `parts` together, ascending and unique."""
    most = max((int(numbers.max()) for numbers in parts if len(numbers)), default=0)
    if most > SPARSE * sum(map(len, parts)):
        short = np.uint32 if most < 1 << 32 else np.uint64  # sorted in half the time
        numbers = np.sort(np.concatenate(parts, dtype=short, casting="same_kind"))
        return numbers[_firsts(numbers)].astype(np.uint64)
    ticked = np.zeros(most + 1, bool)
    for numbers in parts:
        ticked[numbers.view(np.int64)] = True
    return np.flatnonzero(ticked).view(np.uint64)


def merge_words(parts: Sequence[Part]) -> Words:
    """Returns the high word (flags and leaf region) for each number of `in_order`. A number in several parts has that of the first."""
    numbers, whats = (np.concatenate(half) for half in zip(_NOBODY, *parts, strict=True))
    # The index in the low bits keeps equal numbers in order: four times as fast as `np.unique`.
    shift = np.uint64(len(numbers).bit_length())  # 40 bits of a number leave room for 16 million
    both = np.sort(numbers << shift | np.arange(len(numbers), dtype=np.uint64))
    of_each = both[_firsts(both >> shift)] & ((np.uint64(1) << shift) - np.uint64(1))
    return whats.take(of_each.view(np.int64))


def _firsts(ascending: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns for each value of a sorted array whether it differs from the one before it."""
    firsts: NDArray[np.bool_] = np.r_[True, ascending[1:] != ascending[:-1]][: len(ascending)]
    return firsts


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Cells to read. A cell holds the records of one tile, or of one shard of a region."""

    groups: Sequence[str]  # of cells: `g:` and a tile of zoom 8, or `r:` and a region's number
    group: NDArray[np.intp]  # for each cell, the index of its group in `groups`
    members: NDArray[np.uint32]  # for each cell, its tile code, or its shard of the region
    counts: NDArray[np.uint32]  # for each cell, its number of records, those that were left included

    @property
    def keys(self) -> list[str]:
        """Returns the store key of each cell, but makes no `keys.Cell`: for the thousands of tiles of a country, to make these objects
        would take 80 % of the time.
        """
        heads = [f"{{{group}}}:" for group in self.groups]
        return [f"{heads[i]}{member}" for i, member in zip(self.group.tolist(), self.members.tolist(), strict=True)]

    def those(self, chosen: NDArray[np.bool_] | slice) -> _Cells:
        """Returns a copy with only the chosen cells (by a mask or a slice)."""
        return replace(self, group=self.group[chosen], members=self.members[chosen], counts=self.counts[chosen])

    def bounded(self) -> Iterator[_Cells]:
        """Yields the cells in portions for one MGET each: about `REPLY_BYTES` and `REPLY_CELLS` at most."""
        records_before, cells_before = np.cumsum(self.counts, dtype=np.int64), np.arange(len(self.members))
        window = records_before * records.SIZE // REPLY_BYTES + cells_before // REPLY_CELLS
        edges = [*(np.flatnonzero(np.diff(window, prepend=-1))).tolist(), len(self.members)]
        yield from map(self.those, map(slice, edges[:-1], edges[1:]))

    def opened(self, seal: CellSeal, blobs: Sequence[bytes | None]) -> tuple[records.Records, list[int]]:
        """Decrypts what the store returned for these cells (`blobs`, None for an empty cell). Returns all records, and the number of
        records in each cell. One by one, it would take five times as long. Raises ValueError for a cell with a broken record.
        """
        whole = [blob or b"" for blob in blobs]
        counts = [len(blob) // records.SIZE for blob in whole]
        joined = b"".join(whole)
        if records.SIZE * sum(counts) != len(
            joined
        ):  # else the following records would be read as those of other cells
            raise ValueError("a cell holds a broken record")
        words = seal.crypted(names_of(self.groups, self.group, self.members), counts, joined, opens=True)
        return records.Records(words[:, 0], words[:, 1]), counts


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Cells that one MGET reads."""

    cells: _Cells
    is_border: bool  # the cells lie on the area's border: each record's point must be tested


@dataclass(frozen=True, kw_only=True)
class _Sifted:
    """The result of one job: the matching records, and the subscribers in doubt, for each of which the own record must decide."""

    numbers: NDArray[np.uint64]
    whats: NDArray[np.uint64]  # high words of the records: flags and leaf region
    in_doubt: NDArray[np.uint64]  # numbers of subscribers with a marked record


@dataclass(frozen=True, kw_only=True)
class _Sieve:
    """Decides which of the records that were read match the filter."""

    wanted: MatchFilter
    table: NDArray[np.uint8]
    squares: Callable[[], scan.Scan]  # scan of the squares in the border tiles, made when a point has to be tested
    seal: CellSeal

    def sift(self, job: _Job, blobs: Sequence[bytes | None]) -> _Sifted:
        """Decrypts the cells in the reply to a job. Returns the matching records (in border cells only those inside the area), and the
        numbers in doubt.
        """
        held, counts = job.cells.opened(self.seal, blobs)
        verdict = verdicts(held, self.wanted, self.table)
        in_doubt, sure = held.where(verdict == IN_DOUBT).numbers, verdict == YES
        held = held.where(sure)
        if job.is_border:
            of_each = np.repeat(np.arange(len(counts)), counts)[sure]
            held = held.where(inside_tiles(self.wanted.area, self.squares(), job.cells.members, of_each, held))
        return _Sifted(numbers=held.numbers, whats=held.high, in_doubt=in_doubt)


#: Takes the numbers in doubt and the filter. Returns the records (flags and region) of the subscribers among them with a matching own
#: record.
Authority = Callable[[NDArray[np.uint64], MatchFilter], Awaitable[records.Records]]


class Audience:
    """Finds the subscribers in an area or in regions who match an alert's filter."""

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
        """Closes the connections and ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._bulk.close()

    async def find(self, wanted: MatchFilter) -> Matches:
        """Returns all matching subscribers. Raises StoreUnavailableError after the deadline: it never returns a partial audience."""
        try:
            async with asyncio.timeout(self._deadline_s):
                outline, jobs = await self._in_thread(self._outlined, wanted)
                squares = partial(outline.at, ZOOM + DEPTH)
                sieve = _Sieve(wanted=wanted, table=table(wanted), squares=squares, seal=self._seal)
                sifted = await self._read(jobs, sieve)
                self._outlines.keep(wanted.shape, outline)
                parts = [(one.numbers, one.whats) for one in sifted]
                in_doubt = np.unique(np.concatenate([np.empty(0, np.uint64), *(one.in_doubt for one in sifted)]))
                if len(in_doubt):
                    confirmed = await self._authority(in_doubt, wanted)
                    parts.append((confirmed.numbers, confirmed.high))
                numbers = await self._in_thread(in_order, [numbers for numbers, _ in parts])
                return Matches(numbers, parts)
        except TimeoutError:
            raise StoreUnavailableError(
                "The audience could not be read in time; nothing was changed. Try again."
            ) from None

    def every_record(self) -> Iterator[tuple[str, NDArray[np.uint32], records.Records]]:
        """Yields all records of all places, some megabytes at a time, in the calling thread.

        Each portion: the kind of cells (`g` for tiles, `r` for regions), the tile or shard of each record, and the records, marked ones too.
        """
        tiles, regions = self._used_groups(with_regions=True)
        for kind, groups in (("g", tiles.tolist()), ("r", sorted(regions))):
            for first in range(0, len(groups), GROUPS_AT_ONCE):
                cells = self._cells([f"{kind}:{group}" for group in groups[first : first + GROUPS_AT_ONCE]])
                parts = list(cells.bounded())
                for part, blobs in zip(parts, self._bulk.mgets(part.keys for part in parts), strict=True):
                    # Skips a cell that a damaged file cut off inside a record, so that it cannot hide the other cells.
                    whole = [blob if blob and len(blob) % records.SIZE == 0 else None for blob in blobs]
                    held, counts = part.opened(self._seal, whole)
                    yield kind, np.repeat(part.members, counts), held

    def _in_thread(self, function: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Runs the function in one of the audience's threads."""
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _outlined(self, wanted: MatchFilter) -> tuple[scan.Outline, list[_Job]]:
        """Returns the area's outline, and the reads (jobs) that cover its tiles and the filter's regions. Border tiles come first, because
        each of their points must be tested, which takes longer.
        """
        outline = self._outlines.get(wanted.shape) or scan.Outline(wanted.area)
        ancestors, regions = self._used_groups(with_regions=bool(wanted.regions))
        touched = outline.at(ANCESTOR_ZOOM).verdicts(*deinterleave(ancestors.astype(np.uint32))) != scan.OUTSIDE
        tiles = self._cells([f"g:{ancestor}" for ancestor in ancestors[touched].tolist()])
        verdicts = outline.at(ZOOM).verdicts(*deinterleave(tiles.members))
        named = self._cells([f"r:{number}" for number in regions.intersection(wanted.regions)])
        jobs = [_Job(cells=cells, is_border=True) for cells in tiles.those(verdicts == scan.BORDER).bounded()]
        wholes = tiles.those(verdicts == scan.INSIDE), named
        return outline, jobs + [_Job(cells=cells, is_border=False) for whole in wholes for cells in whole.bounded()]

    def _used_groups(self, *, with_regions: bool) -> tuple[NDArray[np.intp], set[int]]:
        """Returns the tiles of zoom 8 that hold or held a subscriber, and, with `with_regions`, the numbers of regions that a subscriber
        named.
        """
        commands = [("GET", keys.TILE_GROUPS), ("SMEMBERS", keys.REGION_GROUPS)]
        used, *regions = self._bulk.many(commands if with_regions else commands[:1])
        return np.flatnonzero(np.unpackbits(np.frombuffer(used or b"", np.uint8))), {
            int(one) for some in regions for one in some
        }

    def _cells(self, groups: Sequence[str]) -> _Cells:
        """Returns the non-empty cells of these groups (`g:` and a z8 tile, `r:` and a region), with the number of records in each."""
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
        """Carries the jobs out in threads. Returns the results in the order of the jobs. When it returns or raises, the threads take no
        further job.
        """
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
        """Reads and filters jobs in this thread and stores each result in `done` by the job's index. Ends when `todo` is empty or `over` is
        set.
        """
        wanted = replace(sieve.wanted, area=copy_of(sieve.wanted.area))  # a geometry is prepared in place
        own, taken = replace(sieve, wanted=wanted), deque[tuple[int, _Job]]()
        for blobs in self._bulk.mgets(job.cells.keys for _, job in _taken(todo, taken, over)):
            place, job = taken.popleft()
            done[place] = own.sift(job, blobs)


def _taken(
    todo: deque[tuple[int, _Job]], taken: deque[tuple[int, _Job]], over: threading.Event
) -> Iterator[tuple[int, _Job]]:
    """Moves jobs from `todo`, which all threads share, to this thread's `taken`, and yields each. The caller removes a job from `taken`
    when it is done. Ends when `todo` is empty or `over` is set.
    """
    while not over.is_set():
        try:
            taken.append(todo.popleft())
        except IndexError:
            return
        yield taken[-1]
