"""Which tiles an area covers: a quadtree descent that tells tiles wholly inside from those on the border.

Tiles wholly inside need no test of their points; only those on the border do. The descent stops at the tiles, or sooner when
the border has become long: a few coarse border cells cost less than thousands of fine ones, since testing a point is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geofences.tiles import ANCESTOR_SHIFT, TILES, ZOOM, Codes, bounds

# Measured on the UK (7,162 vertices): 256 cells take 2-3 ms, 1,024 10-20 ms, 4,096 40 ms, and save nothing at the query.
BORDER_CELLS = 512
CHILDREN = np.array([0, 1, 2, 3], np.uint32)  # of a cell of Morton code c: 4 c plus these


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Half-open ranges of z12 tile codes, sorted, disjoint and merged, shape (n, 2); no tile is in both."""

    inner: Codes  # wholly inside the area
    border: Codes  # everything else that the area may touch


def cover(geometry: shapely.Geometry, *, border_cells: int = BORDER_CELLS, zoom: int = ZOOM) -> Cover:
    """The tiles of an area (lon/lat, within -180..180). A tile that touches the area's border counts as border. With a lower
    `zoom` the descent stops there, and the tiles of such a coarse cell are all of its kind.

    The geometry is prepared in place, so it must not be used by another thread meanwhile.
    """
    shapely.prepare(geometry)
    inner: list[Codes] = []
    border: Codes = np.array([0], np.uint32)
    for level in range(zoom + 1):
        if level:
            border = (border[:, None] * np.uint32(4) + CHILDREN).ravel()
        cells = shapely.box(*bounds(border, level))
        touched = shapely.intersects(geometry, cells)
        border, cells = border[touched], cells[touched]
        whole = shapely.contains_properly(geometry, cells)
        inner.append(_ranges(border[whole], level))
        border = border[~whole]
        if len(border) > border_cells:
            break
    return Cover(inner=_merge(np.concatenate(inner)), border=_merge(_ranges(border, level)))


def z8_ancestors(found: Cover) -> Codes:
    """The z8 ancestors of all tiles of a cover, sorted, each once."""
    both = np.concatenate([found.inner, found.border])
    first, last = both[:, 0] >> ANCESTOR_SHIFT, (both[:, 1] - 1) >> ANCESTOR_SHIFT
    marks = np.zeros((TILES >> ANCESTOR_SHIFT) + 1, np.int32)
    np.add.at(marks, first, 1)
    np.add.at(marks, last + 1, -1)
    return np.flatnonzero(np.cumsum(marks)).astype(np.uint32)


def select(found: Cover, tiles: Codes) -> tuple[Codes, Codes]:
    """Those of the sorted `tiles` that are inner, and those that are border."""
    return tiles[_within(found.inner, tiles)], tiles[_within(found.border, tiles)]


def inside(geometry: shapely.Geometry, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.bool_]:
    """Which points lie in the area or on its border: a point on the shared border of two regions belongs to both.

    Prepares the geometry in place, as `cover` does, and frees the interpreter's lock: run it in a thread.
    """
    shapely.prepare(geometry)
    result: NDArray[np.bool_] = shapely.intersects_xy(
        geometry, np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    )
    return result


def _ranges(codes: Codes, zoom: int) -> Codes:
    shift = np.uint32(2 * (ZOOM - zoom))
    return np.stack([codes << shift, (codes + np.uint32(1)) << shift], axis=1).astype(np.uint32)


def _merge(ranges: Codes) -> Codes:
    """Disjoint ranges, sorted, those that touch made one."""
    if not len(ranges):
        return ranges
    ordered = ranges[np.argsort(ranges[:, 0])]
    starts = np.r_[True, ordered[1:, 0] != ordered[:-1, 1]]
    ends = np.r_[starts[1:], True]
    return np.stack([ordered[starts, 0], ordered[ends, 1]], axis=1)


def _within(ranges: Codes, tiles: Codes) -> NDArray[np.bool_]:
    if not len(ranges):
        return np.zeros(len(tiles), bool)
    nearest = np.searchsorted(ranges[:, 0], tiles, side="right") - 1
    result: NDArray[np.bool_] = (nearest >= 0) & (tiles < ranges[np.maximum(nearest, 0), 1])
    return result
