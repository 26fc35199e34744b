"""Which points lie in an area or on its border: a point on the shared border of two regions belongs to both.

Where many points are close together, as in a city, small squares are looked at first: a square that no edge runs through decides
for all its points, and only the others are tested one by one.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geofences.records import Records
from geofences.scan import BORDER, INSIDE, Scan
from geofences.tiles import Codes, deinterleave, position

DEPTH = 4  # levels below the tile: squares of about 500 metres. Measured: 3 is as good, 2 and 5 take a quarter longer
SQUARES = 1 << DEPTH  # along a tile's side


def inside(area: shapely.Geometry, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.bool_]:
    """Prepares the area in place, so that no other thread may use it meanwhile, and frees the interpreter's lock."""
    shapely.prepare(area)
    result: NDArray[np.bool_] = shapely.intersects_xy(area, np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    return result


def inside_tiles(
    area: shapely.Geometry, squares: Scan, tiles: Codes, of_each: NDArray[np.int64], held: Records
) -> NDArray[np.bool_]:
    """The same of records, each in the tile of that index, given the area's scan at `ZOOM + DEPTH`."""
    square = (of_each << 2 * DEPTH) | held.squares(DEPTH)
    decided = _decided(squares, tiles, square)[square]
    result: NDArray[np.bool_] = decided == INSIDE
    open_ = np.flatnonzero(decided == BORDER)
    tested = held.take(open_)
    result[open_] = inside(area, *position(tiles[of_each[open_]], tested.x, tested.y))
    return result


def _decided(squares: Scan, tiles: Codes, asked: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What each square of the tiles decides, of those that are asked for; the others mean nothing."""
    is_asked = np.zeros(len(tiles) << 2 * DEPTH, np.bool_)
    is_asked[asked] = True
    used = np.flatnonzero(is_asked)
    column, row = (side.astype(np.int64)[used >> 2 * DEPTH] << DEPTH for side in deinterleave(tiles))
    decided = np.empty(len(is_asked), np.uint8)
    decided[used] = squares.verdicts(column + used % SQUARES, row + (used >> DEPTH) % SQUARES)
    return decided
