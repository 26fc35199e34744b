"""Which cells an area's edges run through, and which of the others are inside."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofences import scan, tiles
from geofences.scan import BORDER, INSIDE, OUTSIDE, inside


def verdicts(area: shapely.Geometry, zoom: int, *cells):
    return scan.Outline(area).at(zoom).verdicts(*(np.array(side) for side in cells))


def grid(zoom: int):
    """Every cell of a level: columns, rows."""
    return (side.ravel() for side in np.meshgrid(np.arange(1 << zoom), np.arange(1 << zoom)))


@st.composite
def blobs(draw):
    """A star-shaped polygon somewhere, from metres to a quarter of the world, perhaps with one cut out of it."""
    stars = []
    for _ in range(2):
        lon, lat = draw(st.floats(-100, 100)), draw(st.floats(-40, 40))
        size = draw(st.floats(0.001, 40))
        radii = np.array(draw(st.lists(st.floats(0.2, 1), min_size=3, max_size=12))) * size
        angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
        stars.append(shapely.Polygon(np.column_stack([lon + radii * np.cos(angles), lat + radii * np.sin(angles)])))
    return shapely.make_valid(draw(st.sampled_from([shapely.union, shapely.difference]))(*stars))


@settings(max_examples=100, deadline=None)
@given(blobs(), st.integers(0, 2**32 - 1), st.sampled_from([3, 8, 12]))
def test_what_no_edge_runs_through_is_all_of_one_kind(area, seed, zoom):
    """Every stored point in an inside cell is inside the area, and in an outside cell none is."""
    if area.is_empty:
        return
    west, south, east, north = area.bounds
    random = np.random.default_rng(seed)
    code, x, y = tiles.locate(random.uniform(west, east, 500), random.uniform(south, north, 500))
    truth = inside(area, *tiles.position(code, x, y))
    found = verdicts(area, zoom, *(side >> (tiles.ZOOM - zoom) for side in tiles.deinterleave(code)))
    assert truth[found == INSIDE].all()
    assert not truth[found == OUTSIDE].any()


@pytest.mark.parametrize(
    "area",
    [
        shapely.box(0, 0, 22.5, 21.943045533438166),  # its sides are those of tiles
        shapely.box(-180, -85.05112877980659, 180, 85.05112877980659),
        shapely.box(-180, -90, 180, 90),
        shapely.box(-180, 60, 180, 90),
        shapely.box(170, -10, 180, 10) | shapely.box(-180, -10, -170, 10),
        shapely.Polygon([(-5, 40), (5, 40 + 1e-13), (5, 50), (-5, 50)]),  # an edge that a parallel is almost along
        shapely.Polygon([(-10, 0), (0, 10), (10, 0), (0, -10)]),  # corners on lines of the grid
        shapely.box(0, 0, 40, 40) - shapely.box(10, 10, 30, 30),
        shapely.Point(0, 0).buffer(80, quad_segs=500),
    ],
)
def test_every_cell_of_a_coarse_level_is_as_geometry_says(area):
    """A cell is inside, outside or touched by an edge, and no cell that no edge comes near is called border."""
    zoom = 7
    columns, rows = grid(zoom)
    codes = tiles.interleave(columns.astype(np.uint32), rows.astype(np.uint32))
    cells = shapely.box(*tiles.bounds(codes, zoom))
    found = verdicts(area, zoom, columns, rows)
    assert shapely.contains(area, cells[found == INSIDE]).all()
    assert not shapely.intersects(area, shapely.centroid(cells[found == OUTSIDE])).any()
    assert (shapely.distance(shapely.boundary(area), cells[found == BORDER]) < 1e-4).all()


def test_an_area_of_many_long_edges_is_drawn_onto_coarser_cells():
    """A comb of 40,000 teeth from the equator to 60 degrees takes no more room than the limit, and loses nobody."""
    teeth = np.arange(40_000)
    west = -179 + teeth * 0.008
    comb = np.column_stack([np.repeat(west, 2), np.tile([0.0, 60.0], len(teeth))])
    comb[1::2, 0] += 0.004
    area = shapely.Polygon([*comb, (comb[-1, 0], -1), (-179, -1)])
    random = np.random.default_rng(1)
    code, x, y = tiles.locate(random.uniform(-179, 140, 5_000), random.uniform(-40, 80, 5_000))
    truth = inside(area, *tiles.position(code, x, y))
    drawn = scan.Outline(area).at(tiles.ZOOM)
    found = drawn.verdicts(*tiles.deinterleave(code))
    assert truth[found == INSIDE].all()
    assert not truth[found == OUTSIDE].any()
    assert (found == OUTSIDE).any()


def test_nothing_is_outside_everywhere():
    """An area without polygons holds no cell."""
    assert verdicts(shapely.MultiPolygon(), 12, [0, 5], [0, 9]).tolist() == [OUTSIDE, OUTSIDE]


def test_a_point_on_a_shared_border_belongs_to_both():
    """Nobody who stands on the line between two regions is left out of either."""
    assert inside(shapely.box(0, 0, 1, 1), [1.0], [0.5])[0]
    assert inside(shapely.box(1, 0, 2, 1), [1.0], [0.5])[0]
