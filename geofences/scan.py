"""Finds which points lie in an area or on its border. So a point on the shared border of two areas belongs to both.

Where many points are close together, as in a city, small squares are checked first: a square that no edge crosses
decides for all its points. Only points in the other squares are tested one by one.

Scan conversion finds the cells of one level of the tile pyramid that the area's edges run through, and which other
cells are inside. Along the middle of a row of cells, each crossed edge switches between outside and inside. A cell
without an edge is wholly inside or wholly outside, so the number of crossings before it decides. Edges are straight in
longitude and latitude; rows end at parallels.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geofences.records import Records
from geofences.tiles import Codes, deinterleave, easting, latitude, position, southing

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]

OUTSIDE, INSIDE, BORDER = range(3)
#: Maximum sum, over all edges, of the rows that the edge runs through. An area of many long edges is scanned on coarser cells.
MOST_PIECES = 1_000_000
#: Share of a cell's width. An edge this near to a cell counts as running through it. This is thousands of times the rounding error.
MARGIN = 1e-6
DEPTH = 4  # levels below the tile: squares of about 500 metres. Measured: 3 is as good, 2 and 5 take a quarter longer
SQUARES = 1 << DEPTH  # along a tile's side
#: Maximum number of cached outlines, and their maximum size together in bytes. With all its levels, the outline of a city has 4 to 20 kB,
#: of Spain 450 kB, of Canada 8 MB.
MOST, MOST_BYTES = 256, 16_000_000


class Scan:
    """The cells of one zoom level, compared with an area. Immutable, so threads may share it.

    `edges`: shape (n, 6): longitude and latitude (degrees) of both ends of each edge of the area, then the `southing` of both ends.
    """

    def __init__(self, edges: Floats, zoom: int) -> None:
        lower, upper = np.sort(edges[:, 4:], axis=1).T
        # The finest level on which the edges run through no more than this many rows.
        for coarser in range(zoom + 1):
            side = 1 << (zoom - coarser)
            tops, bottoms = (
                np.clip(np.floor(share * side + margin), 0, side - 1).astype(np.int64)
                for share, margin in ((lower, -MARGIN), (upper, MARGIN))
            )
            if (bottoms - tops + 1).sum() <= MOST_PIECES:
                break
        self._coarser, self._side = coarser, side  # how many levels it is coarser
        count = bottoms - tops + 1
        edge = np.repeat(np.arange(len(tops)), count)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - tops, count)
        pieces = edges[edge]
        self._starts, self._ends = self._marks(pieces, row)
        # Where edges cross the middles of rows, in columns counted on from row to row, ascending; an even number a row.
        middle = latitude((row + 0.5) / self._side)
        crosses = (pieces[:, 1] > middle) != (pieces[:, 3] > middle)
        lon = _along(pieces[crosses], middle[crosses])
        self._crossings = np.sort(easting(lon) * self._side + row[crosses] * float(self._side))
        self.nbytes: int = self._starts.nbytes + self._ends.nbytes + self._crossings.nbytes

    def verdicts(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Returns OUTSIDE, INSIDE or BORDER for each cell, given by column and row. Fastest if the cells are in some order."""
        columns, rows = (side.astype(np.int64) >> self._coarser for side in (columns, rows))
        cells = rows * self._side + columns
        before = np.searchsorted(self._starts, cells, side="right") - 1
        marked = (before >= 0) & (self._ends[before] >= cells)
        inside = np.searchsorted(self._crossings, cells + 0.5) & 1
        return np.where(marked, BORDER, inside).astype(np.uint8)

    def _marks(self, pieces: Floats, row: Cells) -> tuple[Cells, Cells]:
        """Returns the first cell of each piece of an edge, ascending, and the last cell of any piece up to this one."""
        if not len(row):
            return np.full(1, -1, np.int64), np.full(1, -1, np.int64)
        ends = np.sort([_along(pieces, latitude((row + lower) / self._side)) for lower in (0, 1)], axis=0)
        first, last = (
            np.clip(np.floor(easting(lon) * self._side + margin), 0, self._side - 1).astype(np.int64)
            for lon, margin in zip(ends, (-MARGIN, MARGIN), strict=True)
        )
        order = np.argsort(row * self._side + first)
        return (row * self._side + first)[order], np.maximum.accumulate((row * self._side + last)[order])


class Outline:
    """An area that is scanned on each zoom level when that is first used. Threads may share it."""

    def __init__(self, area: shapely.Geometry) -> None:
        # The edges, shape (n, 6): longitude and latitude (degrees, within -180..180) of both ends, then the southings of both ends.
        points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(area)), return_index=True)
        joined = ring[1:] == ring[:-1]
        south = southing(points[:, 1])
        self._edges = np.column_stack([points[:-1][joined], points[1:][joined], south[:-1][joined], south[1:][joined]])
        self._scans: dict[int, Scan] = {}
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Returns the size of its data in bytes, with all levels scanned so far."""
        scans = tuple(self._scans.values())  # a thread may scan another level meanwhile
        return self._edges.nbytes + sum(one.nbytes for one in scans)

    def at(self, zoom: int) -> Scan:
        """Returns the scan of a zoom level, which it makes at the first call."""
        with self._lock:
            if zoom not in self._scans:
                self._scans[zoom] = Scan(self._edges, zoom)
            return self._scans[zoom]


def _along(pieces: Floats, lat: Floats) -> Floats:
    """Returns the longitude at which each edge crosses a parallel, or that of the edge's nearer end if it does not reach the parallel."""
    x, y, to_x, to_y, *_ = pieces.T
    level = to_y == y
    share = np.where(level, lat < y, (lat - y) / np.where(level, 1, to_y - y))
    along: Floats = x + np.clip(share, 0, 1) * (to_x - x)
    return along


def inside(area: shapely.Geometry, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.bool_]:
    """Returns which points lie in an area or on its border. Releases the interpreter's lock.

    Prepares the area in place, so no other thread may use it meanwhile.
    """
    shapely.prepare(area)
    result: NDArray[np.bool_] = shapely.intersects_xy(area, np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    return result


def inside_tiles(
    area: shapely.Geometry, squares: Scan, tiles: Codes, of_each: NDArray[np.int64], held: Records
) -> NDArray[np.bool_]:
    """Returns which records lie in an area or on its border. `squares`: the area's scan at ZOOM + DEPTH. `of_each`: for each record the
    index of its tile in `tiles`. Prepares the area in place.
    """
    square = (of_each << 2 * DEPTH) | held.squares(DEPTH)
    is_asked = np.zeros(len(tiles) << 2 * DEPTH, np.bool_)
    is_asked[square] = True
    used = np.flatnonzero(is_asked)
    column, row = (side.astype(np.int64)[used >> 2 * DEPTH] << DEPTH for side in deinterleave(tiles))
    of_squares = np.empty(len(is_asked), np.uint8)  # only the elements in `used` get a value
    of_squares[used] = squares.verdicts(column + used % SQUARES, row + (used >> DEPTH) % SQUARES)
    decided = of_squares[square]
    result: NDArray[np.bool_] = decided == INSIDE
    open_ = np.flatnonzero(decided == BORDER)
    tested = Records(held.low.take(open_), held.high.take(open_))
    result[open_] = inside(area, *position(tiles[of_each[open_]], tested.x, tested.y))
    return result


class Outlines:
    """A cache of the outlines of recently used areas, by the hash of their shape.

    An area is used several times: while a person draws it, at its approval, for each ring and by later alerts. An outline grows with its
    scanned levels.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept = OrderedDict[bytes, tuple[Outline, int]]()  # with its size in bytes at the last `keep`
        self._bytes = 0

    def get(self, shape: bytes) -> Outline | None:
        """Returns the outline that `keep` stored under a shape's key, or None. Does not count as a use: only `keep`
        does. Any thread may call it.
        """
        one = self._kept.get(shape)
        return one[0] if one else None

    def keep(self, shape: bytes, outline: Outline) -> None:
        """Stores an outline as the most recently used one, and drops the oldest ones over the limits. Skips an outline that alone exceeds
        the limit. Call it only in the event loop.
        """
        self._bytes -= self._kept.pop(shape, (None, 0))[1]
        size = outline.nbytes
        if size > self._most_bytes:
            return
        self._kept[shape] = outline, size
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]
