"""Which points in border tiles lie in an area.

Where many points are close together, as in a city, small squares are tested first: a square wholly inside or outside the area
decides for all its points, and only those on the border are tested one by one.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import cover
from geofences.tiles import ZOOM, Codes, Offsets, bounds, interleave, position

DEPTH = 2  # levels below the tile: squares of about two kilometres
SQUARES = 1 << (2 * DEPTH)  # in a tile
#: Testing a square takes as long as testing about ten points, and a good part of all squares decide nothing.
WORTH = 15
_TEST, _INSIDE, _OUTSIDE = 0, 1, 2


def inside(area: shapely.Geometry, tiles: Codes, x: Offsets, y: Offsets) -> NDArray[np.bool_]:
    """Which points (tile, place in it) lie in the area or on its border; quickest if points of a tile follow each other.

    Prepares the area in place, as `cover.inside` does, and gives the same answer.
    """
    shapely.prepare(area)
    first = np.r_[True, tiles[1:] != tiles[:-1]][: len(tiles)]
    square = (np.cumsum(first) - 1) * SQUARES + interleave(x >> (16 - DEPTH), y >> (16 - DEPTH))
    decided = _decided(area, tiles[first], np.bincount(square))[square]
    result: NDArray[np.bool_] = decided == _INSIDE
    open_ = decided == _TEST
    result[open_] = cover.inside(area, *position(tiles[open_], x[open_], y[open_]))
    return result


def _decided(area: shapely.Geometry, tiles: Codes, counts: NDArray[np.intp]) -> NDArray[np.uint8]:
    """What each square of each tile decides for its points, given how many there are."""
    crowded = np.flatnonzero(counts >= WORTH)
    codes = tiles[crowded // SQUARES] * np.uint32(SQUARES) + (crowded % SQUARES).astype(np.uint32)
    boxes = shapely.box(*bounds(codes, ZOOM + DEPTH))
    touched = shapely.intersects(area, boxes)
    decided = np.full(len(counts), _TEST, np.uint8)
    decided[crowded[~touched]] = _OUTSIDE
    decided[crowded[touched][shapely.contains_properly(area, boxes[touched])]] = _INSIDE
    return decided
