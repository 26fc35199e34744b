"""Places off a coast count to the region that they are labelled with: who names it reaches them, who leaves it out does not."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geofences import drawn, files
from geofences.circles import Circle
from geofences.index import LEAST_SHORE, SHORE_DEGREES, SLACK
from geofences.polygons import area_km2
from geofences.regions import Library
from geofences.targets import Selection, Target, resolve
from tests.sampling import sampled

#: Cádiz, A Coruña, Palma, Las Palmas, Gibraltar, a port between two others, an island province, a coastal one, two countries.
COASTAL = ("11012", "15030", "07040", "35016", "GI", "ES-PM", "ES-CA", "PT", "GR")


def folder_of(path, *regions):
    """A folder with one region file: (code, kind, parent, bounds, country) each."""
    shapes = files.quantise(np.array([shapely.box(*bounds) for *_, bounds, _ in regions], dtype=object), files.OWN_GRID)
    rows = [
        files.Row(code=code, name=code, kind=kind, parent=parent, country=country, km2=area_km2(shape))
        for (code, kind, parent, _, country), shape in zip(regions, shapes, strict=True)
    ]
    files.write(
        path / "some.regions", files.Source(name="drawn", licence="none", attribution=""), rows, shapes, files.OWN_GRID
    )
    files.give_numbers(path, [row.code for row in rows])
    return path


def ground_of(library, code):
    """A region's outline with those of its parts."""
    codes = [code, *(region.code for region in library.find(parent=code))]
    return shapely.union_all([library.geometry(one) for one in codes])


def off(library, code, many=20_000):
    """Positions off a region's outline within its reach, with the codes of what each is labelled with."""
    outline = ground_of(library, code)
    near = shapely.buffer(outline, SHORE_DEGREES)
    west, south, east, north = near.bounds
    xy = np.random.default_rng(7).uniform((west, south), (east, north), (10 * many, 2))
    inside = shapely.intersects_xy(near, *xy.T) & ~shapely.intersects_xy(outline, *xy.T)
    xy = xy[inside][:many]
    leaves = [library.by_number(int(number)) for number in library.leaf_numbers(*xy.T)]
    above = {leaf.code: {leaf.code, *(wider.code for wider in library.ancestors(leaf.code))} for leaf in leaves if leaf}
    return xy, np.array([leaf is not None and code in above[leaf.code] for leaf in leaves]), leaves


def told(area, xy):
    return shapely.intersects_xy(area.geometry, *xy.T)


@pytest.mark.parametrize(
    "code", sampled(((code,) for code in COASTAL), lambda code: code in {"11012", "35016", "GI", "ES-CA", "PT"})
)
def test_whoever_is_labelled_with_a_region_is_told(library, code):
    """Nobody off the coast is lost, and whoever is told has no other region that is nearer by more than the slack."""
    xy, labelled, leaves = off(library, code)
    inside = told(resolve(Target(regions=(code,)), library), xy)
    assert labelled.sum() > 100
    assert not (labelled & ~inside).any()
    for at in np.flatnonzero(inside & ~labelled)[:50].tolist():
        if leaves[at] is not None:
            spot = shapely.Point(xy[at])
            own, theirs = (library.geometry(known).distance(spot) for known in (code, leaves[at].code))
            assert own - theirs < 2.5 * SLACK


@pytest.mark.parametrize("code", COASTAL)
def test_a_shore_takes_no_ground_of_another_region(library, code):
    """What a target gains at a coast lies in no region's outline."""
    outline = ground_of(library, code)
    gained = shapely.difference(resolve(Target(regions=(code,)), library).geometry, outline)
    strangers = [
        library.geometry(region.code)
        for region in library.find(bbox=shapely.bounds(gained).tolist())
        if region.code != code and all(code != above.code for above in library.ancestors(region.code))
        and region not in library.ancestors(code)
    ]  # fmt: skip
    assert gained.area > 0.01
    assert shapely.area(shapely.intersection(gained, np.array(strangers, dtype=object))).max(initial=0) < 1e-9


def test_a_region_left_out_leaves_out_its_people_and_nobody_else(library):
    """The province of Cádiz without its capital: off the city nobody is told, and the neighbours' people all are."""
    area = resolve(Target(regions=("ES-CA",), exclude=Selection(regions=("11012",))), library)
    xy, of_city, leaves = off(library, "11012")
    neighbours = np.array([bool(leaf) and leaf.parent == "ES-CA" and leaf.code != "11012" for leaf in leaves])
    inside = told(area, xy)
    assert neighbours.sum() > 100
    assert inside[neighbours].all()
    for at in np.flatnonzero(inside & of_city).tolist():  # in doubt nobody is lost
        spot = shapely.Point(xy[at])
        away = spot.distance(library.geometry("11012"))
        nearest = min(
            spot.distance(library.geometry(other.code)) for other in library.children("ES-CA") if other.code != "11012"
        )
        assert nearest - away < 2.5 * SLACK or SHORE_DEGREES - away < SLACK


def test_a_drawn_exclusion_holds_off_the_coast(library):
    """A circle of sea that is left out stays out, to its line."""
    town = library.geometry("11012")
    hole = shapely.Point(town.bounds[0] - 0.03, 36.5).buffer(0.01)
    ring = [list(position) for position in hole.exterior.coords]
    whole, less = (
        resolve(Target(regions=("11012",), exclude=Selection(polygons=left_out)), library).geometry
        for left_out in ((), (ring,))
    )
    assert shapely.covers(whole, hole)
    assert shapely.equals(less, shapely.difference(whole, hole))


def test_the_figures_are_those_of_the_land_and_the_shore_is_told(library):
    """Palma has its 200 km2; the sea off it is one sentence more. Sevilla, inland, has its outline and no sentence."""
    palma, seville = (resolve(Target(regions=(code,)), library) for code in ("07040", "41091"))
    assert palma.km2 == pytest.approx(library.get("07040").km2, rel=1e-6)
    assert [repair.pointer for repair in palma.repairs] == ["/regions"]
    assert "km2 of water" in palma.repairs[0].what
    assert seville.repairs == ()
    assert {region.code for region, _ in library.overlapping(palma.geometry)} == {"07040", "ES-PM", "ES"}


def test_a_buffer_goes_from_the_land(library):
    """Palma and a kilometre reaches a kilometre inland, not one from the edge of its waters."""
    wide = resolve(Target(regions=("07040",), buffer_km=1), library).geometry
    exact = resolve(Target(regions=("07040",)), library).geometry
    assert shapely.area(shapely.difference(exact, wide)) < 1e-9
    inland = shapely.intersection(wide, shapely.difference(library.geometry("ES-PM"), library.geometry("07040")))
    parts = shapely.get_parts(inland)
    places = shapely.get_coordinates(parts[shapely.area(parts) > LEAST_SHORE])
    away = shapely.distance(library.geometry("07040"), shapely.points(places))
    assert 0.008 < away.max() < 0.013


def test_a_drawn_region_has_no_shore(library):
    """What an operator drew over the coast is matched as it was drawn."""
    shape, _ = drawn.outline(shapely.geometry.mapping(shapely.box(-6.4, 36.4, -6.2, 36.6)), "")
    own = library.with_drawn([(drawn.region("PATROL-1", "Patrol", {}, shape, 9_000_000, library), shape)])
    assert resolve(Target(regions=("PATROL-1",)), own).geometry.equals(shape)


def test_across_180_a_shore_ends_at_the_end_of_the_map(library):
    """Fiji's waters stay within -180 and 180, valid."""
    area = resolve(Target(regions=("FJ",)), library).geometry
    west, _, east, _ = area.bounds
    assert (west >= -180, east <= 180, area.is_valid) == (True, True, True)


def test_parts_that_are_not_known_are_nobody_elses(library, tmp_path):
    """One commune of a département was imported: nobody in the rest of it, or off the rest's coast, counts to that one."""
    commune = shapely.box(-1.70, 48.60, -1.60, 48.80)  # Ille-et-Vilaine, out into the bay of Mont-Saint-Michel
    own = Library.load(added=folder_of(tmp_path, ("C-1", "city", "FR-35", commune.bounds, "FR")))
    xy, labelled, leaves = off(own, "C-1", 4_000)
    inside = told(resolve(Target(regions=("C-1",)), own), xy)
    inland = shapely.intersects_xy(own.geometry("FR-35"), *xy.T)
    assert {leaf.code for leaf, at in zip(leaves, inland, strict=True) if at} == {"FR-35"}
    assert not inside[inland].any()
    assert not (labelled & ~inside).any()
    assert (labelled & inside).any()
    whole = told(resolve(Target(regions=("FR-35",)), own), xy)
    assert whole[inland | labelled].all()


def test_a_region_may_be_left_out_of_the_water_alone(library):
    """Of a circle at sea off Cádiz the town's people afloat may be left out, though the town itself is not in it."""
    sea, farther = (Circle(lon_lat=(lon, 36.5), radius_km=1) for lon in (-6.35, -6.6))
    assert not shapely.intersects(library.geometry("11012"), shapely.Point(sea.lon_lat).buffer(0.02))
    area = resolve(Target(circles=(sea, farther), exclude=Selection(regions=("11012",))), library).geometry
    assert [bool(shapely.intersects_xy(area, *one.lon_lat)) for one in (sea, farther)] == [False, True]


def test_parts_that_reach_into_the_sea_do_not_fill_their_region(library, tmp_path):
    """Two parts of Ille-et-Vilaine are larger than it is, but leave a fifth of its land: the people there are not those parts' own."""
    west, south, east, north = library.geometry("FR-35").bounds
    at = south + 0.25 * (north - south)
    parts = [("C-1", (west, at, east, north + 0.6)), ("C-2", (west, north + 0.6, east, north + 1.0))]
    own = Library.load(added=folder_of(tmp_path, *((code, "city", "FR-35", bounds, "FR") for code, bounds in parts)))
    whole = own.get("FR-35").km2
    assert sum(own.get(code).km2 for code, _ in parts) > whole
    below = shapely.intersection(own.geometry("FR-35"), shapely.box(west, south, east, at))
    assert 0.1 < area_km2(below) / whole < 0.3
    spot = shapely.point_on_surface(below)
    near = shapely.Point(spot.x, at - 0.01)
    assert own.geometry("FR-35").contains(near)
    assert [own.at(one.x, one.y)[0].code for one in (spot, near)] == ["FR-35", "FR-35"]
    told_of_part = resolve(Target(regions=("C-1",)), own).geometry
    assert not shapely.intersects(told_of_part, near)


def test_parts_over_each_other_do_not_fill_their_region(library, tmp_path):
    """The same half of a region, imported twice under two codes, is half of it."""
    west, south, east, north = library.geometry("FR-35").bounds
    half = (west, south, east, south + 0.5 * (north - south))
    own = Library.load(added=folder_of(tmp_path, *((f"C-{i}", "city", "FR-35", half, "FR") for i in (1, 2))))
    beside = shapely.Point((west + east) / 2, half[3] + 0.01)
    assert own.geometry("FR-35").contains(beside)
    assert own.at(beside.x, beside.y)[0].code == "FR-35"
