"""Areas as CAP can hold them: covered whole, in few positions, with their holes left out."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon, box

from alertd.model.cap.outlines import MOST_POLYGONS, MOST_POSITIONS, outlines
from geofences.regions import Library
from geofences.targets import Target, resolve


def together(rings: tuple[tuple[tuple[float, float], ...], ...]) -> shapely.Geometry:
    return shapely.union_all([Polygon(ring) for ring in rings])


@pytest.mark.parametrize("code", ["41091", "ES-SE", "ES", "NO", "FJ", "US", "CA"])
def test_real_regions_are_covered_in_few_positions(code: str, library: Library):
    """Nobody who is inside a city, a coast of fjords or islands across the antimeridian is left out by what is written."""
    area = library.geometry(code)
    rings = outlines(area)
    assert len(rings) <= MOST_POLYGONS
    assert all(4 <= len(ring) <= MOST_POSITIONS and ring[0] == ring[-1] for ring in rings)
    assert all(Polygon(ring).is_valid for ring in rings)
    whole = together(rings)
    assert shapely.covers(shapely.buffer(whole, 2e-7), area)  # rounded to a centimetre
    assert whole.area < 1.5 * area.area
    assert whole.bounds[0] >= -180
    assert whole.bounds[2] <= 180


@pytest.mark.parametrize("code", ["07023", "CH-6076", "NZ-CAN", "US-48355"])
def test_no_ring_crosses_itself_by_what_it_is_rounded_to(code: str, library: Library):
    """A gateway refuses a ring that does. Regions with their shores have many edges closer than what is written."""
    area = resolve(Target(regions=(code,)), library).geometry
    rings = outlines(area)
    assert all(Polygon(ring).is_valid and len(ring) <= MOST_POSITIONS for ring in rings)
    assert len(rings) <= MOST_POLYGONS
    lost = shapely.difference(area, together(rings))
    assert shapely.buffer(lost, -2e-7).is_empty  # wider than a centimetre or two


def test_an_area_that_is_simple_is_written_as_it_is():
    """A drawn square is that square."""
    square = box(-6.02, 37.36, -5.95, 37.40)
    (ring,) = outlines(MultiPolygon([square]))
    assert Polygon(ring).equals(square)


def test_holes_are_cut_out():
    """A polygon of CAP has no holes, so the ground around them is told in pieces, and they stay outside."""
    around = Point(0, 0).buffer(1, 20)
    holes = [Point(0.5 * np.cos(a), 0.5 * np.sin(a)).buffer(0.15, 20) for a in np.arange(0, 2 * np.pi, 1)]
    area = MultiPolygon([around.difference(shapely.union_all(holes))])
    rings = outlines(area)
    assert together(rings).area == pytest.approx(area.area, rel=1e-6)
    assert not any(shapely.contains_xy(together(rings), hole.centroid.x, hole.centroid.y) for hole in holes)
    overlap = sum(Polygon(ring).area for ring in rings) - together(rings).area
    assert overlap == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("apart", "most"), [(10, MOST_POLYGONS), (10, 3), (5, MOST_POLYGONS)])
def test_what_cannot_be_told_simply_is_told_by_what_holds_it(apart: int, most: int):
    """A thousand islets over half the world become the ground that holds them; of thousands more, the box around all."""
    islets = MultiPolygon(
        [box(x, y, x + 0.01, y + 0.01) for x in range(-170, 170, apart) for y in range(-80, 80, apart // 2)]
    )
    rings = outlines(islets, most)
    assert len(rings) <= most
    assert shapely.covers(together(rings), islets)
