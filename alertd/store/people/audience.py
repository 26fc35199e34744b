"""Who belongs to an area: the packed tiles inside it, the border tiles point by point, the places that name a region.

A record without `moved` is the truth: before a subscriber's record changes, what it leaves is marked and what it enters
carries the mark already, so whatever is in doubt says so, and only that is looked up. The query has a hard deadline; a
record that was left stays, marked, for longer than that (`subscribers.GRACE_MS`), so nobody slips between two reads.
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
#: Of one MGET, since the server answers nobody else meanwhile. A hot tile alone may be 3 MB.
REPLY_BYTES, REPLY_CELLS = 2_000_000, 2_000
#: Of tiles and regions, read together where all records are.
GROUPS_AT_ONCE = 64
#: Threads that read and sift: numpy, shapely and the socket let each other go on.
THREADS = min(4, os.cpu_count() or 1)
_NONE = np.empty(0, np.uint32)
#: Numbers of subscribers, and the other halves of their records: flags and leaf region; never 0, for who counts consented to a kind.
Part = tuple[Words, Words]
#: Numbers that leave more room than this between them, on average, are sorted; closer ones are ticked off in a list of all.
SPARSE = 4
_NOBODY: Part = (np.empty(0, np.uint64), np.empty(0, np.uint64))

NO, YES, IN_DOUBT = range(3)  # what flags say; of what is in doubt they say nothing, so the authority decides
#: The bits of the flags that decide, but for the hour: those between the addresses and the hour.
_DECIDING = 1 << (records.HOUR_SHIFT - records.PLACE_SHIFT)


@dataclass(frozen=True, kw_only=True)
class MatchFilter:
    """Whom an alert is for."""

    area: shapely.MultiPolygon
    regions: Sequence[int] = ()  # numbers of the regions whose people count as inside
    kind: int  # bit of the kind that must have been consented to
    places: frozenset[int]  # place kinds that count
    max_age_h: int | None = None  # of where somebody is now
    testers_only: bool = False
    now_h: int = 0  # hours since 1970

    @cached_property
    def shape(self) -> bytes:
        """The area's name: another of the same outline has it too (SHA-256)."""
        return hashlib.sha256(shapely.to_wkb(self.area)).digest()


def eligible(flags: NDArray[np.uint32], wanted: MatchFilter) -> NDArray[np.bool_]:
    """Which records count by their flags."""
    places = np.zeros(8, bool)
    places[list(wanted.places)] = True
    fit: NDArray[np.bool_] = places[records.place_kind(flags)] & ((records.kinds(flags) & wanted.kind) != 0)
    if wanted.testers_only:
        fit &= records.tester(flags)
    if wanted.max_age_h is not None:
        fit &= records.age_h(flags, wanted.now_h) <= wanted.max_age_h
    return fit


def table(wanted: MatchFilter) -> NDArray[np.uint8]:
    """`eligible`, worked out once for all that the deciding bits can be: NO, YES or IN_DOUBT of each."""
    every = np.arange(_DECIDING, dtype=np.uint32) << np.uint32(records.PLACE_SHIFT)
    found = eligible(every, replace(wanted, max_age_h=None)).astype(np.uint8)
    found[records.moved(every)] = IN_DOUBT
    return found


def verdicts(held: records.Records, wanted: MatchFilter, decided: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """NO, YES or IN_DOUBT of each record, given the table of what is wanted."""
    bits = (held.high >> np.uint64(records.FLAGS_SHIFT + records.PLACE_SHIFT)) & np.uint64(_DECIDING - 1)
    found = decided.take(bits.view(np.int64))  # looked up by signed words, which are not copied for it
    if wanted.max_age_h is not None:
        found[(found == YES) & (records.age_h(held.flags, wanted.now_h) > wanted.max_age_h)] = NO
    return found


@dataclass(frozen=True)
class Matches:
    """People, sorted by number, each once. What the first of the parts that has them says of them is put into that order only
    when it is asked for: whom to tell is known without.
    """

    numbers: Words
    parts: Sequence[Part] = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def flags(self) -> NDArray[np.uint32]:
        """Of each, the flags."""
        return self._said.flags

    @property
    def regions(self) -> NDArray[np.uint32]:
        """Of each, the number of the leaf region."""
        return self._said.regions

    @cached_property
    def _said(self) -> records.Records:
        return records.Records(self.numbers, merge_words(self.parts))


def in_order(parts: Sequence[Words]) -> Words:
    """The numbers of all parts ascending, each once."""
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
    """What belongs to each number of `in_order`: what the first part that has it says."""
    numbers, whats = (np.concatenate(half) for half in zip(_NOBODY, *parts, strict=True))
    # Sorted with its index below it, each stays where it was among its equals: four times faster than `np.unique`.
    shift = np.uint64(len(numbers).bit_length())  # 40 bits of a number leave room for 16 million
    both = np.sort(numbers << shift | np.arange(len(numbers), dtype=np.uint64))
    of_each = both[_firsts(both >> shift)] & ((np.uint64(1) << shift) - np.uint64(1))
    return whats.take(of_each.view(np.int64))


def _firsts(ascending: NDArray[Any]) -> NDArray[np.bool_]:
    """Which are not equal to the one before."""
    firsts: NDArray[np.bool_] = np.r_[True, ascending[1:] != ascending[:-1]][: len(ascending)]
    return firsts


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

    def those(self, chosen: NDArray[np.bool_] | slice) -> _Cells:
        return replace(self, group=self.group[chosen], members=self.members[chosen], counts=self.counts[chosen])

    def bounded(self) -> Iterator[_Cells]:
        """These in groups of at most about `REPLY_BYTES` and of `REPLY_CELLS`."""
        records_before, cells_before = np.cumsum(self.counts, dtype=np.int64), np.arange(len(self.members))
        window = records_before * records.SIZE // REPLY_BYTES + cells_before // REPLY_CELLS
        edges = [*(np.flatnonzero(np.diff(window, prepend=-1))).tolist(), len(self.members)]
        yield from map(self.those, map(slice, edges[:-1], edges[1:]))

    def opened(self, seal: CellSeal, blobs: Sequence[bytes | None]) -> tuple[records.Records, list[int]]:
        """The records of these, and how many each has. All at once: one by one, thousands of tiles take five times as long."""
        whole = [blob or b"" for blob in blobs]
        counts = [len(blob) // records.SIZE for blob in whole]
        joined = b"".join(whole)
        if records.SIZE * sum(counts) != len(joined):  # or the records after it would be read as somebody else's
            raise ValueError("a cell holds a broken record")
        words = seal.crypted(names_of(self.groups, self.group, self.members), counts, joined, opens=True)
        return records.Records(words[:, 0], words[:, 1]), counts


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
        held, counts = job.cells.opened(self.seal, blobs)
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
        """All records of all places, some megabytes at a time and in the calling thread: the kind of their cells (`g` for tiles, `r` for
        regions), the tile or shard of each record, and the records, those that are in doubt among them.
        """
        tiles, regions = self._used_groups(with_regions=True)
        for kind, groups in (("g", tiles.tolist()), ("r", sorted(regions))):
            for first in range(0, len(groups), GROUPS_AT_ONCE):
                cells = self._cells([f"{kind}:{group}" for group in groups[first : first + GROUPS_AT_ONCE]])
                parts = list(cells.bounded())
                for part, blobs in zip(parts, self._bulk.mgets(part.keys for part in parts), strict=True):
                    # A cell that a damaged file cut off in the middle of a record must not hide everybody else.
                    whole = [blob if blob and len(blob) % records.SIZE == 0 else None for blob in blobs]
                    held, counts = part.opened(self._seal, whole)
                    yield kind, np.repeat(part.members, counts), held

    def _in_thread(self, function: Callable[..., T], *args: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _outlined(self, wanted: MatchFilter) -> tuple[scan.Outline, list[_Job]]:
        """The area's outline, and what is to be read, the long jobs, those of the border, first."""
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
        """The z8 ancestors of tiles, and if asked for the numbers of regions, that somebody is or was in."""
        commands = [("GET", keys.TILE_GROUPS), ("SMEMBERS", keys.REGION_GROUPS)]
        used, *regions = self._bulk.many(commands if with_regions else commands[:1])
        return np.flatnonzero(np.unpackbits(np.frombuffer(used or b"", np.uint8))), {
            int(one) for some in regions for one in some
        }

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
        wanted = replace(sieve.wanted, area=copy_of(sieve.wanted.area))  # a geometry is prepared in place
        own, taken = replace(sieve, wanted=wanted), deque[tuple[int, _Job]]()
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
