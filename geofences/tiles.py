"""Web-mercator tiles of zoom 12: which tile contains a point, and where inside the tile the point is.

A tile code is a 24-bit Morton code: the bits of x are at the even positions, those of y (growing southward, as in slippy maps) at the odd
ones. So the four children of a cell are consecutive, a cell of any coarser level is one range of codes, and the z8 ancestor of a tile is
`code >> 8`. Inside its tile a point is two 16-bit numbers: 0.15 m at the equator, less elsewhere.

Web mercator ends at 85.0511 degrees of latitude. A point beyond is moved to that edge of the map: it is stored and found at 85.0511.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Codes = NDArray[np.uint32]
Word = TypeVar("Word", np.uint32, np.uint64)  # of codes: the longer ones are of levels below the sixteenth
Offsets = NDArray[np.uint16]
Floats = NDArray[np.float64]

ZOOM = 12  # measured: z10 to z12 are equally fast, z14 is three times slower on whole countries
TILES = 1 << (2 * ZOOM)  # one more than the largest code
ANCESTOR_ZOOM = 8
ANCESTOR_SHIFT = 2 * (ZOOM - ANCESTOR_ZOOM)  # from a tile to its ancestor, the unit of placement in a cluster
STEPS = 1 << (ZOOM + 16)  # cells along one side of the world
LAST_LATITUDE = 85.05112877980659  # where web mercator's square ends: degrees(atan(sinh(pi)))
_LAST = math.radians(LAST_LATITUDE)


def locate(lon: ArrayLike, lat: ArrayLike) -> tuple[Codes, Offsets, Offsets]:
    """Returns the tile code of each point (degrees, lon -180..180), and its position in the tile: x eastward and y southward, 16 bits each."""
    x = _cells(easting(lon))
    y = _cells(southing(lat))
    tile = interleave((x >> 16).astype(np.uint32), (y >> 16).astype(np.uint32))
    return tile, (x & 0xFFFF).astype(np.uint16), (y & 0xFFFF).astype(np.uint16)


def locate_one(lon: float, lat: float) -> tuple[int, int, int]:
    """Returns the same as `locate` for one point; twenty times as fast."""
    north = math.radians(lat)
    north = min(max(north, -_LAST), _LAST)
    x, y = (
        min(max(math.floor(share * STEPS), 0), STEPS - 1)
        for share in (lon / 360 + 0.5, 0.5 - math.atanh(math.sin(north)) / (2 * math.pi))
    )
    return _spread_one(x >> 16) | _spread_one(y >> 16) << 1, x & 0xFFFF, y & 0xFFFF


def position(tile: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Returns the longitude and latitude (degrees) of the centre of each position in a tile: at most 0.11 m from the point that `locate`
    was given.
    """
    column, row = deinterleave(np.asarray(tile, np.uint32))
    east = (column.astype(np.float64) * 65536 + np.asarray(x, np.float64) + 0.5) / STEPS
    south = (row.astype(np.float64) * 65536 + np.asarray(y, np.float64) + 0.5) / STEPS
    return east * 360 - 180, latitude(south)


def bounds(code: ArrayLike, zoom: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns the west, south, east and north edge (degrees) of each cell of a zoom level, given by its Morton code on that level."""
    column, row = deinterleave(np.asarray(code, np.uint32))
    x, y = column.astype(np.float64) / (1 << zoom), row.astype(np.float64) / (1 << zoom)
    side = 1 / (1 << zoom)  # a power of two, so neighbours share their edges to the last bit
    return x * 360 - 180, latitude(y + side), (x + side) * 360 - 180, latitude(y)


def easting(lon: ArrayLike) -> Floats:
    """Returns the distance from the west edge of the map to each longitude (degrees), as a share of the world's side (0 to 1)."""
    return np.asarray(lon, np.float64) / 360 + 0.5


def southing(lat: ArrayLike) -> Floats:
    """Returns the distance from the map's northern edge to each latitude (degrees), as a share of the world's side; 0 or 1 beyond the map."""
    north = np.radians(np.asarray(lat, np.float64))
    share: Floats = 0.5 - np.arctanh(np.sin(np.clip(north, -_LAST, _LAST))) / (2 * np.pi)
    return np.clip(share, 0, 1)


def latitude(share: Floats) -> Floats:
    """Returns the latitude (degrees) for each result of `southing`."""
    result: Floats = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * share))))
    return result


def interleave(x: NDArray[Word], y: NDArray[Word]) -> NDArray[Word]:
    """Returns the Morton code of each column and row. Both may have half as many bits as the code's type."""
    return _spread(x) | (_spread(y) << y.dtype.type(1))


def deinterleave(code: NDArray[Word]) -> tuple[NDArray[Word], NDArray[Word]]:
    """Returns the column and the row of each Morton code."""
    return _gather(code), _gather(code >> code.dtype.type(1))


def _cells(share: Floats) -> NDArray[np.int64]:
    """Returns shares of the world's side (0 to 1) as cell numbers. The far edge belongs to the last cell."""
    return np.clip(np.floor(share * STEPS), 0, STEPS - 1).astype(np.int64)


#: Masks for spreading the bits of a number to the even positions, and for gathering them again. Between two neighbouring masks the bits
#: move by 1, 2, 4, and so on.
_EVERY_MASK = (
    0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF,
)  # fmt: skip
_MASKS: dict[Any, tuple[Any, ...]] = {
    np.uint32: tuple(np.uint32(mask & 0xFFFFFFFF) for mask in _EVERY_MASK[:5]),
    np.uint64: tuple(map(np.uint64, _EVERY_MASK)),
}


def _spread(bits: NDArray[Word]) -> NDArray[Word]:
    masks = _MASKS[bits.dtype.type]
    for i in reversed(range(len(masks) - 1)):
        bits = (bits | (bits << (1 << i))) & masks[i]
    return bits


def _spread_one(value: int) -> int:
    for i in (3, 2, 1, 0):
        value = (value | value << (1 << i)) & _EVERY_MASK[i]
    return value


def _gather(code: NDArray[Word]) -> NDArray[Word]:
    first, *others = _MASKS[code.dtype.type]
    bits: NDArray[Word] = code & first
    for i, mask in enumerate(others):
        bits = (bits | (bits >> (1 << i))) & mask
    return bits
