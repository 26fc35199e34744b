from __future__ import annotations

import gzip

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geofences import files, importer
from geofences.additions import install, placed
from geofences.errors import LibraryError, UnknownRegion
from geofences.regions import Library

SOURCE = files.Source(name="the town hall", licence="CC0", attribution="the town hall")
TWO_BOXES = (shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1))
BOWTIE = shapely.Polygon([(1, 1), (1.2, 1.2), (1.2, 1), (1, 1.2)])


def frame(
    codes=("1", "2"),
    names=("Ábalos", "Zuera"),
    shapes=TWO_BOXES,
    crs="EPSG:4326",
):
    return gpd.GeoDataFrame(
        {"ine": list(codes), "nombre": list(names), "prov": ["ES-SE"] * len(codes)}, geometry=list(shapes), crs=crs
    )


def read(path, **options):
    return importer.read(
        path, **{"kind": "city", "code_field": "ine", "name_field": "nombre", "country": "ES"} | options
    )


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.fgb", "a.shp", "a.geojson.gz"])
def test_every_format_gives_the_same_regions(tmp_path, name):
    """The same two regions come out of every format, whole, in lon/lat, and nothing is left beside the file."""
    if name.endswith(".gz"):
        with gzip.open(tmp_path / name, "wt") as packed:
            packed.write(frame().to_json())
    else:
        frame().to_file(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    report = read(tmp_path / name, parent_field="prov")
    assert report.problems == ()
    assert {(row.code, row.name, row.kind, row.parent, row.country) for row in report.regions} == {
        ("1", "Ábalos", "city", "ES-SE", "ES"),
        ("2", "Zuera", "city", "ES-SE", "ES"),
    }
    assert shapely.union_all(report.geometries).equals(shapely.box(0, 0, 2, 1))
    assert sorted(tmp_path.iterdir()) == before


def test_topojson(tmp_path):
    """TopoJSON has no coordinate system of its own and is lon/lat."""
    (tmp_path / "a.topojson").write_text(
        '{"type":"Topology","arcs":[[[0,0],[1,0],[1,1],[0,1],[0,0]]],"objects":{"towns":{"type":"GeometryCollection",'
        '"geometries":[{"type":"Polygon","arcs":[[0]],"properties":{"ine":"1","nombre":"Uno"}}]}}}'
    )
    report = read(tmp_path / "a.topojson")
    assert (report.problems, report.regions[0].code) == ((), "1")
    assert report.geometries[0].equals(shapely.box(0, 0, 1, 1))


def test_another_projection_is_told_and_undone(tmp_path):
    """A file in metres comes out in degrees, and the report says from what."""
    frame().to_crs("EPSG:3857").to_file(tmp_path / "a.gpkg")
    report = read(tmp_path / "a.gpkg")
    assert report.reprojected_from == "EPSG:3857"
    assert shapely.symmetric_difference(report.geometries[0], TWO_BOXES[0]).area < 1e-6


@pytest.mark.parametrize(
    ("given", "row", "says"),
    [
        (frame(codes=("7", "7")), 2, "code of row 1"),
        (frame(codes=("7", None)), 2, "no code"),
        (frame(names=(None, "x")), 1, "no name"),
        (frame(shapes=(shapely.box(0, 0, 1, 1), None)), 2, "no outline"),
        (frame(shapes=(shapely.box(0, 0, 1, 1), shapely.Polygon())), 2, "no outline"),
        (frame(shapes=(shapely.Point(0, 0), shapely.box(0, 0, 1, 1))), 1, "no polygon"),
        (frame(shapes=(shapely.box(0, 0, 1e-9, 1e-9), shapely.box(0, 0, 1, 1))), 1, "less than a square metre"),
        (frame(shapes=(shapely.box(40, 100, 41, 101), shapely.box(0, 0, 1, 1))), 1, "swapped"),
    ],
)
def test_one_fault_stops_the_file_and_is_named(tmp_path, given, row, says):
    """Each bad feature is told by its row and reason, and no region comes out."""
    given.to_file(tmp_path / "a.geojson")
    report = read(tmp_path / "a.geojson")
    assert report.regions == ()
    assert [(problem.row, says in problem.what) for problem in report.problems] == [(row, True)]


def test_what_crosses_itself_is_repaired_and_told(tmp_path):
    """A bow-tie becomes valid, and the report names the region."""
    frame(shapes=(BOWTIE, shapely.box(0, 0, 1, 1))).to_file(tmp_path / "a.geojson")
    report = read(tmp_path / "a.geojson")
    assert report.repaired == ("1",)
    assert shapely.is_valid(report.geometries).all()


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("none.geojson", None, {}, "no file"),
        ("a.geojson", "{broken", {}, "cannot be read"),
        ("a.geojson", frame().to_json(), {"code_field": "inne"}, "Did you mean 'ine'"),
        ("a.geojson", frame().to_json(), {"layer": "b"}, "layers"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, options, says):
    """A missing, broken or different file is a LibraryError that says what to do."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(LibraryError, match=says):
        read(tmp_path / name, **options)


def test_numbers_as_codes_are_whole(tmp_path):
    """A column of numbers gives codes without decimals."""
    frame(codes=(41091.0, 41092.0)).to_file(tmp_path / "a.gpkg")
    assert [row.code for row in read(tmp_path / "a.gpkg").regions] == ["41091", "41092"]


def test_installed_regions_are_found_and_can_be_replaced(tmp_path):
    """What was imported is in the library at the next load, keeps its number when imported again, and has one file a code."""
    frame(shapes=(shapely.box(-6, 37.3, -5.9, 37.4), shapely.box(-5.9, 37.3, -5.8, 37.4)), codes=("N1", "N2")).to_file(
        tmp_path / "a.gpkg"
    )
    report = read(tmp_path / "a.gpkg", parent_field="prov")
    library, folder = Library.load(), tmp_path / "own"
    for _ in range(2):
        install(folder, "towns", source=SOURCE, rows=report.regions, geometries=report.geometries, library=library)
    grown = Library.load(added=folder)
    assert [region.code for region in grown.ancestors("N1")] == ["ES-SE", "ES"]
    assert [grown.get(code).number for code in ("N1", "N2")] == [files.FIRST_OWN_NUMBER, files.FIRST_OWN_NUMBER + 1]
    with pytest.raises(LibraryError, match="already in towns"):
        install(folder, "others", source=SOURCE, rows=report.regions, geometries=report.geometries, library=library)


def test_a_region_without_a_parent_finds_its_own():
    """A town without a parent lies below the smallest wider region, one in the ocean below none."""
    rows = [files.Row(code=code, name=code, kind="city", parent=None, country="", km2=1.0) for code in ("town", "raft")]
    shapes = np.array([shapely.box(-9.15, 38.7, -9.1, 38.75), shapely.box(-40, 30, -39, 31)], dtype=object)
    town, raft = placed(rows, shapes, Library.load())
    assert (town.parent, town.country) == ("PT-11", "PT")
    assert raft == rows[1]


def test_a_parent_that_is_not_there_is_refused(tmp_path):
    """Nothing is written for regions whose parent is unknown."""
    frame().assign(prov="ES-XX").to_file(tmp_path / "a.gpkg")
    report = read(tmp_path / "a.gpkg", parent_field="prov")
    with pytest.raises(UnknownRegion):
        install(
            tmp_path / "own",
            "towns",
            source=SOURCE,
            rows=report.regions,
            geometries=report.geometries,
            library=Library.load(),
        )
    assert not (tmp_path / "own").exists()
