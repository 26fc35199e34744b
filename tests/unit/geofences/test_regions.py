from __future__ import annotations

import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely

from geofences import files
from geofences.drawn import region
from geofences.errors import LibraryError, UnknownRegion
from geofences.polygons import area_km2
from geofences.regions import SHIPPED, Library
from geofences.targets import Target, resolve

SEVILLE = (-5.9756, 37.3919)
SOURCE = files.Source(name="drawn by hand", licence="none", attribution="nobody")


def folder_of(path, *regions, number_from=files.FIRST_OWN_NUMBER):
    """A folder with one region file: (code, kind, parent, box) each."""
    geometries = files.quantise(np.array([shapely.box(*box) for *_, box in regions], dtype=object), 100_000)
    rows = [
        files.Row(code=code, name=f"Name of {code}", kind=kind, parent=parent, country="ES", km2=area_km2(geometry))
        for (code, kind, parent, _), geometry in zip(regions, geometries, strict=True)
    ]
    files.write(path / "some.regions", SOURCE, rows, geometries, 100_000)
    files.give_numbers(path, [row.code for row in rows], first=number_from)
    return path


def test_a_place_has_a_chain_up_to_its_country(library):
    """Santa Justa station is in Sevilla, its province and Spain; the middle of the Atlantic is nowhere."""
    assert [region.code for region in library.at(*SEVILLE)] == ["41091", "ES-SE", "ES"]
    assert [region.code for region in library.ancestors("41091")] == ["ES-SE", "ES"]
    assert [region.code for region in library.at(8.5417, 47.3769)] == ["CH-261", "CH-ZH", "CH"]
    assert [region.code for region in library.at(-118.24, 34.05)] == ["US-06037", "US-CA", "US"]
    assert library.at(-40, 30) == ()


def test_the_shipped_library_is_whole(library):
    """Every outline is valid, every number fits a tile record, every chain ends at a country, and every province is there."""
    assert len(library) > 18_000
    outlines = np.array([library.geometry(region.code) for region in library.regions], dtype=object)
    assert shapely.is_valid(outlines).all()
    assert not shapely.is_empty(outlines).any()
    assert all(0 < region.number < 1 << 23 for region in library.regions)
    assert all((library.ancestors(region.code) or [region])[-1].kind == "country" for region in library.regions)
    for country, provinces in (("ES", 52), ("CH", 26), ("US", 51)):
        assert sum(region.parent == country for region in library.regions) == provinces


def test_serving_regions_loads_no_geopandas():
    """A process that serves stays small: geopandas is for the importer alone."""
    script = "import sys, geofences.regions, geofences.targets, geofences.scan; sys.exit('geopandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=SHIPPED.parent.parent)


def test_municipalities_fill_their_province(library):
    """The municipalities of a province neither overlap nor leave a gap, beyond a ten-thousandth."""
    for code in ("ES-SE", "CH-BE", "US-CA"):
        parts = [library.geometry(region.code) for region in library.regions if region.parent == code]
        province = library.geometry(code)
        assert sum(part.area for part in parts) == pytest.approx(province.area, rel=1e-4)
        assert shapely.union_all(parts).symmetric_difference(province).area < 1e-4 * province.area


def test_a_library_that_another_replaced_is_freed_at_once(library):
    """Each new drawing replaces the library, and drawings have megabytes: they must not wait for the garbage collector."""
    shape = shapely.MultiPolygon([shapely.box(-6, 37, -5.9, 37.1)])
    own = library.with_drawn([(region("PATROL-1", "Patrol", {}, shape, 1, library), shape)])
    assert own.ground(["PATROL-1", "41091"]).outline.area > shape.area
    seen = weakref.ref(own)
    del own
    assert seen() is None


def test_leaf_numbers_are_those_of_the_smallest_region(library):
    """Many points at once get what one point gets; a place just off the coast gets the nearest region, the high sea 0."""
    regions = [region for region in library.regions if region.parent == "ES-SE"]
    spots = [library.geometry(region.code).representative_point() for region in regions]
    numbers = library.leaf_numbers([spot.x for spot in spots], [spot.y for spot in spots])
    assert numbers.tolist() == [region.number for region in regions]
    assert library.by_number(int(numbers[0])) == regions[0]
    cadiz, sea = library.leaf_numbers([-6.36, -40.0], [36.53, 30.0])
    assert library.by_number(int(cadiz)).parent == "ES-CA"
    assert sea == 0


def test_an_area_tells_its_regions_and_their_shares(library):
    """A drawing tells which regions it touches and how much of each it covers, in true area."""
    box = shapely.box(-6.2, 37.2, -5.8, 37.6)
    found = {region.code: share for region, share in library.overlapping(box)}
    assert found["41091"] == 1
    assert found["ES-SE"] == pytest.approx(
        area_km2(box.intersection(library.geometry("ES-SE"))) / library.get("ES-SE").km2
    )
    assert 0 < found["ES"] < 0.01
    assert "ES-CO" not in found


@pytest.mark.parametrize(
    ("text", "filters", "first"),
    [
        ("sevilla", {}, "ES-SE"),
        ("SEVILLA", {"kind": "city"}, "41091"),
        ("seville", {}, "ES-SE"),
        ("zurich", {"kind": "city"}, "CH-261"),
        ("إشبيلية", {}, "ES-SE"),
        ("alcala de guada", {"parent": "ES"}, "41004"),
        ("41091", {}, "41091"),
    ],
)
def test_search(library, text, filters, first):
    """Names are found in any language, without case or accents, the bigger of equals first."""
    assert library.find(text=text, **filters)[0].code == first


def test_search_finds_nothing_for_nothing(library):
    """An empty text and one that is in no name find nothing."""
    assert library.find(text="") == []
    assert library.find(text="qqqqq") == []


@pytest.mark.parametrize(("written", "meant"), [("Sevilla", "ES-SE"), ("es-se", "ES-SE"), ("ES-SSE", "ES-SE")])
def test_an_unknown_code_offers_the_nearest(library, written, meant):
    """Whoever writes a name, the wrong case or a slip is told the code."""
    with pytest.raises(UnknownRegion) as caught:
        library.get(written)
    assert meant in caught.value.nearest
    assert meant in str(caught.value)


def test_a_target_of_a_region_is_its_exact_outline(library):
    """A region asked for by code is covered to the last vertex, by a geometry of the target's own."""
    area = resolve(Target(regions=("41091",)), library)
    assert area.geometry.equals(library.geometry("41091"))
    assert area.geometry is not library.geometry("41091")
    assert area.km2 == pytest.approx(library.get("41091").km2, rel=1e-6)


def test_a_folder_of_ones_own_adds_and_replaces(tmp_path):
    """Regions added to the shipped ones are found below them; where both know a code, one's own holds."""
    box = (-6.0, 37.38, -5.98, 37.4)
    added = folder_of(tmp_path, ("41091-01", "city", "ES-SE", box), ("41004", "city", "ES-SE", box))
    library = Library.load(SHIPPED, added=added)
    assert library.get("41091-01").number == files.FIRST_OWN_NUMBER
    assert library.geometry("41004").equals(shapely.box(*box))
    assert len(library.at(-5.99, 37.39)) == 3


def test_numbers_are_never_given_twice(tmp_path):
    """A code keeps its number, a new one gets the next, and that of a region that is gone is not reused."""
    assert files.give_numbers(tmp_path, ["A", "B"], first=1) == {"A": 1, "B": 2}
    assert files.give_numbers(tmp_path, ["C", "A"], first=1) == {"A": 1, "B": 2, "C": 3}
    assert files.read_numbers(tmp_path) == {"A": 1, "B": 2, "C": 3}


def test_contradictions_are_refused(tmp_path):
    """A missing parent, a parent that is no wider, and a damaged file are LibraryErrors that name the culprit."""
    with pytest.raises(LibraryError, match="X-1 is part of X"):
        Library.load(folder_of(tmp_path, ("X-1", "city", "X", (0, 0, 1, 1))))
    with pytest.raises(LibraryError, match="no wider"):
        Library.load(folder_of(tmp_path, ("X", "city", None, (0, 0, 2, 2)), ("X-1", "city", "X", (0, 0, 1, 1))))
    (tmp_path / "some.regions").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(LibraryError, match=r"some\.regions cannot be read"):
        Library.load(tmp_path)


def test_a_region_file_is_read_as_it_was_written(tmp_path):
    """Parts, holes and both ends of the world come back exactly, and the same content makes the same bytes."""
    ring = shapely.difference(shapely.box(-180, -90, 180, 90), shapely.box(0, 0, 1.00001, 1))
    shapes = files.quantise(
        np.array([shapely.union(ring, shapely.box(0.2, 0.2, 0.5, 0.5)), shapely.box(3, 3, 4, 4)], dtype=object), 100_000
    )
    rows = [
        files.Row(code=code, name="ñ", kind="country", parent=None, country="", km2=1.0, names={"ar": "ب"})
        for code in "AB"
    ]
    for name in ("one.regions", "two.regions"):
        files.write(tmp_path / name, SOURCE, rows, shapes, 100_000)
    found = files.read_file(tmp_path / "one.regions")
    assert (list(found.rows), found.source) == (rows, SOURCE)
    assert shapely.equals_exact(found.geometries, shapes).all()
    assert (tmp_path / "one.regions").read_bytes() == (tmp_path / "two.regions").read_bytes()


def test_whatever_is_damaged_is_told_as_damaged(tmp_path):
    """Each byte of a file changed, and each beginning of it: the content is as it was, or it is a LibraryError with the file's name."""
    folder_of(tmp_path, ("A", "country", None, (0, 0, 1, 1)), ("A-1", "city", "A", (0, 0, 0.5, 0.5)))
    path = tmp_path / "some.regions"
    whole, before = path.read_bytes(), files.read_file(path)
    changed = [whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :] for at in range(len(whole)) for flip in (1, 64)]
    for content in changed + [whole[:size] for size in range(len(whole))]:
        path.write_bytes(content)
        try:
            found = files.read_file(path)
        except LibraryError as error:
            assert str(error).startswith("some.regions cannot be read as a region file: ")  # noqa: PT017  most are, some are whole
        else:
            assert (found.rows, found.source) == (before.rows, before.source)
            assert shapely.equals_exact(found.geometries, before.geometries).all()


@pytest.mark.parametrize(
    "content", [b"8388608", b"x,A\n", b"8388608;A\n", b"\xff", b"1,A\n1,A-1\n", b"1,A\n2,A\n", b'1,"A\n']
)
def test_a_damaged_list_of_numbers_is_told(tmp_path, content):
    """What is no list of numbers, or has one twice, is a LibraryError, and no number is given after it."""
    (tmp_path / "numbers.csv").write_bytes(content)
    with pytest.raises(LibraryError, match=r"numbers\.csv"):
        files.read_numbers(tmp_path)
    with pytest.raises(LibraryError, match=r"numbers\.csv"):
        files.give_numbers(tmp_path, ["B"])
    assert (tmp_path / "numbers.csv").read_bytes() == content


def test_a_kind_that_is_none_is_told(tmp_path):
    """A file of another make, whose region is a hamlet, is a LibraryError with its name."""
    folder_of(tmp_path, ("A", "hamlet", None, (0, 0, 1, 1)))
    with pytest.raises(LibraryError, match=r"A of some\.regions.*hamlet"):
        Library.load(tmp_path)


def test_a_region_that_would_vanish_is_refused():
    """A region smaller than a cell of the grid is an error, not an empty outline."""
    with pytest.raises(LibraryError, match="finer grid"):
        files.quantise(np.array([shapely.box(0, 0, 1e-7, 1e-7)], dtype=object), 10_000)


def test_two_imports_at_once_give_no_number_twice(tmp_path):
    """Of many who ask for numbers at the same moment each gets its own, and none is lost."""
    asked = [[f"R-{who}-{i}" for i in range(200)] for who in range(8)]
    with ThreadPoolExecutor(len(asked)) as pool:
        given = list(pool.map(lambda codes: files.give_numbers(tmp_path, codes), asked))
    kept = files.read_numbers(tmp_path)
    assert set(kept) == {code for codes in asked for code in codes}
    assert len(set(kept.values())) == len(kept)
    assert all(kept[code] == numbers[code] for numbers in given for code in numbers)
