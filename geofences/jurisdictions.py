"""Finds the part of an area that lies outside a jurisdiction. Only land of regions counts: open water belongs to no jurisdiction.

Two outlines of the same border differ, and such a difference does not count as outside. A difference must be a small share of the area and
lie near the jurisdiction everywhere. Both conditions are needed: a small share of a large area can be a town, and a small area can lie
wholly along a border.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from geofences.planes import Plane
from geofences.polygons import NO_GROUND, area_km2, copy_of, ground
from geofences.regions import Region

#: Outlines of two sources differ by some hundred metres. Land farther than this (m) from the jurisdiction is really outside.
BORDER_M = 500.0
#: Degrees of latitude, more than BORDER_M. Only this much of the jurisdiction around a part is compared with the part.
NEAR_DEGREES = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The part of an area where an alert is not permitted."""

    geometry: MultiPolygon  # WGS84 lon/lat
    km2: float  # true area
    share: float  # share of the area's land (0 to 1)


class Regions(Protocol):
    """A source of regions; `regions.Library` is one."""

    def geometry(self, code: str) -> MultiPolygon:
        """Returns the outline of a region."""

    def overlapping(self, geometry: BaseGeometry) -> list[tuple[Region, float]]:
        """Returns the regions that overlap an area, and the share of each that the area covers (0 to 1). Leaves out drawn regions."""


def outside(area: MultiPolygon, within: BaseGeometry, library: Regions, *, most_share: float) -> Outside | None:
    """Returns the part of an area that lies outside the jurisdiction `within` (both WGS84 lon/lat). Returns None if it lies inside; a strip
    along the border, of at most `most_share` of the area's land, counts as inside. Returns the whole area if it does not overlap the
    jurisdiction, even at sea.
    """
    beyond = ground(shapely.difference(area, within))
    if beyond.is_empty:
        return None
    if area.area - beyond.area <= NO_GROUND:
        return Outside(geometry=beyond, km2=area_km2(beyond), share=1.0)
    land = _land(beyond, library)
    km2 = area_km2(land)
    share = km2 / max(_land_km2(area, library), km2, NO_GROUND)
    if land.is_empty or (share <= most_share and not _far(land, within)):
        return None
    return Outside(geometry=land, km2=km2, share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """An area, divided by the organisations that may permit it. All geometries are WGS84 lon/lat."""

    own: MultiPolygon  # part in the jurisdiction; may be empty
    others: Mapping[str, Outside]  # by the name of their owner, shores included; the area of two owners is in both
    nobodys: Outside | None  # the part outside the jurisdiction and these others
    outside_km2: float  # true area of the land outside the jurisdiction


def divide(
    area: MultiPolygon, within: BaseGeometry, others: Mapping[str, BaseGeometry], library: Regions, *, most_share: float
) -> Division:
    """Divides an area among a jurisdiction (`within`) and the jurisdictions `others`, by name, by the rule of `outside`.

    A strip along the jurisdiction's border is not outside, and open water stays with the jurisdiction. A strip along the border between two
    others is in no part.
    """
    beyond = outside(area, within, library, most_share=most_share)
    if beyond is None:
        return Division(own=area, others={}, nobodys=None, outside_km2=0.0)
    parts: dict[str, Outside] = {}
    abroad = ground(shapely.difference(area, within))  # with the shores there: a person on a pier is the neighbour's
    for name, theirs in others.items():
        part = ground(shapely.intersection(abroad, theirs))
        if land := outside(area, shapely.difference(area, part), library, most_share=most_share):
            parts[name] = replace(land, geometry=part)
    taken = shapely.union_all([part.geometry for part in parts.values()])
    left = shapely.union_all([within, *(others[name] for name in parts)])
    own = (
        MultiPolygon() if beyond.share >= 1 else _without_far(ground(shapely.difference(area, taken)), within, library)
    )
    nobodys = outside(area, left, library, most_share=most_share)
    return Division(own=own, others=parts, nobodys=nobodys, outside_km2=beyond.km2)


def _land(beyond: MultiPolygon, library: Regions) -> MultiPolygon:
    """Returns the part of an area that lies in any region."""
    outlines = [library.geometry(region.code) for region, _ in _topmost(beyond, library)]
    return ground(shapely.union_all(shapely.intersection(beyond, np.array(outlines, dtype=object))))


def _land_km2(area: MultiPolygon, library: Regions) -> float:
    """Returns the true area of the part of an area that lies in any region, in km2."""
    return sum(region.km2 * share for region, share in _topmost(area, library))


def _topmost(area: MultiPolygon, library: Regions) -> Iterator[tuple[Region, float]]:
    """Yields the regions without a parent that overlap an area, with their covered shares. Each place on land is in one of them."""
    return ((region, share) for region, share in library.overlapping(copy_of(area)) if region.parent is None)


def _without_far(own: MultiPolygon, within: BaseGeometry, library: Regions) -> MultiPolygon:
    """Returns the area `own` without the land that is far from the jurisdiction (see `_is_far`)."""
    far = _far(_land(ground(shapely.difference(own, within)), library), within)
    return ground(shapely.difference(own, shapely.union_all(far))) if far else own


def _far(land: MultiPolygon, within: BaseGeometry) -> list[Polygon]:
    """Returns the polygons of some land that reach farther from the jurisdiction than BORDER_M."""
    return [part for part in land.geoms if _is_far(part, within)]


def _is_far(part: Polygon, within: BaseGeometry) -> bool:
    """Returns whether a part reaches more than BORDER_M from the jurisdiction, measured on a map around the part."""
    plane = Plane(part.centroid.x, part.centroid.y)
    west, south, east, north = part.bounds
    margin = NEAR_DEGREES / np.cos(np.radians(max(abs(south), abs(north), 1.0)))
    near = shapely.clip_by_rect(within, west - margin, south - NEAR_DEGREES, east + margin, north + NEAR_DEGREES)
    if near.is_empty:
        return True
    reach = shapely.buffer(shapely.transform(near, plane.flat), BORDER_M)
    return not bool(shapely.covers(reach, shapely.transform(part, plane.flat)))
