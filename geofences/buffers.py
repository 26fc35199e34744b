"""Widens an area by a distance along the ground, anywhere on earth, also across 180 degrees and round the poles.

The border is cut into pieces. Each piece is widened on a flat map of its surroundings (see `planes`: such a map never makes distances
longer) and united with the area. Every point within the distance is inside the result. The new border lies at most 3 % of the distance
farther out.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi, radians, sin

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from geofences.antimeridian import cut_at_antimeridian
from geofences.errors import InvalidGeometry
from geofences.geodesy import EQUATOR_M
from geofences.planes import Plane, cut_edges
from geofences.polygons import valid
from geofences.simplifying import simplified

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Largest buffer. Within this distance of its middle, a flat map is exact to 0.4 %, also at the poles.
MAX_BUFFER_KM = 100.0
#: The shares of the distance that each projection (BEND) and the simplification (THIN) may lose. The buffer is enlarged by both.
BEND, THIN = 1 / 400, 1 / 100
#: Smallest allowed loss (m). A buffer of some metres may therefore reach that much farther.
LEAST_M = 0.5
#: Number of edges that approximate a quarter circle. The buffer is enlarged by what these edges cut off.
QUARTER = 8
#: Number of edges that are widened together. A long winding line as a whole takes up to ten times as long as its pieces.
AT_ONCE = 32
#: Number of edges that are simplified together. GEOS recurses once for each edge in the worst case.
DEEPEST = 1_000
#: How far the new border may lie beyond the requested distance, as a share of it.
MOST_EXCESS = 0.03
#: Height of a cell in degrees of latitude; its width is about the same distance on the ground. Each cell has a map of its own.
CELL = 2.0
#: Beyond this latitude (degrees), a cell around the pole contains everything.
CAP = 86.0
NORTH, SOUTH = -1, -2  # the cells of the caps
DEGREE_M = EQUATOR_M * pi / 180
#: Maximum number of positions of a border, including those that are added for curved edges. Canada has 84,000 and takes 1 to 3 s.
MOST_POINTS = 250_000
#: Longer edges (m) are cut before the projection, so that each edge belongs to one cell.
LONGEST_M = 50_000.0


def buffered(geometry: BaseGeometry, distance_km: float, pointer: str = "") -> BaseGeometry:
    """Returns an area and all ground within a distance of it (polygons, lon/lat within -180..180), as a valid geometry
    within -180..180. With a distance of 0 returns the area itself.

    Raises InvalidGeometry (with `pointer`) if the distance is negative or over MAX_BUFFER_KM, or if the border is too
    long.
    """
    if not 0 <= distance_km <= MAX_BUFFER_KM:
        raise InvalidGeometry(pointer, f"A buffer is at least 0 and at most {MAX_BUFFER_KM:g} km.")
    if distance_km == 0 or geometry.is_empty:
        return geometry
    distance_m = distance_km * 1000
    bands = [
        piece
        for cell, points, line in _border(geometry, _within_m(distance_m), pointer)
        for plane, part in _charts(cell, points)
        for piece in _band(plane, part, points, line, distance_m)
    ]
    # The bands cover the border and everything near it, so the rest of the area may be rough, and small islands may go.
    rough = simplified(geometry, distance_m / 4 / DEGREE_M, preserve_topology=False)
    return shapely.union_all([valid(rough), *bands])


def _border(geometry: BaseGeometry, within_m: float, pointer: str) -> Iterator[tuple[int, Floats, Indices]]:
    """Yields the border of an area cell by cell: the cell's number, the points, and for each point the number of its line."""
    lon_lat, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    counts = np.where(ring[1:] == ring[:-1], _pieces(lon_lat, within_m), 1)
    if counts.sum() > MOST_POINTS:
        why = "The outline is too long and jagged to be made wider. Name fewer regions, or draw a simpler outline."
        raise InvalidGeometry(pointer, why)
    points, owner = cut_edges(lon_lat, counts), np.r_[np.repeat(ring[:-1], counts), ring[-1:]]
    edges = np.flatnonzero(owner[1:] == owner[:-1])
    cells = _cells((points[edges] + points[edges + 1]) / 2)
    lines = np.cumsum(np.r_[0, (np.diff(cells) != 0) | (np.diff(edges) != 1)])
    order = np.argsort(cells, kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(cells[order])) + 1):
        at, line = np.column_stack([edges[some], edges[some] + 1]).ravel(), np.repeat(lines[some], 2)
        once = np.r_[True, (np.diff(at) != 0) | (np.diff(line) != 0)]  # an edge begins where the one before it ends
        _, line = np.unique(line[once], return_inverse=True)
        yield int(cells[some[0]]), points[at[once]], line


def _pieces(lon_lat: Floats, within_m: float) -> Indices:
    """Returns into how many pieces to cut each edge, so that each is nearly straight on a map of its surroundings."""
    x, y = np.abs(np.diff(lon_lat, axis=0)).T * DEGREE_M
    steep = np.radians(np.abs(lon_lat[:, 1]))
    low, high = np.minimum(steep[:-1], steep[1:]), np.maximum(steep[:-1], steep[1:])
    x *= np.cos(np.where(lon_lat[:-1, 1] * lon_lat[1:, 1] < 0, 0, low))
    length = np.hypot(x, y)
    bend = np.minimum(np.tan(np.minimum(high, radians(89.99))) * x * (x + 2 * y) / (8 * EQUATOR_M), length)
    counts: Indices = np.ceil(np.maximum(np.sqrt(bend / within_m), length / LONGEST_M)).astype(np.int64)
    return np.maximum(counts, 1)


def _cells(lon_lat: Floats) -> Indices:
    """Returns the number of the cell in which each point lies."""
    lon, lat = lon_lat.T
    band = np.floor((lat + 90) / CELL)
    columns = np.maximum(np.floor(360 / CELL * np.cos(np.radians((band + 0.5) * CELL - 90))), 1)
    cell = band * 1000 + np.floor((lon + 180) / 360 * columns)
    return np.where(np.abs(lat) > CAP, np.where(lat > 0, NORTH, SOUTH), cell).astype(np.int64)


def _charts(cell: int, lon_lat: Floats) -> Iterator[tuple[Plane, BaseGeometry | None]]:
    """Yields the maps for a cell, each with the part of the map that is valid, None for all of it. A polar cell has four maps, turned by 90
    degrees, each for a quarter.
    """
    if cell not in {NORTH, SOUTH}:
        (west, south), (east, north) = lon_lat.min(axis=0), lon_lat.max(axis=0)
        yield Plane((west + east) / 2, (south + north) / 2), None
        return
    pole, ahead = (
        (90.0, -1) if cell == NORTH else (-90.0, 1)
    )  # which way on the map its own meridian leads from the pole
    x, y = sin(radians(46)), ahead * cos(radians(46))  # a quarter, and a little of the next, so that no gap is left
    tip, end = (
        0.01,
        1e6,
    )  # metres: the pole has all longitudes, so the quarter ends just before it, and past all buffers
    quarter = Polygon([(-x * tip, y * tip), (-x * end, y * end), (x * end, y * end), (x * tip, y * tip)])
    for lon in (45, 135, -135, -45):
        yield Plane(lon, pole), quarter


def _band(
    plane: Plane, part: BaseGeometry | None, lon_lat: Floats, line: Indices, distance_m: float
) -> Iterator[BaseGeometry]:
    """Yields the polygons, in lon/lat, of the ground within a distance of lines, worked out on one map."""
    lines = np.array(shapely.linestrings(plane.flat(lon_lat), indices=line), dtype=object)
    thin = _chopped(shapely.simplify(_chopped(lines, DEEPEST), distance_m * THIN), AT_ONCE)
    reach_m = (distance_m * (1 + THIN) + 2 * _within_m(distance_m)) / cos(pi / (4 * QUARTER))
    wide = shapely.union_all(shapely.buffer(thin, reach_m, quad_segs=QUARTER))
    for shape in shapely.get_parts(wide if part is None else shapely.intersection(wide, part)):
        if shape.geom_type == "Polygon":
            rings = [
                _to_pole(plane.ground_line(shapely.get_coordinates(ring), _within_m(distance_m)))
                for ring in (shape.exterior, *shape.interiors)
            ]
            yield cut_at_antimeridian(valid(Polygon(rings[0], rings[1:])))


def _within_m(distance_m: float) -> float:
    """Returns how many metres one projection may lose of this distance."""
    return max(distance_m * BEND, LEAST_M)


def _chopped(lines: NDArray[np.object_], most: int) -> NDArray[np.object_]:
    """Returns the lines in pieces of at most this many edges."""
    xy, line = shapely.get_coordinates(lines, return_index=True)
    edges = np.flatnonzero(line[1:] == line[:-1])
    piece = np.cumsum(np.r_[True, (np.diff(edges) != 1) | (np.arange(1, len(edges)) % most == 0)]) - 1
    at, of = np.column_stack([edges, edges + 1]).ravel(), np.repeat(piece, 2)
    once = np.r_[True, (np.diff(at) != 0) | (np.diff(of) != 0)]
    return np.array(shapely.linestrings(xy[at[once]], indices=of[once]), dtype=object)


def _to_pole(lon_lat: Floats) -> Floats:
    """Returns the points, with those within a decimetre of a pole moved onto it."""
    lat = lon_lat[:, 1]
    return np.column_stack([lon_lat[:, 0], np.where(np.abs(lat) > 90 - 1e-6, np.copysign(90, lat), lat)])
