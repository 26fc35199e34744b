"""What a person would call an area: whole regions where it covers them, parts of them elsewhere, grouped by what they
are part of.

Says what is to be named, not how: words and their order are a language's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely

from geofences.index import FILLED
from geofences.names import fold
from geofences.polygons import areas_km2
from geofences.regions import Kind, Library, Region

# A twentieth is acceptable: outlines are generalised, and drawn ones cut corners.
WHOLE = 0.95
# Less of a region is not worth a word, unless it is much of the area; and nothing is that is hardly any of it: outlines
# of neighbours overlap.
WORTH_OF_REGION, WORTH_OF_AREA, WORTH_NOTHING = 0.25, 0.05, 0.002
# Names in one breath; of more, the first two and how many others.
MOST_NAMED, FIRST_NAMED = 3, 2
# With more groups than these, wider regions are named instead.
MOST_GROUPS = 3
# Of the ground that a region has in the area: with more than this its parts lie over each other, as a quarter over its
# town.
OVERLAID = 1.05
LEVELS = (Kind.CITY, Kind.PROVINCE, Kind.COUNTRY)

Found = Sequence[tuple[Region, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A region by its name; `ambiguous` where a part of it is called the same."""

    region: Region
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Siblings: some by name, the others by their number. Of `WORLD` neither."""

    named: tuple[Named, ...]  # none where others of the same parent are named already
    others: int = 0
    kind: Kind  # of the others
    parent: Named | None  # that the others are part of; None for countries
    partly: bool  # parts of these regions; else the whole of each


#: An area that holds nearly all land of the earth, which has 149 million km2.
WORLD = Part(named=(), kind=Kind.COUNTRY, parent=None, partly=False)
WORLD_KM2 = 0.9 * 149e6


@dataclass(slots=True)
class _Group:
    whole: list[Region] = field(default_factory=list)
    partly: list[Region] = field(default_factory=list)
    km2: float = 0.0


def parts_of(library: Library, area: shapely.Geometry, km2: float, found: Found) -> tuple[Part, ...]:
    """Returns the parts of a name for an area of this many km2. Empty for the high sea.

    `found` is the result of `library.overlapping` for the area. Of a region with many parts, those with the region's
    name come first, then those nearest to the middle of the area.
    """
    if sum(share * region.km2 for region, share in found if region.kind is Kind.COUNTRY) >= WORLD_KM2:
        return (WORLD,)
    groups: dict[str | None, _Group] = {}
    for level in LEVELS:
        groups = _grouped(library, area, found, km2, level)
        if len(groups) <= MOST_GROUPS:
            break
    middle = shapely.centroid(area)
    ordered = sorted(groups.items(), key=lambda item: -item[1].km2)
    return tuple(part for parent, group in ordered for part in _phrases(library, parent, group, middle))


def _grouped(
    library: Library, area: shapely.Geometry, found: Found, km2: float, level: Kind
) -> dict[str | None, _Group]:
    """Returns the regions worth naming by parent, down to a level."""
    below = defaultdict(list)
    for region, share in found:
        below[region.parent].append((region, share))
    groups: dict[str | None, _Group] = defaultdict(_Group)
    siblings: list[tuple[str | None, Found]] = [(None, below[None])]
    for parent, parts in siblings:  # grows on the way
        for region, share in parts:
            shared, narrower = share * region.km2, below[region.code]
            if share < WHOLE and region.kind.depth < level.depth and _tell(library, area, region, narrower):
                siblings.append((region.code, _apart(library, narrower, shared, km2)))
                continue
            if shared < WORTH_NOTHING * km2 or (share < WORTH_OF_REGION and shared < WORTH_OF_AREA * km2):
                continue
            group = groups[parent]
            (group.whole if share >= WHOLE else group.partly).append(region)
            group.km2 += shared
    return dict(groups)


def _tell(library: Library, area: shapely.Geometry, region: Region, narrower: Found) -> bool:
    """Whether the parts of a region name the area in it well enough.

    Three imported towns do not name half a province.
    """
    if not narrower:
        return False
    if library.is_filled(region.code):
        return True
    inside = shapely.intersection(area, library.geometry(region.code))
    parts = shapely.union_all([library.geometry(part.code) for part, _ in narrower])
    told, whole = areas_km2(np.array([shapely.intersection(inside, parts), inside], dtype=object)).tolist()
    return bool(told >= FILLED * whole)


def _apart(library: Library, parts: Found, km2: float, of_area: float) -> Found:
    """A region's parts without those that lie in another of them: quarters of a town are named where they are all of
    the area, else the town is. `km2` is what the area has of the region, `of_area` all of it.
    """
    if sum(share * part.km2 for part, share in parts) <= OVERLAID * km2:
        return parts
    outlines = np.array([library.geometry(part.code) for part, _ in parts], dtype=object)
    inner, outer = shapely.STRtree(outlines).query(shapely.point_on_surface(outlines), predicate="within")
    sizes = [(part.km2, -i) for i, (part, _) in enumerate(parts)]
    nested = {i for i, o in zip(inner.tolist(), outer.tolist(), strict=True) if sizes[i] < sizes[o]}
    meant = [parts[i] for i in nested if parts[i][1] >= WHOLE and parts[i][0].km2 >= WHOLE * of_area]
    return meant[:1] or [one for i, one in enumerate(parts) if i not in nested]


def _phrases(library: Library, parent: str | None, group: _Group, middle: shapely.Point) -> Iterable[Part]:
    """Yields the regions covered whole, then those covered in part: first the parent's namesake, then the nearest to
    `middle`.
    """
    above = None if parent is None else _named(library, library.get(parent))
    like = "" if above is None else fold(above.region.name)
    for regions, partly in ((group.whole, False), (group.partly, True)):
        if not regions:
            continue
        outlines = np.array([library.geometry(region.code) for region in regions], dtype=object)
        away = shapely.distance(shapely.centroid(outlines), middle).tolist()
        order = sorted(range(len(regions)), key=lambda i: (fold(regions[i].name) != like, away[i]))
        ordered = [regions[i] for i in order]
        count = len(ordered)
        if count > MOST_NAMED:
            count = 0 if partly and group.whole else FIRST_NAMED
        named = tuple(_named(library, region) for region in ordered[:count])
        yield Part(named=named, others=len(ordered) - count, kind=ordered[0].kind, parent=above, partly=partly)


def _named(library: Library, region: Region) -> Named:
    like = fold(region.name)
    return Named(region=region, ambiguous=any(fold(child.name) == like for child in library.children(region.code)))
