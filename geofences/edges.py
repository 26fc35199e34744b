"""Long edges as the map draws them: what an operator sees is what is matched.

A web map draws the edge between two positions straight on its own, mercator, map; positions are matched with edges straight in
lon/lat. Over a city the two are one; on a diagonal of 130 km they are 300 m apart, on one of 900 km 8 km. So a long edge gets
positions where the map draws it. Along a parallel or a meridian both are the same, and beyond the end of the map nothing is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geofences.geodesy import EQUATOR_M
from geofences.planes import cut_edges
from geofences.tiles import LAST_LATITUDE

Floats = NDArray[np.float64]

LONG_M = 50_000.0  # shorter ones are off by 40 m at 60 degrees, which nobody sees on a map that shows the whole edge
OFF_M = 10.0  # what a piece may be off by


def pieces(lon_lat: Floats) -> NDArray[np.int64]:
    """How many pieces each edge of a line is to be cut into."""
    x, y = np.abs(np.diff(np.radians(lon_lat), axis=0)).T * EQUATOR_M
    steep = np.radians(np.abs(lon_lat[:, 1]))
    low, high = np.minimum(steep[:-1], steep[1:]), np.maximum(steep[:-1], steep[1:])
    length = np.hypot(x * np.cos(low), y)
    is_long = (length > LONG_M) & (high <= np.radians(LAST_LATITUDE))
    off = np.where(is_long, y**2 * np.tan(high) / (8 * EQUATOR_M) * x / np.maximum(length, 1), 0)
    return np.maximum(np.ceil(np.sqrt(off / OFF_M)), 1).astype(np.int64)


def as_drawn(lon_lat: Floats) -> Floats:
    """The line with its long edges cut into pieces that lie where a web map draws them."""
    counts = pieces(lon_lat)
    if (counts == 1).all():
        return lon_lat
    lat = np.radians(np.clip(lon_lat[:, 1], -LAST_LATITUDE, LAST_LATITUDE))
    drawn = cut_edges(np.column_stack([lon_lat[:, 0], np.arctanh(np.sin(lat))]), counts)
    drawn[:, 1] = np.degrees(np.arctan(np.sinh(drawn[:, 1])))
    drawn[np.r_[0, np.cumsum(counts)]] = lon_lat  # what was given stays to the last bit
    return drawn
