"""Two kinds of flat maps: a map in metres of the surroundings of a point (`Plane`), and a web map, on which operators draw edges
(`as_drawn`).

A `Plane` touches the ellipsoid at a point and shows the earth from straight above. Two points are never farther apart on it than on the
ground, because the view from above only shortens distances. So a point within a distance on the ground is also within it on the map. In the
other direction the map is wrong by 0.1 % at 300 km from the point, and by 0.4 % at 550 km.

A web map draws an edge between two positions as a straight line in the mercator projection, but positions are matched against edges that
are straight in lon/lat. Over a city the two are the same; on a diagonal of 130 km they are 300 m apart, on one of 900 km 8 km. `as_drawn`
therefore adds positions to a long edge where a web map draws it, so that alertd matches what the operator sees. Along a parallel or a
meridian both are the same. Edges beyond the web map's last latitude stay unchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geofences.geodesy import ECCENTRICITY, EQUATOR_M, POLE_M
from geofences.tiles import LAST_LATITUDE

Floats = NDArray[np.float64]

LONG_M = 50_000.0  # shorter edges are off by 40 m at 60 degrees, which is invisible on a map that shows the whole edge
OFF_M = 10.0  # maximum distance between a piece of an edge and the edge on the web map
AXES_M = np.array([EQUATOR_M, EQUATOR_M, POLE_M])


class Plane:
    """A flat map around one point. Positions are arrays of shape (n, 2): [lon, lat] in degrees, or [x eastward, y northward] in metres."""

    def __init__(self, lon: float, lat: float) -> None:
        """`lon`, `lat`: the point in degrees. Longitudes that `ground` returns lie within 180 degrees of `lon`."""
        self._lon = lon
        east, north = np.radians([lon, lat])
        self._up = np.array([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
        self._axes = np.array(
            [
                [-np.sin(east), np.cos(east), 0.0],
                [-np.sin(north) * np.cos(east), -np.sin(north) * np.sin(east), np.cos(north)],
            ]
        )
        self._origin = _in_space(np.array([[lon, lat]]))[0]

    def flat(self, lon_lat: Floats) -> Floats:
        """Returns the positions on the map (m) of points on the ground (degrees)."""
        result: Floats = (_in_space(lon_lat) - self._origin) @ self._axes.T
        return result

    def ground(self, xy: Floats) -> Floats:
        """Returns the points on the ground (degrees) that are straight below these positions on the map (m)."""
        base, fall = (self._origin + xy @ self._axes) / AXES_M, self._up / AXES_M
        a, b, c = fall @ fall, base @ fall, (base * base).sum(axis=1) - 1
        height = (np.sqrt(b * b - a * c) - b) / a
        x, y, z = ((base + height[:, None] * fall) * AXES_M).T
        lat = np.degrees(np.arctan2(z, (1 - ECCENTRICITY**2) * np.hypot(x, y)))
        return np.column_stack([self._lon + (np.degrees(np.arctan2(y, x)) - self._lon + 180) % 360 - 180, lat])

    def ground_line(self, xy: Floats, within_m: float) -> Floats:
        """Returns a line of the map as positions on the ground (degrees). Adds positions until its edges, straight in lon/lat, are within
        `within_m` metres of the line.
        """
        while True:
            lon_lat = self.ground(xy)
            middles = (xy[:-1] + xy[1:]) / 2
            off = self.flat((lon_lat[:-1] + lon_lat[1:]) / 2) - middles
            bent = np.flatnonzero(np.hypot(*off.T) > within_m)
            if not len(bent):
                return lon_lat
            xy = np.insert(xy, bent + 1, middles[bent], axis=0)


def _in_space(lon_lat: Floats) -> Floats:
    """Returns points of the ellipsoid as x, y, z from the earth's centre (m); x points to longitude 0, z to the north pole."""
    lon, lat = np.radians(lon_lat.T)
    radius = EQUATOR_M / np.sqrt(1 - (ECCENTRICITY * np.sin(lat)) ** 2)
    flat = radius * np.cos(lat)
    return np.column_stack([flat * np.cos(lon), flat * np.sin(lon), (1 - ECCENTRICITY**2) * radius * np.sin(lat)])


def cut_edges(lon_lat: Floats, counts: ArrayLike) -> Floats:
    """Returns a line with its edge i cut into `counts[i]` equal pieces in lon/lat."""
    counts = np.asarray(counts, np.int64)
    edge = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    share = (np.arange(len(edge)) - first[edge]) / counts[edge]
    inner = lon_lat[edge] + (lon_lat[edge + 1] - lon_lat[edge]) * share[:, None]
    return np.vstack([inner, lon_lat[-1:]])


def pieces(lon_lat: Floats) -> NDArray[np.int64]:
    """Returns into how many pieces `as_drawn` cuts each edge of a line, 1 for a short edge."""
    x, y = np.abs(np.diff(np.radians(lon_lat), axis=0)).T * EQUATOR_M
    steep = np.radians(np.abs(lon_lat[:, 1]))
    low, high = np.minimum(steep[:-1], steep[1:]), np.maximum(steep[:-1], steep[1:])
    length = np.hypot(x * np.cos(low), y)
    is_long = (length > LONG_M) & (high <= np.radians(LAST_LATITUDE))
    off = np.where(is_long, y**2 * np.tan(high) / (8 * EQUATOR_M) * x / np.maximum(length, 1), 0)
    return np.maximum(np.ceil(np.sqrt(off / OFF_M)), 1).astype(np.int64)


def as_drawn(lon_lat: Floats) -> Floats:
    """Returns the line with its long edges cut into pieces that lie where a web map draws the edge."""
    counts = pieces(lon_lat)
    if (counts == 1).all():
        return lon_lat
    lat = np.radians(np.clip(lon_lat[:, 1], -LAST_LATITUDE, LAST_LATITUDE))
    drawn = cut_edges(np.column_stack([lon_lat[:, 0], np.arctanh(np.sin(lat))]), counts)
    drawn[:, 1] = np.degrees(np.arctan(np.sinh(drawn[:, 1])))
    drawn[np.r_[0, np.cumsum(counts)]] = lon_lat  # the given positions stay exact to the last bit
    return drawn
