"""What an import says before it is stored: codes of one country alone, parents that are there, ground that is nobody else's."""

from __future__ import annotations

import dataclasses
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
import shapely.affinity

from geofences import files
from geofences.additions import gone, install, orphaned, placed, prefixed, problems, qualified
from geofences.belonging import covered, replaced
from geofences.errors import LibraryError
from geofences.regions import Library
from geofences.targets import Target, resolve

SOURCE = files.Source(name="the town hall", licence="CC0", attribution="the town hall")
BOXES = tuple(shapely.box(9 + x / 10, 48, 9 + (x + 1) / 10, 48.1) for x in range(4))


def rows_of(*codes, country="DE", parent=None, kind="city"):
    return [
        files.Row(code=code, name=f"Name of {code}", kind=kind, parent=parent, country=country, km2=82.0)
        for code in codes
    ]


def shapes(*given):
    return np.array(given, dtype=object)


def told(rows, given, library):
    return [(problem.row, problem.what) for problem in problems(rows, shapes(*given), library)]


def test_codes_that_are_digits_alone_get_their_country(library):
    """41091 is Sevilla: a French file with such codes is FR-41091 throughout, letters or not; Spain's own go without."""
    assert [row.code for row in qualified(rows_of("41091", "2A004", country="FR"), library)] == ["FR-41091", "FR-2A004"]
    assert [row.code for row in qualified(rows_of("41091", "41999", country="ES"), library)] == ["41091", "41999"]
    assert [row.code for row in qualified(rows_of("PORT-1", country="ES"), library)] == ["PORT-1"]
    assert [row.code for row in qualified(rows_of("41091", country=""), library)] == ["41091"]


def test_a_parent_is_found_by_its_country_or_in_the_file(library):
    """A parent may be written as the file has it: TO is IT-TO, and another row's code goes along with that row."""
    (turin,) = qualified(rows_of("001272", country="IT", parent="TO"), library)
    assert (turin.code, turin.parent) == ("IT-001272", "IT-TO")
    county, town = qualified([*rows_of("08", kind="county"), *rows_of("08111", parent="08")], library)
    assert (county.code, town.parent) == ("DE-08", "DE-08")


def test_a_code_of_another_country_is_refused(library):
    """Without a country to put in front, a code that is somebody else's is a problem that names them."""
    assert told(rows_of("41091", country=""), BOXES[:1], library) == [
        (1, "has the code of Sevilla (ES); give the country of the file, or codes of its own")
    ]
    assert told(rows_of("41091", country="ES", parent="ES-SE"), [library.geometry("41091")], library) == []


def test_a_code_that_is_read_as_another_or_cannot_be_named_is_refused(library):
    """es-se is no other region than ES-SE to whoever reads it; with its country in front a code may become too long."""
    assert told(rows_of("de-bw", parent="DE-BW"), BOXES[:1], library) == [
        (1, "has the code of Baden-Württemberg (DE-BW) but for capital letters; give it one of its own")
    ]
    (long,) = qualified(rows_of("1" * 30), library)
    assert "at most 32 letters" in told([long], BOXES[:1], library)[0][1]


def test_a_code_of_another_place_is_refused(library):
    """28001 is a municipality, and a postal code of Madrid 70 km away: whoever registered in the one is not told of the other, unless
    that is meant. Another edition of the same place needs no word.
    """
    la_acebeda, district = library.geometry("28001"), shapely.box(-3.690, 40.420, -3.675, 40.432)
    (row,) = rows_of("28001", country="ES", parent="ES-M")
    row = dataclasses.replace(row, km2=1.7)
    assert told([row], [district], library) == [
        (1, "has the code of La Acebeda, but 0% of its ground; give it its own, or take --replace")
    ]
    assert problems([row], shapes(district), library, replace=True) == ()
    west, south, east, north = la_acebeda.bounds
    third = shapely.intersection(la_acebeda, shapely.box(west, south, west + (east - west) / 3, north))
    assert "of its ground" in told([row], [third], library)[0][1]
    redrawn = dataclasses.replace(row, km2=library.get("28001").km2)
    assert told([redrawn], [shapely.simplify(la_acebeda, 0.001)], library) == []


def test_what_takes_the_place_of_a_region_is_listed(library):
    """By name and by how much ground both have; what stays as it was, and what is new, is not in the list."""
    rows = [
        files.Row(code=code, name=name, kind="city", parent="ES-M", country="ES", km2=library.get("28001").km2)
        for code, name in (("28001", "La Acebeda"), ("28001", "Elsewhere"), ("28001", "Renamed"), ("28001-N", "New"))
    ]
    same = library.geometry("28001")
    outlines = shapes(same, shapely.affinity.translate(same, 1), same, same)
    assert [(one.row, one.was, one.now, one.shared) for one in replaced(rows, outlines, library)] == [
        (2, "La Acebeda", "Elsewhere", 0.0),
        (3, "La Acebeda", "Renamed", 1.0),
    ]


def test_what_stays_on_the_ground_of_a_new_region_is_listed(library):
    """A file of cities over the library's with other codes gives two regions of the same ground: whoever imports is told of which."""
    sevilla = library.geometry("41091")
    rows = rows_of("sevilla", "41038", country="ES", parent="ES-SE")
    given = shapes(sevilla, library.geometry("41038"))
    assert [(one.code, one.name, one.by) for one in covered(rows, given, library, ())] == [
        ("41091", "Sevilla", "sevilla")
    ]
    assert covered(rows, given, library, {"41091"}) == ()  # it goes
    assert covered(rows_of("sevilla", kind="county", country="ES"), given[:1], library, ()) == ()  # cities are below it


def test_every_parent_that_is_not_there_is_told_with_its_row(library):
    """Parents that do not exist, that are no wider or that are abroad are all told at once."""
    rows = [
        rows_of(code, parent=parent)[0] for code, parent in zip("abcd", ("DE-XX", "DE-BW", "b", "FR-67"), strict=True)
    ]
    assert told(rows, BOXES, library) == [
        (
            1,
            "is part of DE-XX, which is neither here nor in the library; with --guess-parents it goes by where it lies",
        ),
        (3, "is a city and cannot be part of b, a city"),
        (4, "is in DE and cannot be part of FR-67, which is in FR"),
    ]


def test_a_region_that_lies_outside_its_parent_is_refused(library):
    """One wrong parent in a table does not put a part of Madrid into an alert for Sevilla; what lies over the border by half is in."""
    (row,) = rows_of("zz1", country="ES", parent="ES-SE")
    row = dataclasses.replace(row, km2=0.94)
    sevilla = library.get("ES-SE").name
    assert told([row], [shapely.box(-3.70, 40.40, -3.69, 40.41)], library) == [
        (1, f"cannot be part of ES-SE ({sevilla}): 0% of its ground lies there; of an exclave say --exclave zz1")
    ]
    assert told([row], [shapely.box(-6.0, 37.38, -5.99, 37.39)], library) == []
    east = library.geometry("ES-SE").bounds[2]
    (easternmost,) = (y for x, y in shapely.get_coordinates(library.geometry("ES-SE")) if x == east)
    near, far = (shapely.box(east + away, easternmost - 0.01, east + away + 0.05, easternmost) for away in (0, 0.5))
    assert told([row], [near], library) == []
    assert len(told([row], [far], library)) == 1


def test_an_exclave_is_taken_when_it_is_named(library):
    """San Colombano al Lambro is part of Milano and lies in Lodi: it is imported as what it is, when somebody says so, and no other."""
    rows = [dataclasses.replace(row, km2=0.94) for row in rows_of("zz1", "zz2", country="ES", parent="ES-SE")]
    madrid = shapes(shapely.box(-3.70, 40.40, -3.69, 40.41), shapely.box(-3.68, 40.40, -3.67, 40.41))
    assert [problem.code for problem in problems(rows, madrid, library, exclaves={"zz1"})] == ["zz2"]


def test_codes_may_begin_with_their_parents(library):
    """26347 is Tain-l'Hermitage in Drôme, which the coarse outline of Ardèche holds: its code says which; what says nothing stays."""
    rows = rows_of("FR-26347", "FR-97412", country="FR")
    assert [row.parent for row in prefixed(rows, 2, library)] == ["FR-26", None]
    assert [row.parent for row in prefixed(rows_of("FR-26347", country="FR", parent="FR"), 2, library)] == ["FR"]
    assert [row.parent for row in prefixed(rows_of("FR-26347", country="FR", kind="province"), 2, library)] == [None]


def test_a_parent_nobody_knows_is_let_go_when_asked(library):
    """A province that was made since: the others keep the parents that the file gives them."""
    rows = [*rows_of("111", country="IT", parent="SU"), *rows_of("112", country="IT", parent="IT-MI")]
    assert [row.parent for row in orphaned(rows, library)] == [None, "IT-MI"]


def test_a_parent_in_the_same_file_holds_its_parts(library):
    """A town is within the county of its own file, whether the library knows that one or not."""
    county, *towns = [*rows_of("c", kind="county", parent="DE-BW"), *rows_of("a", "b", parent="c")]
    county = dataclasses.replace(county, km2=164.0)
    both = shapely.union_all(BOXES[:2])
    assert told([county, *towns], (both, *BOXES[:2]), library) == []
    lost = shapely.box(10, 49, 10.1, 49.1)
    assert told([county, *towns], (both, BOXES[0], lost), library) == [
        (3, "cannot be part of c (Name of c): 0% of its ground lies there; of an exclave say --exclave b")
    ]


def test_a_region_that_is_larger_than_its_parent_is_refused(library):
    """A county that holds its parent, and other ground besides, is told with both sizes."""
    county, town = [*rows_of("c", kind="county", parent="DE-BW"), *rows_of("a", parent="c")]
    town = dataclasses.replace(town, km2=328.0)
    assert told([county, town], (BOXES[0], shapely.union_all(BOXES)), library) == [
        (2, "cannot be part of c (Name of c): its 328.0 km2 is larger than that one's 82.0")
    ]


def test_siblings_that_overlap_are_told(library):
    """Ground that two siblings claim is told with both; slivers along a border, cousins and parents are no fault."""
    wide = shapely.box(9.0, 48, 9.15, 48.1)
    rows = rows_of("a", "b", "c", parent="DE-BW")
    assert told(rows, (wide, BOXES[1], BOXES[2]), library) == [
        (2, "overlaps a (Name of a) by 41.4 km2, 51% of the smaller")
    ]
    sliver = shapely.box(8.999, 48, 9.1005, 48.1)
    assert told(rows, (sliver, BOXES[1], BOXES[2]), library) == []
    cousins = [*rows_of("a", parent="DE-BW"), *rows_of("b", parent="DE"), *rows_of("c", kind="county")]
    assert told(cousins, (wide, BOXES[1], wide), library) == []


def test_an_outline_given_twice_is_told_however_small(library):
    """The same hundred square metres under two codes is a fault."""
    tiny = shapely.box(9, 48, 9.0002, 48.0002)
    rows = [files.Row(code=code, name=code, kind="city", parent="DE-BW", country="DE", km2=3e-4) for code in "ab"]
    assert [row for row, _ in told(rows, (tiny, tiny), library)] == [2]


def test_what_a_new_edition_leaves_out_is_known_and_its_number_stays(tmp_path, library):
    """Replacing a file tells which codes are gone; their numbers are not given to the new ones."""
    first, second = rows_of("a", "b", parent="DE-BW"), rows_of("b", "c", parent="DE-BW")
    install(tmp_path, "towns", source=SOURCE, rows=first, geometries=shapes(*BOXES[:2]), library=library)
    before = {code: Library.load(added=tmp_path).get(code).number for code in "ab"}
    assert gone(tmp_path, "towns", second) == ("a",)
    assert gone(tmp_path, "others", second) == ()
    install(tmp_path, "towns", source=SOURCE, rows=second, geometries=shapes(*BOXES[1:3]), library=library)
    after = Library.load(added=tmp_path)
    assert "a" not in after
    assert after.get("b").number == before["b"]
    assert after.get("c").number not in before.values()


@pytest.mark.parametrize(("names", "stored"), [(("north", "south"), 1), (("towns", "towns"), 2)])
def test_two_imports_at_once_are_as_one_after_the_other(tmp_path, library, names, stored):
    """Two files with the same codes: one is refused. Under one name: the later holds, whole. Nothing else is left in the folder."""
    rows = rows_of(*(f"D{i}" for i in range(300)), parent="DE-BW")
    outlines = [
        files.quantise(
            shapes(*(shapely.box(9 + i / 1000 + east, 48, 9.0005 + i / 1000 + east, 48.1) for i in range(300))), 100_000
        )
        for east in (0, 0.5)
    ]

    def imported(folder, name, given, together):
        together.wait()
        try:
            install(folder, name, source=SOURCE, rows=rows, geometries=given, library=library)
        except LibraryError as error:
            return str(error)
        return "stored"

    for attempt in range(6):
        folder, together = tmp_path / str(attempt), threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(imported, [folder] * 2, names, outlines, [together] * 2))
        assert answers.count("stored") == stored, answers
        found = files.read_file(next(folder.glob("*.regions")))
        assert any(shapely.equals_exact(found.geometries, given).all() for given in outlines)
        assert len(list(folder.iterdir())) == 2  # and the numbers


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_takes_in_is_for_whoever_has_the_folder(tmp_path, library):
    """A service that may not read its own regions does not start any more, and sees none that it was to see within seconds."""
    service, before = 65_534, os.umask(0o077)
    os.chown(tmp_path, service, service)
    try:
        rows, given = rows_of("a", parent="DE-BW"), shapes(*BOXES[:1])
        folder = tmp_path / "data" / "regions"
        install(folder, "towns", source=SOURCE, rows=rows, geometries=given, library=library)
    finally:
        os.umask(before)
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {service}


def test_what_breaks_off_takes_no_editions_place(tmp_path):
    """Half a file never stands in the place of a whole one, and is not left beside it."""
    kept = tmp_path / "towns.regions"
    kept.write_text("whole")

    def half() -> None:
        with files.replacing(kept) as unfinished:
            unfinished.write_text("ha")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("towns.regions", "whole")]


def test_a_region_without_a_parent_is_placed_by_where_it_lies(library):
    """A town without a parent is put below the province that it lies in."""
    assert [row.parent for row in placed(rows_of("a"), shapes(BOXES[0]), library)] == ["DE-BW"]


def test_a_region_that_lies_abroad_by_its_outline_stays_in_its_country(library):
    """A commune of France whose outline, from another source, lies just over the Rhine goes below its département."""
    over = shapely.box(7.86, 48.62, 7.87, 48.63)
    assert library.at(7.865, 48.625)[-1].code == "DE"
    assert [row.parent for row in placed(rows_of("67519", country="FR"), shapes(over), library)] == ["FR-67"]
    far = shapely.box(9.0, 48.62, 9.01, 48.63)
    (astray,) = placed(rows_of("67519", country="FR"), shapes(far), library)
    assert "cannot be part of" in told((astray,), shapes(far), library)[0][1]


def test_an_island_that_no_outline_has_belongs_to_its_country(library, tmp_path):
    """Far out at sea, it is below Italy, and an alert for Italy reaches it."""
    island = shapely.box(18.5, 37.5, 18.6, 37.6)
    assert library.at(18.55, 37.55) == ()
    rows, outlines = placed(rows_of("084020", country="IT"), shapes(island), library), shapes(island)
    assert [row.parent for row in rows] == ["IT"]
    assert problems(rows, outlines, library) == ()
    install(
        tmp_path, "islands", source=SOURCE, rows=rows, geometries=files.quantise(outlines, 100_000), library=library
    )
    area = resolve(Target(regions=("IT",)), Library.load(added=tmp_path))
    assert problems(rows, outlines, Library.load(added=tmp_path)) == ()  # nor as another edition
    assert shapely.intersects_xy(area.geometry, 18.55, 37.55)
    assert not shapely.intersects_xy(resolve(Target(regions=("IT",)), library).geometry, 18.55, 37.55)
