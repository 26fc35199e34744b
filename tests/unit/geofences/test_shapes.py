"""Shapes as people draw them and programs write them: what is meant is what is matched, everywhere on earth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofences.errors import InvalidGeometry, TargetErrors, TooManyVertices, UnknownRegion
from geofences.planes import as_drawn
from geofences.polygons import area_km2
from geofences.shapes import polygon
from geofences.simplifying import MOST_VERTICES, thinned
from geofences.targets import Circle, Selection, Target, resolve, ring_areas

SUVA, LABASA, TAVEUNI = (178.44, -18.14), (179.38, -16.43), (-179.97, -16.83)
ANADYR, UELEN, NOME = (177.51, 64.73), (-169.81, 66.16), (-165.41, 64.50)
ATLANTIC = (0.0, -17.0)


class Nothing:
    """A library without regions."""

    def geometry(self, code):
        raise UnknownRegion("", code)


def inside(geometry: shapely.Geometry, *places: tuple[float, float]) -> list[bool]:
    return shapely.intersects_xy(geometry, *zip(*places, strict=True)).tolist()


FIJI = [
    [[177, -19], [181, -19], [181, -15.5], [177, -15.5], [177, -19]],
    [[-183, -19], [-179, -19], [-179, -15.5], [-183, -15.5], [-183, -19]],
    [[-179, -15.5], [-183, -15.5], [-183, -19], [-179, -19]],
    {
        "type": "MultiPolygon",
        "coordinates": [
            [[[177, -19], [180, -19], [180, -15.5], [177, -15.5], [177, -19]]],
            [[[-180, -19], [-179, -19], [-179, -15.5], [-180, -15.5], [-180, -19]]],
        ],
    },
]


@pytest.mark.parametrize("written", FIJI)
def test_fiji_lies_on_both_sides_of_180(written):
    """Past 180, below -180, the other way round, or cut at 180: it is the same islands, and not the rest of the world."""
    geometry = polygon(written).geometry
    assert inside(geometry, SUVA, LABASA, TAVEUNI, ATLANTIC) == [True, True, True, False]
    assert geometry.bounds == (-180, -19, 180, -15.5)
    assert geometry.area == pytest.approx(4 * 3.5)


def test_chukotka_ends_before_alaska():
    """A district that reaches past 180 has its people in both halves; those over the strait are not told."""
    geometry = polygon([[159, 61], [180, 61], [191, 63], [191, 67], [180, 71], [159, 69]]).geometry
    assert inside(geometry, ANADYR, UELEN, NOME) == [True, True, False]


@pytest.mark.parametrize(("edge", "says"), [((177, -178), "write 182 instead of -178"), ((-178, 177), "write -183")])
def test_an_edge_of_more_than_180_degrees_is_asked_back(edge, says):
    """Which way round was meant cannot be told, so the fault says how to write either."""
    west, east = edge
    with pytest.raises(InvalidGeometry, match=says) as caught:
        polygon([[west, -19], [east, -19], [east, -16], [west, -16]], "/polygons/0")
    assert "to go the long way add a position between" in caught.value.why


def test_a_hole_may_be_written_from_the_other_side():
    """A hole at -179.5 belongs to an outline from 177 to 182."""
    hole = [[-179.99, -17.5], [-179.1, -17.5], [-179.1, -16], [-179.99, -16], [-179.99, -17.5]]
    outline = polygon([FIJI[0], hole])
    assert inside(outline.geometry, SUVA, TAVEUNI) == [True, False]
    assert outline.repairs == ()


def around(lat: float, start: float = -180) -> list[list[float]]:
    return [[start + turn, lat] for turn in (0, 90, 180, 270, 360)]


@pytest.mark.parametrize(
    "written",
    [
        around(-70),  # and ends where it began, a whole turn on
        [*around(-70), [-180, -70]],  # closed to the letter
        list(reversed(around(-70, start=-90))),
        [*around(-70), [180, -90], [-180, -90], [-180, -70]],  # as shape files have it: along the pole
    ],
)
def test_a_ring_round_the_pole_holds_antarctica(written):
    """However the ring is written: the stations of the ice are inside, Ushuaia and Cape Town are not."""
    geometry = polygon(written).geometry
    amundsen_scott, vostok, ushuaia, cape_town = (0, -89.99), (106.84, -78.46), (-68.3, -54.8), (18.4, -33.9)
    assert inside(geometry, amundsen_scott, vostok, ushuaia, cape_town) == [True, True, False, False]
    assert area_km2(geometry) == pytest.approx(15_400_000, rel=0.02)


def test_a_ring_round_the_pole_is_told_and_may_have_holes():
    """Which pole it was taken to enclose is said; a second ring round it leaves a belt."""
    outline = polygon([around(66.5), around(80, start=-170)])
    assert [("north pole" in repair.what) for repair in outline.repairs] == [True, True]
    tromso, north_pole = (18.96, 69.65), (0, 89.9)
    assert inside(outline.geometry, tromso, (-179.9, 70), (180, 70), north_pole) == [True, True, True, False]


def test_half_the_earth_is_asked_back():
    """A ring once round the earth on both sides of the equator encloses no pole more than the other."""
    with pytest.raises(InvalidGeometry, match="which half"):
        polygon([[-180, 10], [-90, -10], [0, 10], [90, -10], [180, 10]])


def test_a_city_the_wrong_way_round_and_open_is_still_that_city():
    """Clockwise or not, closed or not, with points twice: Sevilla stays Sevilla."""
    box = [[-6.1, 37.2], [-6.1, 37.5], [-5.8, 37.5], [-5.8, 37.2]]
    twice = [position for position in box for _ in range(2)]
    for ring in (box, box[::-1], twice, [*twice, box[0]]):
        assert polygon(ring).geometry.equals(shapely.box(-6.1, 37.2, -5.8, 37.5))


def test_a_spike_falls_off():
    """A slip of the hand to Madrid and back adds nobody on the way, and is told."""
    outline = polygon([[-6.1, 37.2], [-5.8, 37.2], [-5.8, 37.5], [-3.7, 40.4], [-5.8, 37.5], [-6.1, 37.5]])
    assert outline.geometry.area == pytest.approx(0.09)
    assert inside(outline.geometry, (-5.98, 37.39), (-4.75, 38.95)) == [True, False]
    assert any("crossed or touched itself" in repair.what for repair in outline.repairs)


def test_a_bow_tie_keeps_both_wings():
    """Two corners in the wrong order lose neither half."""
    geometry = polygon([[-6, 37], [-5, 38], [-5, 37], [-6, 38], [-6, 37]]).geometry
    assert inside(geometry, (-5.1, 37.5), (-5.9, 37.5), (-5.5, 37.9)) == [True, True, False]


def test_heights_are_dropped():
    """A third coordinate, which drones and GPS trackers add, changes nothing."""
    assert not polygon([[0, 0, 12.5], [1, 0, 12.5], [1, 1, 12.5], [0, 0, 12.5]]).geometry.has_z


def mercator(lon_lat: np.ndarray) -> np.ndarray:
    return np.column_stack([lon_lat[:, 0], np.degrees(np.arctanh(np.sin(np.radians(lon_lat[:, 1]))))])


@pytest.mark.parametrize(
    "ring",
    [
        [[-9.1, 38.7], [24.9, 60.2], [37.6, 55.8], [-9.1, 38.7]],  # Lisbon, Helsinki, Moscow
        [[-123.1, 49.3], [-52.7, 47.6], [-80.2, 25.8], [-123.1, 49.3]],  # Vancouver, St. John's, Miami
    ],
)
def test_long_edges_run_where_the_map_draws_them(ring):
    """On the map, nothing matched is more than its line's width from what was drawn, though 900 km of edge bend by kilometres."""
    matched = shapely.get_coordinates(polygon(ring).geometry)
    drawn = shapely.LinearRing(mercator(np.array(ring)))
    assert shapely.distance(drawn, shapely.points(mercator(matched))).max() < 1e-9
    plain = shapely.LinearRing(ring)
    assert shapely.distance(plain, shapely.points(matched)).max() > 0.05
    middles = mercator((matched[1:] + matched[:-1]) / 2)
    assert shapely.distance(drawn, shapely.points(middles)).max() < 3e-4  # degrees: pieces are as good as straight


def test_a_parallel_and_a_street_corner_stay_as_they_are():
    """The 49th parallel is straight on every map, and a city needs no more positions than were drawn."""
    for ring in (
        [[-123, 49], [-95, 49], [-95, 51], [-123, 51], [-123, 49]],
        [[0, 50], [0.3, 50.3], [0, 50.3], [0, 50]],
    ):
        assert as_drawn(np.array(ring, float)).tolist() == ring


def coast(vertices: int, seed: int = 1) -> list[list[float]]:
    """A jagged outline round Sardinia's middle, never crossing itself."""
    turns = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    reach = 1 + 0.05 * np.sin(40 * turns) + np.random.default_rng(seed).uniform(0, 0.002, vertices)
    return np.column_stack([9 + reach * np.cos(turns), 40 + reach * np.sin(turns)]).tolist()


def test_a_hundred_thousand_vertices_are_made_few_and_nobody_inside_is_lost():
    """What is left covers all that was drawn; how much it grew is told. An exclusion shrinks instead."""
    ring = coast(99_000)
    drawn = shapely.Polygon(ring)
    wanted, unwanted = polygon(ring), polygon(ring, excludes=True)
    for outline, says in ((wanted, "larger"), (unwanted, "smaller")):
        assert shapely.get_num_coordinates(outline.geometry) <= MOST_VERTICES
        assert area_km2(outline.geometry) == pytest.approx(area_km2(drawn), rel=0.01)
        assert [says in repair.what for repair in outline.repairs] == [False, True]  # it was open, too
    assert shapely.covers(wanted.geometry, drawn)
    assert shapely.covers(drawn, unwanted.geometry)


def test_bent_edges_count_as_vertices():
    """A zigzag across oceans that would need a million positions is refused as too many, at once."""
    ring = [[-170 + 340 * (i % 2) / 2 + i / 1000, -80 + 160 * (i % 2)] for i in range(9_000)]
    with pytest.raises(TooManyVertices):
        polygon(ring)


def test_a_point_has_no_ground_of_its_own():
    """A circle of radius 0, as CAP feeds write a point, is asked back; with a buffer it is the circle of that radius."""
    point, five = Circle(lon_lat=(-5.98, 37.39), radius_km=0), Circle(lon_lat=(-5.98, 37.39), radius_km=5)
    with pytest.raises(TargetErrors) as caught:
        resolve(Target(circles=(point,)), Nothing())
    (fault,) = caught.value.errors
    assert fault.pointer == "/circles/0/radius_km"
    assert "radius is 0" in fault.why
    assert "radius in km" in fault.why
    wide = resolve(Target(circles=(point,), buffer_km=5), Nothing()).geometry
    assert shapely.equals_exact(wide, resolve(Target(circles=(five,)), Nothing()).geometry)


def test_a_centre_next_to_nothing_is_on_the_equator():
    """Or GEOS divides by what its vertices are off it."""
    near, on = (Circle(lon_lat=(one, one), radius_km=5) for one in (1e-170, 0.0))
    there = [resolve(Target(circles=(one,)), Nothing()).geometry for one in (near, on)]
    assert shapely.get_coordinates(there[0]).tolist() == shapely.get_coordinates(there[1]).tolist()


def test_a_circle_of_2000_km_is_true_on_the_ground():
    """From Sevilla it reaches Brussels and not Hamburg, whatever a flat map would say."""
    geometry = resolve(Target(circles=(Circle(lon_lat=(-5.98, 37.39), radius_km=2000),)), Nothing()).geometry
    assert inside(geometry, (4.35, 50.85), (9.99, 53.55), (-17.3, 32.7), (24.9, 60.2)) == [True, False, True, False]
    assert area_km2(geometry) == pytest.approx(2 * math.pi * 6371**2 * (1 - math.cos(2000 / 6371)), rel=0.005)


def test_rings_are_circles_less_what_is_excluded():
    """Each ring has its own ground, the inner within the outer; together, and with what else was asked for, they are the area."""
    near, far = (Circle(lon_lat=(-5.98, 37.39), radius_km=r) for r in (5, 30))
    hole = Circle(lon_lat=(-5.98, 37.39), radius_km=1)
    target = Target(rings=(far, near), exclude=Selection(circles=(hole,)), buffer_km=1)
    area = resolve(target, Nothing())
    outer, inner = ring_areas(target, area.geometry)
    assert outer.equals(area.geometry)
    assert [round(area_km2(one) / math.pi) for one in (outer, inner)] == pytest.approx([31**2 - 1, 6**2 - 1], rel=0.01)
    assert shapely.covers(outer, inner.buffer(-1e-9))


SPOT = st.tuples(st.floats(-540, 540), st.floats(-90, 90))
NICE = st.tuples(st.integers(-12, 12).map(lambda i: i * 45.0), st.integers(-6, 6).map(lambda i: i * 15.0))
RINGS = st.lists(st.one_of(SPOT, NICE).map(list), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(RINGS, max_size=3), st.sampled_from(["ring", "Polygon", "MultiPolygon"]), st.sampled_from([0, 0.5, 60]))
@example([[[1.0, -4e-170], [0.0, 15.0], [0.0, 0.0], [45.0, 0.0]]], "ring", 0.5)
def test_whatever_is_drawn_becomes_a_valid_area_or_a_fault(rings, kind, buffer_km):
    """No drawing makes anything but an area that is valid and within the map, or faults with pointers into the target."""
    shape = {"ring": rings[0] if rings else [], "Polygon": {"type": "Polygon", "coordinates": rings}}.get(
        kind, {"type": "MultiPolygon", "coordinates": [rings, rings[:1]]}
    )
    faults = ()
    try:
        area = resolve(Target(polygons=(shape,), buffer_km=buffer_km), Nothing())
    except TargetErrors as refused:
        faults = refused.errors
    assert all(fault.pointer.startswith("/polygons/0") and fault.why for fault in faults)
    if faults:
        return
    west, south, east, north = area.geometry.bounds
    assert area.geometry.is_valid
    assert area.geometry.area > 0
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    assert area.km2 > 0


@settings(max_examples=100, deadline=None)
@given(st.floats(-179, 179), st.floats(-80, 80), st.floats(0.01, 5), st.integers(3, 40), st.integers(0, 5))
def test_what_is_enclosed_stays_enclosed(lon, lat, size, corners, seed):
    """A star-shaped outline anywhere, over 180 too, keeps every point that is well inside it, and takes none well outside."""
    reach = np.random.default_rng(seed).uniform(0.5, 1, corners) * size
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.column_stack([lon + reach * np.cos(turns), lat + reach * np.sin(turns)])
    geometry = polygon(ring.tolist()).geometry
    for share, expected in ((0.1, True), (1.5, False)):
        probe_lon, probe_lat = lon + share * size * np.cos(turns), lat + share * size * np.sin(turns)
        if corners >= 5 or not expected:
            found = shapely.intersects_xy(geometry, (probe_lon + 180) % 360 - 180, probe_lat)
            assert (found == expected).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(10_100, 30_000), st.integers(0, 1000), st.booleans())
def test_thinning_goes_one_way(vertices, seed, inwards):
    """However jagged: outwards covers the drawing, inwards is covered by it."""
    drawn = shapely.Polygon(coast(vertices, seed))
    simple = thinned(drawn, inwards=inwards)
    assert simple.is_valid
    assert shapely.covers(drawn, simple) if inwards else shapely.covers(simple, drawn)


SHELL = [[-6, 37], [-5, 37], [-5, 38], [-6, 38], [-6, 37]]
HOLE = [[-5.6, 37.4], [-5.4, 37.4], [-5.4, 37.6], [-5.6, 37.6], [-5.6, 37.4]]


@pytest.mark.parametrize("excludes", [False, True])
@pytest.mark.parametrize(
    "hole",
    [
        [[lat, lon] for lon, lat in HOLE],
        [[lon + 3, lat] for lon, lat in HOLE],
        [[-5, 37.4], [-4.8, 37.4], [-4.8, 37.6], [-5, 37.6], [-5, 37.4]],
    ],
    ids=["swapped", "elsewhere", "beside"],
)
def test_a_hole_outside_its_polygon_is_refused_at_its_place(hole, excludes):
    """A hole is to spare people: one that is swapped, misplaced or beside its polygon must not become ground."""
    drawn = {"type": "MultiPolygon", "coordinates": [[SHELL, HOLE, hole]]}
    with pytest.raises(InvalidGeometry, match="outside its polygon") as caught:
        polygon(drawn, "/polygons/0", excludes=excludes)
    assert caught.value.pointer == "/polygons/0/coordinates/0/2"


def test_a_hole_that_lies_half_outside_takes_its_part():
    """What a hole shares with its polygon is left out, and nothing beside it becomes ground."""
    half = [[-5.5, 37.4], [-4.5, 37.4], [-4.5, 37.6], [-5.5, 37.6], [-5.5, 37.4]]
    geometry = polygon({"type": "Polygon", "coordinates": [SHELL, half]}).geometry
    assert geometry.equals(shapely.difference(shapely.Polygon(SHELL), shapely.Polygon(half)))


def test_a_hole_away_from_the_ground_round_a_pole_is_refused():
    """Round the north pole nothing of Sevilla can be left out."""
    arctic = [[0, 70], [90, 70], [180, 70], [270, 70], [360, 70]]
    with pytest.raises(InvalidGeometry, match="outside its polygon"):
        polygon({"type": "Polygon", "coordinates": [arctic, HOLE]})
