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
# Of an area and the regions that it cuts. Russia with its shores has 66,000 such pairs; each costs some 15 us.
PAIRS_ACROSS = 200_000
# Positions of the area times the regions that it cuts: each region is cut by the whole area, 0.1 us a position.
WORK_ACROSS = 100_000_000


def too_tangled(geometries: NDArray[np.object_], *, mending: bool = False) -> bool:
    """Whether the edges of these polygons come near each other so often that working on them would take too long."""
    edges = _edges(geometries)
    count = len(edges)
    limit = PAIRS_AN_EDGE * count + (PAIRS_TO_MEND if mending else PAIRS_TO_JOIN)
    if count * count <= limit:
        return False
    return _more_pairs(edges, edges, limit)


def too_tangled_with(area: shapely.Geometry, others: NDArray[np.object_]) -> bool:
    """Whether cutting each of these polygons by an area would take too long, more than some 10 s."""
    edges = _edges(shapely.get_parts(area))
    if len(edges) * len(others) > WORK_ACROSS:
        return True
    theirs = _edges(shapely.get_parts(others))
    return _more_pairs(edges, theirs, PAIRS_ACROSS + len(edges) + len(theirs))


def _edges(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    lon_lat, ring = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    edges = np.stack([lon_lat[:-1], lon_lat[1:]], axis=1)[ring[1:] == ring[:-1]]
    return np.array(shapely.linestrings(edges), dtype=object)


def _more_pairs(edges: NDArray[np.object_], others: NDArray[np.object_], limit: int) -> bool:
    """Whether more than so many pairs of edges have boxes that meet. Counting stops as soon as that is known."""
    tree = shapely.STRtree(edges)
    step = max(1, PAIRS_AT_ONCE // max(1, len(edges)))
    found = 0
    for at in range(0, len(others), step):
        found += tree.query(others[at : at + step]).shape[1]
        if found > limit:
            return True
    return False
