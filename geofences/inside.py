"""Which points lie in an area or on its border: a point on the shared border of two regions belongs to both.

Where many points are close together, as in a city, small squares are looked at first: a square that no edge runs through decides
for all its points, and only the others are tested one by one.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geofences.scan import BORDER, INSIDE, Scan
from geofences.tiles import Codes, Offsets, deinterleave, position

DEPTH = 4  # levels below the tile: squares of about 500 metres. Measured: 3 is as good, 2 and 5 take a quarter longer
SQUARES = 1 << DEPTH  # along a tile's side


def inside(area: shapely.Geometry, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.bool_]:
    """Prepares the area in place, so that no other thread may use it meanwhile, and frees the interpreter's lock."""
    shapely.prepare(area)
    result: NDArray[np.bool_] = shapely.intersects_xy(area, np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    return result


def inside_tiles(area: shapely.Geometry, squares: Scan, tiles: Codes, x: Offsets, y: Offsets) -> NDArray[np.bool_]:
    """The same of points (tile, place in it), given the area's scan at `ZOOM + DEPTH`; quickest if a tile's points follow each other."""
    if not len(tiles):
        return np.zeros(0, np.bool_)
    first = np.r_[True, tiles[1:] != tiles[:-1]]
    square = (np.cumsum(first) - 1) << 2 * DEPTH
    square += (y >> (16 - DEPTH)).astype(np.int64) << DEPTH
    square += x >> (16 - DEPTH)
    decided = _decided(squares, tiles[first], np.flatnonzero(np.bincount(square)))[square]
    result: NDArray[np.bool_] = decided == INSIDE
    open_ = decided == BORDER
    result[open_] = inside(area, *position(tiles[open_], x[open_], y[open_]))
    return result


def _decided(squares: Scan, tiles: Codes, used: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What each used square decides; what others hold means nothing."""
    column, row = (side.astype(np.int64)[used >> 2 * DEPTH] << DEPTH for side in deinterleave(tiles))
    decided = np.empty(len(tiles) << 2 * DEPTH, np.uint8)
    decided[used] = squares.verdicts(column + used % SQUARES, row + (used >> DEPTH) % SQUARES)
    return decided
