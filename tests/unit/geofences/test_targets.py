from __future__ import annotations

import time

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofences.circles import Circle, circle
from geofences.errors import InvalidGeometry, TargetErrors, TooManyVertices, UnknownRegion
from geofences.polygons import area_km2
from geofences.regions import Ground
from geofences.shapes import polygon
from geofences.targets import Selection, Target, resolve

GEOD = pyproj.Geod(ellps="WGS84")
SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]


class TwoRegions:
    """A library of two squares side by side."""

    def codes(self, code):
        if code not in ("A", "B"):
            raise UnknownRegion("", code, ("A",))
        return (code,)

    def ground(self, codes, *, inwards=False):  # noqa: ARG002  squares have no shore
        squares = {"A": shapely.box(0, 0, 1, 1), "B": shapely.box(1, 0, 2, 1)}
        return Ground(outline=shapely.union_all([squares[code] for code in codes]), shore=shapely.MultiPolygon())


def test_regions_that_adjoin_become_one_area():
    """The union of two squares, less a bite, is one valid multipolygon of the right size."""
    area = resolve(
        Target(regions=("A", "B"), exclude=Selection(polygons=([[0, 0], [0.5, 0], [0.5, 1], [0, 1], [0, 0]],))),
        TwoRegions(),
    )
    assert area.geometry.geom_type == "MultiPolygon"
    assert area.geometry.is_valid
    assert len(area.geometry.geoms) == 1
    assert area.geometry.area == pytest.approx(1.5)
    assert area.km2 == pytest.approx(area_km2(shapely.box(0.5, 0, 2, 1)))
    assert area.repairs == ()


def test_all_faults_are_told_at_once():
    """Each fault of a target has its own pointer and says what to do."""
    target = Target(
        regions=("A", "Z"),
        polygons=([[0, 0], [1, 1]], SQUARE),
        circles=(Circle(lon_lat=(0, 0), radius_km=0),),
        exclude=Selection(regions=("Q",)),
    )
    with pytest.raises(TargetErrors) as caught:
        resolve(target, TwoRegions())
    assert [error.pointer for error in caught.value.errors] == [
        "/regions/1",
        "/polygons/0",
        "/circles/0/radius_km",
        "/exclude/regions/0",
    ]
    assert caught.value.errors[0].nearest == ("A",)


def test_a_list_of_nonsense_is_not_searched_to_its_end():
    """After twenty unknown codes the rest is not looked at, and that is said."""
    with pytest.raises(TargetErrors) as caught:
        resolve(Target(regions=("Z",) * 5000), TwoRegions())
    assert len(caught.value.errors) == 21
    assert "not looked at" in caught.value.errors[-1].why


@pytest.mark.parametrize(
    ("target", "pointer"), [(Target(), ""), (Target(regions=("A",), exclude=Selection(regions=("A",))), "/exclude")]
)
def test_an_area_of_nothing_is_a_fault(target, pointer):
    """A target that names nothing, or excludes all of itself, is refused."""
    with pytest.raises(TargetErrors) as caught:
        resolve(target, TwoRegions())
    assert [error.pointer for error in caught.value.errors] == [pointer]


@pytest.mark.parametrize(
    "written",
    [
        SQUARE,
        [SQUARE],
        {"type": "Polygon", "coordinates": [SQUARE]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
    ],
)
def test_every_way_to_write_a_polygon(written):
    """A ring, a list of rings and both GeoJSON types give the same area, without a repair."""
    outline = polygon(written)
    assert outline.geometry.equals(shapely.box(0, 0, 2, 2))
    assert outline.repairs == ()


def test_holes_and_heights():
    """A second ring is a hole, and a third coordinate is dropped."""
    hole = [[0.5, 0.5, 9], [1.5, 0.5, 9], [1.5, 1.5, 9], [0.5, 1.5, 9], [0.5, 0.5, 9]]
    geometry = polygon([SQUARE, hole]).geometry
    assert geometry.area == pytest.approx(3)
    assert not geometry.has_z


@pytest.mark.parametrize(
    ("ring", "parts", "says"),
    [
        (SQUARE[:-1], 1, "open"),
        ([[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]], 2, "crossed"),
    ],
)
def test_what_can_be_mended_is_mended_and_told(ring, parts, says):
    """An open ring is closed and a bow-tie becomes two triangles; the operator is told of both."""
    outline = polygon(ring, "/polygons/0")
    assert outline.geometry.is_valid
    assert len(shapely.get_parts(outline.geometry)) == parts
    assert [says in repair.what for repair in outline.repairs] == [True]


def test_the_middle_of_a_star_stays_inside():
    """A pentagram drawn in one stroke encloses its own middle."""
    turns = np.radians(90 + 144 * np.arange(6))
    assert polygon(np.column_stack([np.cos(turns), np.sin(turns)]).tolist()).geometry.contains(shapely.Point(0, 0))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "empty"),
        ([[]], "empty"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "Feature", "geometry": None}, "send its geometry"),
        (None, "empty"),
        ("POLYGON", "empty"),
        ([[0, 0], [1, 1]], "at least three"),
        ([[0, 0], [1, 1], [2, 2], [0, 0]], "encloses nothing"),
        ([[0, 0], [float("nan"), 1], [1, 1]], "finite"),
        ([[0, 0], [float("inf"), 1], [1, 1]], "finite"),
        ([[0, 0], [10**400, 1], [1, 1]], "too large"),
        ([[0, 0], ["1", 1], [1, 1]], "two numbers"),
        ([[0, 0], [1], [1, 1]], "two numbers"),
        ([[0, 0], [1, True], [1, 1]], "two numbers"),
        ([[0, 0], [1, 91], [2, 0]], "swapped"),
        ([[170, 0], [171, 91], [172, 0]], "between -90 and 90"),
        ([[541, 0], [542, 1], [541, 1]], "between -180 and 180"),
        ([[177, -18], [-178, -18], [-178, -16], [177, -16]], "Which way round"),
    ],
)
def test_what_cannot_be_mended_is_refused_with_a_reason(value, says):
    """Bad input is an InvalidGeometry that says what is wrong, never another exception."""
    with pytest.raises(InvalidGeometry, match=says):
        polygon(value, "/polygons/0")


def test_too_many_vertices():
    """More than 100,000 vertices are refused before they are looked at."""
    with pytest.raises(TooManyVertices):
        polygon([[0, 0]] * 100_001)


def test_malice_does_not_hold_a_worker():
    """Outlines that would take minutes to validate, mend or unite are refused in about a second."""
    slant = np.arange(20_000)
    comb = [*np.column_stack([slant / 20000 + slant % 2, slant % 2]).tolist(), [3, -1], [-1, -1]]
    scribble = np.random.default_rng(1).uniform(0, 1, (4_000, 2)).tolist()
    began = time.monotonic()
    for ring, says in ((comb, "too tangled"), (scribble, "tangled"), (scribble[:600], "too often")):
        with pytest.raises(InvalidGeometry, match=says):
            polygon(ring)
    teeth = np.arange(1_000)
    across = [*np.column_stack([teeth / 1000, teeth % 2]).tolist(), [1, -1], [0, -1]]
    down = [[lat, lon] for lon, lat in across]
    with pytest.raises(TargetErrors, match="cross each other"):
        resolve(Target(polygons=(across, down)), TwoRegions())
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("turn", [0, -360])
def test_across_the_antimeridian(turn):
    """A ring from 177 to 182 covers both sides of 180 and not the rest of the world."""
    outline = polygon([[177 + turn, -18], [182 + turn, -18], [182 + turn, -16], [177 + turn, -16], [177 + turn, -18]])
    assert outline.geometry.bounds == (-180, -18, 180, -16)
    assert outline.geometry.area == pytest.approx(10)
    assert shapely.intersects_xy(outline.geometry, [179.5, -179.5, 0], [-17, -17, -17]).tolist() == [True, True, False]


@settings(max_examples=80, deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(0.01, 5000))
def test_a_circle_loses_nobody_inside_and_takes_few_outside(lon, lat, radius_km):
    """Everyone within the radius on the ellipsoid is in the polygon; nobody 0.5 % further out is, away from the poles."""
    area = circle(Circle(lon_lat=(lon, lat), radius_km=radius_km)).geometry
    assert area.is_valid
    bearings = np.linspace(-180, 180, 333)
    east, north, _ = GEOD.fwd(*(np.full(333, v) for v in (lon, lat)), bearings, np.full(333, radius_km * 1000))
    assert shapely.intersects_xy(area, east, north).all()
    if abs(lat) < 60 and radius_km < 2000:
        east, north, _ = GEOD.fwd(*(np.full(333, v) for v in (lon, lat)), bearings, np.full(333, radius_km * 1005))
        assert not shapely.intersects_xy(area, east, north).any()


@pytest.mark.parametrize(
    ("centre", "radius_km"),
    [((float("nan"), 0), 1), ((37, 120), 1), ((0, 0), 0), ((0, 0), -1), ((0, 0), 6000), ((0, 0), float("nan"))],
)
def test_a_circle_that_is_none(centre, radius_km):
    """A centre off the earth and a radius that makes no area are refused."""
    with pytest.raises(InvalidGeometry):
        circle(Circle(lon_lat=centre, radius_km=radius_km))


@pytest.mark.parametrize(
    "shape", [shapely.box(-6.1, 37.2, -5.8, 37.5), shapely.box(-100, -80, 60, 85), shapely.Point(24, 68).buffer(7)]
)
def test_true_areas(shape):
    """Areas are those of the ellipsoid, long edges included."""
    truth = abs(GEOD.geometry_area_perimeter(shapely.segmentize(shape, 0.05))[0]) / 1e6
    assert area_km2(shape) == pytest.approx(truth, rel=1e-5)


def test_a_hole_has_no_area():
    """What is cut out of a polygon does not count, and parts of a multipolygon add up."""
    ring = shapely.difference(shapely.box(0, 0, 2, 2), shapely.box(0.5, 0.5, 1, 1))
    both = shapely.MultiPolygon([*shapely.get_parts(ring), shapely.box(5, 5, 6, 6)])
    whole, hole, far = (area_km2(shapely.box(*b)) for b in ((0, 0, 2, 2), (0.5, 0.5, 1, 1), (5, 5, 6, 6)))
    assert area_km2(both) == pytest.approx(whole - hole + far)


BESIDE = [[3, 0], [4, 0], [4, 1], [3, 1], [3, 0]]


@pytest.mark.parametrize(
    ("exclude", "pointer"),
    [
        (Selection(circles=(Circle(lon_lat=(0.5, 0.5), radius_km=1), Circle(lon_lat=(37.4, -5.9), radius_km=1))), "/circles/1"),
        (Selection(polygons=(BESIDE,)), "/polygons/0"),
        (Selection(regions=("B",)), "/regions"),
    ],
)  # fmt: skip
def test_an_exclusion_that_leaves_nobody_out_is_refused_at_its_place(exclude, pointer):
    """A circle whose centre is swapped, a polygon elsewhere, the region next door: somebody was to be spared, so it is told."""
    with pytest.raises(TargetErrors) as caught:
        resolve(Target(regions=("A",), exclude=exclude), TwoRegions())
    assert [error.pointer for error in caught.value.errors] == [f"/exclude{pointer}"]
    assert "takes nothing from the target" in caught.value.errors[0].why


@pytest.mark.parametrize(
    "lon_lat", [(0, 0), (-5.97, 37.39), (180, -17), (179.99, 10), (10, 84.9), (20, -84), (0, 89.97)]
)
@pytest.mark.parametrize("radius_km", [0.05, 5, 100, 1500])
def test_a_circle_that_excludes_leaves_out_nobody_outside_it(lon_lat, radius_km):
    """Whoever is just outside the circle, by the ellipsoid, is told; whoever is well inside is not."""
    hole = Circle(lon_lat=lon_lat, radius_km=radius_km)
    wide = Circle(lon_lat=lon_lat, radius_km=3 * radius_km)
    area = resolve(Target(circles=(wide,), exclude=Selection(circles=(hole,))), TwoRegions()).geometry
    bearings = np.linspace(0, 360, 719)
    lons, lats = (np.full_like(bearings, value, np.float64) for value in lon_lat)
    for share, is_told in ((1.00001, True), (0.998, False)):
        lon, lat, _ = GEOD.fwd(lons, lats, bearings, np.full_like(bearings, share * radius_km * 1000))
        assert (shapely.intersects_xy(area, lon, lat) == is_told).all()
