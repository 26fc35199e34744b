"""Reads regions from a file in GeoJSON, GeoPackage, FlatGeobuf, Shapefile or TopoJSON, plain, gzipped or zipped, and
reports problems.

This is the only module that uses geopandas, and a process that serves requests must not import it. It stores nothing:
`additions.install` does. A file with any problem yields no regions at all.
"""

from __future__ import annotations

import dataclasses
import difflib
import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from geofences import files
from geofences.additions import Problem
from geofences.antimeridian import cut_at_antimeridian, leaps
from geofences.errors import LibraryError
from geofences.names import code_fault, mended_name, name_fault
from geofences.polygons import areas_km2
from geofences.regions import Kind
from geofences.shapes import outside

Geometries = NDArray[np.object_]

WGS84 = "EPSG:4326"
# GDAL unpacks a file with one of these suffixes while it reads, if the name has this prefix.
PACKED = {".gz": "/vsigzip/", ".zip": "/vsizip/"}
# Without this setting, GDAL writes a file beside every gzipped file that it reads.
NO_SIDE_FILES = {"CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"}
# Formats that are lon/lat by definition, even if a file does not say so.
LON_LAT_DRIVERS = frozenset({"GeoJSON", "TopoJSON", "GeoJSONSeq"})
POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
# Maximum number of features: twice the municipalities of the European Union.
MOST_FEATURES = 200_000
# Maximum size of an unpacked file. The municipalities of France in full detail are 0.4 GB of GeoJSON.
MOST_BYTES = 1 << 30
CHUNK = 1 << 20
# Tolerance in degrees, a decimetre on the ground.
ROUNDED = 1e-6


def _none() -> Geometries:
    return np.empty(0, dtype=object)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Result of reading a file. If there is any problem, it has no regions."""

    layer: str = ""
    regions: tuple[files.Row, ...] = ()
    geometries: Geometries = field(default_factory=_none)  # one a region, as they will be stored
    problems: tuple[Problem, ...] = ()
    reprojected_from: str | None = None  # the file's coordinate system, if it was not lon/lat
    assumed_lon_lat: bool = False  # the file names no coordinate system, and its numbers can be degrees
    renamed: tuple[
        str, ...
    ] = ()  # codes of regions with control characters in the name, which were replaced by letters
    repaired: tuple[str, ...] = ()  # codes of regions with an outline that crossed itself and was made valid


def read_regions(
    path: Path,
    *,
    kind: str,
    code_field: str,
    name_field: str,
    parent_field: str | None = None,
    country: str | None = None,
    encoding: str | None = None,
    layer: str | None = None,
) -> ImportReport:
    """Reads and checks the regions of a file, and returns a report that also lists the problems of single features.

    `kind` is one of country, province, county, city; `country` the ISO 3166-1 alpha-2 code of all regions. Raises LibraryError if the file
    cannot be read or is too large, lacks a column, or has several suitable layers and `layer` names none.
    """
    kind = Kind(kind)
    source = _source(path)
    fields = [name for name in (code_field, name_field, parent_field) if name]
    try:
        chosen = _layer(path, source, layer, fields)
        frame = _frame(source, chosen, encoding)
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        UnicodeDecodeError,
        ValueError,
    ) as error:
        if isinstance(error, LibraryError):
            raise
        raise LibraryError(f"{path.name} cannot be read: {error}") from error
    assumed = frame.crs is None and chosen.driver not in LON_LAT_DRIVERS
    frame, reprojected_from = _in_lon_lat(frame, path)
    about = ImportReport(layer=chosen.name, reprojected_from=reprojected_from, assumed_lon_lat=assumed)
    codes = [_text(value) for value in frame[code_field]]
    written = [_text(value) for value in frame[name_field]]
    names = [name and mended_name(name) for name in written]
    parents = [None if parent_field is None else _text(value) for value in frame[parent_field or code_field]]
    outlines = _outlines(frame.geometry.to_numpy(), codes, assumed=assumed)
    if problems := (*_table_problems(codes, names), *outlines.problems):
        return dataclasses.replace(about, problems=tuple(sorted(problems, key=lambda problem: problem.row)))
    table = zip(codes, names, parents, areas_km2(outlines.geometries).round(6).tolist(), strict=True)
    rows = tuple(
        files.Row(code=code, name=name, kind=kind, parent=parent, country=country or "", km2=km2)
        for code, name, parent, km2 in table
        if code is not None and name is not None  # else there would have been a problem
    )
    repaired = tuple(row.code for row, was in zip(rows, outlines.repaired, strict=True) if was)
    renamed = tuple(row.code for row, was in zip(rows, written, strict=True) if row.name != was)
    return dataclasses.replace(about, regions=rows, geometries=outlines.geometries, repaired=repaired, renamed=renamed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    name: str
    driver: str
    columns: tuple[str, ...]
    features: int  # number of features; -1 if counting would read the whole file
    polygons: bool


def _source(path: Path) -> str:
    """Returns the name of the file for GDAL. Raises LibraryError if the file does not exist, is damaged, or is larger than MOST_BYTES
    unpacked.
    """
    if not path.exists():
        raise LibraryError(f"There is no file {path}.")
    pyogrio.set_gdal_config_options(NO_SIDE_FILES)
    suffix = path.suffix.lower()
    try:
        size = {".gz": _gzip_size, ".zip": _zip_size}.get(suffix, lambda file: file.stat().st_size)(path)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise LibraryError(f"{path.name} cannot be unpacked, it is damaged or cut off: {error}") from error
    if size > MOST_BYTES:
        raise LibraryError(f"{path.name} holds more than {MOST_BYTES >> 20} MB. Split it, or simplify its outlines.")
    return PACKED.get(suffix, "") + str(path.resolve())


def _gzip_size(path: Path) -> int:
    """Returns the unpacked bytes, counted only until they are more than MOST_BYTES.

    Raises EOFError for a truncated file, of which GDAL would read the part that exists.
    """
    size = 0
    with gzip.open(path) as packed:
        while size <= MOST_BYTES and (chunk := packed.read(CHUNK)):
            size += len(chunk)
    return size


def _zip_size(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _layer(path: Path, source: str, wanted: str | None, fields: Sequence[str]) -> _Layer:
    """Returns the layer `wanted`; without it, the only polygon layer that has the columns `fields`, else the only layer. Raises
    LibraryError if there is no such single layer.
    """
    layers = [
        _about(source, str(name)) for name, geometry_type in pyogrio.list_layers(source) if geometry_type is not None
    ]
    if wanted is not None:
        layers, offered = [layer for layer in layers if layer.name == wanted], layers
    else:
        fit = [layer for layer in layers if layer.polygons and set(fields) <= set(layer.columns)]
        layers, offered = fit if len(fit) == 1 else layers, layers
    if len(layers) != 1:
        found = "; ".join(f"{layer.name} ({', '.join(layer.columns)})" for layer in offered) or "none with a geometry"
        raise LibraryError(f"{path.name} has these layers and columns: {found}. Name the layer.")
    if layers[0].features > MOST_FEATURES:
        raise LibraryError(f"{path.name} has {layers[0].features:,} features; at most {MOST_FEATURES:,} are read.")
    _check_fields(layers[0].columns, fields)
    return layers[0]


def _about(source: str, name: str) -> _Layer:
    """Returns what GDAL says about a layer, without reading its features."""
    info = pyogrio.read_info(source, layer=name)
    return _Layer(
        name=name,
        driver=str(info["driver"]),
        columns=tuple(map(str, info["fields"])),
        features=int(info["features"]),
        polygons=any(word in str(info["geometry_type"]) for word in ("Polygon", "Unknown", "Surface", "Collection")),
    )


def _frame(source: str, layer: _Layer, encoding: str | None) -> gpd.GeoDataFrame:
    """Returns the features of one layer. Raises GDAL's own errors, which name the faulty line or member, and LibraryError for no or too
    many features.
    """
    frame = gpd.read_file(source, layer=layer.name, encoding=encoding)
    if not isinstance(frame, gpd.GeoDataFrame) or not len(frame):
        raise LibraryError(f"The layer {layer.name} has no features.")
    if len(frame) > MOST_FEATURES:
        raise LibraryError(f"The layer {layer.name} has {len(frame):,} features; at most {MOST_FEATURES:,} are read.")
    return frame


def _check_fields(columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises LibraryError if a wanted column is missing, with the most similar one."""
    for name in wanted:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LibraryError(f"The file has no column {name!r}; it has {', '.join(columns)}.{hint}")


def _in_lon_lat(frame: gpd.GeoDataFrame, path: Path) -> tuple[gpd.GeoDataFrame, str | None]:
    """Returns the features in lon/lat, and the name of their coordinate system before, None if nothing was converted.

    A file without a coordinate system is taken as lon/lat if its numbers can be degrees. Raises LibraryError if they cannot.
    """
    if frame.crs is None:
        west, south, east, north = frame.total_bounds if len(frame) else (0, 0, 0, 0)
        if min(west, south) < -540 or max(east, north) > 540 or south < -90 or north > 90:
            raise LibraryError(
                f"{path.name} does not say its coordinate system, and it is not longitude and latitude. Add it (a .prj for a Shapefile)."
            )
        return frame.set_crs(WGS84), None
    if frame.crs.to_epsg() == 4326:
        return frame, None
    return frame.to_crs(WGS84), frame.crs.to_string() if frame.crs.to_authority() else frame.crs.name


def _text(value: Any) -> str | None:
    """Returns a cell as a code or name: a whole number without decimals, None for an empty cell."""
    if value is None or value != value:  # noqa: PLR0124  NaN, however the column is typed
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _table_problems(codes: Sequence[str | None], names: Sequence[str | None]) -> Iterator[Problem]:
    """Yields a problem for each code or name that is missing or invalid, and for each row that repeats an earlier row's
    code. Upper and lower case count as the same code.
    """
    first: dict[str, int] = {}
    for row, (code, name) in enumerate(zip(codes, names, strict=True), start=1):
        if code is None:
            yield Problem(row=row, code=None, what="has no code")
        elif fault := code_fault(code):
            yield Problem(row=row, code=None, what=fault)
        elif (same := first.setdefault(code.casefold(), row)) != row:
            what = f"has the code of row {same} ({codes[same - 1]}); merge the two or give each its own"
            yield Problem(row=row, code=code, what=what)
        if fault := "has no name" if name is None else name_fault(name):
            yield Problem(row=row, code=code, what=fault)


def _shape_problems(codes: Sequence[str | None], geometries: Geometries, *, assumed: bool) -> Iterator[Problem]:
    """Yields a problem for each outline that is empty, no polygon, or has impossible coordinates. `assumed`: see
    `_outlines`.
    """
    kinds = shapely.get_type_id(geometries)
    empty = shapely.is_empty(geometries) | shapely.is_missing(geometries)
    finite = np.isfinite(shapely.bounds(geometries)).all(axis=1)
    west, south, east, north = shapely.bounds(geometries).T
    beyond = (west < -180 - ROUNDED) | (east > 180 + ROUNDED)  # across the antimeridian, or in other units
    tests = (
        (empty, "has no outline"),
        (~empty & ~np.isin(kinds, POLYGONS), "is no polygon"),
        (~empty & ~finite, "has a coordinate that is no number"),
        (
            ~empty & finite & ((south < -90) | (north > 90)),
            "reaches beyond the poles; are longitude and latitude swapped?",
        ),
        (
            ~empty & finite & beyond & assumed,
            "reaches beyond 180 degrees, and the file does not say its coordinate system; add it (a .prj for a Shapefile)",
        ),
        (
            ~empty & _leaping(geometries),
            "has an edge of more than 180 degrees. Which way round? Give it in degrees, and across 180 on to 181 and so on",
        ),
    )
    for failed, what in tests:
        yield from _found(failed, codes, what)


def _leaping(geometries: Geometries) -> NDArray[np.bool_]:
    """Returns which outlines have an edge of more than 180 degrees, which may mean either way round the earth. A projection leaves such
    edges when it crosses 180 degrees.
    """
    parts, owner = shapely.get_parts(geometries, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    lon_lat, ring = shapely.get_coordinates(rings, return_index=True)
    found = np.zeros(len(geometries), np.bool_)
    edges = np.flatnonzero(leaps(lon_lat) & (ring[1:] == ring[:-1]))
    found[owner[part[ring[edges]]]] = True
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlines:
    geometries: Geometries = field(default_factory=_none)
    repaired: Sequence[bool] = ()
    problems: tuple[Problem, ...] = ()


def _outlines(given: Geometries, codes: Sequence[str | None], *, assumed: bool) -> _Outlines:
    """Returns the outlines as a region file stores them, or the problems of those that cannot be stored. `assumed`: the file names no
    coordinate system, so lon/lat is an assumption.
    """
    flat = shapely.force_2d(given)
    problems = tuple(_shape_problems(codes, flat, assumed=assumed))
    if problems:
        return _Outlines(problems=problems)
    if (stray := _stray_holes(flat)).any():
        what = "has a hole outside its polygon; ground of its own is a polygon of its own"
        return _Outlines(problems=tuple(_found(stray, codes, what)))
    valid = _valid(flat)
    cut = np.array([shape if shape.is_empty else cut_at_antimeridian(shape) for shape in valid], dtype=object)
    vanished = shapely.is_empty(shapely.set_precision(cut, 1 / files.OWN_GRID))
    if vanished.any():
        what = "encloses no ground, or less than a square metre"
        return _Outlines(problems=tuple(_found(vanished, codes, what)))
    return _Outlines(geometries=files.quantise(cut, files.OWN_GRID), repaired=(~shapely.is_valid(flat)).tolist())


def _stray_holes(geometries: Geometries) -> NDArray[np.bool_]:
    """Returns which outlines have a hole outside its polygon. The hole was meant to exclude people, but a repair of the outline would
    include them.
    """
    polygons, owner = shapely.get_parts(geometries, return_index=True)
    with_holes = (shapely.get_num_interior_rings(polygons) > 0) & ~shapely.is_valid(polygons)  # all others lie inside
    found = np.zeros(len(geometries), np.bool_)
    for at in np.flatnonzero(with_holes).tolist():
        shell, *holes = _valid(np.array([shapely.Polygon(ring) for ring in shapely.get_rings(polygons[at])]))
        found[owner[at]] |= outside(shell, np.array(holes, dtype=object)).any()
    return found


def _valid(geometries: Geometries) -> Geometries:
    valid: Geometries = shapely.make_valid(geometries, method="structure", keep_collapsed=False)
    return valid


def _found(failed: NDArray[np.bool_], codes: Sequence[str | None], what: str) -> Iterator[Problem]:
    """Yields a problem with the text `what` for each row that failed."""
    for i in np.flatnonzero(failed).tolist():
        yield Problem(row=i + 1, code=codes[i], what=what)
