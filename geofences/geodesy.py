"""The size and shape of the earth, and points at a distance on the WGS84 ellipsoid.

Uses numpy only, so that a process that serves requests need not load a projection library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# WGS84, as NIMA TR8350.2 defines it.
EQUATOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
POLE_M = EQUATOR_M * (1 - FLATTENING)
ECCENTRICITY = float(np.sqrt(FLATTENING * (2 - FLATTENING)))

# Vincenty's direct series gains three digits a round; six rounds pass the sixteenth.
VINCENTY_ROUNDS = 6


def destinations(lon_lat: tuple[float, float], bearings: Floats, distance_m: float) -> tuple[Floats, Floats]:
    """Returns the longitudes and latitudes (degrees) of the points at one distance from a point, one for each bearing (radians, clockwise
    from north).

    Longitudes are continuous around the start and may therefore exceed 180. The error is some millimetres: T. Vincenty, "Direct and inverse
    solutions of geodesics on the ellipsoid", Survey Review 176 (1975); the direct solution always converges.
    """
    lon, lat = np.radians(lon_lat)
    reduced = np.arctan((1 - FLATTENING) * np.tan(lat))
    sin_u, cos_u = np.sin(reduced), np.cos(reduced)
    sin_b, cos_b = np.sin(bearings), np.cos(bearings)
    start = np.arctan2(sin_u, cos_u * cos_b)
    sin_a = cos_u * sin_b
    cos2_a = 1 - sin_a**2
    arc, double_mid = _arc(start, cos2_a, distance_m)
    sin_s, cos_s = np.sin(arc), np.cos(arc)
    down = sin_u * sin_s - cos_u * cos_s * cos_b
    lat_2 = np.arctan2(sin_u * cos_s + cos_u * sin_s * cos_b, (1 - FLATTENING) * np.hypot(sin_a, down))
    turn = np.arctan2(sin_s * sin_b, cos_u * cos_s - sin_u * sin_s * cos_b)
    c = FLATTENING / 16 * cos2_a * (4 + FLATTENING * (4 - 3 * cos2_a))
    bend = arc + c * sin_s * (double_mid + c * cos_s * (2 * double_mid**2 - 1))
    return np.degrees(lon + turn - (1 - c) * FLATTENING * sin_a * bend), np.degrees(lat_2)


def _arc(start: Floats, cos2_a: Floats, distance_m: float) -> tuple[Floats, Floats]:
    """Returns the angle on Vincenty's auxiliary sphere (radians), and the cosine of twice the middle of the arc."""
    u2 = cos2_a * (EQUATOR_M**2 / POLE_M**2 - 1)
    a = 1 + u2 / 16384 * (4096 + u2 * (-768 + u2 * (320 - 175 * u2)))
    b = u2 / 1024 * (256 + u2 * (-128 + u2 * (74 - 47 * u2)))
    plain = distance_m / (POLE_M * a)
    arc = plain
    for _ in range(VINCENTY_ROUNDS):
        mid, sin_s = np.cos(2 * start + arc), np.sin(arc)
        inner = np.cos(arc) * (2 * mid**2 - 1) - b / 6 * mid * (4 * sin_s**2 - 3) * (4 * mid**2 - 3)
        arc = plain + b * sin_s * (mid + b / 4 * inner)
    return arc, np.cos(2 * start + arc)


def north_pole_m(lat: float) -> float:
    """Returns the distance from a latitude (degrees) to the north pole along the meridian, in metres. Uses the usual series in the third
    flattening (error < 1 mm).
    """
    return _meridian_m(90.0) - _meridian_m(lat)


def _meridian_m(lat: float) -> float:
    """Returns the distance from the equator to a latitude (degrees) along the meridian, in metres with its sign."""
    n, phi = FLATTENING / (2 - FLATTENING), np.radians(lat)
    scale = EQUATOR_M / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    waves = (
        -1.5 * (n - n**3 / 8) * np.sin(2 * phi) + 15 / 16 * n**2 * np.sin(4 * phi) - 35 / 48 * n**3 * np.sin(6 * phi)
    )
    return float(scale * (phi + waves))
