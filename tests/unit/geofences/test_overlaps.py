"""An area along a border shares hardly any ground with the region across, by true area, wherever on earth that is; and where GEOS
says that it shares ground with a region 10 km away, it is not believed.
"""

from __future__ import annotations

import threading

import numpy as np
import pyproj
import pytest
import shapely

from alertd.config.sections import AudienceSection
from geofences.drawn import region
from geofences.polygons import area_km2
from geofences.regions import Ground, Kind
from geofences.shapes import polygon
from geofences.targets import Target, resolve

GEOD = pyproj.Geod(ellps="WGS84")
#: What an overlay left off Barcelona, of 1e-18 square degrees: with it GEOS 3.14.1 gives Barcelona all of a town 10 km away.
SLIVER = shapely.Polygon([
    (1.992687897593969, 41.311860880090414), (1.993050216672261, 41.306743765438846),
    (1.9919622202245018, 41.32210978643318), (1.9922638647130153, 41.31784959279664),
])  # fmt: skip
BARCELONA, SANT_CLIMENT = "08019", "08204"
#: Degrees: a step of the grid on which countries and provinces are drawn, 11 m. What is nowhere twice as wide as that is two
#: borders which were rounded apart, and nobody's yard; Gibraltar is 1.2 km wide.
ROUNDING = 1e-4


class WithASliver:
    """The library, but the shore of Barcelona is a sliver."""

    def __init__(self, library):
        self._library = library

    def codes(self, code):
        return self._library.codes(code)

    def ground(self, codes, *, inwards=False):
        ground = self._library.ground(codes, inwards=inwards)
        return Ground(outline=ground.outline, shore=SLIVER) if BARCELONA in codes else ground


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("ES-SE", "ES-CA"),
        ("EC-P", "EC-X"),
        ("NO-20", "NO-19"),
        ("CL-AI", "CL-MA"),
        ("CH-VD", "CH-FR"),
        ("US-MT", "US-ND"),
    ],
)
def test_a_sliver_of_a_border_is_no_share_of_the_neighbour(library, ours, theirs):
    """A municipality drawn to the border, or a hundred metres across, has below a fiftieth of the neighbour, far below what counts."""
    here, there = library.geometry(ours), library.geometry(theirs)
    border = shapely.intersection(here.boundary, there.boundary)
    assert border.length > 0.1
    strip = shapely.buffer(border, 0.05)
    for drawn in (shapely.intersection(strip, here), shapely.intersection(strip, shapely.buffer(here, 0.001))):
        shares = {region.code: share for region, share in library.overlapping(shapely.from_wkb(shapely.to_wkb(drawn)))}
        assert shares.get(theirs, 0) < 0.02 < AudienceSection().region_share
        assert shares[ours] > shares.get(theirs, 0)


@pytest.mark.parametrize("code", ["EC-P", "ES-SE", "NO-20", "CL-MA"])
def test_a_share_is_one_of_true_area(library, code):
    """Half of a region by degrees is not half of its ground; the share is that of the ellipsoid."""
    whole = library.geometry(code)
    west, south, east, north = whole.bounds
    half = shapely.intersection(whole, shapely.box(west, (south + north) / 2, east, north))
    shares = {region.code: share for region, share in library.overlapping(shapely.from_wkb(shapely.to_wkb(half)))}
    truth = abs(GEOD.geometry_area_perimeter(shapely.segmentize(half, 0.01))[0]) / 1e6 / area_km2(whole)
    assert shares[code] == pytest.approx(truth, rel=1e-3)


def test_an_overlay_that_errs_tells_nobody_of_a_town_far_away(library):
    """Valid, with one sliver in it: the share of the town 10 km away is none, and that of Barcelona is whole."""
    area = shapely.MultiPolygon([*library.geometry(BARCELONA).geoms, SLIVER])
    town = library.geometry(SANT_CLIMENT)
    assert area.is_valid
    assert shapely.intersection(town, area).area > 0.9 * town.area  # the fault: once GEOS has none, this may go
    shares = {region.code: share for region, share in library.overlapping(area)}
    assert shares[BARCELONA] == 1
    assert shares.get(SANT_CLIMENT, 0) < 1e-6


def test_an_area_has_no_slivers_and_loses_no_border(library):
    """What has no ground is left out of an area; every position of the border is still both towns'."""
    area = resolve(Target(regions=(BARCELONA,)), WithASliver(library)).geometry
    outline = library.geometry(BARCELONA)
    assert [part.area > 1e-9 for part in area.geoms] == [True] * len(outline.geoms)
    border = shapely.get_coordinates(outline)
    assert shapely.intersects_xy(area, *border.T).all()
    neighbour = resolve(Target(regions=("08101",)), library).geometry  # l'Hospitalet
    shared = shapely.intersects_xy(library.geometry("08101"), *border.T)
    assert shared.sum() >= 4
    assert shapely.intersects_xy(neighbour, *border[shared].T).all()


@pytest.mark.parametrize("code", [BARCELONA, SANT_CLIMENT, "11012", "41091", "29067"])
def test_no_town_shares_ground_with_one_that_it_does_not_touch(library, code):
    """The area of a town, shore and all, shares ground with no other town, but what differs along their borders."""
    area = resolve(Target(regions=(code,)), library).geometry
    assert all(part.area > 1e-12 for part in area.geoms)
    others = {r.code: share for r, share in library.overlapping(area) if r.kind == "city" and r.code != code}
    assert max(others.values(), default=0) < 0.01


def comb(teeth):
    """An area of Andalucía of long narrow teeth, valid, each across the borders of many towns."""
    return polygon([[-5 + i * 0.9 / teeth, 37 + i % 2] for i in range(teeth)]).geometry


def slanting_comb(teeth):
    """Long slanting teeth side by side, whose edges come near every edge of an area between them."""
    tips = [(-5 + i * 0.2 / teeth + i % 2 * 0.8, 37 + i % 2) for i in range(teeth * 2 + 1)]
    return shapely.MultiPolygon([shapely.Polygon([*tips, (tips[-1][0], 36.5), (-5, 36.5)])])


def test_a_drawn_region_neither_slows_down_nor_refuses_an_area_on_its_ground(library):
    """Anybody may draw there: no area is compared with drawings. A search finds them by their ground as before."""
    shape = slanting_comb(190)
    drawings = [(region(f"COMB-{i}", "Comb", {}, shape, i, library), shape) for i in range(25)]
    own = library.with_drawn(drawings)
    area = shapely.Point(-4.5, 37.5).buffer(0.25, quad_segs=50)
    assert not own.is_tangled(shapely.from_wkb(area.wkb))
    assert own.overlapping(shapely.from_wkb(area.wkb)) == library.overlapping(area)
    assert own.at(-4.5, 37.5) == library.at(-4.5, 37.5)
    assert len(own.find(kind="drawn", bbox=area.bounds)) == 25
    assert own.find(kind="drawn", bbox=(10, 50, 11, 51)) == []
    assert own.ancestors("COMB-3") == ()
    assert own.children("COMB-3") == ()


def test_who_is_looked_up_does_not_wait_for_an_area_that_is_cut(library):
    """While an area that takes a second is told by regions, places are given their leaf as ever."""
    area, done = comb(3_000), 0
    cutting = threading.Thread(target=library.overlapping, args=(area,))
    cutting.start()
    while cutting.is_alive() and done < 200:
        library.leaf_numbers([-4.5], [37.5])
        done += 1
    was_cutting = cutting.is_alive()
    cutting.join()
    assert (was_cutting, done) == (True, 200)


def test_an_area_that_crosses_too_many_borders_is_known_before_it_is_cut(library):
    """9,000 teeth across a hundred towns are too much."""
    assert library.is_tangled(comb(9_000))


@pytest.mark.parametrize("code", ["41091", *(pytest.param(code, marks=pytest.mark.long) for code in ("CA", "RU"))])
def test_a_town_and_the_longest_coasts_are_not_tangled(library, code):
    assert not library.is_tangled(resolve(Target(regions=(code,)), library).geometry)


#: Seven countries, among them the small ones, Andorra and Gibraltar.
NEAR_SPAIN = (-10, 35, 5, 45)


@pytest.mark.parametrize("bounds", [NEAR_SPAIN, pytest.param((-180, -90, 180, 90), marks=pytest.mark.long)])
def test_no_two_countries_share_ground(library, bounds):
    """Whoever is in two may be alerted by the authorities of both, of which only one is asked. This holds for countries and their provinces
    (which hold whatever is part of them), but for what rounding leaves along a border.
    """
    regions = [one for one in library.find(bbox=bounds) if one.kind in {Kind.COUNTRY, Kind.PROVINCE}]
    homes = np.array([one.parent or one.code for one in regions])
    outlines = np.array([library.geometry(one.code) for one in regions], dtype=object)
    here, there = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    abroad = (here < there) & (homes[here] != homes[there])
    assert abroad.any()
    shared = shapely.intersection(outlines[here[abroad]], outlines[there[abroad]])
    wide = ~shapely.is_empty(shapely.buffer(shared, -ROUNDING))
    pairs = zip(here[abroad][wide], there[abroad][wide], strict=True)
    assert [(regions[one].code, regions[other].code) for one, other in pairs] == []


def test_gibraltar_is_no_part_of_spain(library):
    """Its authority alone is asked: the source of Spain's municipalities has it, too."""
    assert [one.code for one in library.at(-5.3484, 36.1301)] == ["GIB-00", "GI"]
    assert "54006" not in library
    assert {"53078", "53000"} <= {one.code for one in library.regions if one.country == "ES"}  # shared land is Spain's
