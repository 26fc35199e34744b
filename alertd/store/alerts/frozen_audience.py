"""What is frozen with an alert, as it is kept beside it: its area, and its audience."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Rings = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenAudience:
    """Who is to be told: numbers, sorted, and the ring of each, 0 for those in none."""

    numbers: Numbers
    rings: Rings


def pack_area(area: shapely.Geometry) -> bytes:
    """WKB, compressed: a country's outline is 60 kB, and thousands of alerts may name it."""
    return zlib.compress(shapely.to_wkb(area), 1)


def unpack_area(blob: bytes) -> shapely.MultiPolygon:
    """The area, a copy of the caller's own."""
    area = shapely.from_wkb(zlib.decompress(blob))
    assert isinstance(area, shapely.MultiPolygon)
    return area


def pack_audience(numbers: Numbers, rings: Rings | None = None) -> bytes:
    """Sorted numbers as deltas, compressed: about 1 MB a million. Rings only if there are some."""
    packed = zlib.compress(np.diff(numbers.astype(np.uint64), prepend=np.uint64(0)).astype("<u8").tobytes(), 1)
    return packed if rings is None or not rings.any() else packed + zlib.compress(rings.tobytes(), 1)


def unpack_audience(blob: bytes) -> FrozenAudience:
    deltas = zlib.decompressobj()
    numbers = np.cumsum(np.frombuffer(deltas.decompress(blob), "<u8"), dtype=np.uint64)
    if not deltas.unused_data:
        return FrozenAudience(numbers=numbers, rings=np.zeros(len(numbers), np.uint8))
    return FrozenAudience(numbers=numbers, rings=np.frombuffer(zlib.decompress(deltas.unused_data), np.uint8))
