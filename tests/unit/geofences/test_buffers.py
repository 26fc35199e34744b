"""Buffers in metres on the ground, against another implementation of geodesics."""

from __future__ import annotations

import time

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofences.buffers import MOST_EXCESS, buffered
from geofences.errors import InvalidGeometry, TargetErrors
from geofences.shapes import polygon
from geofences.targets import Selection, Target, resolve

GEOD = pyproj.Geod(ellps="WGS84")
TROMSO = shapely.box(18.6, 69.5, 19.4, 69.8)
SVALBARD = shapely.box(10, 76.5, 28, 80.8)
TAVEUNI = shapely.MultiPolygon([shapely.box(179.8, -17, 180, -16.7), shapely.box(-180, -17, -179.8, -16.7)])
ARCTIC = shapely.Polygon([(-180, 89), (180, 89), (180, 90), (-180, 90)])
ICE = shapely.box(-60, 86.5, 100, 89.7)
LONG = shapely.Polygon([(-100, 10), (60, 60), (100, -50)])


def border(shape: shapely.Geometry, step: float) -> np.ndarray:
    """Positions along the border, each at most `step` degrees after the one before."""
    rings = shapely.get_rings(shapely.get_parts(shape))
    return shapely.get_coordinates(shapely.segmentize(rings, step))


def in_space(lon_lat: np.ndarray) -> np.ndarray:
    lon, lat = np.radians(lon_lat.T)
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def distances(shape: shapely.Geometry, lon_lat: np.ndarray) -> np.ndarray:
    """How far each position is from the shape's border (km), to some metres more."""
    line = border(shape, 0.005)
    spots = in_space(line)
    found = []
    for at, position in zip(in_space(lon_lat), lon_lat, strict=True):
        near = line[np.argpartition(-spots @ at, min(50, len(line) - 1))[:50]]
        away = GEOD.inv(*np.broadcast_to(position, near.shape).T, *near.T)[2]
        found.append(away.min() / 1000)
    return np.array(found)


def outer(shape: shapely.Geometry, count: int) -> np.ndarray:
    """Vertices of the new border, but for those where the map is cut."""
    lon_lat = shapely.get_coordinates(shape)
    real = lon_lat[(np.abs(lon_lat[:, 0]) < 179.999999) & (np.abs(lon_lat[:, 1]) < 89.99999)]
    return real[np.random.default_rng(1).integers(0, len(real), count)]


@pytest.mark.parametrize("shape", [TROMSO, SVALBARD, TAVEUNI, ARCTIC, ICE, LONG])
@pytest.mark.parametrize("km", [0.05, 5, 100])
def test_a_buffer_loses_nobody_within_and_reaches_little_farther(shape, km):
    """At 70 degrees, on both sides of 180, around the pole, along an edge across a continent: true distance on the ground."""
    wide = buffered(shape, km)
    assert wide.is_valid
    assert shapely.covers(wide, shape)
    chance = np.random.default_rng(2)
    starts = border(shape, 0.3)
    starts = starts[chance.integers(0, len(starts), 2_000)]
    lon, lat, _ = GEOD.fwd(*starts.T, chance.uniform(-180, 180, 2_000), np.full(2_000, km * 999.999))
    assert shapely.intersects_xy(wide, lon, lat).all()
    if km > 1:  # below, the border is known no better than the buffer
        farthest = distances(shape, outer(wide, 60)).max()
        assert km < farthest <= km * (1 + MOST_EXCESS) + 0.05


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-89, 89), st.floats(0.02, 3), st.floats(0.1, 100), st.integers(3, 9))
def test_anywhere_on_earth(lon, lat, size, km, corners):
    """Whatever is drawn, wherever: everyone within the distance of its border is inside, and who is far is not."""
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.column_stack([lon + size * np.cos(turns), np.clip(lat + size * np.sin(turns), -90, 90)])
    shape = polygon(ring.tolist()).geometry
    wide = buffered(shape, km)
    assert wide.is_valid
    starts = border(shape, 0.5)
    starts = np.repeat(starts, max(1, 400 // len(starts)), axis=0)
    bearings = np.random.default_rng(3).uniform(-180, 180, len(starts))
    east, north, _ = GEOD.fwd(*starts.T, bearings, np.full(len(starts), km * 999.999))
    assert shapely.intersects_xy(wide, east, north).all()
    east, north, _ = GEOD.fwd(*starts.T, bearings, np.full(len(starts), 400_000.0))
    away = distances(shape, np.column_stack([east, north])[:40])
    far = (away > km * (1 + MOST_EXCESS) + 2) & ~shapely.intersects_xy(shape, east[:40], north[:40])
    assert not shapely.intersects_xy(wide, east[:40], north[:40])[far].any()


@pytest.mark.parametrize("km", [-1, 100.5, float("nan"), float("inf")])
def test_a_distance_that_cannot_be_meant_is_refused(km):
    """A negative or huge buffer, or none at all, is a fault of the target."""
    with pytest.raises(InvalidGeometry):
        buffered(TROMSO, km)
    with pytest.raises(TargetErrors) as caught:
        resolve(Target(polygons=(shapely.get_coordinates(TROMSO).tolist(),), buffer_km=km), None)
    assert [fault.pointer for fault in caught.value.errors] == ["/buffer_km"]


def test_malice_does_not_hold_a_worker():
    """The longest border that is taken takes seconds; a longer one is refused before it is worked on."""
    turns = np.linspace(0, 2 * np.pi, 300_000)
    reach = 20 + np.sin(3_000 * turns)
    jagged = shapely.Polygon(np.column_stack([reach * np.cos(turns), reach * np.sin(turns)]))
    with pytest.raises(InvalidGeometry, match="too long and jagged"):
        buffered(jagged, 1)
    began = time.monotonic()
    assert buffered(shapely.simplify(jagged, 0.01), 100).is_valid
    assert buffered(shapely.box(-170, -60, 170, 80), 1e-6).is_valid
    assert time.monotonic() - began < 20


def test_what_is_excluded_does_not_grow():
    """The buffer widens what is wanted and is told; what is taken out stays as it was drawn."""
    ring = shapely.get_coordinates(TROMSO).tolist()
    bite = shapely.box(18.0, 69.6, 18.8, 69.7)
    area = resolve(
        Target(polygons=(ring,), buffer_km=10, exclude=Selection(polygons=(shapely.get_coordinates(bite).tolist(),))),
        None,
    )
    probes = [(18.5, 69.55), (18.5, 69.65), (18.85, 69.65)]
    assert shapely.intersects_xy(area.geometry, *zip(*probes, strict=True)).tolist() == [True, False, True]
    assert [(repair.pointer, "10 km" in repair.what) for repair in area.repairs] == [("/buffer_km", True)]
