"""The ground of a jurisdiction, what of an area lies beyond it, and whose that is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import shapely
import structlog
from shapely.geometry.base import BaseGeometry

from alertd.common.errors import Fault, Problem
from alertd.model.organisation import Jurisdiction
from alertd.service.areas.regions import Regions
from alertd.service.cache import SingleFlightCache, digest
from geofences.errors import TargetErrors, UnknownRegion
from geofences.jurisdictions import Division, Outside, divide, outside
from geofences.polygons import copy_of, ground
from geofences.regions import Kind as RegionKind
from geofences.regions import Library
from geofences.targets import Target, resolve

#: Regions that are named to whoever asked for an area outside.
MOST_NAMED = 5
#: Jurisdictions that are kept resolved, and areas that were compared with one: a country's outline has a megabyte.
KEPT = 64
#: Whose jurisdiction an area leaves.
OWN, KEYS, ANYBODYS = "your organisation", "this key", "your organisation and of all others"
POINTER = "/jurisdiction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What of an area lies outside a jurisdiction, and whose that is."""

    whose: str
    outside: Outside
    regions: tuple[tuple[str, str, float], ...]  # code, name, share of the region that lies in the area: the most first


class Jurisdictions:
    """Jurisdictions as ground, and areas measured against it; what was asked for last is kept."""

    def __init__(self, regions: Regions, *, border_share: float) -> None:
        self._regions = regions
        self._border_share = border_share
        self._resolved: SingleFlightCache[bytes] = SingleFlightCache(KEPT)
        self._beyond: SingleFlightCache[Beyond | None] = SingleFlightCache(KEPT)

    async def of(self, jurisdiction: Jurisdiction) -> BaseGeometry:
        """The ground of a jurisdiction. Raises Problem for one that is none, its faults below `/jurisdiction`."""
        library = self._regions.library

        async def make() -> bytes:
            return await asyncio.to_thread(_resolved, jurisdiction, library)

        return shapely.from_wkb(await self._resolved.once(library.without_drawn, _digest(jurisdiction), make))

    async def is_within(self, area: shapely.MultiPolygon, other: BaseGeometry) -> bool:
        """Whether an area lies in some other ground, but for the border."""
        library, share = self._regions.library, self._border_share
        found = await asyncio.to_thread(outside, copy_of(area), other, library, most_share=share)
        return found is None

    async def beyond(self, area: shapely.MultiPolygon, jurisdiction: Jurisdiction, whose: str) -> Beyond | None:
        """What of an area lies outside a jurisdiction, but for the border; None where nothing does. Raises Problem as `of` does."""
        library, wkb = self._regions.library, shapely.to_wkb(area)

        async def make() -> Beyond | None:
            within = await self.of(jurisdiction)
            return await asyncio.to_thread(_beyond, wkb, within, library, whose=whose, most_share=self._border_share)

        return await self._beyond.once(library.without_drawn, (digest(wkb), _digest(jurisdiction), whose), make)

    async def cut(self, area: shapely.MultiPolygon, jurisdiction: Jurisdiction) -> shapely.MultiPolygon:
        """The part of an area that lies in a jurisdiction. Raises Problem as `of` does."""
        within = await self.of(jurisdiction)
        return await asyncio.to_thread(lambda: ground(shapely.intersection(area, within)))

    async def divided(
        self, area: shapely.MultiPolygon, own: Jurisdiction, others: Mapping[str, Jurisdiction]
    ) -> Division:
        """An area among an organisation's own jurisdiction and those of others, by organisation. Raises Problem for ground that is nobody's."""
        grounds = await self._of_each(others)
        within, library = await self.of(own), self._regions.library

        def division() -> Division:
            return divide(copy_of(area), within, grounds, library, most_share=self._border_share)

        divided = await asyncio.to_thread(division)
        if divided.nobodys:
            raise refused(await asyncio.to_thread(_named, divided.nobodys, library, ANYBODYS))
        return divided

    async def _of_each(self, jurisdictions: Mapping[str, Jurisdiction]) -> dict[str, BaseGeometry]:
        """One that names a region which is gone by now is nobody's neighbour, and keeps nobody else from asking."""
        found = dict[str, BaseGeometry]()
        for org, jurisdiction in jurisdictions.items():
            try:
                found[org] = await self.of(jurisdiction)
            except Problem:
                structlog.get_logger().warning("jurisdiction cannot be resolved", organisation=org)
        return found


def unresolved(error: TargetErrors, pointer: str, what: str) -> Problem:
    """The faults of what names ground, each with its pointer under `pointer`."""
    faults = tuple(Fault(f"{pointer}{fault.pointer}", fault.why) for fault in error.errors)
    unknown = any(isinstance(fault, UnknownRegion) for fault in error.errors)
    slug = "unknown-region" if unknown else "invalid-geometry"
    return Problem(slug, f"The {what} cannot be resolved; see the faults.", faults=faults)


def refused(beyond: Beyond, pointer: str = "/target", what: str = "target") -> Problem:
    """The problem of an area that leaves a jurisdiction; `pointer` and `what` say where in the document the area is."""
    found = beyond.outside
    names = ", ".join(dict.fromkeys(name for _, name, _ in beyond.regions)) or "open water"
    detail = f"{found.share:.1%} of the {what} ({found.km2:,.1f} km2) lies outside the jurisdiction of {beyond.whose}: in {names}."
    return Problem(
        "outside-jurisdiction", detail, faults=(Fault(pointer, "This leaves the jurisdiction; nothing was cut off."),),
        outside=facts(beyond),
    )  # fmt: skip


def facts(beyond: Beyond) -> dict[str, object]:
    """As it is told."""
    return {
        "whose": beyond.whose,
        "share": round(beyond.outside.share, 4),
        "km2": round(beyond.outside.km2, 3),
        "regions": [{"code": code, "name": name, "share": round(share, 4)} for code, name, share in beyond.regions],
    }


def _digest(jurisdiction: Jurisdiction) -> bytes:
    return digest(jurisdiction.model_dump_json().encode())


def _resolved(jurisdiction: Jurisdiction, library: Library) -> bytes:
    """The ground as WKB, with the shores of its regions. Raises Problem."""
    drawn = tuple(
        Fault(f"{POINTER}/regions/{i}", "Whoever drew this region can draw it anew: give its outline as a polygon.")
        for i, code in enumerate(jurisdiction.regions)
        if code in library and library.get(code).kind is RegionKind.DRAWN
    )
    if drawn:
        raise Problem("invalid-request", "A jurisdiction is of ground that stays.", faults=drawn)
    target = Target(regions=jurisdiction.regions, polygons=tuple(shape.model_dump() for shape in jurisdiction.polygons))
    try:
        return shapely.to_wkb(resolve(target, library).geometry)
    except TargetErrors as error:
        raise unresolved(error, POINTER, "jurisdiction") from None


def _beyond(wkb: bytes, within: BaseGeometry, library: Library, *, whose: str, most_share: float) -> Beyond | None:
    """What of an area (WKB) lies outside, but for the border; None where nothing does."""
    area = cast("shapely.MultiPolygon", shapely.from_wkb(wkb))
    found = outside(area, within, library, most_share=most_share)
    return _named(found, library, whose) if found else None


def _named(found: Outside, library: Library, whose: str) -> Beyond:
    """With the regions that it lies in."""
    touched = library.overlapping(copy_of(found.geometry))
    # The most ground first, and of what is part of each other the wider: Spain, then Sevilla.
    named = sorted(touched, key=lambda one: (-round(one[0].km2 * one[1], 1), one[0].kind.depth))[:MOST_NAMED]
    return Beyond(whose=whose, outside=found, regions=tuple((r.code, r.name, share) for r, share in named))
