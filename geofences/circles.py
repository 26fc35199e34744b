"""Circles on the ground: polygons of all points within a geodesic distance of a centre.

A polygon encloses its circle, so that everyone inside is included; it reaches farther by less than 0.2 % of the radius. The polygon of an
excluding circle lies inside the circle by as little, so that no one outside is excluded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from geofences.antimeridian import cut_at_antimeridian
from geofences.errors import InvalidGeometry
from geofences.geodesy import destinations, north_pole_m
from geofences.polygons import valid
from geofences.shapes import Outline, settled

Floats = NDArray[np.float64]

# 64 vertices would reach past the circle by 0.12 %, 128 by 0.03 %.
FEWEST_VERTICES = 128
# Near a pole a circle bends sharply in lon/lat. So the number of vertices is doubled, up to this one, until the polygon
# encloses the circle.
MOST_VERTICES = 8_192
# Factor on the radius: the edges are straight in lon/lat, but the circle is round on the ground.
MARGIN = 1.001
# Half of the way from the equator to a pole. A larger circle covers whole countries, which should be named instead.
MAX_RADIUS_KM = 5_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """A requested circle: the centre in degrees, the radius along the ground."""

    lon_lat: tuple[float, float]
    radius_km: float


def circle(asked: Circle, pointer: str = "", *, wider_km: float = 0, excludes: bool = False) -> Outline:
    """Returns the area of a circle, widened by `wider_km`.

    The outline encloses the circle; with `excludes` it lies inside the circle. Raises InvalidGeometry for a centre off
    the earth, and for a radius below 0, over `MAX_RADIUS_KM`, or of 0 without `wider_km`.
    """
    lon, lat = asked.lon_lat
    if not (math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 90):
        swapped = " Longitude and latitude look swapped." if 90 < abs(lat) <= 180 and abs(lon) <= 90 else ""
        raise InvalidGeometry(
            f"{pointer}/center", f"The centre is [longitude, latitude], within 180 and 90 degrees.{swapped}"
        )
    if not 0 <= asked.radius_km <= MAX_RADIUS_KM:
        raise InvalidGeometry(
            f"{pointer}/radius_km", f"The radius must be more than 0 and at most {MAX_RADIUS_KM:,.0f} km."
        )
    if asked.radius_km + wider_km == 0:
        raise InvalidGeometry(
            f"{pointer}/radius_km",
            "The radius is 0, so the circle is a point without people. Send a radius in km, or a buffer_km.",
        )
    lon, lat = settled(np.array([lon, lat])).tolist()
    wider = replace(asked, lon_lat=(lon, lat), radius_km=asked.radius_km + wider_km)
    return Outline(geometry=_on_one_side(wider, excludes=excludes))


def _on_one_side(asked: Circle, *, excludes: bool) -> BaseGeometry:
    """Returns a polygon that encloses the circle, or, with `excludes`, lies inside it. It has no more vertices than
    that needs.
    """
    count = FEWEST_VERTICES
    while True:
        factor = 1 / MARGIN if excludes else MARGIN / math.cos(math.pi / count)
        shape = _polygon(asked, count, asked.radius_km * 1000 * factor)
        lon, lat = destinations(asked.lon_lat, _bearings(2 * count), asked.radius_km * 1000)
        shapely.prepare(shape)
        inside = shapely.intersects_xy(shape, (lon + 180) % 360 - 180, lat)
        if count >= MOST_VERTICES or (inside != excludes).all():
            return shape
        count *= 2


def _bearings(count: int) -> Floats:
    return np.linspace(-np.pi, np.pi, count, endpoint=False)


def _polygon(asked: Circle, count: int, radius_m: float) -> BaseGeometry:
    """Returns a valid polygon with `count` vertices at a distance of the centre, also round a pole."""
    lon, lat = destinations(asked.lon_lat, _bearings(count), radius_m)
    for pole in (90.0, -90.0):
        if north_pole_m(math.copysign(1, pole) * asked.lon_lat[1]) < radius_m:
            return _round_pole(lon, lat, pole)
    return cut_at_antimeridian(valid(Polygon(np.column_stack([lon, lat]))))


def _round_pole(lon: Floats, lat: Floats, pole: float) -> BaseGeometry:
    """Returns the polygon of a circle that contains a pole: the area between its line, which goes once round the earth, and the pole."""
    line = np.column_stack([(lon + 180) % 360 - 180, lat])
    line = line[np.argsort(line[:, 0], kind="stable")]
    seam = float(np.interp(180.0, [line[-1, 0], line[0, 0] + 360], [line[-1, 1], line[0, 1]]))
    ends = [(-180.0, seam), *map(tuple, line), (180.0, seam), (180.0, pole), (-180.0, pole)]
    return valid(Polygon(ends))
