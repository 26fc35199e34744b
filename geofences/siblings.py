"""Regions of one kind below one parent share the ground between them; those that claim the same ground are at fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import files
from geofences.geodesy import areas_km2

# Outlines that were simplified each on its own overlap along their borders. In 43,000 communes of France and Italy that came to
# at most 0.6 km2 a pair, and to more than a tenth of the smaller only where that was below 0.2 km2.
SLIVER_KM2, SLIVER_SHARE = 0.5, 0.1
# One outline given twice, however small it is.
SAME_SHARE = 0.6


def doubly_covered(rows: Sequence[files.Row], geometries: NDArray[np.object_]) -> Iterator[tuple[int, str]]:
    """The second of each two siblings that overlap by more than a sliver, by its position, and what is wrong with it."""
    one, other = shapely.STRtree(geometries).query(geometries, predicate="intersects")
    families = np.unique([f"{row.kind} {row.parent}" for row in rows], return_inverse=True)[1]
    pairs = (one < other) & (families[one] == families[other])
    one, other = one[pairs], other[pairs]
    touching = shapely.touches(geometries[one], geometries[other])
    one, other = one[~touching], other[~touching]
    shared = areas_km2(shapely.intersection(geometries[one], geometries[other]))
    km2 = np.array([row.km2 for row in rows])
    shares = shared / np.minimum(km2[one], km2[other])
    for i in np.flatnonzero((shares >= SAME_SHARE) | ((shares >= SLIVER_SHARE) & (shared >= SLIVER_KM2))).tolist():
        first = rows[one[i]]
        yield (
            int(other[i]),
            f"overlaps {first.code} ({first.name}) by {shared[i]:.3g} km2, {shares[i]:.0%} of the smaller",
        )
