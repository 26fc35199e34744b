"""Checks that new regions lie where their codes and parents say, and that regions of the same kind and parent do not
overlap.

An alert could otherwise notify the people of another place, because an import named a wrong column or the file has a
wrong row.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geofences import files
from geofences.index import SHORE_DEGREES
from geofences.polygons import areas_km2, copy_of
from geofences.regions import Library

Geometries = NDArray[np.object_]

#: Two outlines show the same place, in different editions or sources, if they share at least this part of the larger one. Madrid's postal
#: code 28001 shares nothing with the municipality 28001.
SAME_PLACE = 0.5
#: A region must have at least this part of its area inside its parent or off the parent's shore.
MOSTLY = 0.5
#: Limits for a region that is larger than its parent: LARGER times the parent plus LARGER_KM2. Outlines of two sources differ. Of 18,000
#: shipped regions all but one have at most 1.01 of their parent; that one is a rock of 0.7 km2, hence the second limit.
LARGER, LARGER_KM2 = 1.25, 1.0
#: Outlines that were simplified separately overlap along their borders. Among 43,000 communes of France and Italy a
#: pair overlaps by at most 0.6 km2. It overlaps by more than a tenth of the smaller commune only if that is below 0.2
#: km2.
SLIVER_KM2, SLIVER_SHARE = 0.5, 0.1
#: Two outlines that share this part of the smaller one are the same outline given twice, however small it is.
SAME_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A region of the library, and the new region that replaces it under the same code and number."""

    row: int  # of the new one, counted from 1
    code: str
    was: str  # its name
    now: str
    shared: float  # the area that both have, as a share of the larger one (0 to 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """A region of the library that stays, although a new region covers its middle."""

    code: str
    name: str
    by: str  # the code of the new one


def replaced(rows: Sequence[files.Row], geometries: Geometries, library: Library) -> tuple[Replaced, ...]:
    """Returns the rows with a code that the library has under another name or with another outline."""
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


def covered(
    rows: Sequence[files.Row], geometries: Geometries, library: Library, going: Container[str]
) -> tuple[Covered, ...]:
    """Returns the regions of the library whose middle lies in a new row of the same kind with another code: their area would belong to two
    regions.

    Leaves out regions that a row replaces, and those in `going`, which the import removes.
    """
    own, kinds = {row.code for row in rows}, {row.kind for row in rows}
    tree, box = shapely.STRtree(geometries), shapely.box(*shapely.total_bounds(geometries))
    there = [one for one in library.regions if str(one.kind) in kinds and one.code not in own and one.code not in going]
    outlines = np.array([library.geometry(one.code) for one in there], dtype=object)
    near = np.flatnonzero(shapely.intersects(outlines, box)) if there else np.empty(0, dtype=np.int64)
    middle, by = tree.query(shapely.point_on_surface(outlines[near]), predicate="within")
    pairs = ((there[near[i]], rows[row]) for i, row in zip(middle.tolist(), by.tolist(), strict=True))
    return tuple(Covered(code=one.code, name=one.name, by=row.code) for one, row in pairs if row.kind == str(one.kind))


def elsewhere(rows: Sequence[files.Row], geometries: Geometries, library: Library) -> Iterator[tuple[int, str]]:
    """Yields the index and the fault of each row that has the code of a library region which lies elsewhere."""
    for one in replaced(rows, geometries, library):
        if one.shared < SAME_PLACE:
            what = f"has the code of {one.was}, but {one.shared:.0%} of its ground; give it its own, or take --replace"
            yield one.row - 1, what


def astray(rows: Sequence[files.Row], geometries: Geometries, library: Library) -> Iterator[tuple[int, str]]:
    """Yields the index and the fault of each row that is larger than its parent or lies outside of it.

    Otherwise an alert for the parent would also notify the people of another place. Skips unknown parents. Accepts an island outside all
    outlines of the library, because it takes no area from another region.
    """
    own = {row.code: i for i, row in enumerate(rows)}
    families: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.parent is not None and (row.parent in own or row.parent in library):
            families.setdefault(row.parent, []).append(i)
    for code, children in families.items():
        parent = rows[own[code]] if code in own else library.get(code)
        outline = geometries[own[code]] if code in own else library.geometry(code)
        for i, share in zip(children, _shares_within(geometries[children], outline), strict=True):
            if rows[i].km2 > LARGER * parent.km2 + LARGER_KM2:
                sizes = f"{rows[i].km2:,.1f} km2 is larger than that one's {parent.km2:,.1f}"
                yield i, f"cannot be part of {code} ({parent.name}): its {sizes}"
            elif share < MOSTLY and any(r.code not in own for r, _ in library.overlapping(copy_of(geometries[i]))):
                what = f"cannot be part of {code} ({parent.name}): {share:.0%} of its ground lies there"
                yield i, f"{what}; of an exclave say --exclave {rows[i].code}"


def _shares_within(children: Geometries, outline: BaseGeometry) -> NDArray[np.float64]:
    """Returns the share of each region that lies in an outline (0 to 1). If that is below `MOSTLY`, counts the outline's shore as part of
    the outline.
    """
    whole = copy_of(outline)
    shapely.prepare(whole)
    shares = shapely.covers(whole, children).astype(np.float64)
    for with_shore in (False, True):
        low = np.flatnonzero(shares < MOSTLY)
        ground: BaseGeometry | Geometries = outline
        if with_shore:  # widens only the outline near the regions, which is faster
            around = shapely.buffer(shapely.envelope(children[low]), SHORE_DEGREES)
            ground = shapely.buffer(shapely.intersection(outline, around), SHORE_DEGREES)
        shares[low] = areas_km2(shapely.intersection(children[low], ground)) / areas_km2(children[low])
    return shares


def doubly_covered(rows: Sequence[files.Row], geometries: NDArray[np.object_]) -> Iterator[tuple[int, str]]:
    """Yields the index and the fault of the second of each two rows of the same kind and parent that overlap by more than a sliver."""
    one, other = shapely.STRtree(geometries).query(geometries, predicate="intersects")
    families = np.unique([f"{row.kind} {row.parent}" for row in rows], return_inverse=True)[1]
    pairs = (one < other) & (families[one] == families[other])
    one, other = one[pairs], other[pairs]
    touching = shapely.touches(geometries[one], geometries[other])
    one, other = one[~touching], other[~touching]
    shared = areas_km2(shapely.intersection(geometries[one], geometries[other]))
    km2 = np.array([row.km2 for row in rows])
    shares = shared / np.minimum(km2[one], km2[other])
    for i in np.flatnonzero((shares >= SAME_SHARE) | ((shares >= SLIVER_SHARE) & (shared >= SLIVER_KM2))).tolist():
        first = rows[one[i]]
        yield (
            int(other[i]),
            f"overlaps {first.code} ({first.name}) by {shared[i]:.3g} km2, {shares[i]:.0%} of the smaller",
        )
