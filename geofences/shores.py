"""The water off a coast, and gaps between regions: whose a place there is.

Coasts and lake shores are generalised, so a place just off a region counts as that of the nearest one (`RegionIndex.leaves`).
Whoever names regions means those people too: here the regions' ground is grown by what is nearest to them, and by no ground of
another region.
"""

from __future__ import annotations

from math import cos, pi
from typing import cast

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Geometries = NDArray[np.object_]
Floats = NDArray[np.float64]

#: Natural Earth's coast leaves 1.7 % of the world's places at sea; within a tenth of a degree 97 % of those find their region.
SHORE_DEGREES = 0.1
#: Outlines are thinned by this before they are grown, and grown by as much more: Canada then takes a third of the time.
THIN = 0.01
#: A quarter of a circle has so many edges; what they cut off is made up for.
QUARTER = 4
#: About 100 m: who is nearer to another region by less than this counts as in both, as on a border on land.
SLACK = 0.001
#: Degrees: places are told apart to a tenth of a metre, and moved by half a metre at most where they lie too regularly.
DECIMALS, GRAIN, TRIES = 6, 4e-6, 4
#: Square degrees, some ten square metres.
NOTHING = 1e-9
_EARTH = shapely.box(-180, -90, 180, 90)


def reach(outline: BaseGeometry, *, inwards: bool = False) -> BaseGeometry:
    """What lies within `SHORE_DEGREES` of an outline, and twice `THIN` more at most; if it goes `inwards`, `SLACK` less at most."""
    if inwards:
        wide = shapely.buffer(outline, SHORE_DEGREES, quad_segs=2 * QUARTER)
    else:
        distance = (SHORE_DEGREES + THIN) / cos(pi / (4 * QUARTER))
        wide = shapely.buffer(shapely.simplify(outline, THIN), distance, quad_segs=QUARTER)
    return shapely.intersection(wide, _EARTH)


def shore(
    outline: BaseGeometry, within: BaseGeometry, others: Geometries, leaves: Geometries, *, inwards: bool = False
) -> BaseGeometry:
    """The ground nearest to what has this outline, `within` its reach, on which no other region lies; empty if all of it is in
    the outline already.

    `others` are the outlines of the regions that it meets, `leaves` those to one of which a place in it could be nearer. In
    doubt the shore is a little wider, or if it goes `inwards`, for excluding, a little narrower.
    """
    box = shapely.envelope(within)  # sooner cut by than what is in it
    open_ = shapely.difference(within, shapely.union_all(shapely.intersection(others, box)))
    free = _polygons(shapely.difference(open_, outline))
    wide = _wide(free)
    if inwards:
        open_ = free = wide
    if free.is_empty:
        return free
    shapely.prepare(wide)
    leaves = leaves[shapely.dwithin(wide, leaves, SHORE_DEGREES)]
    nearby = shapely.union_all(shapely.buffer(_thin(leaves, within), SHORE_DEGREES + THIN, quad_segs=QUARTER))
    contested = _wide(_polygons(shapely.intersection(wide, nearby)))
    if contested.is_empty:
        return open_
    nearer = shapely.simplify(
        _nearer(outline, leaves, contested, inwards=inwards), SLACK / 4
    )  # its border is all steps
    nearer = shapely.buffer(nearer, -SLACK if inwards else SLACK, quad_segs=2)
    return shapely.difference(open_, shapely.difference(contested, nearer))


def _thin(leaves: Geometries, within: BaseGeometry) -> Geometries:
    box = shapely.buffer(shapely.envelope(within), SHORE_DEGREES)
    return shapely.simplify(shapely.intersection(leaves, box), THIN)


def _polygons(geometry: BaseGeometry) -> shapely.MultiPolygon:
    """The polygons of a geometry, without what rounding left along a border."""
    parts = shapely.get_parts(geometry)
    is_ground = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > NOTHING)
    return shapely.MultiPolygon(list(parts[is_ground]))


def _wide(polygons: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """Those that are wider than `SLACK` somewhere; narrower gaps are everybody's who borders on them."""
    parts = shapely.get_parts(polygons)
    is_wide = 2 * shapely.area(parts) > SLACK * shapely.length(parts)  # on average, so somewhere
    is_wide[~is_wide] = ~shapely.is_empty(shapely.buffer(parts[~is_wide], -SLACK / 2))
    return shapely.MultiPolygon(list(parts[is_wide]))


def _nearer(
    outline: BaseGeometry, leaves: Geometries, contested: shapely.MultiPolygon, *, inwards: bool
) -> BaseGeometry:
    """The part of the contested ground, and more around it, that is nearer to the outline than to the leaves.

    Worked out from positions along both, not farther apart than `SLACK`. A position that both have is the outline's, or if it
    goes `inwards` the leaves'.
    """
    own, other = (_positions(lines, contested) for lines in (np.array([outline], dtype=object), leaves))
    first, second = (other, own) if inwards else (own, other)
    both = np.unique(np.concatenate([first, second]), axis=0, return_index=True)[1]
    places = np.concatenate([first, second])[np.sort(both)]
    is_own = (np.arange(len(places)) < len(first)) != inwards
    if not is_own.any():
        return shapely.MultiPolygon()
    around = shapely.envelope(shapely.buffer(shapely.envelope(contested), 1))
    cells = None if is_own.all() else _cells(places, around)
    if cells is None:  # nothing else is near, or in doubt: nobody is lost
        return around if is_own.all() or not inwards else shapely.MultiPolygon()
    return shapely.coverage_union_all(cells[is_own])


def _cells(places: Floats, around: BaseGeometry) -> Geometries | None:
    """What is nearest to each place. GEOS stumbles over places in a regular pattern, so each is moved by less than a metre."""
    for seed in range(TRIES):
        moved = places + np.random.default_rng(seed).uniform(-GRAIN, GRAIN, places.shape)
        try:
            cells = shapely.voronoi_polygons(shapely.multipoints(moved), extend_to=around, ordered=True)
        except shapely.errors.GEOSException:
            continue
        return shapely.get_parts(cells)
    return None


def _positions(outlines: Geometries, near: shapely.MultiPolygon) -> Floats:
    """Positions along outlines, each once, within `SHORE_DEGREES` of an area and somewhat beyond."""
    far = SHORE_DEGREES + 2 * SLACK
    lon_lat, line = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(outlines)), return_index=True)
    edges = np.flatnonzero(line[1:] == line[:-1])
    pairs = np.stack([lon_lat[edges], lon_lat[edges + 1]], axis=1)
    boxes = shapely.box(*pairs.min(axis=1).T, *pairs.max(axis=1).T)
    parts = shapely.STRtree(shapely.buffer(shapely.envelope(shapely.get_parts(near)), far))
    touched = np.unique(parts.query(boxes)[0])
    places = shapely.get_coordinates(shapely.segmentize(shapely.linestrings(pairs[touched]), SLACK))
    shapely.prepare(near)
    close = shapely.dwithin(near, shapely.points(places), far)
    return cast("Floats", np.unique(places[close].round(DECIMALS), axis=0))
