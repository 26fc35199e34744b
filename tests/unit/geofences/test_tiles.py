from __future__ import annotations

import math

import numpy as np
import pyproj
from hypothesis import example, given
from hypothesis import strategies as st

from geofences import tiles

POINTS = st.tuples(st.floats(-180, 180), st.floats(-85, 85))


@given(st.lists(POINTS, min_size=1, max_size=50))
def test_round_trip(points):
    """A point read back from its tile lies within 0.15 m of where it was put."""
    lon, lat = np.array(points).T
    back = tiles.position(*tiles.locate(lon, lat))
    _, _, metres = pyproj.Geod(ellps="WGS84").inv(lon, lat, *back)
    assert np.max(metres) <= 0.15


@given(st.tuples(st.floats(-180, 180), st.floats(-90, 90)))
@example((180.0, 90.0))
@example((-180.0, -90.0))
def test_one_point_is_located_as_many_are(point):
    """In the same cell, or beside it if it lies on their border to the last bit."""
    code, x, y = (int(of_many) for of_many in tiles.locate(*point))
    one, east, south = tiles.locate_one(*point)
    columns, rows = tiles.deinterleave(np.array([code, one], np.uint32))
    for cells, offsets in ((columns, (x, east)), (rows, (y, south))):
        first, second = (int(cell) << 16 | offset for cell, offset in zip(cells, offsets, strict=True))
        assert abs(first - second) <= 1


def test_codes_are_slippy_tiles_in_morton_order():
    """A point's column and row are those of slippy maps, and the code interleaves the two, x lowest."""
    code, _, _ = tiles.locate(-5.98, 37.39)
    row = int((1 - math.asinh(math.tan(math.radians(37.39))) / math.pi) / 2 * 4096)
    assert [int(v) for v in tiles.deinterleave(code)] == [int((180 - 5.98) / 360 * 4096), row]
    assert int(tiles.interleave(np.array([1], np.uint32), np.array([0], np.uint32))[0]) == 1
    assert int(tiles.interleave(np.array([0], np.uint32), np.array([1], np.uint32))[0]) == 2


def test_the_poles_are_put_on_the_edge_of_the_map():
    """A point beyond 85.0511 degrees is kept at the edge, and a point at 180 in the last tile."""
    code, _, _ = tiles.locate([0, 0, 180], [90, -90, 0])
    assert [int(y) for y in tiles.deinterleave(code)[1]] == [0, 4095, 2048]
    assert int(tiles.deinterleave(code)[0][2]) == 4095
    assert tiles.position(code, 0, 0)[1][0] < tiles.LAST_LATITUDE
