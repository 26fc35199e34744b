"""Describes an area by regions, as a person would name it: whole regions that it covers, and parts of others, grouped by parent.
Names a single region so that it differs from others of the same name.

Returns which regions to name. The words and their order depend on the language, and are added elsewhere.
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

# Share of a region that an area must cover to be named as the whole region. A twentieth may be missing, because outlines are generalised
# and drawn ones cut corners.
WHOLE = 0.95
# A region is named if the area covers WORTH_OF_REGION of it, or if it makes up WORTH_OF_AREA of the area. It is never named if it makes up
# less than WORTH_NOTHING of the area, because outlines of neighbours overlap.
WORTH_OF_REGION, WORTH_OF_AREA, WORTH_NOTHING = 0.25, 0.05, 0.002
# Maximum number of regions that are named in one group. If there are more, the first FIRST_NAMED are named and the others counted.
MOST_NAMED, FIRST_NAMED = 3, 2
# With more groups than these, wider regions are named instead.
MOST_GROUPS = 3
# What the area covers of a region's parts, added up, can be more than what it covers of the region. Above this
# multiple, the parts overlap each other, for instance a town and its quarters.
OVERLAID = 1.05
# Levels of detail. The first one that gives at most MOST_GROUPS groups is used.
LEVELS = (Kind.CITY, Kind.PROVINCE, Kind.COUNTRY)

Found = Sequence[tuple[Region, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A region to be named. `ambiguous`: a region directly inside it has the same name."""

    region: Region
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of an area's description: regions with the same parent, some of them named, the others counted. `WORLD` has neither."""

    named: tuple[Named, ...]  # empty if other regions of the same parent are named already
    others: int = 0
    kind: Kind  # kind of the regions in `others`
    parent: Named | None  # the parent of these regions; None for countries
    partly: bool  # the area covers only parts of these regions; else each whole


#: The description of an area that contains nearly all land of the earth (WORLD_KM2 of its 149 million km2).
WORLD = Part(named=(), kind=Kind.COUNTRY, parent=None, partly=False)
WORLD_KM2 = 0.9 * 149e6


@dataclass(slots=True)
class _Group:
    whole: list[Region] = field(default_factory=list)
    partly: list[Region] = field(default_factory=list)
    km2: float = 0.0


def parts_of(library: Library, area: shapely.Geometry, km2: float, found: Found) -> tuple[Part, ...]:
    """Returns the description of an area of `km2` square kilometres. Returns () if no region is worth naming (the high
    sea).

    `found` is the result of `library.overlapping` for the area. In a part, the region with the parent's name comes
    first, then those nearest to the middle of the area.
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
    """Returns the regions worth naming (see WORTH_OF_REGION), by parent. Instead of a region that the area covers only
    partly, names its parts if they describe enough of it, down to `level`. `km2` is the size of the area.
    """
    below = defaultdict(list)
    for region, share in found:
        below[region.parent].append((region, share))
    groups: dict[str | None, _Group] = defaultdict(_Group)
    siblings: list[tuple[str | None, Found]] = [(None, below[None])]
    for parent, parts in siblings:  # the list grows during the loop
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
    """Returns whether the parts of a region (`narrower`) describe well enough what the area has of the region. Three imported towns do not
    describe half a province.
    """
    if not narrower:
        return False
    if library.is_filled(region.code):
        return True
    inside = shapely.intersection(area, library.geometry(region.code))
    parts = shapely.union_all([library.geometry(part.code) for part, _ in narrower])
    inside_km2, whole = areas_km2(np.array([shapely.intersection(inside, parts), inside], dtype=object)).tolist()
    return bool(inside_km2 >= FILLED * whole)


def _apart(library: Library, parts: Found, km2: float, of_area: float) -> Found:
    """Returns a region's parts without those that lie in another part, for instance a town without its quarters.
    Returns a quarter alone if it makes up nearly all of the area. `km2`: what the area has of the region; `of_area`:
    the whole area, in km2.
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
    """Yields a part for the regions that the area covers whole, then one for those that it covers partly. Regions with the parent's name
    come first, then those nearest to `middle`.
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


def full_name(library: Library, code: str, language: str) -> tuple[str, ...]:
    """Returns the name of a region in a language, then the names of the regions that it is part of, the country last. A name
    includes the code if another part of the same region, or another country, has that name. Raises UnknownRegion.
    """
    return tuple(_own_name(library, region, language) for region in (library.get(code), *library.ancestors(code)))


def _own_name(library: Library, region: Region, language: str) -> str:
    """Returns a region's name, with its code if a region beside it has the same name."""
    name = region.name_in(language)
    beside = library.children(region.parent) if region.parent else library.find(kind=region.kind)
    is_shared = any(one.name_in(language) == name and one.code != region.code for one in beside)
    return f"{name} ({region.code})" if is_shared else name
