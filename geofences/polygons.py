"""Cleans up computed geometries (valid, only polygons, no slivers), measures their true area, and estimates the cost of computing with
them.

Slivers are parts and holes without area that overlays leave along borders. They contain no people, and GEOS fails on them: a valid area of
a town and one sliver of 1e-18 square degrees "shares" all ground of a town 10 km away (GEOS 3.14.1).

The cost of validating, repairing or uniting outlines is estimated first. It grows with the pairs of edges that may cross. A malicious
outline of the allowed 100,000 vertices can have thousands of millions of pairs (measured: 143 s to validate a comb of long slanting teeth,
66 s to repair 4,000 random points). Real coasts have fewer than ten per edge. The count stops as soon as there are too many.
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from geofences.geodesy import ECCENTRICITY, EQUATOR_M

Floats = NDArray[np.float64]
G = TypeVar("G", bound=BaseGeometry)

#: Parts up to this area (square degrees; on the ground at most a hand) count as slivers. Slivers have about 1e-17.
NO_GROUND = 1e-12
# Limits for the number of pairs of edges with bounding boxes that meet. Each pair counts twice, and an edge also pairs
# with itself and its neighbours.
PAIRS_AN_EDGE = 20  # for each edge: several times what real outlines have
PAIRS_TO_JOIN = 500_000  # in addition, to unite outlines: at worst some 3 s
PAIRS_TO_MEND = 5_000  # in addition, to repair one, which costs more; a sensible outline rarely crosses itself
PAIRS_AT_ONCE = 1_000_000  # maximum in one step of the count, 16 MB
# Maximum number of such pairs between an area and the regions that it cuts. Russia with its shores has 66,000; each costs some 15 us.
PAIRS_ACROSS = 200_000
# Maximum product of the area's positions and the regions that it cuts. The whole area cuts each region, at 0.1 us a position.
WORK_ACROSS = 100_000_000
# Five Gauss-Legendre points integrate the smooth area function along an edge of 90 degrees to better than 1e-6.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
EDGE_STEPS, EDGE_WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def copy_of(geometry: G) -> G:
    """Returns a copy of a geometry for one thread, because shapely prepares a geometry in place."""
    return cast("G", shapely.from_wkb(shapely.to_wkb(geometry)))


def valid(geometry: BaseGeometry) -> BaseGeometry:
    """Returns the geometry itself if it is valid, else repaired, with all ground that an outer ring encloses."""
    return geometry if geometry.is_valid else shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def polygons_of(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """Returns the polygons of a geometry, without its lines and points."""
    return shapely.MultiPolygon([part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"])


def ground(geometry: BaseGeometry) -> MultiPolygon:
    """Returns the polygons of a geometry as a new MultiPolygon, without lines, points, and parts and holes of no area.

    The result shares nothing with the geometry. Moves no position, so a point on a border stays on the border.
    """
    parts = shapely.get_parts(geometry)
    is_ground = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > NO_GROUND)
    found = []
    for part in parts[is_ground].tolist():
        holes = [hole for hole in part.interiors if Polygon(hole).area > NO_GROUND]
        found.append(part if len(holes) == len(part.interiors) else Polygon(part.exterior, holes))
    return MultiPolygon(found)


def areas_km2(geometries: NDArray[np.object_]) -> Floats:
    """Returns the true area of each polygon or multipolygon (lon/lat, edges straight in lon/lat), in square kilometres.

    The area between an edge and the equator is the integral of q(lat) over the longitude, where q is the area function of the ellipsoid (J.
    Snyder, Map Projections: A Working Manual, USGS 1395, equation 3-12). Long edges are integrated, not approximated.
    """
    parts, owner = shapely.get_parts(geometries, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    lon_lat, ring = shapely.get_coordinates(rings, return_index=True)
    if not len(ring):
        return np.zeros(len(geometries))
    lon, lat = np.radians(lon_lat.T)
    same = ring[1:] == ring[:-1]
    rise = np.diff(lat)
    height = np.zeros(len(rise))
    for step, weight in zip(EDGE_STEPS, EDGE_WEIGHTS, strict=True):
        sin_lat = np.sin(lat[:-1] + step * rise)
        flat = sin_lat / (1 - (ECCENTRICITY * sin_lat) ** 2)
        height += weight * ((1 - ECCENTRICITY**2) * (flat + np.arctanh(ECCENTRICITY * sin_lat) / ECCENTRICITY))
    strips = np.where(same, np.diff(lon) * height, 0.0)
    size = np.abs(np.bincount(ring[1:], strips, minlength=len(rings)))
    shell = np.r_[True, part[1:] != part[:-1]]  # the first ring of a polygon is its shell, the others are holes
    signed = np.where(shell, size, -size)
    per_part = np.bincount(part, signed, minlength=len(parts))
    return np.bincount(owner, per_part, minlength=len(geometries)) * EQUATOR_M**2 / 2 / 1e6


def area_km2(geometry: shapely.Geometry) -> float:
    """Returns the true area of one polygon or multipolygon, in square kilometres; see `areas_km2`."""
    return float(areas_km2(np.array([geometry], dtype=object))[0])


def too_tangled(geometries: NDArray[np.object_], *, mending: bool = False) -> bool:
    """Returns whether these polygons have so many edges close to each other that uniting them, or with `mending` repairing them, would take
    too long.
    """
    edges = _edges(geometries)
    count = len(edges)
    limit = PAIRS_AN_EDGE * count + (PAIRS_TO_MEND if mending else PAIRS_TO_JOIN)
    if count * count <= limit:
        return False
    return _more_pairs(edges, edges, limit)


def too_tangled_with(area: shapely.Geometry, others: NDArray[np.object_]) -> bool:
    """Returns whether it would take too long, more than some 10 s, to cut each of the polygons `others` by an area."""
    edges = _edges(shapely.get_parts(area))
    if len(edges) * len(others) > WORK_ACROSS:
        return True
    theirs = _edges(shapely.get_parts(others))
    return _more_pairs(edges, theirs, PAIRS_ACROSS + len(edges) + len(theirs))


def _edges(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Returns every edge of polygons as a line of two positions."""
    lon_lat, ring = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    edges = np.stack([lon_lat[:-1], lon_lat[1:]], axis=1)[ring[1:] == ring[:-1]]
    return np.array(shapely.linestrings(edges), dtype=object)


def _more_pairs(edges: NDArray[np.object_], others: NDArray[np.object_], limit: int) -> bool:
    """Returns whether more than `limit` pairs of edges have bounding boxes that meet. Stops counting at the limit."""
    tree = shapely.STRtree(edges)
    step = max(1, PAIRS_AT_ONCE // max(1, len(edges)))
    found = 0
    for at in range(0, len(others), step):
        found += tree.query(others[at : at + step]).shape[1]
        if found > limit:
            return True
    return False
