"""Subscribers and where they are found: the record is the authority, the cells are its index.

A move, for one subscriber or for thousands, is four steps in this order:

1. append the new records, marked `moved`;
2. mark the old ones `moved`;
3. write the subscriber's record, if it is still the version that was read;
4. clear the mark of the new ones.

A query trusts unmarked records and checks marked ones against the subscriber's record, so it is right between any two steps. A crash
leaves only marks. A sweeper deletes marked records that the subscriber's record does not confirm, after a grace period longer than any
query. Step 3 is refused if it comes later than the grace period allows.

A place seen longer ago than any alert may ask for is not written, because the hour in its record would wrap and look new.

A new leaf region or accuracy alone is no move: neither decides which queries find the subscriber. The record is replaced in place,
before step 3 and without a mark. A crash after that leaves a label that the subscriber's record does not have yet.

Records are encrypted in the store (`cell_seal.py`) and plain here. The scripts cannot open a record: they compare and write sealed bytes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from alertd.common.clock import HOUR_MS, Clock
from alertd.config.sections import LONGEST_QUERY_S
from alertd.model.alert import MAX_AGE_H
from alertd.model.subscriber import Subscriber, decode, encode, without_past
from alertd.store.engine import keys
from alertd.store.engine.codec import SealError
from alertd.store.engine.connection import WAITAOF_MS, Arg, Connection
from alertd.store.engine.nodes import grouped
from alertd.store.people.audience import MatchFilter, eligible
from alertd.store.people.name_index import NameIndex
from alertd.store.people.spots import (
    Change,
    Spot,
    Swap,
    difference,
    marked,
    record_of,
    triples,
    unmarked,
    with_slots,
)
from alertd.store.people.suppressions import HardBounces, Suppressions
from geofences import records
from geofences.polygons import copy_of
from geofences.scan import inside
from geofences.tiles import position

MOVE_MS = 5_000 + WAITAOF_MS  # maximum from step 1, which may wait for the disk, to step 3, on the server's clock
#: A marked record stays at least this long: more than a query and a move, with a margin for clocks.
GRACE_MS = int(LONGEST_QUERY_S * 1000) + MOVE_MS + 2_000
#: A subscriber number that was given up stays blocked this long (ms): longer than a process that read it before may take to write.
GIVEN_UP_MS = 600_000
#: A sighting older than this is not stored. The maximum age that an alert may ask for, and a day more, because clocks may be wrong.
TOO_OLD_H = MAX_AGE_H + 24
_VERSION_BYTES = 4
#: Marked subscribers that `authority` reads and checks in one step: the size of one reply, and the longest step that a deadline must wait
#: for.
IN_DOUBT_AT_ONCE = 500


class Absence(enum.Enum):
    """Reason why a number has no subscriber."""

    NEVER = enum.auto()  # never written, or its subscriber was deleted
    GIVEN_UP = enum.auto()  # given up at most GIVEN_UP_MS ago: never written again
    UNREADABLE = enum.auto()  # damaged, or written by another version of alertd


class People:
    """The repository of subscribers.

    `names` finds subscribers by id or address. `suppressions` is the suppression list. `called_dead` holds the time of each mailbox's first
    hard bounce.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._db = connection
        self._clock = clock
        self._told = set[str]()  # store keys of unreadable records that this process has logged
        self.changes = (
            0  # grows with each write of this process, so that a cache can notice that the audience may differ
        )
        self.names = NameIndex(connection)
        self.suppressions = Suppressions(connection)
        self.called_dead = HardBounces(connection)

    async def numbers(self, count: int) -> range:
        """Reserves `count` new subscriber numbers, and returns them."""
        last: int = await self._db.execute("HINCRBY", keys.COUNTERS, "subscribers", count)
        return range(last - count + 1, last + 1)

    async def last(self) -> int:
        """Returns the highest subscriber number that was ever reserved."""
        return int(await self._db.execute("HGET", keys.COUNTERS, "subscribers") or 0)

    async def get(self, number: int) -> Subscriber | None:
        """Returns the subscriber with this number, None if it does not exist or cannot be read."""
        return (await self.get_many([number]))[0]

    async def get_many(self, numbers: Sequence[int] | NDArray[np.uint64]) -> list[Subscriber | None]:
        """Returns the subscribers with these numbers, None for each that does not exist or cannot be read."""
        return [found if isinstance(found, Subscriber) else None for found in await self.read_many(numbers)]

    async def read_many(self, numbers: Sequence[int] | NDArray[np.uint64]) -> list[Subscriber | Absence]:
        """Returns the subscriber or the reason of absence for each number. One damaged record cannot hide the others."""
        names = [keys.subscriber(int(number)) for number in numbers]
        return [self._opened(blob, name) for blob, name in zip(await self._db.mget(names), names, strict=True)]

    def _opened(self, blob: bytes | None, name: str) -> Subscriber | Absence:
        """Decrypts a subscriber's stored record, or returns why there is none. Logs an unreadable record once in this process."""
        if not blob:
            return Absence.NEVER
        if len(blob) == _VERSION_BYTES:
            return Absence.GIVEN_UP
        try:
            return decode(self._db.codec.master.open(blob[_VERSION_BYTES:], name))
        except (SealError, msgspec.DecodeError):
            if name not in self._told:
                self._told.add(name)
                number = int(name.rpartition(":")[2])
                structlog.get_logger().error("subscriber.read_failed", subscriber=number)
            return Absence.UNREADABLE

    async def give_up(self, number: int, *, unreadable: bool = False) -> bool:
        """Blocks a subscriber number for GIVEN_UP_MS, durably, so that no process that read it before can write it. Returns False if a
        subscriber has it. `unreadable`: gives the number up although it has a record, because the record cannot be read.
        """
        version = 0
        if unreadable:
            head = await self._db.execute("GETRANGE", keys.subscriber(number), 0, _VERSION_BYTES - 1)
            version = int.from_bytes(head, "little")
        return (await self._give_up([number], version))[0]

    async def give_up_many(self, numbers: Sequence[int]) -> list[bool]:
        """Gives up many numbers in one round trip, like `give_up`. Returns for each whether it succeeded."""
        return await self._give_up(numbers, 0)

    async def _give_up(self, numbers: Sequence[int], version: int) -> list[bool]:
        """Blocks each of the numbers, as `give_up` does, if its record still has this `version` (0: no record). Returns for each whether it
        did.
        """
        answers = await self._db.run_many(
            [
                ("subscribers_put", [keys.subscriber(number)], [0, self._db.skew_ms, GIVEN_UP_MS, version, b""])
                for number in numbers
            ],
            durable=True,
        )
        self.changes += 1
        return [bool(answer == b"1") for answer in answers]

    async def put(self, changes: Sequence[Change]) -> list[bool]:
        """Creates, replaces or deletes subscribers with their cell records, each whole or not at all. Returns for each whether it was done:
        False if the subscriber changed since it was read, or the write took too long.
        """
        changes = [Change(change.old, self.lasting(change.new)) for change in changes]
        arriving, leaving, relabelled = difference(changes)
        await self._mark_groups(arriving)
        arrived, deadline = await self._append(arriving)
        await self._leave(leaving)
        if relabelled:
            await self._replace("label", relabelled)
        done = await self._write(with_slots(changes, arrived), deadline)
        came = [spot for spot in arrived if done[spot.change]]
        await self._replace("cleared", [Swap(spot.cell, spot.slot, marked(spot.record), spot.record) for spot in came])
        self.changes += 1  # at the end, because the map of people does not count records that are still marked
        return done

    def lasting(self, person: Subscriber | None) -> Subscriber | None:
        """Returns the subscriber as it will be written: without places that were seen longer ago than TOO_OLD_H."""
        return person and without_past(person, (self._clock.now_ms() // HOUR_MS - TOO_OLD_H) * 3_600)

    async def _append(self, arriving: Sequence[Spot]) -> tuple[list[Spot], int]:
        """Step 1 of a move: appends the records of these places to their cells, marked `moved`. Returns the spots with their positions in
        the cells, and the time (ms, server clock) after which step 3 is refused.
        """
        by_cell = grouped((spot.cell, spot) for spot in arriving)
        plain = [b"".join(marked(spot.record) for spot in spots) for spots in by_cell.values()]
        sealed = self._db.codec.cells.seal_each(list(by_cell), plain)
        answers = await self._db.run_many_ahead(
            [
                (
                    "cells_append",
                    [cell.key, cell.cells, cell.dirty, cell.gens],
                    [cell.member, blob, self._db.skew_ms, cell.count_at],
                )
                for cell, blob in zip(by_cell, sealed, strict=True)
            ]
        )
        arrived: list[Spot] = []
        for spots, (first, _) in zip(by_cell.values(), answers, strict=True):
            arrived += [dataclasses.replace(spot, slot=first + offset) for offset, spot in enumerate(spots)]
        return arrived, min((now for _, now in answers), default=-MOVE_MS) + MOVE_MS

    async def _write(self, changes: Sequence[Change], deadline: int) -> list[bool]:
        """Step 3 of a move: writes the subscribers' records. Returns for each whether it was written. Durable, so that an opt-out or a
        deletion survives the failure of any server.
        """
        by_slot = grouped((change.number // keys.SUBSCRIBERS_PER_TAG, i) for i, change in enumerate(changes))
        answers = await self._db.run_many(
            [
                ("subscribers_put", *self._put_arguments([changes[i] for i in members], deadline))
                for members in by_slot.values()
            ],
            durable=True,
        )
        done = [False] * len(changes)
        for members, answer in zip(by_slot.values(), answers, strict=True):
            for i, byte in zip(members, answer, strict=True):
                done[i] = byte == ord("1")
        return done

    def _put_arguments(self, changes: Sequence[Change], deadline: int) -> tuple[list[str], list[Arg]]:
        """Returns the keys and arguments of `subscribers_put.lua` for these changes. `deadline`: when it refuses (ms, server clock)."""
        names = [keys.subscriber(change.number) for change in changes]
        args: list[Arg] = [deadline, self._db.skew_ms, GIVEN_UP_MS]
        for name, change in zip(names, changes, strict=True):
            args.append(change.old.version if change.old else 0)
            args.append(self._sealed(change.new, name) if change.new else b"")
        return names, args

    def _sealed(self, subscriber: Subscriber, name: str) -> bytes:
        """Returns a subscriber's record as stored: the version in clear, then the rest encrypted."""
        head = subscriber.version.to_bytes(_VERSION_BYTES, "little")
        return head + self._db.codec.master.seal(encode(subscriber), name)

    async def _leave(self, leaving: Sequence[Spot]) -> None:
        """Step 2 of a move: marks the records of these spots as left, because the subscriber is no longer there.

        The store finds a record by its sealed bytes. They differ from the expected ones if a crash left another label in the record, or if
        the process that wrote it has not removed its mark yet. In that case this method reads the cell and marks every record of the spot,
        since that process may be about to unmark any of them.
        """
        swaps = [Swap(spot.cell, spot.slot, spot.record, records.left(spot.record)) for spot in leaving]
        for cell in await self._replace("left", swaps):
            gone = {records.identity(swap.expected) for swap in swaps if swap.cell == cell}
            while found := await self._not_left(cell, gone):
                await self._replace("left", found)

    async def _not_left(self, cell: keys.Cell, gone: set[bytes]) -> list[Swap]:
        """Returns the replacements that mark the records of these identities in the cell as left. Returns [] if all are marked."""
        sealed = await self._db.execute("GET", cell.key) or b""
        return await asyncio.to_thread(unmarked, cell, self._db.codec.cells, sealed, gone)

    async def _replace(self, how: str, swaps: Sequence[Swap]) -> list[keys.Cell]:
        """Replaces cell records that are still as expected (steps 2 and 4 of a move, and labels). `how`: "left" (the sweeper must settle
        the cell), "cleared" (the mark is removed) or "label", see `cells_replace.lua`. Returns the cells in which an expected record was
        missing.
        """
        by_cell = grouped((swap.cell, swap) for swap in swaps)
        plain = [b"".join(swap.expected + swap.new for swap in of_cell) for of_cell in by_cell.values()]
        sealed = self._db.codec.cells.seal_each(list(by_cell), plain)
        # A crash may bring a cleared mark `moved` back, which is safe: a query looks up marked subscribers.
        run = self._db.run_many if how == "cleared" else self._db.run_many_ahead
        answers = await run(
            [
                (
                    "cells_replace",
                    [cell.key, cell.dirty, cell.gens],
                    [cell.member, self._db.skew_ms, how, *triples(of_cell, blob)],
                )
                for (cell, of_cell), blob in zip(by_cell.items(), sealed, strict=True)
            ]
        )
        return [
            cell for (cell, of_cell), done in zip(by_cell.items(), answers, strict=True) if int(done) < len(of_cell)
        ]

    async def _mark_groups(self, arriving: Sequence[Spot]) -> None:
        """Marks the groups of these spots' cells (tiles of zoom 8, or regions) as used, before their first record is written, so that no
        query skips one.
        """
        groups = {spot.cell.group for spot in arriving}
        commands: list[Sequence[Arg]] = []
        for group in groups:
            kind, _, number = group.partition(":")
            if kind == "g":
                commands.append(("SETBIT", keys.TILE_GROUPS, number, 1))
            else:
                commands.append(("SADD", keys.REGION_GROUPS, number))
        if commands:
            await self._db.execute_ahead(commands)

    async def authority(self, numbers: NDArray[np.uint64], wanted: MatchFilter) -> records.Records:
        """Returns the cell records, made from the subscribers' own records, of those numbers that match the filter. `Audience.find` asks
        for the subscribers that have cell records marked `moved`.

        They may be many, so they are read in portions and checked in a thread. The loop stays free, and a deadline can interrupt.
        """
        own, found = replace(wanted, area=copy_of(wanted.area)), list[records.Records]()
        for first in range(0, len(numbers), IN_DOUBT_AT_ONCE):
            names = [keys.subscriber(int(number)) for number in numbers[first : first + IN_DOUBT_AT_ONCE]]
            found.append(await asyncio.to_thread(self._belonging, await self._db.mget(names), names, own))
        return records.together(found)

    def _belonging(self, blobs: Sequence[bytes | None], names: Sequence[str], wanted: MatchFilter) -> records.Records:
        """Opens the subscribers' records and returns the cell records of those places that match the filter and lie in its area or regions."""
        opened = map(self._opened, blobs, names)
        since_s = (wanted.now_h - TOO_OLD_H) * 3_600  # older places in a record that was not written since do not count
        people = [without_past(person, since_s) for person in opened if isinstance(person, Subscriber)]
        parts = [(person, place, record_of(person, place)) for person in people for place in person.places]
        found = records.unpack(b"".join(record for _, _, record in parts))
        regions = set(wanted.regions)
        within = np.array([place.leaf in regions if place.region is not None else False for _, place, _ in parts], bool)
        tiles = np.array([place.tile for _, place, _ in parts], np.uint32)
        pointed = np.array([place.region is None for _, place, _ in parts], bool)
        lon, lat = position(tiles, found.x, found.y)
        within |= pointed & inside(wanted.area, lon, lat)
        return found.where(within & eligible(found.flags, wanted))

    async def naming(self, is_known: Callable[[int], bool]) -> dict[str, set[int]]:
        """Returns the subscribers (numbers) who named a region that the library no longer knows by its number, by the region's code.
        `is_known`: whether the library knows a region number.
        """
        used = [int(member) for member in await self._db.execute("SMEMBERS", keys.REGION_GROUPS)]
        found: dict[str, set[int]] = {}
        for number in (one for one in used if not is_known(one)):
            async for person in self._in_group(f"r:{number}"):
                for place in person.places:
                    if place.region is not None and place.leaf == number:
                        found.setdefault(place.region, set()).add(person.number)
        return found

    async def _in_group(self, group: str) -> AsyncIterator[Subscriber]:
        """Yields each subscriber with a record in a cell of the group (a z8 tile or a region), marked or not."""
        counts = np.frombuffer(await self._db.execute("GET", keys.cells(group)) or b"", "<u4")
        for place in np.flatnonzero(counts).tolist():
            cell = keys.Cell(group, keys.first_member(group) + place)
            blob = await self._db.execute("GET", cell.key)
            numbers = np.unique(records.unpack(self._db.codec.cells.open(cell, blob or b"")).numbers)
            for first in range(0, len(numbers), IN_DOUBT_AT_ONCE):
                for person in await self.get_many(numbers[first : first + IN_DOUBT_AT_ONCE]):
                    if person:
                        yield person

    async def count(self) -> int:
        """Returns the number of subscribers."""
        return int(await self._db.execute("HGET", keys.COUNTERS, "living") or 0)

    async def counted(self, change: int) -> None:
        """Adds `change`, which may be negative, to the stored number of subscribers."""
        await self._db.execute("HINCRBY", keys.COUNTERS, "living", change)


class LabelMark:
    """Stores which region library all subscribers' places were last labelled with (their leaf regions computed), by its fingerprint."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def get(self) -> str:
        """Returns the fingerprint, empty if places were never labelled."""
        return (await self._db.execute("GET", keys.LABELS) or b"").decode()

    async def set(self, fingerprint: str) -> None:
        """Stores the fingerprint of the library with which all places are labelled now."""
        await self._db.execute("SET", keys.LABELS, fingerprint)
