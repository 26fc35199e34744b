"""The records of subscribers in cells (of tiles and regions): finds which records a change of a subscriber adds, marks as left, or gives
another region label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from alertd.model.subscriber import Place, Subscriber, place_flags, seen_s
from alertd.store.engine import keys
from alertd.store.engine.cell_seal import CellSeal
from alertd.store.engine.connection import Arg
from geofences import records


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one subscriber from the record that was read (None: new) to the wanted one (None: deleted)."""

    old: Subscriber | None
    new: Subscriber | None

    @property
    def number(self) -> int:
        """Returns the subscriber's number."""
        known = self.new or self.old
        assert known is not None
        return known.number


@dataclass(frozen=True, slots=True)
class Spot:
    """One record of a subscriber in a cell. `change`: index of the change that it belongs to, among those made together."""

    change: int
    places: tuple[int, ...]  # indices among the subscriber's places
    slot: int
    cell: keys.Cell
    record: bytes  # without the mark
    at_s: int  # when the subscriber was seen there (UNIX s), 0 for a place that is no sighting


@dataclass(frozen=True, slots=True)
class Swap:
    """A replacement of one record in a cell. It takes place only if the cell still has the `expected` record."""

    cell: keys.Cell
    slot: int  # a hint
    expected: bytes
    new: bytes


def cell_of(place: Place, number: int) -> keys.Cell:
    """Returns the cell that has the record of a place of the subscriber with this number."""
    if place.region is not None:
        return keys.region_cell(place.leaf, number)
    return keys.tile_cell(place.tile)


def record_of(subscriber: Subscriber, place: Place) -> bytes:
    """Returns the cell record (16 bytes, without the mark `moved`) of one place of a subscriber."""
    return records.pack_one(subscriber.number, place.x, place.y, place.leaf, place_flags(subscriber, place))


def marked(record: bytes) -> bytes:
    """Returns the record with its `moved` bit set."""
    flags = int.from_bytes(record[12:], "little") | records.MOVED
    return record[:12] + flags.to_bytes(4, "little")


def spots_of(subscriber: Subscriber, change: int = 0) -> list[Spot]:
    """Returns the cell records of a subscriber's places, each with its cell. Places of one kind at one point share one record, because the
    cell could not distinguish two.
    """
    alike: dict[tuple[keys.Cell, int, int, int], list[int]] = {}
    for i, place in enumerate(subscriber.places):
        alike.setdefault((cell_of(place, subscriber.number), place.kind, place.x, place.y), []).append(i)
    found = []
    for (cell, *_), places in alike.items():
        first = subscriber.places[places[0]]
        found.append(Spot(change, tuple(places), first.slot, cell, record_of(subscriber, first), seen_s(first) or 0))
    return found


def triples(swaps: Sequence[Swap], sealed: bytes) -> Iterator[Arg]:
    """Yields the arguments of `cells_replace.lua`: of each replacement its position in the cell, and the expected and the new record,
    sealed.
    """
    size = records.SIZE
    for i, swap in enumerate(swaps):
        first = 2 * size * i
        yield from (max(0, swap.slot), sealed[first : first + size], sealed[first + size : first + 2 * size])


def unmarked(cell: keys.Cell, seal: CellSeal, sealed: bytes, gone: set[bytes]) -> list[Swap]:
    """Returns for each record of a cell that has one of these identities and is not marked as left the swap that marks it. `sealed`: the
    cell's stored bytes.
    """
    plain = seal.open(cell, sealed)
    numbers = np.array([int.from_bytes(one[: records.NUMBER_BYTES], "little") for one in gone], np.uint64)
    slots = np.flatnonzero(np.isin(records.unpack(plain).numbers, numbers)).tolist()
    found = [(slot, plain[slot * records.SIZE : (slot + 1) * records.SIZE]) for slot in slots]
    swaps = [
        Swap(cell, slot, record, records.left(record)) for slot, record in found if records.identity(record) in gone
    ]
    return [swap for swap in swaps if swap.expected != swap.new]


def difference(changes: Sequence[Change]) -> tuple[list[Spot], list[Spot], list[Swap]]:
    """Compares the places before and after each change. Returns the records to append (places that are new), those to mark as left (places
    that are gone), and those to replace where they are (only the label differs).
    """
    arriving, leaving, relabelled = list[Spot](), list[Spot](), list[Swap]()
    for i, change in enumerate(changes):
        old, new = (
            # Compares the full hour: the hour in a record wraps after 170 days, and the sweeper removes places of that age.
            {
                (spot.cell, records.deciding(spot.record), spot.at_s // 3_600): spot
                for spot in (spots_of(side, i) if side else ())
            }
            for side in (change.old, change.new)
        )
        arriving += [spot for name, spot in new.items() if name not in old]
        leaving += [spot for name, spot in old.items() if name not in new]
        stayed = [(spot, new[name].record) for name, spot in old.items() if name in new]
        relabelled += [Swap(spot.cell, spot.slot, spot.record, new) for spot, new in stayed if spot.record != new]
    return arriving, leaving, relabelled


def with_slots(changes: Sequence[Change], arrived: Sequence[Spot]) -> list[Change]:
    """Returns the changes with the positions of their new records filled in. `arrived`: these records, appended."""
    slots: dict[int, dict[int, int]] = {}
    for spot in arrived:
        slots.setdefault(spot.change, {}).update(dict.fromkeys(spot.places, spot.slot))
    return [
        Change(change.old, replace(change.new, places=_slotted(change.new.places, slots[i])))
        if change.new and i in slots
        else change
        for i, change in enumerate(changes)
    ]


def _slotted(places: tuple[Place, ...], slots: dict[int, int]) -> tuple[Place, ...]:
    """Returns the places with their positions, given by index."""
    return tuple(replace(place, slot=slots.get(i, place.slot)) for i, place in enumerate(places))
