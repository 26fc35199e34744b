"""Outlines with fewer vertices, in a time and a depth that no outline can drive up.

GEOS's `simplify` calls itself once a vertex at worst, and looks at all vertices each time: a valid comb of 60,000 teeth ends the
process, one of 20,000 takes half a minute. Longer rings are simplified piece by piece.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

#: Vertices of a ring that is simplified whole; a comb of so many takes some seconds.
MOST_WHOLE = 10_000
#: Edges of a piece, whose ends stay.
PIECE = 1_000
FIRST = 8  # a share of the tolerance
_RING = 4  # positions of the shortest


def simplified(geometry: BaseGeometry, tolerance: float, *, preserve_topology: bool = True) -> BaseGeometry:
    """`shapely.simplify` of polygons; long rings piece by piece first, a little. If they stay long it is that alone, and they may
    cross themselves or others.
    """
    if _is_long(geometry):
        thin = _in_pieces(geometry, tolerance / FIRST)
        if _is_long(thin):
            return _in_pieces(geometry, tolerance)
        geometry = shapely.make_valid(thin, method="structure", keep_collapsed=False)
    return shapely.simplify(geometry, tolerance, preserve_topology=preserve_topology)


def _is_long(geometry: BaseGeometry) -> bool:
    rings = shapely.get_rings(shapely.get_parts(geometry))
    return bool(shapely.get_num_coordinates(rings).max(initial=0) > MOST_WHOLE)


def _in_pieces(geometry: BaseGeometry, tolerance: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon(
        [
            shapely.Polygon(_thinned(part.exterior, tolerance), [_thinned(hole, tolerance) for hole in part.interiors])
            for part in shapely.get_parts(geometry)
        ]
    )


def _thinned(ring: shapely.LinearRing, tolerance: float) -> NDArray[np.float64]:
    """The positions of a ring that stay, as they were where it would vanish."""
    xy = shapely.get_coordinates(ring)
    pieces = [shapely.LineString(xy[at : at + PIECE + 1]) for at in range(0, len(xy) - 1, PIECE)]
    thin = shapely.simplify(pieces, tolerance, preserve_topology=False)
    kept = np.concatenate([*(shapely.get_coordinates(piece)[:-1] for piece in thin), xy[-1:]])
    return kept if len(kept) >= _RING else xy
