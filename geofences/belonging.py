"""Whether a region that is to be added lies where its code and its parent say. A wrong column, or one wrong row, would tell the people
of another place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import files
from geofences.geodesy import areas_km2
from geofences.regions import Library

Geometries = NDArray[np.object_]

#: Of the larger of two outlines: what a place has in common with itself in another edition or by another source, at least. Madrid's
#: postal code 28001 has nothing in common with the municipality 28001.
SAME_PLACE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A region of the library, and what takes its place under its code and its number."""

    row: int  # of the new one, counted from 1
    code: str
    was: str  # its name
    now: str
    shared: float  # ground in common, of the larger of the two


def replaced(rows: Sequence[files.Row], geometries: Geometries, library: Library) -> tuple[Replaced, ...]:
    """The rows whose codes the library has under another name or with another outline."""
    at = [i for i, row in enumerate(rows) if row.code in library]
    before, after = np.array([library.geometry(rows[i].code) for i in at], dtype=object), geometries[at]
    changed = ~shapely.equals_exact(before, after)
    larger = np.array([max(library.get(rows[i].code).km2, rows[i].km2) for i in at])
    shared = np.ones(len(at))
    shared[changed] = areas_km2(shapely.intersection(before[changed], after[changed])) / larger[changed]
    return tuple(
        Replaced(row=i + 1, code=rows[i].code, was=was, now=rows[i].name, shared=float(share))
        for i, share, is_changed in zip(at, shared, changed, strict=True)
        if (was := library.get(rows[i].code).name) != rows[i].name or is_changed
    )


def elsewhere(rows: Sequence[files.Row], geometries: Geometries, library: Library) -> Iterator[tuple[int, str]]:
    """Rows that have the code of a region of another place, by their position, and what is wrong with them."""
    for one in replaced(rows, geometries, library):
        if one.shared < SAME_PLACE:
            what = f"has the code of {one.was}, but {one.shared:.0%} of its ground; give it its own, or take --replace"
            yield one.row - 1, what
