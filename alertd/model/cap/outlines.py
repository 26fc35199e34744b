"""An area as the polygons that CAP can hold: few positions in each, and no holes.

A CAP polygon is one ring (section 3.2.4). So this module simplifies an area, only ever outwards, and cuts each polygon
with a hole into pieces without one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import inf

import shapely
from shapely.geometry import MultiPolygon, Polygon, box

from alertd.model.cap.messages import Position
from geofences.simplifying import simplified

#: Maximum number of positions in a polygon. Broadcast gateways recommend this; many accept no more.
MOST_POSITIONS = 100
#: Maximum number of polygons in a message. A coast with more islands is covered by fewer, wider polygons.
MOST_POLYGONS = 100
#: If the parts of an area have fewer positions on average, simplifying gains nothing; only widening, which merges
#: parts, still helps.
AS_THIN_AS_CAN_BE = 6
#: Maximum number of parts (islands) of an area; no country in the library has 500. With more, merging them takes
#: minutes.
MOST_PARTS = 3_000
#: The first and the last step of simplifying, in degrees: the first is 11 m. The step doubles until the area is simple
#: enough.
LEAST, MOST = 1e-4, 16.0
#: Decimals of a degree to which positions are rounded: about a centimetre. Snapping to this grid before rounding keeps
#: a ring from crossing itself.
DIGITS = 7
_GRID = 10.0**-DIGITS
#: The buffer around a simplified area, in steps. Simplifying moves a line by up to one step, so the buffer is slightly
#: wider.
_OVER = 1.05

_WORLD = box(-180, -90, 180, 90)


def outlines(area: MultiPolygon, most: int = MOST_POLYGONS) -> tuple[tuple[Position, ...], ...]:
    """Returns at most `most` closed rings (WGS 84, lon/lat) that cover the area and leave out its holes.

    Returns the bounding box as one ring if no such rings are simple enough.
    """
    step = 0.0 if shapely.get_num_geometries(area) <= MOST_PARTS else inf
    while step <= MOST:
        if (thin := _thinned(area, step, most)) is not None:
            pieces = list(itertools.islice(_pieces(thin), most + 1))
            if len(pieces) <= most:
                return tuple(map(_ring, pieces))
        step = step * (4 if thin is None else 2) or LEAST
    return (_ring(box(*area.bounds)),)


def _thinned(area: MultiPolygon, step: float, most: int) -> shapely.Geometry | None:
    """Returns a cover of the area that is simplified by `step` degrees (0: not at all), or None if it has too many
    corners or parts.
    """
    thin = simplified(area, step) if step else area
    corners, parts = shapely.get_num_coordinates(thin), shapely.get_num_geometries(thin)
    if corners > most * MOST_POSITIONS // 2 and (not step or corners > parts * AS_THIN_AS_CAN_BE):
        return None  # a cut leaves pieces half full
    if not step:
        return area
    for far in (step * _OVER, 2 * step * _OVER):  # a ring is moved twice as far where it begins
        wide = shapely.buffer(thin, far + _GRID, join_style="mitre", mitre_limit=2.0)
        if shapely.get_num_geometries(wide) > most:
            return None
        shapely.prepare(wide)
        if shapely.covers(wide, area):
            return shapely.intersection(wide, _WORLD)
    return None


def _pieces(geometry: shapely.Geometry) -> Iterator[Polygon]:
    """Yields the polygons of a geometry. A polygon with a hole or too many corners is cut in two across its longer
    side, as often as necessary.
    """
    waiting = list(_polygons(shapely.set_precision(geometry, _GRID)))
    while waiting:
        part = waiting.pop()
        if not part.interiors and len(part.exterior.coords) <= MOST_POSITIONS:
            yield part
        else:
            waiting += [
                piece
                for half in _halves(part)
                for piece in _polygons(shapely.intersection(part, half, grid_size=_GRID))
            ]


def _halves(part: Polygon) -> tuple[Polygon, Polygon]:
    """Returns two boxes that cover a polygon.

    They meet at the centre of its first hole, or else of its bounding box.
    """
    west, south, east, north = part.bounds
    middle = Polygon(part.interiors[0]).centroid if part.interiors else box(*part.bounds).centroid
    if east - west > north - south:
        return box(west, south, middle.x, north), box(middle.x, south, east, north)
    return box(west, south, east, middle.y), box(west, middle.y, east, north)


def _polygons(geometry: shapely.Geometry) -> Iterator[Polygon]:
    """Returns the polygons of a geometry that have an area; leaves out its lines and points."""
    return (part for part in shapely.get_parts(geometry) if isinstance(part, Polygon) and part.area > 0)


def _ring(polygon: Polygon) -> tuple[Position, ...]:
    """Returns the outline of a polygon as positions (longitude, latitude), rounded to `DIGITS`."""
    return tuple((round(lon, DIGITS), round(lat, DIGITS)) for lon, lat in polygon.exterior.coords)
