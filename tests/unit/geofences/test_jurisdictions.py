"""What of an area lies outside a jurisdiction: on two squares of land side by side, in an open sea."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geofences.jurisdictions import BORDER_M, divide, outside
from geofences.polygons import area_km2
from geofences.regions import Kind, Library, Region

WEST, EAST = shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)
DEGREE_M = 111_320  # of longitude at the equator
SHARE = 0.02


def region(code: str, number: int, shape: shapely.Geometry) -> Region:
    return Region(
        code=code, name=code, kind=Kind.COUNTRY, parent=None, country=code, number=number, km2=area_km2(shape),
        source="a test", licence="none", names={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def land() -> Library:
    shapes = np.empty(2, dtype=object)
    shapes[:] = [shapely.MultiPolygon([one]) for one in (WEST, EAST)]
    return Library([region("WE", 1, WEST), region("EA", 2, EAST)], shapes)


def box(*bounds: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(*bounds)])


def test_an_area_inside_lies_inside(land: Library):
    """On the border, too, and with a hole."""
    ring = shapely.difference(box(0, 0, 1, 1), box(0.4, 0.4, 0.6, 0.6))
    for area in (box(0.2, 0.2, 0.8, 0.8), box(0, 0, 1, 1), shapely.MultiPolygon([ring])):
        assert outside(area, WEST, land, most_share=SHARE) is None


def test_what_reaches_over_the_border_is_told_with_its_share(land: Library):
    """By true area, and where it is."""
    found = outside(box(0.5, 0.2, 1.5, 0.8), WEST, land, most_share=SHARE)
    assert found is not None
    assert found.share == pytest.approx(0.5, rel=1e-6)
    assert found.km2 == pytest.approx(area_km2(box(1, 0.2, 1.5, 0.8)), rel=1e-6)
    assert found.geometry.bounds == pytest.approx((1, 0.2, 1.5, 0.8))


def test_open_water_is_nobodys(land: Library):
    """A circle around a harbour goes out to sea; only the neighbour's coast counts, by its share of the land alone."""
    assert outside(box(0.2, -5, 0.8, 0.5), WEST, land, most_share=SHARE) is None
    found = outside(box(0.2, -5, 1.3, 0.5), WEST, land, most_share=SHARE)
    assert found is not None
    assert found.share == pytest.approx(0.3 / 1.1, rel=1e-3)


def test_an_area_that_shares_nothing_is_outside_even_at_sea(land: Library):
    """It is nobody's by land, and not this one's either."""
    for area in (box(1.2, 0.2, 1.4, 0.4), box(10, 10, 11, 11), box(1, 0, 2, 1)):
        found = outside(area, WEST, land, most_share=SHARE)
        assert found is not None
        assert found.share == 1


def test_a_border_drawn_twice_is_no_ground_outside(land: Library):
    """A zigzag of some hundred metres along it."""
    teeth = [(1 + (0.9 if i % 2 else -0.9) * BORDER_M / DEGREE_M, i / 200) for i in range(201)]
    drawn = shapely.MultiPolygon([shapely.Polygon([(0, 0), *teeth, (0, 1)])])
    assert outside(drawn, WEST, land, most_share=SHARE) is None


@pytest.mark.parametrize(
    ("area", "why"),
    [
        (
            box(0, 0, 1 + 2 * BORDER_M / DEGREE_M, 1),
            "a strip wider than borders differ, though a hundredth of the area",
        ),
        (box(0.999, 0.5, 1.001, 0.51), "narrow, but half of the area"),
        (
            shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1.5, 0.5, 1.502, 0.502)]),
            "a village in the middle of the neighbour, narrow and little of the area",
        ),
        (
            shapely.MultiPolygon(
                [shapely.Polygon([(0, 0), (1, 0), (1, 0.5), (1.5, 0.5), (1.5, 0.502), (1, 0.502), (1, 1), (0, 1)])]
            ),
            "a corridor to a village, narrow and little of the area",
        ),
    ],
)
def test_only_a_little_along_the_border_is_no_ground_outside(land: Library, area: shapely.MultiPolygon, why: str):
    """Of a large area a small share is a town, and a small area may lie along a border as a whole."""
    assert outside(area, WEST, land, most_share=SHARE) is not None, why


def test_what_operators_drew_is_no_land_of_its_own(land: Library):
    """A patrol area drawn on the sea makes nobody's water somebody's."""
    sea = shapely.MultiPolygon([shapely.box(0, -3, 1, -1)])
    patrol = Region(
        code="PATROL", name="Patrol", kind=Kind.DRAWN, parent=None, country="", number=1 << 23, km2=area_km2(sea),
        source="drawn", licence="none", names={},
    )  # fmt: skip
    assert outside(box(0.2, -2, 0.8, 0.5), WEST, land.with_drawn([(patrol, sea)]), most_share=SHARE) is None


def test_an_area_is_divided_among_those_whose_it_is(land: Library):
    """Each has its own ground, nothing is lost and nothing is twice; the open water stays with whoever asks."""
    area = box(0.5, -1, 1.5, 0.5)
    found = divide(area, WEST, {"east": EAST}, land, most_share=SHARE)
    assert found.nobodys is None
    assert found.own.area + found.others["east"].geometry.area == pytest.approx(area.area)
    assert found.others["east"].geometry.bounds == pytest.approx((1, 0, 1.5, 0.5))
    assert shapely.intersection(found.own, found.others["east"].geometry).area == pytest.approx(0)


def test_an_area_inside_is_all_ones_own(land: Library):
    """Nobody is asked for it, nor for a border that was drawn twice."""
    for area in (box(0.2, 0.2, 0.8, 0.8), box(0, 0, 1 + 0.9 * BORDER_M / DEGREE_M, 1)):
        found = divide(area, WEST, {"east": EAST}, land, most_share=SHARE)
        assert (found.own, dict(found.others), found.nobodys) == (area, {}, None)


def test_ground_of_two_is_asked_of_both_and_a_strip_of_a_third_of_nobody(land: Library):
    """Who has but a strip along the border is no neighbour of this area."""
    strip = shapely.box(1, 0, 1 + 0.5 * BORDER_M / DEGREE_M, 1)
    others = {"east": EAST, "also": shapely.box(1, 0, 3, 1), "strip": strip}
    found = divide(box(0.5, 0.2, 1.5, 0.8), WEST, others, land, most_share=SHARE)
    assert found.others.keys() == {"east", "also"}
    assert found.others["east"].geometry.equals(found.others["also"].geometry)


def test_what_is_nobodys_is_told_with_where_it_is(land: Library):
    """And where nothing is one's own, nothing is."""
    half = shapely.box(1, 0, 1.5, 1)
    found = divide(box(0.5, 0.2, 2, 0.8), WEST, {"half": half}, land, most_share=SHARE)
    assert found.nobodys is not None
    assert found.nobodys.geometry.bounds == pytest.approx((1.5, 0.2, 2, 0.8))
    assert divide(box(1.2, 0.2, 1.4, 0.8), WEST, {"east": EAST}, land, most_share=SHARE).own.is_empty


def test_the_shore_is_the_neighbours_too(land: Library):
    """Jurisdictions reach out over the water before their land: whoever is on a pier there is asked about as well."""
    east = shapely.box(1, -0.2, 2, 1)
    found = divide(box(0.5, -0.2, 1.5, 0.5), shapely.box(0, -0.2, 1, 1), {"east": east}, land, most_share=SHARE)
    assert found.others["east"].geometry.bounds == pytest.approx((1, -0.2, 1.5, 0.5))
    assert found.others["east"].km2 == pytest.approx(area_km2(box(1, 0, 1.5, 0.5)), rel=1e-6)
    assert found.own.bounds == pytest.approx((0.5, -0.2, 1, 0.5))


def test_a_strip_along_a_border_of_two_others_is_in_no_part(land: Library):
    """It is neither the organisation's own ground nor the neighbour's, and nobody lives in what is so narrow."""
    near = shapely.box(1, 0, 1.5, 1)
    found = divide(box(0, 0, 1.501, 1), WEST, {"near": near}, land, most_share=SHARE)
    assert found.nobodys is None
    assert found.own.bounds == pytest.approx((0, 0, 1, 1))
    assert outside(found.own, WEST, land, most_share=SHARE) is None
