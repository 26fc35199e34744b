"""Where regions lie: which contain a point, and which an area overlaps, by how much.

Regions of several levels lie over one another; the smallest at a place is its leaf. Coasts and lake shores are generalised, so
a place in the water just off a region counts as that region's. A gap between the parts of a region counts to the nearest of them
too, but not where parts are simply not known: a few communes of a département were imported, and the rest is the département's own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from geofences import shores
from geofences.geodesy import areas_km2
from geofences.shores import SHORE_DEGREES
from geofences.slivers import ground
from geofences.tangles import too_tangled_with

Positions = NDArray[np.int64]  # of regions in the index
Floats = NDArray[np.float64]

NOWHERE = -1
# Of a region's ground, by its parts: with less, what they leave is no gap but its own. Of Switzerland its lakes leave 5 %.
FILLED = 0.9
# A square metre: what rounding leaves of ground that two regions share along their border.
NOTHING_KM2 = 1e-6
# Degrees, a decimetre: a spot of what was cut may lie off the border by what rounding makes of it, and no farther.
ROUNDED = 1e-6
# Degrees: what GEOS cuts wrongly it cuts again with all positions on this grid, which it never did wrongly.
GRID = 1e-7
# Points looked up at once: about ten candidate regions each keeps the work below 100 MB.
POINTS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How much of each region an area covers, in true area; regions it covers whole have a share of 1."""

    regions: Positions
    shares: Floats


class RegionIndex:
    """A spatial index over regions, by their position in the arrays it was made of.

    Safe to use from several threads: searches for points prepare the regions in place, so one lock lets one of them run at a
    time. Nothing else takes it: an area may take seconds to be cut, and a registration must not wait for that.
    """

    def __init__(
        self,
        geometries: NDArray[np.object_],
        *,
        km2: Floats,
        depths: Positions,
        parents: Positions,
        fitted: NDArray[np.bool_] | None = None,
    ) -> None:
        """`depths` grow from country to city; `parents` are positions too, NOWHERE for none. `fitted` marks the regions whose parts lie
        inside them and do not overlap, as in the shipped library. The index measures the other regions, which takes longer.
        """
        self._km2 = km2
        self._geometries = geometries
        self._parents = parents
        self._tree = shapely.STRtree(geometries)
        order = np.lexsort((-km2, depths))  # from the largest country to the smallest city
        self._rank = np.empty(len(order), np.int64)
        self._rank[order] = np.arange(len(order))
        self._by_rank = order
        is_filled = self._filled(np.zeros(len(km2), np.bool_) if fitted is None else fitted)
        self._leaves = np.flatnonzero(~is_filled)  # those with ground of their own
        self._is_leaf = np.append(~is_filled, [False])  # NOWHERE is the last
        self._leaf_tree = shapely.STRtree(geometries[self._leaves])
        self._lock = threading.Lock()

    def is_filled(self, region: int) -> bool:
        """Whether the parts of a region cover it, but for gaps, so that it has no ground of its own."""
        return not self._is_leaf[region]

    def _filled(self, fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The regions whose parts cover `FILLED` of them."""
        parts = np.flatnonzero(self._parents != NOWHERE)
        above = self._parents[parts]
        filled: NDArray[np.bool_] = np.bincount(above, self._km2[parts], minlength=len(self._km2)) >= FILLED * self._km2
        fits = fitted.copy()
        fits[above[~fitted[parts]]] = False
        for region in np.flatnonzero(filled & ~fits).tolist():
            filled[region] = self._fills(parts[above == region], region)
        return filled

    def _fills(self, parts: Positions, region: int) -> bool:
        """Whether parts cover a region by what of them lies inside it: parts may reach into the sea, and lie over each other."""
        least, outline = FILLED * self._km2[region], self._geometries[region]
        whole = shapely.from_wkb(shapely.to_wkb(outline))
        shapely.prepare(whole)
        is_inside = shapely.covers(whole, self._geometries[parts])
        inside = self._geometries[parts[is_inside]]
        if self._km2[parts[is_inside]].sum() < least:
            inside = np.concatenate([inside, _shared(outline, self._geometries[parts[~is_inside]])])
        if areas_km2(inside).sum() < least:
            return False
        return not _overlaid(inside) or areas_km2(np.array([shapely.union_all(inside)], dtype=object))[0] >= least

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

    def shore(self, named: Positions, outline: BaseGeometry, *, inwards: bool = False) -> BaseGeometry:
        """The ground off some regions, whose `outline` together is given, where points are theirs by `leaves`; see `shores`."""
        own = self._own(named)
        beyond = self._beyond(np.flatnonzero(own), outline)
        land = shapely.union_all([outline, *beyond]) if len(beyond) else outline
        within = shores.reach(land, inwards=inwards)
        chains = np.array([wider for region in named.tolist() for wider in self.chain(region)], np.int64)
        above = chains[~own[chains]]
        unknown = self._geometries[np.intersect1d(above, self._leaves)]  # parts of these that nobody has named
        unknown = shapely.difference(shapely.intersection(unknown, within), land)
        own[above] = True
        met = self._tree.query(within, predicate="intersects")
        near = self._leaves[self._leaf_tree.query(within, predicate="dwithin", distance=SHORE_DEGREES)]
        others, leaves = (np.concatenate([self._geometries[some[~own[some]]], unknown]) for some in (met, near))
        found = shores.shore(land, within, others, leaves, inwards=inwards)
        return ground(shapely.union_all([found, *beyond]) if len(beyond) else found)

    def _beyond(self, regions: Positions, outline: BaseGeometry) -> NDArray[np.object_]:
        """The outlines that reach beyond one: those of parts, from another source than the whole's."""
        whole = shapely.from_wkb(shapely.to_wkb(outline))
        shapely.prepare(whole)
        return self._geometries[regions[~shapely.covers(whole, self._geometries[regions])]]

    def _own(self, named: Positions) -> NDArray[np.bool_]:
        """Which regions are some of these, or below one of them."""
        own = np.zeros(len(self._parents), np.bool_)
        own[named] = True
        above = self._parents
        while (above != NOWHERE).any():
            own |= np.isin(above, named)
            above = np.where(above == NOWHERE, NOWHERE, self._parents[above])
        return own

    def touching(self, area: shapely.Geometry) -> Positions:
        """The regions that have a point in common with an area."""
        touched: Positions = self._tree.query(area, predicate="intersects")
        return touched

    def overlaps(self, area: shapely.Geometry) -> Overlap:
        """The regions that share ground with an area, largest share first.

        Those the area covers whole are told by a prepared test; only the rest are cut (7 s becomes 35 ms for a continent).
        """
        whole, partly = self._met(area)
        cut = areas_km2(_shared(area, self._geometries[partly]))
        partly, cut = partly[cut > NOTHING_KM2], cut[cut > NOTHING_KM2]
        regions = np.concatenate([whole, partly])
        shares = np.concatenate([np.ones(len(whole)), np.minimum(cut / self._km2[partly], 1.0)])
        order = np.lexsort((self._rank[regions], -shares))
        return Overlap(regions=regions[order], shares=shares[order])

    def is_tangled(self, area: shapely.Geometry) -> bool:
        """Whether to tell what an area `overlaps` would take too long."""
        _, partly = self._met(area)
        return too_tangled_with(area, self._geometries[partly])

    def _met(self, area: shapely.Geometry) -> tuple[Positions, Positions]:
        """The regions that an area covers whole, and the others that it has a point in common with."""
        shapely.prepare(area)
        near = self._tree.query(area)
        is_whole = shapely.covers(area, self._geometries[near])
        partly = near[~is_whole]
        return near[is_whole], partly[shapely.intersects(area, self._geometries[partly])]

    def _leaves_of(self, xy: Floats) -> Positions:
        rank = np.full(len(xy), NOWHERE)
        points, regions = self._tree.query(shapely.points(xy))
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
        doubtful = np.flatnonzero(~self._is_leaf[found])
        if not len(doubtful):
            return found
        points, nearest = self._leaf_tree.query_nearest(shapely.points(xy[doubtful]), max_distance=SHORE_DEGREES)
        moved = found.copy()
        order = np.argsort(
            self._rank[self._leaves[nearest]], kind="stable"
        )  # of those equally near the smallest is last, and stays
        for point, leaf in zip(doubtful[points[order]], self._leaves[nearest[order]], strict=True):
            if found[point] == NOWHERE or found[point] in self.chain(int(leaf)):
                moved[point] = leaf
        return moved


def _overlaid(outlines: NDArray[np.object_]) -> bool:
    """Whether a spot in the middle of one of these lies in another."""
    pairs = shapely.STRtree(outlines).query(shapely.point_on_surface(outlines), predicate="within")
    return bool((pairs[0] != pairs[1]).any())


def _shared(area: shapely.Geometry, regions: NDArray[np.object_]) -> NDArray[np.object_]:
    """The ground that an area shares with each region. An overlay can be wrong without a word, so spots are looked at too."""
    shared = shapely.intersection(area, regions)
    spots = shapely.point_on_surface(regions)
    lost = shapely.intersects(area, spots) & ~shapely.dwithin(shared, spots, ROUNDED)
    doubtful = np.flatnonzero(lost | _is_elsewhere(shared, area))
    shared[doubtful] = shapely.intersection(area, regions[doubtful], grid_size=GRID)
    shared[_is_elsewhere(shared, area)] = MultiPolygon()
    return shared


def _is_elsewhere(shared: NDArray[np.object_], area: shapely.Geometry) -> NDArray[np.bool_]:
    """Which of those ground, cut from an area, lie off it."""
    found: NDArray[np.bool_] = ~shapely.dwithin(area, shapely.point_on_surface(shared), ROUNDED)
    return found & (shapely.area(shared) > 0)
