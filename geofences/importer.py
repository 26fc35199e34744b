"""Reads regions from GeoJSON, GeoPackage, FlatGeobuf, Shapefile or TopoJSON, plain, gzipped or zipped, and reports on them.

The only user of geopandas; whoever serves requests must not import this module. Nothing is stored here, and a file with a problem
gives no region at all: `additions.install` stores what came through.
"""

from __future__ import annotations

import difflib
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
from geofences.errors import LibraryError
from geofences.geodesy import areas_km2
from geofences.regions import Kind
from geofences.shapes import cut_at_antimeridian

Geometries = NDArray[np.object_]

WGS84 = "EPSG:4326"
# Packed files are read through GDAL's own layers, straight from where they lie.
PACKED = {".gz": "/vsigzip/", ".zip": "/vsizip/"}
# Without this GDAL leaves a note beside every gzipped file it reads.
NO_SIDE_FILES = {"CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"}
POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


def _none() -> Geometries:
    return np.empty(0, dtype=object)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a feature cannot be a region."""

    row: int  # counted from 1, in the order of the file
    code: str | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What a file holds. With any problem there are no regions: all or nothing."""

    regions: tuple[files.Row, ...] = ()
    geometries: Geometries = field(default_factory=_none)  # one a region, as they will be stored
    problems: tuple[Problem, ...] = ()
    reprojected_from: str | None = None  # the file's coordinate system, if it was not lon/lat
    repaired: tuple[str, ...] = ()  # codes of regions whose outline crossed itself and was made valid


def read(
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
    """Reads and checks the regions of a file.

    `kind` is one of country, province, county, city; `country` the ISO 3166-1 alpha-2 code of all of them. Raises LibraryError
    when the file cannot be read, has no such column, or has several layers and none is named; faults of single features are
    reported instead.
    """
    kind = Kind(kind)
    frame = _frame(path, layer, encoding)
    _check_fields(frame, [name for name in (code_field, name_field, parent_field) if name])
    frame, reprojected_from = _in_lon_lat(frame, path)
    codes = [_text(value) for value in frame[code_field]]
    names = [_text(value) for value in frame[name_field]]
    parents = [None if parent_field is None else _text(value) for value in frame[parent_field or code_field]]
    outlines = _outlines(frame.geometry.to_numpy(), codes)
    problems = (*_table_problems(codes, names), *outlines.problems)
    if problems:
        ordered = tuple(sorted(problems, key=lambda problem: problem.row))
        return ImportReport(problems=ordered, reprojected_from=reprojected_from)
    table = zip(codes, names, parents, areas_km2(outlines.geometries).round(6).tolist(), strict=True)
    rows = tuple(
        files.Row(code=code, name=name, kind=kind, parent=parent, country=country or "", km2=km2)
        for code, name, parent, km2 in table
        if code is not None and name is not None  # else there would have been a problem
    )
    repaired = tuple(row.code for row, was in zip(rows, outlines.repaired, strict=True) if was)
    return ImportReport(
        regions=rows, geometries=outlines.geometries, reprojected_from=reprojected_from, repaired=repaired
    )


def _frame(path: Path, layer: str | None, encoding: str | None) -> gpd.GeoDataFrame:
    """The features of one layer. GDAL's own words are passed on: they name the line or the member at fault."""
    if not path.exists():
        raise LibraryError(f"There is no file {path}.")
    pyogrio.set_gdal_config_options(NO_SIDE_FILES)
    source = PACKED.get(path.suffix.lower(), "") + str(path.resolve())
    try:
        layers = [str(name) for name, geometry_type in pyogrio.list_layers(source) if geometry_type is not None]
        chosen = _layer(path, layers, layer)
        return gpd.read_file(source, layer=chosen, encoding=encoding)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, LibraryError):
            raise
        raise LibraryError(f"{path.name} cannot be read: {error}") from error


def _layer(path: Path, layers: list[str], wanted: str | None) -> str:
    if wanted is None and len(layers) == 1:
        return layers[0]
    if wanted in layers:
        return wanted
    found = ", ".join(layers) or "none with a geometry"
    raise LibraryError(f"{path.name} has these layers: {found}. Name one of them.")


def _check_fields(frame: gpd.GeoDataFrame, wanted: list[str]) -> None:
    columns = [str(column) for column in frame.columns if column != frame.geometry.name]
    for name in wanted:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LibraryError(f"The file has no column {name!r}; it has {', '.join(columns)}.{hint}")


def _in_lon_lat(frame: gpd.GeoDataFrame, path: Path) -> tuple[gpd.GeoDataFrame, str | None]:
    """The features in lon/lat, and what they were in before. A file that does not say is taken as lon/lat if it can be that."""
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
    """A cell as a code or name: whole numbers without their decimals, nothing for an empty cell."""
    if value is None or value != value:  # noqa: PLR0124  NaN, however the column is typed
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _table_problems(codes: Sequence[str | None], names: Sequence[str | None]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for row, (code, name) in enumerate(zip(codes, names, strict=True), start=1):
        if code is None:
            yield Problem(row=row, code=None, what="has no code")
        elif first.setdefault(code, row) != row:
            yield Problem(
                row=row, code=code, what=f"has the code of row {first[code]}; merge the two or give each its own"
            )
        if name is None:
            yield Problem(row=row, code=code, what="has no name")


def _shape_problems(codes: Sequence[str | None], geometries: Geometries) -> Iterator[Problem]:
    kinds = shapely.get_type_id(geometries)
    empty = shapely.is_empty(geometries) | shapely.is_missing(geometries)
    finite = np.isfinite(shapely.bounds(geometries)).all(axis=1)
    south, north = shapely.bounds(geometries)[:, [1, 3]].T
    tests = (
        (empty, "has no outline"),
        (~empty & ~np.isin(kinds, POLYGONS), "is no polygon"),
        (~empty & ~finite, "has a coordinate that is no number"),
        (
            ~empty & finite & ((south < -90) | (north > 90)),
            "reaches beyond the poles; are longitude and latitude swapped?",
        ),
    )
    for failed, what in tests:
        yield from _found(failed, codes, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlines:
    geometries: Geometries = field(default_factory=_none)
    repaired: Sequence[bool] = ()
    problems: tuple[Problem, ...] = ()


def _outlines(given: Geometries, codes: Sequence[str | None]) -> _Outlines:
    """The outlines as a region file keeps them; those that cannot be kept are problems."""
    flat = shapely.force_2d(given)
    problems = tuple(_shape_problems(codes, flat))
    if problems:
        return _Outlines(problems=problems)
    valid = shapely.make_valid(flat, method="structure", keep_collapsed=False)
    cut = np.array([shape if shape.is_empty else cut_at_antimeridian(shape) for shape in valid], dtype=object)
    vanished = shapely.is_empty(shapely.set_precision(cut, 1 / files.OWN_GRID))
    if vanished.any():
        what = "encloses no ground, or less than a square metre"
        return _Outlines(problems=tuple(_found(vanished, codes, what)))
    return _Outlines(geometries=files.quantise(cut, files.OWN_GRID), repaired=(~shapely.is_valid(flat)).tolist())


def _found(failed: NDArray[np.bool_], codes: Sequence[str | None], what: str) -> Iterator[Problem]:
    for i in np.flatnonzero(failed).tolist():
        yield Problem(row=i + 1, code=codes[i], what=what)
