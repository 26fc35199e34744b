"""How tangled outlines are: the work that validating, mending or uniting them will cost, estimated before it is begun.

That work grows with the pairs of edges that may cross. An outline of the allowed 100,000 vertices drawn with malice can hold
thousands of millions of them (measured: 143 s to validate a comb of long slanting teeth, 66 s to mend 4,000 random points),
while real coasts have fewer than ten an edge. Counting stops as soon as there are too many.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

# Pairs of edges whose bounding boxes meet, each counted from both sides, the edge with itself and its neighbours included.
PAIRS_AN_EDGE = 20  # several times what real outlines have
PAIRS_TO_JOIN = 500_000  # at worst some 3 s to unite
PAIRS_TO_MEND = 5_000  # mending is dearer, and what is worth mending crosses itself a few times
PAIRS_AT_ONCE = 1_000_000  # 16 MB


def too_tangled(geometries: NDArray[np.object_], *, mending: bool = False) -> bool:
    """Whether the edges of these polygons come near each other so often that working on them would take too long."""
    rings = shapely.get_rings(geometries)
    lon_lat, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    count = int(same.sum())
    limit = PAIRS_AN_EDGE * count + (PAIRS_TO_MEND if mending else PAIRS_TO_JOIN)
    if count * count <= limit:
        return False
    edges = shapely.linestrings(np.stack([lon_lat[:-1], lon_lat[1:]], axis=1)[same])
    tree = shapely.STRtree(edges)
    step = max(1, PAIRS_AT_ONCE // count)
    found = 0
    for at in range(0, count, step):
        found += tree.query(edges[at : at + step]).shape[1]
        if found > limit:
            return True
    return False
