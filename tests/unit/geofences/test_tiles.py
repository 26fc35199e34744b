from __future__ import annotations

import math

import numpy as np
import pyproj
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofences import cover, tiles

POINTS = st.tuples(st.floats(-180, 180), st.floats(-85, 85))


@given(st.lists(POINTS, min_size=1, max_size=50))
def test_round_trip(points):
    """A point read back from its tile lies within 0.15 m of where it was put."""
    lon, lat = np.array(points).T
    back = tiles.position(*tiles.locate(lon, lat))
    _, _, metres = pyproj.Geod(ellps="WGS84").inv(lon, lat, *back)
    assert np.max(metres) <= 0.15


def test_codes_are_slippy_tiles_in_morton_order():
    """A point's column and row are those of slippy maps, and the code interleaves the two, x lowest."""
    code, _, _ = tiles.locate(-5.98, 37.39)
    row = int((1 - math.asinh(math.tan(math.radians(37.39))) / math.pi) / 2 * 4096)
    assert [int(v) for v in tiles.deinterleave(code)] == [int((180 - 5.98) / 360 * 4096), row]
    assert int(tiles.interleave(np.array([1]), np.array([0]))[0]) == 1
    assert int(tiles.interleave(np.array([0]), np.array([1]))[0]) == 2


def test_the_poles_are_put_on_the_edge_of_the_map():
    """A point beyond 85.0511 degrees is kept at the edge, and a point at 180 in the last tile."""
    code, _, _ = tiles.locate([0, 0, 180], [90, -90, 0])
    assert [int(y) for y in tiles.deinterleave(code)[1]] == [0, 4095, 2048]
    assert int(tiles.deinterleave(code)[0][2]) == 4095
    assert tiles.position(code, 0, 0)[1][0] < tiles.LAST_LATITUDE


@st.composite
def blobs(draw):
    """A star-shaped polygon somewhere, from metres to a quarter of the world."""
    lon, lat = draw(st.floats(-100, 100)), draw(st.floats(-40, 40))
    size = draw(st.floats(0.001, 40))
    radii = np.array(draw(st.lists(st.floats(0.2, 1), min_size=3, max_size=12))) * size
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return shapely.Polygon(np.column_stack([lon + radii * np.cos(angles), lat + radii * np.sin(angles)]))


@settings(max_examples=60, deadline=None)
@given(blobs(), st.integers(0, 2**32 - 1))
def test_inner_tiles_need_no_test_and_nobody_is_outside_the_cover(area, seed):
    """Every stored point inside an area is in its cover, and every point of an inner tile is inside the area."""
    west, south, east, north = area.bounds
    random = np.random.default_rng(seed)
    code, x, y = tiles.locate(random.uniform(west, east, 500), random.uniform(south, north, 500))
    truth = cover.inside(area, *tiles.position(code, x, y))
    found = cover.cover(area, border_cells=64)
    inner, border = (np.isin(code, part) for part in cover.select(found, np.unique(code)))
    assert not (inner & border).any()
    assert truth[inner].all()
    assert not truth[~inner & ~border].any()
    assert np.isin(code[inner | border] >> tiles.ANCESTOR_SHIFT, cover.z8_ancestors(found)).all()


def test_a_cover_stops_when_its_border_is_long():
    """The cover of half the world is a few thousand ranges at most, merged and disjoint."""
    found = cover.cover(shapely.Point(0, 0).buffer(80, quad_segs=500))
    assert len(found.border) < 4 * cover.BORDER_CELLS
    for ranges in (found.inner, found.border):
        assert (ranges[1:, 0] > ranges[:-1, 1]).all()


def test_a_point_on_a_shared_border_belongs_to_both():
    """Nobody who stands on the line between two regions is left out of either."""
    assert cover.inside(shapely.box(0, 0, 1, 1), [1.0], [0.5])[0]
    assert cover.inside(shapely.box(1, 0, 2, 1), [1.0], [0.5])[0]
