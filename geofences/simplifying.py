"""Simplifies outlines, for matching people (`thinned`) and for display on maps (`simple`).

`thinned` moves an outline only outwards (of an exclusion inwards), so that everyone inside stays inside. No outline can
make a call too slow, or make GEOS recurse too deep.

To find the people inside an outline of 100,000 vertices takes ten times as long as for 10,000, and on a map both look
the same. A map needs a few kilobytes; the outline for matching takes megabytes.

GEOS's `simplify` recurses once for each vertex at worst, and looks at all vertices each time: a valid comb of 60,000
teeth crashes the process, one of 20,000 takes half a minute. So longer rings are simplified piece by piece.
"""

from __future__ import annotations

from math import cos, pi

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geofences.polygons import polygons_of

#: Maximum number of vertices of a ring that is simplified as a whole. A comb with this many takes some seconds.
MOST_WHOLE = 10_000
#: Number of edges of a piece. The ends of a piece stay in place.
PIECE = 1_000
FIRST = 8  # long rings are first thinned by the tolerance divided by this
_RING = 4  # positions of the shortest ring
MOST_VERTICES = 10_000  # `thinned` simplifies an outline with more
#: First and largest step in degrees of latitude: 11 m, doubled until the outline is simple enough, up to 1.4 km. If that is not enough, the
#: outline stays unchanged.
LEAST, MOST = 1e-4, 0.0128
QUARTER = 2  # edges that approximate a quarter circle; `thinned` adds what they cut off
#: Steps by which a thinned outline is moved so that it lies on one side of the original, the smallest first. Thinning
#: by a step moves a line by up to one step, by two where a ring begins, and by an eighth more if the ring is long.
FAR_ENOUGH = (1.01, 1.14, 2.15)
#: Maximum number of positions for a map of one region, which shows no more detail. 300 positions are some 6 kB of GeoJSON.
MOST_DRAWN = 300
#: First tolerance, as a share of the region's width: half a pixel on a map of 1,000 pixels.
FIRST_TOLERANCE = 1 / 2000
#: Grid of the positions for maps, in degrees: about ten metres.
GRID_DEGREES = 1e-4


def simplified(geometry: BaseGeometry, tolerance: float, *, preserve_topology: bool = True) -> BaseGeometry:
    """Returns simplified polygons, like `shapely.simplify` with a tolerance in degrees. Long rings are first thinned a little, piece by
    piece.

    Rings that stay long are simplified only piece by piece, and may then cross themselves or others.
    """
    if _is_long(geometry):
        thin = _in_pieces(geometry, tolerance / FIRST)
        if _is_long(thin):
            return _in_pieces(geometry, tolerance)
        geometry = shapely.make_valid(thin, method="structure", keep_collapsed=False)
    return shapely.simplify(geometry, tolerance, preserve_topology=preserve_topology)


def _is_long(geometry: BaseGeometry) -> bool:
    """Returns whether any ring has more than MOST_WHOLE positions."""
    rings = shapely.get_rings(shapely.get_parts(geometry))
    return bool(shapely.get_num_coordinates(rings).max(initial=0) > MOST_WHOLE)


def _in_pieces(geometry: BaseGeometry, tolerance: float) -> shapely.MultiPolygon:
    """Returns the polygons with all rings simplified by `_thinned`; they may be invalid."""
    return shapely.MultiPolygon(
        [
            shapely.Polygon(_thinned(part.exterior, tolerance), [_thinned(hole, tolerance) for hole in part.interiors])
            for part in shapely.get_parts(geometry)
        ]
    )


def _thinned(ring: shapely.LinearRing, tolerance: float) -> NDArray[np.float64]:
    """Returns the positions of a ring after simplification piece by piece, or all its positions if too few would remain."""
    xy = shapely.get_coordinates(ring)
    pieces = [shapely.LineString(xy[at : at + PIECE + 1]) for at in range(0, len(xy) - 1, PIECE)]
    thin = shapely.simplify(pieces, tolerance, preserve_topology=False)
    kept = np.concatenate([*(shapely.get_coordinates(piece)[:-1] for piece in thin), xy[-1:]])
    return kept if len(kept) >= _RING else xy


def thinned(geometry: BaseGeometry, *, inwards: bool = False) -> BaseGeometry:
    """Returns a valid area with fewer vertices that covers the given one, or with `inwards` lies within it.

    Returns the given area if it has at most MOST_VERTICES vertices, or if no step up to MOST degrees gives such an
    area.
    """
    step = LEAST
    while step <= MOST and shapely.get_num_coordinates(geometry) > MOST_VERTICES:
        thin = simplified(geometry, step)
        if shapely.get_num_coordinates(thin) <= MOST_VERTICES:
            for steps in FAR_ENOUGH:
                # Moved after it is thin: moving a jagged line takes half a minute.
                distance = step * steps / cos(pi / (4 * QUARTER)) * (-1 if inwards else 1)
                moved = shapely.buffer(thin, distance, quad_segs=QUARTER)
                is_fit = not moved.is_empty and shapely.get_num_coordinates(moved) <= MOST_VERTICES
                outer, inner = (geometry, moved) if inwards else (moved, geometry)
                if is_fit and shapely.covers(outer, inner):
                    return moved
        step *= 2
    return geometry


def simple(outline: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """Returns about the same area in at most MOST_DRAWN positions, without islands that are too small to see."""
    west, south, east, north = outline.bounds
    tolerance = max(east - west, north - south) * FIRST_TOLERANCE
    drawn = polygons_of(outline)
    while int(shapely.get_num_coordinates(drawn)) > MOST_DRAWN:
        drawn = polygons_of(_without_specks(simplified(drawn, tolerance), tolerance))
        tolerance *= 1.5
    rounded = polygons_of(shapely.set_precision(drawn, GRID_DEGREES))
    return drawn if rounded.is_empty else rounded


def _without_specks(geometry: shapely.Geometry, width: float) -> shapely.Geometry:
    """Returns the polygons and holes larger than a square of twice this width, and always the largest polygon."""
    parts = shapely.get_parts(geometry)
    largest = shapely.area(parts).max()
    kept = [part for part in parts if part.area >= min(largest, 4 * width * width)]
    return shapely.MultiPolygon(
        [
            shapely.Polygon(part.exterior, [r for r in part.interiors if shapely.Polygon(r).area >= 4 * width * width])
            for part in kept
        ]
    )
