"""A spatial index of regions. It finds the regions that contain a point, and those that an area overlaps, with the
share.

Regions of several levels overlap; the smallest region at a place is the place's leaf. Outlines of coasts and lakes are
generalised, so a place in the water just off a region counts as the region's. A gap between the parts of a region
counts as part of the nearest one. If only a few parts of a region are known (some communes of a département were
imported), the rest belongs to the region itself and is no gap.

A target that names regions includes the people off their shores. So `shore` returns the area off the regions that is
nearest to them and in no other region.
"""

from __future__ import annotations

import threading
from math import cos, pi
from typing import cast

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from geofences.polygons import areas_km2, copy_of, ground, too_tangled_with

Positions = NDArray[np.int64]  # of regions in the index
Floats = NDArray[np.float64]
Geometries = NDArray[np.object_]

NOWHERE = -1
# A region counts as filled if the regions inside it cover at least this share of it, as with the lakes of Switzerland (5 % uncovered). If
# they cover less, the uncovered part is a place of its own: a person there belongs to the larger region only.
FILLED = 0.9
# A shared area up to this size (a square metre) is a rounding error along the border of two regions.
NOTHING_KM2 = 1e-6
# Tolerance in degrees (a decimetre): rounding may put a point of a cut piece this far off the border.
ROUNDED = 1e-6
# Grid in degrees. An intersection that GEOS computed wrongly is repeated with all positions on this grid, where GEOS never failed.
GRID = 1e-7
# Number of points that are looked up in one step. With about ten candidate regions for each, a step needs less than 100 MB.
POINTS_AT_ONCE = 100_000
#: Width of the shore in degrees. Natural Earth's coastline leaves 1.7 % of the world's places at sea; 97 % of those are within a tenth of a
#: degree of their region.
SHORE_DEGREES = 0.1
#: Tolerance (degrees) by which outlines are simplified before they are widened; the buffer is enlarged by as much. Canada then takes a
#: third of the time.
THIN = 0.01
#: Number of edges that approximate a quarter circle. The buffer is enlarged by what these edges cut off.
QUARTER = 4
#: Degrees, about 100 m. A person this close to another region counts as in both, as on a border on land.
SLACK = 0.001
#: Positions are rounded to DECIMALS of a degree (a tenth of a metre). Each is then moved at random by up to GRAIN degrees (half a metre),
#: because regular patterns make GEOS fail. At most TRIES attempts.
DECIMALS, GRAIN, TRIES = 6, 4e-6, 4
#: Smallest area (square degrees) that counts as shore, some ten square metres: smaller ones are rounding errors.
LEAST_SHORE = 1e-9
_EARTH = shapely.box(-180, -90, 180, 90)


class RegionIndex:
    """A spatial index over regions. A region is given by its position in the arrays of the constructor.

    Threads may share it. Searches for points prepare the geometries in place, so a lock lets only one of them run at a time. Searches for
    areas do not take the lock: an area may take seconds to cut, and a registration must not wait for that.
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
        """Builds the index, with one element of each array per region.

        `depths` grow from country to city. `parents` are positions, NOWHERE for none. `fitted` marks regions with parts
        that lie inside them and do not overlap, as in the shipped library. The index measures the parts of other
        regions, which takes longer.
        """
        self._km2 = km2
        self._geometries = geometries
        self._parents = parents
        self._tree = shapely.STRtree(geometries)
        order = np.lexsort((-km2, depths))  # from the largest country to the smallest city
        self._rank = np.empty(len(order), np.int64)
        self._rank[order] = np.arange(len(order))
        self._by_rank = order
        # The parts of a filled region cover it except for gaps, so it has no ground of its own.
        is_filled = self._filled(np.zeros(len(km2), np.bool_) if fitted is None else fitted)
        self._leaves = np.flatnonzero(~is_filled)  # positions of regions with area in none of their parts
        self.is_leaf = np.append(~is_filled, [False])  # NOWHERE is the last
        self._leaf_tree = shapely.STRtree(geometries[self._leaves])
        self._lock = threading.Lock()

    def _filled(self, fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns for each region whether its parts cover at least the share `FILLED` of it.

        `fitted` marks regions with parts that lie inside them and do not overlap: the sum of the parts' km² decides.
        For all others the geometries are measured.
        """
        parts = np.flatnonzero(self._parents != NOWHERE)
        above = self._parents[parts]
        filled: NDArray[np.bool_] = np.bincount(above, self._km2[parts], minlength=len(self._km2)) >= FILLED * self._km2
        fits = fitted.copy()
        fits[above[~fitted[parts]]] = False
        for region in np.flatnonzero(filled & ~fits).tolist():
            filled[region] = self._fills(parts[above == region], region)
        return filled

    def _fills(self, parts: Positions, region: int) -> bool:
        """Returns whether parts cover at least the share FILLED of a region. Counts only their area inside the region, and each place once:
        parts may overlap, or reach into the sea.
        """
        least, outline = FILLED * self._km2[region], self._geometries[region]
        is_inside = _covered(outline, self._geometries[parts])
        inside = self._geometries[parts[is_inside]]
        if self._km2[parts[is_inside]].sum() < least:
            inside = np.concatenate([inside, _shared(outline, self._geometries[parts[~is_inside]])])
        if areas_km2(inside).sum() < least:
            return False
        return not _overlaid(inside) or areas_km2(np.array([shapely.union_all(inside)], dtype=object))[0] >= least

    def leaves(self, lon: ArrayLike, lat: ArrayLike) -> Positions:
        """Returns for each point (degrees) the smallest region that contains it. If none does, or only a filled region,
        returns the nearest leaf within SHORE_DEGREES instead; NOWHERE if there is none in either way.
        """
        xy = np.column_stack([np.atleast_1d(np.asarray(lon, np.float64)), np.atleast_1d(np.asarray(lat, np.float64))])
        with self._lock:
            parts = [self._leaves_of(xy[at : at + POINTS_AT_ONCE]) for at in range(0, len(xy), POINTS_AT_ONCE)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def chain(self, region: int) -> list[int]:
        """Returns a region and its ancestors, up to the country. Returns [] for NOWHERE."""
        found = []
        while region != NOWHERE:
            found.append(region)
            region = int(self._parents[region])
        return found

    def shore(self, named: Positions, outline: BaseGeometry, *, inwards: bool = False) -> BaseGeometry:
        """Returns the area off the regions `named` whose points `leaves` assigns to these regions; see `shore_of`.
        `outline`: the outline of these regions together. `inwards`: makes the shore a little narrower instead of wider,
        for an exclusion.
        """
        own = np.zeros(len(self._parents), np.bool_)  # whether a region is one of `named`, or inside one
        own[named] = True
        wider = self._parents
        while (wider != NOWHERE).any():
            own |= np.isin(wider, named)
            wider = np.where(wider == NOWHERE, NOWHERE, self._parents[wider])
        regions = self._geometries[own]
        beyond = regions[~_covered(outline, regions)]  # parts whose outline, from another source, reaches beyond
        land = shapely.union_all([outline, *beyond]) if len(beyond) else outline
        within = shore_reach(land, inwards=inwards)
        chains = np.array([one for region in named.tolist() for one in self.chain(region)], np.int64)
        above = chains[~own[chains]]
        unknown = self._geometries[np.intersect1d(above, self._leaves)]  # their area outside known parts
        unknown = shapely.difference(shapely.intersection(unknown, within), land)
        own[above] = True
        met = self._tree.query(within, predicate="intersects")
        near = self._leaves[self._leaf_tree.query(within, predicate="dwithin", distance=SHORE_DEGREES)]
        others, leaves = (np.concatenate([self._geometries[some[~own[some]]], unknown]) for some in (met, near))
        found = shore_of(land, within, others, leaves, inwards=inwards)
        return ground(shapely.union_all([found, *beyond]) if len(beyond) else found)

    def touching(self, area: shapely.Geometry) -> Positions:
        """Returns the regions that have at least one point in common with an area."""
        touched: Positions = self._tree.query(area, predicate="intersects")
        return touched

    def overlaps(self, area: shapely.Geometry) -> tuple[Positions, Floats]:
        """Returns the regions that overlap an area, and the share of each region's true area that the area covers (0 to
        1), largest share first.

        A fast test finds the regions that the area covers whole. The intersection is computed only for the others (35
        ms for a continent, not 7 s). Prepares the area in place, so no other thread may use it meanwhile.
        """
        whole, partly = self._met(area)
        cut = areas_km2(_shared(area, self._geometries[partly]))
        partly, cut = partly[cut > NOTHING_KM2], cut[cut > NOTHING_KM2]
        regions = np.concatenate([whole, partly])
        shares = np.concatenate([np.ones(len(whole)), np.minimum(cut / self._km2[partly], 1.0)])
        order = np.lexsort((self._rank[regions], -shares))
        return regions[order], shares[order]

    def is_tangled(self, area: shapely.Geometry) -> bool:
        """Returns whether `overlaps` would take too long for this area."""
        _, partly = self._met(area)
        return too_tangled_with(area, self._geometries[partly])

    def _met(self, area: shapely.Geometry) -> tuple[Positions, Positions]:
        """Returns the regions that an area covers whole, and the other regions that have a point in common with it. Prepares the area in
        place.
        """
        shapely.prepare(area)
        near = self._tree.query(area)
        is_whole = shapely.covers(area, self._geometries[near])
        partly = near[~is_whole]
        return near[is_whole], partly[shapely.intersects(area, self._geometries[partly])]

    def _leaves_of(self, xy: Floats) -> Positions:
        """Does what `leaves` does for points as rows of longitude and latitude. The caller must hold the lock."""
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
        """Returns the regions `found` for the points, with the nearest leaf for a point in none.

        The leaf is at most SHORE_DEGREES away, and part of the region that the point is in, if it is in one.
        """
        doubtful = np.flatnonzero(~self.is_leaf[found])
        if not len(doubtful):
            return found
        points, nearest = self._leaf_tree.query_nearest(shapely.points(xy[doubtful]), max_distance=SHORE_DEGREES)
        moved = found.copy()
        order = np.argsort(
            self._rank[self._leaves[nearest]], kind="stable"
        )  # of equally near leaves, the smallest comes last and wins
        for point, leaf in zip(doubtful[points[order]], self._leaves[nearest[order]], strict=True):
            if found[point] == NOWHERE or found[point] in self.chain(int(leaf)):
                moved[point] = leaf
        return moved


def _covered(outline: BaseGeometry, regions: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Returns for each region whether it lies wholly in an outline."""
    whole = copy_of(outline)
    shapely.prepare(whole)
    found: NDArray[np.bool_] = shapely.covers(whole, regions)
    return found


def _overlaid(outlines: NDArray[np.object_]) -> bool:
    """Returns whether some outlines overlap. Tests only one inner point of each, so it may miss outlines that overlap
    in part.
    """
    pairs = shapely.STRtree(outlines).query(shapely.point_on_surface(outlines), predicate="within")
    return bool((pairs[0] != pairs[1]).any())


def _shared(area: shapely.Geometry, regions: NDArray[np.object_]) -> NDArray[np.object_]:
    """Returns the intersection of an area with each region. GEOS sometimes computes one wrongly, so this tests points of each, and repeats
    a wrong one on a grid.
    """
    shared = shapely.intersection(area, regions)
    spots = shapely.point_on_surface(regions)
    lost = shapely.intersects(area, spots) & ~shapely.dwithin(shared, spots, ROUNDED)
    doubtful = np.flatnonzero(lost | _is_elsewhere(shared, area))
    shared[doubtful] = shapely.intersection(area, regions[doubtful], grid_size=GRID)
    shared[_is_elsewhere(shared, area)] = MultiPolygon()
    return shared


def _is_elsewhere(shared: NDArray[np.object_], area: shapely.Geometry) -> NDArray[np.bool_]:
    """Returns which of these intersections with an area are wrong, because they lie off the area."""
    found: NDArray[np.bool_] = ~shapely.dwithin(area, shapely.point_on_surface(shared), ROUNDED)
    return found & (shapely.area(shared) > 0)


def shore_reach(outline: BaseGeometry, *, inwards: bool = False) -> BaseGeometry:
    """Returns the area within SHORE_DEGREES of an outline. It is up to twice THIN wider, or with `inwards` up to SLACK narrower."""
    if inwards:
        wide = shapely.buffer(outline, SHORE_DEGREES, quad_segs=2 * QUARTER)
    else:
        distance = (SHORE_DEGREES + THIN) / cos(pi / (4 * QUARTER))
        wide = shapely.buffer(shapely.simplify(outline, THIN), distance, quad_segs=QUARTER)
    return shapely.intersection(wide, _EARTH)


def shore_of(
    outline: BaseGeometry, within: BaseGeometry, others: Geometries, leaves: Geometries, *, inwards: bool = False
) -> BaseGeometry:
    """Returns the area `within` reach of an outline that is nearer to it than to other regions and in none of them.

    Returns an empty area if all of that is in the outline already. `others` are the outlines of the regions that the
    reach meets. `leaves` are the outlines of regions that may be nearer to some place in it. In doubt the shore is a
    little wider, or with `inwards` (for an exclusion) a little narrower.
    """
    box = shapely.envelope(within)  # cutting by a box is faster than by its content
    open_ = shapely.difference(within, shapely.union_all(shapely.intersection(others, box)))
    free = _polygons(shapely.difference(open_, outline))
    wide = _wide(free)
    if inwards:
        open_ = free = wide
    if free.is_empty:
        return free
    shapely.prepare(wide)
    leaves = leaves[shapely.dwithin(wide, leaves, SHORE_DEGREES)]
    around = shapely.buffer(box, SHORE_DEGREES)
    thin = shapely.simplify(shapely.intersection(leaves, around), THIN)
    nearby = shapely.union_all(shapely.buffer(thin, SHORE_DEGREES + THIN, quad_segs=QUARTER))
    contested = _wide(_polygons(shapely.intersection(wide, nearby)))
    if contested.is_empty:
        return open_
    nearer = shapely.simplify(
        _nearer(outline, leaves, contested, inwards=inwards), SLACK / 4
    )  # its border is all steps
    nearer = shapely.buffer(nearer, -SLACK if inwards else SLACK, quad_segs=2)
    return shapely.difference(open_, shapely.difference(contested, nearer))


def _polygons(geometry: BaseGeometry) -> shapely.MultiPolygon:
    """Returns the polygons of a geometry that are larger than LEAST_SHORE: the rest are rounding errors along a border."""
    parts = shapely.get_parts(geometry)
    is_ground = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > LEAST_SHORE)
    return shapely.MultiPolygon(list(parts[is_ground]))


def _wide(polygons: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """Returns the polygons that are wider than SLACK somewhere. A narrower gap belongs to all regions beside it."""
    parts = shapely.get_parts(polygons)
    is_wide = 2 * shapely.area(parts) > SLACK * shapely.length(parts)  # on average, so somewhere
    is_wide[~is_wide] = ~shapely.is_empty(shapely.buffer(parts[~is_wide], -SLACK / 2))
    return shapely.MultiPolygon(list(parts[is_wide]))


def _nearer(
    outline: BaseGeometry, leaves: Geometries, contested: shapely.MultiPolygon, *, inwards: bool
) -> BaseGeometry:
    """Returns the part of the contested area, and of its surroundings, that is nearer to the outline than to the leaves.

    Compares positions along both, at most SLACK degrees apart. A position that both have counts as the outline's, or with `inwards` as the
    leaves'.
    """
    own, other = (_positions(lines, contested) for lines in (np.array([outline], dtype=object), leaves))
    first, second = (other, own) if inwards else (own, other)
    both = np.unique(np.concatenate([first, second]), axis=0, return_index=True)[1]
    places = np.concatenate([first, second])[np.sort(both)]
    is_own = (np.arange(len(places)) < len(first)) != inwards
    if not is_own.any():
        return shapely.MultiPolygon()
    around = shapely.envelope(shapely.buffer(shapely.envelope(contested), 1))
    cells = None if is_own.all() else _cells(places, around)
    if cells is None:  # no other region is near, or the cells are in doubt: include everyone
        return around if is_own.all() or not inwards else shapely.MultiPolygon()
    return shapely.coverage_union_all(cells[is_own])


def _cells(places: Floats, around: BaseGeometry) -> Geometries | None:
    """Returns the cell of each place, in order: the points nearer to it than to the others. The cells cover at least
    `around`. Moves each place at random by less than a metre, because regular patterns make GEOS fail. Returns None if
    GEOS fails for all `TRIES` moves.
    """
    for seed in range(TRIES):
        moved = places + np.random.default_rng(seed).uniform(-GRAIN, GRAIN, places.shape)
        try:
            cells = shapely.voronoi_polygons(shapely.multipoints(moved), extend_to=around, ordered=True)
        except shapely.errors.GEOSException:
            continue
        return shapely.get_parts(cells)
    return None


def _positions(outlines: Geometries, near: shapely.MultiPolygon) -> Floats:
    """Returns distinct positions along the outlines, within about SHORE_DEGREES of the area `near`, at most SLACK degrees apart."""
    far = SHORE_DEGREES + 2 * SLACK
    lon_lat, line = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(outlines)), return_index=True)
    edges = np.flatnonzero(line[1:] == line[:-1])
    pairs = np.stack([lon_lat[edges], lon_lat[edges + 1]], axis=1)
    boxes = shapely.box(*pairs.min(axis=1).T, *pairs.max(axis=1).T)
    parts = shapely.STRtree(shapely.buffer(shapely.envelope(shapely.get_parts(near)), far))
    touched = np.unique(parts.query(boxes)[0])
    places = shapely.get_coordinates(shapely.segmentize(shapely.linestrings(pairs[touched]), SLACK))
    shapely.prepare(near)
    close = shapely.dwithin(near, shapely.points(places), far)
    return cast("Floats", np.unique(places[close].round(DECIMALS), axis=0))
