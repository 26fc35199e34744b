from __future__ import annotations

import gzip
import zipfile

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geofences import files, importer
from geofences.additions import install, placed
from geofences.errors import LibraryError
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
    return importer.read_regions(
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
        (frame(codes=("zz1", "ZZ1")), 2, "code of row 1 (zz1)"),
        (frame(codes=("7", "A B/ç:1")), 2, "which no request can name"),
        (frame(codes=("7", "-7")), 2, "which no request can name"),
        (frame(codes=("x" * 33, "x" * 32)), 1, "at most 32"),
        (frame(names=("x", "a\u202eb")), 2, "U+202E"),
        (frame(names=("x", "a\u2067b")), 2, "U+2067"),
        (frame(names=("x\x07y", "x")), 1, "U+0007"),
        (frame(names=("two\nlines", "x")), 1, "U+000A"),
        (frame(names=("y" * 201, "y" * 200)), 1, "201 characters"),
        (frame(names=("\u200f", "x\u200f")), 1, "invisible name"),
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


def test_letters_of_windows_are_read_as_such_and_told(tmp_path):
    """U+009E in a name is the ž that Windows has there; what no letter stands for, and what is misread as a whole, is a fault."""
    frame(names=("Du\x9ean", "Zuera")).to_file(tmp_path / "a.geojson")
    report = read(tmp_path / "a.geojson")
    assert ([row.name for row in report.regions], report.renamed) == (["Dužan", "Zuera"], ("1",))
    for name, says in (("x\x81y", "U+0081"), ("Ã\x89cija", "wrong encoding")):
        frame(names=(name, "Zuera")).to_file(tmp_path / "b.geojson")
        assert [says in problem.what for problem in read(tmp_path / "b.geojson").problems] == [True]


def test_what_crosses_itself_is_repaired_and_told(tmp_path):
    """A bow-tie becomes valid, and the report names the region."""
    frame(shapes=(BOWTIE, shapely.box(0, 0, 1, 1))).to_file(tmp_path / "a.geojson")
    report = read(tmp_path / "a.geojson")
    assert report.repaired == ("1",)
    assert shapely.is_valid(report.geometries).all()


@pytest.mark.parametrize(
    ("hole", "is_stray"),
    [
        (shapely.box(3, 0, 4, 1), True),
        (shapely.box(1, 0, 2, 1), True),  # beside it
        (shapely.box(0.5, 0.5, 2, 0.8), False),  # what of it is inside leaves ground out
    ],
)
def test_a_hole_outside_its_polygon_stops_the_file_as_it_stops_a_drawing(tmp_path, hole, is_stray):
    """It was to spare people: no import makes ground of it, nor in a part of several."""
    holed = shapely.Polygon(shapely.box(0, 0, 1, 1).exterior, [hole.exterior])
    of_two = shapely.MultiPolygon([shapely.box(8, 8, 9, 9), holed])
    frame(shapes=(shapely.box(5, 5, 6, 6).difference(shapely.box(5.2, 5.2, 5.5, 5.5)), of_two)).to_file(
        tmp_path / "a.geojson"
    )
    report = read(tmp_path / "a.geojson")
    told = [(problem.row, problem.code, "hole outside its polygon" in problem.what) for problem in report.problems]
    assert told == ([(2, "2", True)] if is_stray else [])
    assert len(report.regions) == (0 if is_stray else 2)


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


def test_of_mixed_layers_the_one_with_the_columns_is_read_and_put_into_degrees(tmp_path):
    """Points in one projection, lines in another, towns in a third: the towns come out in degrees, and it is told from which."""
    path = tmp_path / "mixed.gpkg"
    wells = frame(shapes=(shapely.Point(0, 0), shapely.Point(1, 1)))
    wells.to_crs("EPSG:32631").to_file(path, layer="wells")
    frame().drop(columns="nombre").to_file(path, layer="outlines")
    frame().to_crs("EPSG:25830").to_file(path, layer="towns")
    report = read(path)
    assert (report.layer, report.reprojected_from, report.problems) == ("towns", "EPSG:25830", ())
    assert shapely.symmetric_difference(report.geometries[0], TWO_BOXES[0]).area < 1e-3
    frame().to_file(path, layer="villages")
    with pytest.raises(LibraryError, match=r"towns \(ine, nombre, prov\).*Name the layer"):
        read(path)
    assert read(path, layer="villages").layer == "villages"


def test_a_large_file_of_mixed_layers_and_projections(tmp_path, is_long):
    """40 MB, 4 MB in the short run, with wells in one projection and towns in another: the towns come out whole, in degrees, and it is told
    from which.
    """
    many = 2_000 if is_long else 200
    path, turns = tmp_path / "large.gpkg", np.linspace(0, 2 * np.pi, 1_301)
    wave = (1 + 0.1 * np.sin(40 * turns)) * 400  # metres
    round_town = np.column_stack([wave * np.cos(turns), wave * np.sin(turns)])
    spots = [(250_000 + 1_000 * x, 4_140_000 + 1_000 * y) for x in range(50) for y in range(many // 50)]
    towns = gpd.GeoDataFrame(
        {"ine": [str(i) for i in range(many)], "nombre": "x"},
        geometry=[shapely.Polygon(round_town + spot) for spot in spots], crs="EPSG:25830",
    )  # fmt: skip
    frame(shapes=(shapely.Point(0, 0), shapely.Point(1, 1))).to_crs("EPSG:3857").to_file(path, layer="wells")
    towns.to_file(path, layer="towns")
    assert path.stat().st_size > many * 20_000
    report = read(path)
    assert (report.layer, report.reprojected_from, len(report.regions)) == ("towns", "EPSG:25830", many)
    assert report.problems == ()
    assert shapely.is_valid(report.geometries).all()
    assert {round(row.km2, 1) for row in report.regions} == {0.5}
    west, south, *_ = report.geometries[0].bounds
    assert (west, south) == (pytest.approx(-5.83, abs=0.02), pytest.approx(37.37, abs=0.02))


def test_a_shapefile_that_does_not_say_its_projection(tmp_path):
    """Numbers that can be degrees are taken so, and that is told; metres are refused with what is missing."""
    frame().to_file(tmp_path / "degrees.shp")
    frame().to_crs("EPSG:25830").to_file(tmp_path / "metres.shp")
    for name in ("degrees.prj", "metres.prj"):
        (tmp_path / name).unlink()
    assert read(tmp_path / "degrees.shp").assumed_lon_lat
    with pytest.raises(LibraryError, match=r"metres\.shp does not say its coordinate system.*\.prj"):
        read(tmp_path / "metres.shp")


def test_longitudes_beyond_180_are_degrees_only_where_the_file_says_so(tmp_path):
    """A local grid's small numbers look like degrees: each row beyond 180 is told. GeoJSON is degrees, and may cross the antimeridian."""
    given = frame(shapes=(shapely.box(0, 0, 1, 1), shapely.box(179.5, -17, 180.5, -16)))
    given.to_file(tmp_path / "grid.shp")
    given.to_file(tmp_path / "fiji.geojson")
    (tmp_path / "grid.prj").unlink()
    assert [(problem.row, "beyond 180" in problem.what) for problem in read(tmp_path / "grid.shp").problems] == [
        (2, True)
    ]
    fiji = read(tmp_path / "fiji.geojson")
    assert fiji.problems == ()
    assert shapely.bounds(fiji.geometries[1]).tolist() == [-180, -17, 180, -16]


@pytest.mark.parametrize(("name", "crs"), [("fiji.gpkg", "EPSG:3460"), ("fiji.geojson", "EPSG:4326")])
def test_an_outline_that_leaps_across_180_is_asked_back(tmp_path, name, crs):
    """An island across 180, in the grid of its country or with -179.5 after 179.5, would be a strip once round the earth without the island."""
    island = shapely.Polygon([(179.5, -17), (-179.5, -17), (-179.5, -16), (179.5, -16)])
    frame(shapes=(shapely.box(178, -17, 179, -16), island)).to_crs(crs).to_file(tmp_path / name)
    report = read(tmp_path / name)
    assert report.regions == ()
    assert [(problem.row, "Which way round" in problem.what) for problem in report.problems] == [(2, True)]


def test_what_reaches_a_pole_may_go_round_along_it(tmp_path):
    """As Antarctica is written: where all longitudes meet, an edge from -180 to 180 is none."""
    south = shapely.Polygon([(-180, -90), (180, -90), (180, -70), (60, -75), (-60, -75), (-180, -70)])
    frame(shapes=(shapely.box(0, 0, 1, 1), south)).to_file(tmp_path / "a.geojson")
    assert read(tmp_path / "a.geojson").problems == ()


def test_names_in_latin_1(tmp_path):
    """A Shapefile that says it is Latin-1 is read so; one read in the wrong encoding is refused, and read when it is named."""
    frame().to_file(tmp_path / "latin.shp", encoding="ISO-8859-1")
    assert [row.name for row in read(tmp_path / "latin.shp").regions] == ["Ábalos", "Zuera"]
    frame().to_file(tmp_path / "utf8.shp", encoding="UTF-8")
    (tmp_path / "utf8.cpg").unlink()
    report = read(tmp_path / "utf8.shp", encoding="ISO-8859-1")
    assert [(problem.row, "wrong encoding" in problem.what) for problem in report.problems] == [(1, True)]
    assert read(tmp_path / "utf8.shp", encoding="UTF-8").regions[0].name == "Ábalos"
    (tmp_path / "latin.geojson").write_bytes(frame().to_json(ensure_ascii=False).encode("latin-1"))
    with pytest.raises(LibraryError, match=r"latin\.geojson cannot be read"):
        read(tmp_path / "latin.geojson")


@pytest.mark.parametrize("name", ["a.geojson.gz", "a.gpkg", "a.fgb", "a.zip"])
def test_a_file_that_was_cut_off_gives_nothing(tmp_path, name):
    """Half a file is a LibraryError, never half its regions."""
    path = tmp_path / name
    many = [shapely.box(x / 100, 0, (x + 1) / 100, 1).segmentize(0.01) for x in range(200)]
    towns = frame(codes=range(200), names=["x"] * 200, shapes=many)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(towns.to_json().encode()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.geojson", towns.to_json())
    else:
        towns.to_file(path)
    assert len(read(path).regions) == 200
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LibraryError, match=r"a\.\w+"):
        read(path)


def test_what_unpacks_to_more_than_is_read_is_refused_unread(tmp_path):
    """A packed file that grows without end costs no more than the limit."""
    path = tmp_path / "bomb.geojson.gz"
    with gzip.open(path, "wb", compresslevel=1) as packed:
        for _ in range((importer.MOST_BYTES >> 24) + 1):
            packed.write(bytes(1 << 24))
    with pytest.raises(LibraryError, match="holds more than 1024 MB"):
        read(path)


def test_installed_regions_are_found_and_can_be_replaced(tmp_path, library):
    """What was imported is in the library at the next load, keeps its number when imported again, and has one file a code."""
    frame(shapes=(shapely.box(-6, 37.3, -5.9, 37.4), shapely.box(-5.9, 37.3, -5.8, 37.4)), codes=("N1", "N2")).to_file(
        tmp_path / "a.gpkg"
    )
    report = read(tmp_path / "a.gpkg", parent_field="prov")
    folder = tmp_path / "own"
    for _ in range(2):
        install(folder, "towns", source=SOURCE, rows=report.regions, geometries=report.geometries, library=library)
    grown = Library.load(added=folder)
    assert [region.code for region in grown.ancestors("N1")] == ["ES-SE", "ES"]
    assert [grown.get(code).number for code in ("N1", "N2")] == [files.FIRST_OWN_NUMBER, files.FIRST_OWN_NUMBER + 1]
    with pytest.raises(LibraryError, match="already in towns"):
        install(folder, "others", source=SOURCE, rows=report.regions, geometries=report.geometries, library=library)


def test_a_region_without_a_parent_finds_its_own(library):
    """A town without a parent lies below the smallest wider region, one in the ocean below none."""
    rows = [files.Row(code=code, name=code, kind="city", parent=None, country="", km2=1.0) for code in ("town", "raft")]
    shapes = np.array([shapely.box(-9.15, 38.7, -9.1, 38.75), shapely.box(-40, 30, -39, 31)], dtype=object)
    town, raft = placed(rows, shapes, library)
    assert (town.parent, town.country) == ("PT-11", "PT")
    assert raft == rows[1]


def test_a_parent_that_is_not_there_is_refused(tmp_path, library):
    """Nothing is written for regions whose parent is unknown."""
    frame().assign(prov="ES-XX").to_file(tmp_path / "a.gpkg")
    report = read(tmp_path / "a.gpkg", parent_field="prov")
    with pytest.raises(LibraryError, match="is part of ES-XX"):
        install(
            tmp_path / "own",
            "towns",
            source=SOURCE,
            rows=report.regions,
            geometries=report.geometries,
            library=library,
        )
    assert not (tmp_path / "own").exists()
