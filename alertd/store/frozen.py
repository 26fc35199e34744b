"""A frozen audience, as it is kept beside its alert."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Rings = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """Who is to be told: numbers, sorted, and the ring of each, 0 for those in none."""

    numbers: Numbers
    rings: Rings


def pack_audience(numbers: Numbers, rings: Rings | None = None) -> bytes:
    """Sorted numbers as deltas, compressed: about 1 MB a million. Rings only if there are some."""
    packed = zlib.compress(np.diff(numbers.astype(np.uint64), prepend=np.uint64(0)).astype("<u8").tobytes(), 1)
    return packed if rings is None or not rings.any() else packed + zlib.compress(rings.tobytes(), 1)


def unpack_audience(blob: bytes) -> Frozen:
    deltas = zlib.decompressobj()
    numbers = np.cumsum(np.frombuffer(deltas.decompress(blob), "<u8"), dtype=np.uint64)
    if not deltas.unused_data:
        return Frozen(numbers=numbers, rings=np.zeros(len(numbers), np.uint8))
    return Frozen(numbers=numbers, rings=np.frombuffer(zlib.decompress(deltas.unused_data), np.uint8))
