"""Builds the noisy map of people from the records of all places, and caches it in a sealed file.

Each subscriber counts once: at home, else at work, at school or at another place, else at the current position. Marked records are
left out: their subscribers are moving, and the next map counts them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertd.model.kinds import PlaceKind
from alertd.model.states import CHANNELS, KINDS, PLACE_KINDS
from alertd.store.engine.codec import Codec
from alertd.store.people.audience import Audience
from geofences import records
from geofences.people_map import REGION_ALONG, Leaves, Noise, RegionLeaves, squares_of, summed
from geofences.regions import Library

#: Columns of a row of counts: people, then addresses by channel.
COLUMNS = 1 + len(CHANNELS)
#: Place kinds in the order of preference for counting a subscriber.
_ORDER = (PlaceKind.HOME, PlaceKind.WORK, PlaceKind.SCHOOL, PlaceKind.OTHER, PlaceKind.NOW)
_RANK = np.full(8, len(_ORDER), np.uint8)
_RANK[[PLACE_KINDS.index(kind) for kind in _ORDER]] = np.arange(len(_ORDER))
#: Leaves (squares of the map) whose points are labelled with their region in one call.
LEAVES_AT_ONCE = 5_000
#: Format of the cache file. Files of another format are not read.
_FORMAT = 1
_SEALED_AS = "people-map"

Population = tuple[str, bool]  # a kind of alert, and whether only testers count
POPULATIONS: tuple[Population, ...] = tuple(product(KINDS, (False, True)))


@dataclass(frozen=True, kw_only=True)
class Part:
    """The noisy map of one population: the people who consent to a kind of alert, or the testers among them. It has squares for places
    with a point, and regions for places that name a region.
    """

    leaves: Leaves
    regions: RegionLeaves
    labels: NDArray[
        np.uint32
    ]  # shape (leaves, points): number of the region at each point of a leaf, 0 for none and for a point that is not its own


@dataclass(frozen=True, kw_only=True)
class PeopleMap:
    """The noisy counts of all populations, everywhere. Immutable: threads may share it."""

    parts: Mapping[Population, Part]
    records: int  # number of cell records that were read for the map


def build(audience: Audience, library: Library, codec: Codec, last: int) -> PeopleMap:
    """Builds and returns the map in the calling thread: about two seconds of CPU for a million subscribers. `last`: the highest subscriber
    number. Raises StoreUnavailableError.
    """
    tally = _Tally(last)
    for kind, members, held in audience.every_record():
        tally.add(kind == "g", members, held)
    tally.end()
    parents = library.parent_numbers()
    key = codec.derived(_SEALED_AS).first  # always the same noise: other noise over the same people would cancel out
    parts = {}
    for number, population in enumerate(POPULATIONS):
        noise = Noise(key, number)
        leaves = Leaves.build(*summed(*tally.at_squares[population].whole()), noise)
        regions = RegionLeaves.build(*summed(*tally.at_regions[population].whole()), parents, noise)
        parts[population] = Part(leaves=leaves, regions=regions, labels=_labels(leaves, library))
    return PeopleMap(parts=parts, records=tally.records)


def write(path: Path, people: PeopleMap, codec: Codec) -> None:
    """Writes the map to an encrypted file, for the next start of this process. Raises OSError."""
    out = io.BytesIO()
    arrays = {
        f"{number}.{name}": array
        for number, population in enumerate(POPULATIONS)
        for name, array in _arrays(people.parts[population]).items()
    }
    np.savez_compressed(out, allow_pickle=False, format=np.array(_FORMAT), records=np.array(people.records), **arrays)
    part = path.with_name(f"{path.name}.{os.getpid()}.new")  # several processes may write it at once
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(codec.master.seal(out.getvalue(), _SEALED_AS))
    part.rename(path)


def load(path: Path, codec: Codec) -> PeopleMap:
    """Reads the map from the file that `write` made. Raises OSError, SealError, KeyError or ValueError if there is no readable one."""
    with np.load(io.BytesIO(codec.master.open(path.read_bytes(), _SEALED_AS)), allow_pickle=False) as arrays:
        if int(arrays["format"]) != _FORMAT:
            raise ValueError("the map was written by another version")
        return PeopleMap(
            parts={one: _part({name: arrays[f"{i}.{name}"] for name in _NAMES}) for i, one in enumerate(POPULATIONS)},
            records=int(arrays["records"]),
        )


_NAMES = ("depths", "codes", "counts", "numbers", "region_counts", "is_whole", "labels")


def _arrays(part: Part) -> dict[str, NDArray[Any]]:
    """Returns the arrays of one population's map by their names in the file."""
    leaves, regions = part.leaves, part.regions
    of_leaves, of_regions = (
        (leaves.depths, leaves.codes, leaves.counts),
        (regions.numbers, regions.counts, regions.is_whole),
    )
    return dict(zip(_NAMES, (*of_leaves, *of_regions, part.labels), strict=True))


def _part(arrays: Mapping[str, NDArray[Any]]) -> Part:
    """Makes one population's map from its arrays in the file."""
    return Part(
        leaves=Leaves(depths=arrays["depths"], codes=arrays["codes"], counts=arrays["counts"]),
        regions=RegionLeaves(
            numbers=arrays["numbers"], counts=arrays["region_counts"], is_whole=arrays["is_whole"]
        ),
        labels=arrays["labels"],
    )  # fmt: skip


@dataclass
class _Counted:
    """The counts of one population: names (of finest squares, or region numbers), each with a row of counts. One name may occur several
    times.
    """

    names: list[NDArray[np.uint64]] = field(default_factory=list)
    counts: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, names: NDArray[np.uint64], flags: NDArray[np.uint32]) -> None:
        """Counts one person in each of the places `names`, with the addresses that the record's flags give."""
        rows = np.ones((len(names), COLUMNS), np.int32)
        rows[:, 1:] = records.channel_counts(flags)
        names, rows = summed(names, rows)
        self.names.append(names)
        self.counts.append(rows)

    def whole(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Returns all names, and their rows of counts, in the same order."""
        return (
            np.concatenate([np.empty(0, np.uint64), *self.names]),
            np.concatenate([np.empty((0, COLUMNS), np.int32), *self.counts]),
        )


class _Tally:
    """Counts the people of all populations, each once, from the records of their places. Call `add` for all records, then `end`."""

    def __init__(self, last: int) -> None:
        """`last` is the highest subscriber number: a record with a larger one is damaged."""
        self._last = np.uint64(last)
        self.at_squares: dict[Population, _Counted] = {one: _Counted() for one in POPULATIONS}
        self.at_regions: dict[Population, _Counted] = {one: _Counted() for one in POPULATIONS}
        self.records = 0
        self._is_home = np.zeros(last + 1, np.bool_)  # by number: the subscriber is counted at home
        self._others = list[tuple[NDArray[Any], ...]]()  # all places that are no homes

    def add(self, pointed: bool, members: NDArray[np.uint32], held: records.Records) -> None:
        """Counts records of home places immediately, and keeps the other places until all homes are known. Leaves out damaged records and
        those marked `moved`. `pointed`: the records are in tiles (else in regions). `members`: the tile of each record.
        """
        self.records += len(held)
        flags = held.flags
        sure = (held.numbers != 0) & (held.numbers <= self._last) & ~records.moved(flags)
        held, members, flags = held.where(sure), members[sure], flags[sure]
        names = squares_of(members, held.x, held.y) if pointed else held.regions.astype(np.uint64)
        ranks = _RANK[records.place_kind(flags)]
        home = ranks == 0
        self._is_home[held.numbers[home].astype(np.int64)] = True
        self._count(pointed, names[home], flags[home])
        away = ~home
        self._others.append((held.numbers[away], ranks[away], np.full(away.sum(), pointed), names[away], flags[away]))

    def end(self) -> None:
        """Counts the subscribers without a home place, each once, at the preferred one of their places."""
        if not self._others:
            return
        numbers, ranks, pointed, names, flags = (np.concatenate(parts) for parts in zip(*self._others, strict=True))
        self._others.clear()
        homeless = ~self._is_home[numbers.astype(np.int64)]
        numbers, ranks, pointed, names, flags = (
            one[homeless] for one in (numbers, ranks, pointed, names, flags)
        )  # fmt: skip
        order = np.lexsort((names, ranks, numbers))
        first = order[np.flatnonzero(np.r_[True, np.diff(numbers[order]) != 0][: len(order)])]
        for where in (True, False):
            chosen = first[pointed[first] == where]
            self._count(where, names[chosen], flags[chosen])

    def _count(self, pointed: bool, names: NDArray[np.uint64], flags: NDArray[np.uint32]) -> None:
        """Counts one person for each name and its flags, in every population that the person belongs to. `pointed`: the names are squares,
        else regions.
        """
        consents, tester = records.kinds(flags), records.tester(flags)
        for kind, testers in POPULATIONS:
            counts = (consents & (1 << KINDS.index(kind))) != 0
            if testers:
                counts &= tester
            (self.at_squares if pointed else self.at_regions)[kind, testers].add(names[counts], flags[counts])


def _labels(leaves: Leaves, library: Library) -> NDArray[np.uint32]:
    """Returns the number of the region at each point of each leaf (square of the map), 0 for none, shape (leaves, points)."""
    labels = [np.empty((0, REGION_ALONG**2), np.uint32)]
    for first in range(0, len(leaves), LEAVES_AT_ONCE):
        some = np.arange(first, min(first + LEAVES_AT_ONCE, len(leaves)))
        lon, lat, own = leaves.points(some, REGION_ALONG)
        labels.append(np.where(own, library.leaf_numbers(lon.ravel(), lat.ravel()).reshape(lon.shape), 0))
    return np.concatenate(labels)
