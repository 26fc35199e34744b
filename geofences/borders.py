"""Tests how far an area reaches across the border of a region."""

from __future__ import annotations

import numpy as np
import shapely

from geofences.geodesy import EQUATOR_M
from geofences.polygons import ground, valid

KM_PER_DEGREE = np.pi * EQUATOR_M / 180_000


def reaches_into(area: shapely.MultiPolygon, region: shapely.MultiPolygon, km: float) -> bool:
    """Returns whether an area has a point inside a region that is more than `km` from the region's border. Both are WGS84
    lon/lat. Only the part of the region near the common part is used, so a long border costs little.
    """
    common = ground(shapely.intersection(area, region))
    if common.is_empty:
        return False
    west, south, east, north = common.bounds
    narrow = max(float(np.cos(np.radians((south + north) / 2))), 0.01)
    far = km / KM_PER_DEGREE
    beyond = 2 * far  # the sides of the box are no border, and lie farther away than a border that counts
    box = shapely.box(west - beyond / narrow, south - beyond, east + beyond / narrow, north + beyond)
    scale = np.array([narrow, 1.0])  # east-west and north-south degrees of the same length

    def scaled(shape: shapely.MultiPolygon) -> shapely.Geometry:
        return valid(shapely.transform(shape, lambda xy: xy * scale))

    inner = shapely.buffer(scaled(ground(shapely.intersection(region, box))), -far, quad_segs=4)
    return bool(shapely.intersects(scaled(common), inner))
