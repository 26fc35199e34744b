"""Handles the places where a map in longitude and latitude is discontinuous: the antimeridian (180 degrees) and the poles."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]

SAME = 1e-9  # degrees: 0.1 mm, and more than the rounding error of adding 360


def cut_at_antimeridian(geometry: BaseGeometry) -> BaseGeometry:
    """Returns the same area with all longitudes within -180..180: cuts off the parts beyond and moves them by whole turns."""
    west, _, east, _ = geometry.bounds
    if geometry.is_empty or (west >= -180 and east <= 180):
        return geometry
    first, last = int(np.floor((west + 180) / 360)), int(np.ceil((east - 180) / 360))
    pieces: list[BaseGeometry] = []
    for turn in range(first, last + 1):
        piece = shapely.intersection(geometry, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        shifted = affinity.translate(piece, xoff=-360.0 * turn)
        pieces.extend(part for part in shapely.get_parts(shifted) if part.geom_type == "Polygon")
    return shapely.union_all(pieces)


def unwound(lon_lat: Floats) -> Floats:
    """Returns a line without edges that run 360 degrees along a parallel: such an edge ends where it begins. Shifts the
    longitudes of all later positions by 360 degrees, so that the line stays connected.

    Keeps such edges along a pole, because maps draw a pole as such an edge.
    """
    steps = np.diff(lon_lat, axis=0)
    nowhere = (np.abs(np.abs(steps[:, 0]) - 360) < SAME) & (steps[:, 1] == 0) & (np.abs(lon_lat[1:, 1]) != 90)
    if not nowhere.any():
        return lon_lat
    turned = lon_lat.copy()
    turned[1:, 0] -= np.cumsum(np.where(nowhere, steps[:, 0], 0.0))
    return turned[np.r_[True, ~nowhere]]


def leaps(lon_lat: Floats) -> NDArray[np.bool_]:
    """Returns which edges of a line are longer than 180 degrees of longitude, so that they may mean either way round the earth. Excludes
    edges along a pole, where all longitudes meet.
    """
    at_pole = np.abs(lon_lat[:, 1]) == 90
    found: NDArray[np.bool_] = (np.abs(np.diff(lon_lat[:, 0])) > 180) & ~(at_pole[:-1] & at_pole[1:])
    return found


def goes_round(lon_lat: Floats) -> bool:
    """Returns whether a line ends at the place where it began, after one turn round the earth, so that it encloses a pole."""
    turn, rise = lon_lat[-1] - lon_lat[0]
    return bool(abs(abs(turn) - 360) < SAME and rise == 0)


def round_pole(lon_lat: Floats, pole: float) -> Polygon:
    """Returns the polygon between a line that goes once round the earth and a pole (latitude 90 or -90)."""
    return Polygon([*lon_lat.tolist(), (lon_lat[-1, 0], pole), (lon_lat[0, 0], pole)])
