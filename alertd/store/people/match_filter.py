"""Whom an alert is for, and which records may be theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import records

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

    def own(self) -> MatchFilter:
        """The same for one thread: a geometry is prepared in place."""
        return replace(self, area=cast("shapely.MultiPolygon", shapely.from_wkb(shapely.to_wkb(self.area))))


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
