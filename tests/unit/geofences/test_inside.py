"""Points in border tiles: squares decide for many at once, and never otherwise than the points themselves."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofences import records, scan, tiles
from geofences.scan import DEPTH, inside, inside_tiles


@st.composite
def areas(draw):
    """Two star-shaped polygons around Sevilla, one perhaps a hole in the other, from a street to a few tiles."""
    stars = []
    for _ in range(2):
        lon, lat, size = draw(st.floats(-6.1, -5.9)), draw(st.floats(37.3, 37.5)), draw(st.floats(0.001, 0.3))
        radii = np.array(draw(st.lists(st.floats(0.2, 1), min_size=3, max_size=12))) * size
        angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
        stars.append(shapely.Polygon(np.column_stack([lon + radii * np.cos(angles), lat + radii * np.sin(angles)])))
    return shapely.make_valid(draw(st.sampled_from([shapely.union, shapely.difference]))(*stars))


def squares(area) -> scan.Scan:
    return scan.Outline(area).at(tiles.ZOOM + DEPTH)


@settings(max_examples=60, deadline=None)
@given(areas(), st.integers(0, 2**32 - 1), st.sampled_from([10, 5_000, 40_000]), st.booleans())
def test_squares_decide_as_the_points_do(area, seed, count, tiles_in_order):
    """Crowded or not, and in whatever order the points come."""
    random = np.random.default_rng(seed)
    code, x, y = tiles.locate(random.normal(-6, 0.05, count), random.normal(37.4, 0.05, count))
    if tiles_in_order:
        order = np.argsort(code)
        code, x, y = code[order], x[order], y[order]
    truth = inside(area, *tiles.position(code, x, y))
    of_them, of_each = np.unique(code, return_inverse=True)
    held = records.unpack(records.pack(1, x, y, 0, 0))
    assert np.array_equal(inside_tiles(area, squares(area), of_them, of_each, held), truth)


def test_nobody_is_nobody():
    """Tiles that are empty by now."""
    box = shapely.box(0, 0, 1, 1)
    tile, nobody = np.zeros(1, np.uint32), np.empty(0, np.int64)
    assert len(inside_tiles(box, squares(box), tile, nobody, records.unpack(b""))) == 0
