"""Where regions lie: which contain a point, and which an area overlaps, by how much.

Regions of several levels lie over one another; the smallest at a place is its leaf. Coasts and lake shores are generalised, so
a place in the water just off a region counts as that region's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geofences.geodesy import areas_km2

Positions = NDArray[np.int64]  # of regions in the index
Floats = NDArray[np.float64]

NOWHERE = -1
# Natural Earth's coast leaves 1.7 % of the world's places at sea; within a tenth of a degree 97 % of those find their region.
SHORE_DEGREES = 0.1
# Points looked up at once: about ten candidate regions each keeps the work below 100 MB.
POINTS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How much of each region an area covers, in true area; regions it covers whole have a share of 1."""

    regions: Positions
    shares: Floats


class RegionIndex:
    """A spatial index over regions, by their position in the arrays it was made of.

    Safe to use from several threads: the geometries are prepared in place, so one lock lets one search run at a time.
    """

    def __init__(
        self,
        geometries: NDArray[np.object_],
        *,
        km2: Floats,
        depths: Positions,
        parents: Positions,
        leafless: NDArray[np.bool_],
    ) -> None:
        """`depths` grow from country to city; `parents` are positions too, NOWHERE for none; no point's leaf is a `leafless` one."""
        self._km2 = km2
        self._geometries = geometries
        self._parents = parents
        self._tree = shapely.STRtree(geometries)
        order = np.lexsort((-km2, depths))  # from the largest country to the smallest city
        self._rank = np.empty(len(order), np.int64)
        self._rank[order] = np.arange(len(order))
        self._by_rank = order
        self._leafless = leafless
        self._leaves = np.setdiff1d(np.flatnonzero(~leafless), parents)
        self._leaf_tree = shapely.STRtree(geometries[self._leaves])
        self._lock = threading.Lock()

    def leaves(self, lon: ArrayLike, lat: ArrayLike) -> Positions:
        """The smallest region at each point (degrees), or the nearest within SHORE_DEGREES, or NOWHERE."""
        xy = np.column_stack([np.atleast_1d(np.asarray(lon, np.float64)), np.atleast_1d(np.asarray(lat, np.float64))])
        with self._lock:
            parts = [self._leaves_of(xy[at : at + POINTS_AT_ONCE]) for at in range(0, len(xy), POINTS_AT_ONCE)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def chain(self, region: int) -> list[int]:
        """A region and its ancestors, up to the country."""
        found = []
        while region != NOWHERE:
            found.append(region)
            region = int(self._parents[region])
        return found

    def touching(self, area: shapely.Geometry) -> Positions:
        """The regions that have a point in common with an area."""
        with self._lock:
            touched: Positions = self._tree.query(area, predicate="intersects")
        return touched

    def overlaps(self, area: shapely.Geometry, minimum_share: float = 0.0) -> Overlap:
        """The regions that share ground with an area, largest share first.

        Those the area covers whole are told by a prepared test; only the rest are cut (7 s becomes 35 ms for a continent).
        """
        with self._lock:
            shapely.prepare(area)
            near = self._tree.query(area)
            whole = shapely.covers(area, self._geometries[near])
            partly = near[~whole]
            partly = partly[shapely.intersects(area, self._geometries[partly])]
            cut = areas_km2(shapely.intersection(area, self._geometries[partly]))
        regions = np.concatenate([near[whole], partly])
        shares = np.concatenate([np.ones(int(whole.sum())), np.minimum(cut / self._km2[partly], 1.0)])
        kept = (shares > 0) & (shares >= minimum_share)
        order = np.lexsort((self._rank[regions], -shares))
        order = order[kept[order]]
        return Overlap(regions=regions[order], shares=shares[order])

    def _leaves_of(self, xy: Floats) -> Positions:
        rank = np.full(len(xy), NOWHERE)
        points, regions = self._tree.query(shapely.points(xy))
        points, regions = points[~self._leafless[regions]], regions[~self._leafless[regions]]
        order = np.argsort(regions, kind="stable")
        points, regions = points[order], regions[order]
        starts = np.flatnonzero(np.diff(regions, prepend=NOWHERE))
        for region, some in zip(regions[starts], np.split(points, starts)[1:], strict=True):
            geometry = self._geometries[region]
            shapely.prepare(geometry)
            inside = some[shapely.intersects_xy(geometry, xy[some, 0], xy[some, 1])]
            rank[inside] = np.maximum(rank[inside], self._rank[region])
        found = np.where(rank == NOWHERE, NOWHERE, self._by_rank[rank])
        return self._ashore(xy, found)

    def _ashore(self, xy: Floats, found: Positions) -> Positions:
        """Points in no leaf, moved to the nearest one, as long as it is part of the region they are in, if any."""
        doubtful = np.flatnonzero(~np.isin(found, self._leaves))
        if not len(doubtful):
            return found
        points, nearest = self._leaf_tree.query_nearest(
            shapely.points(xy[doubtful]), max_distance=SHORE_DEGREES, all_matches=False
        )
        for point, leaf in zip(doubtful[points], self._leaves[nearest], strict=True):
            if found[point] == NOWHERE or found[point] in self.chain(int(leaf)):
                found[point] = leaf
        return found
