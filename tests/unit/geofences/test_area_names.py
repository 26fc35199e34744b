"""What an area is called: whole regions, parts of others, and how many more."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import shapely

from geofences import files
from geofences.area_names import WORLD, full_name, parts_of
from geofences.circles import Circle, circle
from geofences.drawn import region
from geofences.polygons import area_km2
from geofences.regions import Kind, Library

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


def with_added(path, *added):
    """The library with regions of one's own: code, parent and outline of each."""
    outlines = files.quantise(np.array([outline for *_, outline in added], dtype=object), files.OWN_GRID)
    rows = [
        files.Row(
            code=code, name=f"Name of {code}", kind="city", parent=parent, country=parent[:2], km2=area_km2(outline)
        )
        for (code, parent, _), outline in zip(added, outlines, strict=True)
    ]
    files.write(
        path / "own.regions", files.Source(name="own", licence="none", attribution=""), rows, outlines, files.OWN_GRID
    )
    files.give_numbers(path, [row.code for row in rows])
    return Library.load(added=path)


def test_a_quarter_is_named_where_it_is_all_of_the_area(tmp_path):
    """A town whose quarters somebody imported has the name that it had, whole or in parts, and no number of others."""
    west, east = shapely.box(-6.02, 37.36, -5.99, 37.40), shapely.box(-5.99, 37.36, -5.95, 37.40)
    library = with_added(tmp_path, ("Q1", "ES-SE", west), ("Q2", "ES-SE", east))
    assert said(library, library.geometry("41091")) == [("whole", ["Sevilla"], 0, "Sevilla")]
    assert said(library, round_(SEVILLE, 2)) == [("parts", ["Sevilla"], 0, "Sevilla")]
    assert said(library, library.geometry("Q1")) == [("whole", ["Name of Q1"], 0, "Sevilla")]


def test_a_few_imported_towns_do_not_stand_for_their_province(tmp_path):
    """Half of Drôme is no three communes of it: nobody else there would take it for theirs. An area of those alone is."""
    towns = [(f"FR-{i}", "FR-26", shapely.box(4.9 + i / 50, 44.9, 4.92 + i / 50, 44.92)) for i in range(3)]
    library = with_added(tmp_path, *towns)
    half = shapely.intersection(library.geometry("FR-26"), shapely.box(4, 44.7, 6, 46))
    assert said(library, half) == [("parts", ["Drôme"], 0, "France")]
    assert said(library, library.geometry("FR-1")) == [("whole", ["Name of FR-1"], 0, "Drôme")]


def test_an_area_as_large_as_the_world_is_called_the_world(library):
    """Nobody reads two countries and 248 others; half of the world is still called by its countries."""
    for south, north in ((-90, 90), (-60, 85)):
        area = shapely.box(-180, south, 180, north)
        assert parts_of(library, area, area_km2(area), library.overlapping(area)) == (WORLD,)
    east = shapely.box(0, -90, 180, 90)
    assert WORLD not in parts_of(library, east, area_km2(east), library.overlapping(east))


def test_parts_in_the_sea_do_not_stand_for_their_region(tmp_path):
    """A part that reaches far into the sea is not the name of an area of which most land is in no part."""
    bay = shapely.box(-1.70, 48.55, -1.60, 49.30)  # of Ille-et-Vilaine, most of it in the bay of Mont-Saint-Michel
    library = with_added(tmp_path, ("C-1", "FR-35", bay))
    area = shapely.union(bay, shapely.box(-1.85, 48.40, -1.60, 48.60))
    assert [(how, names) for how, names, *_ in said(library, area) if "Ille-et-Vilaine" in names] == [
        ("parts", ["Ille-et-Vilaine"])
    ]


def test_what_is_drawn_names_nothing(library):
    """Its name is whatever somebody wrote: an area that is just it is called as if nobody had drawn it."""
    area = round_(SEVILLE, 5)
    drawn = region("X-1", "Call +34600111222", {}, area, 1, library)
    assert said(library.with_drawn([(drawn, area)]), area) == said(library, area)


def test_the_high_sea_has_no_name(library):
    """Ground in no region is called nothing."""
    assert said(library, round_((-40, 30), 100)) == []


def test_a_town_is_named_with_its_province_and_country(library):
    assert full_name(library, "41091", "en") == ("Sevilla", "Seville", "Spain")
    assert full_name(library, "14021", "es") == ("Córdoba", "Córdoba", "España")
    assert full_name(library, "AR-X", "es") == ("Córdoba", "Argentina")
    assert full_name(library, "ES", "ar") == ("إسبانيا",)


def test_regions_of_the_same_name_in_one_place_have_their_codes(library):
    """The province of Buenos Aires and the city beside it; the two parts of the island Saint Martin, which are countries."""
    assert full_name(library, "AR-B", "en") == ("Buenos Aires (AR-B)", "Argentina")
    assert full_name(library, "AR-C", "en") == ("Buenos Aires (AR-C)", "Argentina")
    assert full_name(library, "SXM-5146", "es") == ("San Martín", "San Martín (SX)")


@pytest.mark.parametrize("language", ["en", "ar", "es", "zh"])
def test_no_two_smallest_regions_have_the_same_full_name(library, language):
    """People choose one of these."""
    wide, alike = {one.parent for one in library.regions}, defaultdict(list)
    for one in library.regions:
        if one.code not in wide:
            alike[one.name_in(language)].append(one.code)
    several = [code for codes in alike.values() if len(codes) > 1 for code in codes]
    assert len(several) > 500
    assert len({full_name(library, code, language) for code in several}) == len(several)
