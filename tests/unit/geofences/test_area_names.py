"""What an area is called: whole regions, parts of others, and how many more."""

from __future__ import annotations

import shapely

from geofences.area_names import parts_of
from geofences.circles import Circle, circle
from geofences.drawn import region
from geofences.geodesy import area_km2
from geofences.regions import Kind

SEVILLE = (-5.9756, 37.3919)


def said(library, area):
    """Of each part: parts or the whole, the names, how many others, of what."""
    parts = parts_of(library, area, area_km2(area), library.overlapping(area))
    return [
        (
            "parts" if part.partly else "whole",
            [named.region.name for named in part.named],
            part.others,
            part.parent and part.parent.region.name,
        )
        for part in parts
    ]


def round_(place, km):
    return circle(Circle(lon_lat=place, radius_km=km)).geometry


def test_a_region_is_called_by_its_name(library):
    """Of a region that is covered whole nothing below it is named, and its neighbours' borders are not either."""
    for code, name, above in (("41091", "Sevilla", "Sevilla"), ("ES-SE", "Sevilla", "Spain"), ("ES", "Spain", None)):
        assert said(library, library.geometry(code)) == [("whole", [name], 0, above)]


def test_siblings_are_named_up_to_three(library):
    """Two municipalities are named; of many, the one their province is called after and the nearest, and the number of others."""
    two = shapely.union_all([library.geometry(code) for code in ("41091", "41038")])
    assert said(library, two) == [("whole", ["Sevilla", "Dos Hermanas"], 0, "Sevilla")]
    (whole, names, others, parent), *rest = said(library, round_(SEVILLE, 12))
    assert (whole, names[0], len(names), others > 4, parent) == ("whole", "Sevilla", 2, True, "Sevilla")
    assert [(how, names) for how, names, *_ in rest] == [("parts", [])]


def test_a_spot_in_a_town_is_part_of_it(library):
    """Two kilometres of Sevilla are parts of Sevilla."""
    assert said(library, round_(SEVILLE, 2)) == [("parts", ["Sevilla"], 0, "Sevilla")]


def test_wide_areas_are_told_by_wider_regions(library):
    """Ground in many provinces is told by provinces, in many countries by countries, never by hundreds of towns."""
    for km, kind in ((300, Kind.PROVINCE), (1500, Kind.COUNTRY)):
        area = round_((-3.7, 40.4), km)
        parts = parts_of(library, area, area_km2(area), library.overlapping(area))
        assert {part.kind for part in parts} <= {kind, Kind.COUNTRY}
        assert sum(len(part.named) for part in parts) < 12


def test_what_is_a_town_and_a_province_is_told_apart(library):
    """Sevilla is called like a town of its own, Bayern is not."""
    for code, ambiguous in (("ES-SE", True), ("DE-BY", False)):
        area = library.geometry(code)
        (part,) = parts_of(library, area, area_km2(area), library.overlapping(area))
        assert [named.ambiguous for named in part.named] == [ambiguous]


def test_what_is_drawn_names_nothing(library):
    """Its name is whatever somebody wrote: an area that is just it is called as if nobody had drawn it."""
    area = round_(SEVILLE, 5)
    drawn = region("X-1", "Call +34600111222", {}, area, 1, library)
    assert said(library.with_drawn([(drawn, area)]), area) == said(library, area)


def test_the_high_sea_has_no_name(library):
    """Ground in no region is called nothing."""
    assert said(library, round_((-40, 30), 100)) == []
