"""Resolves jurisdictions to geometry, and finds the part of an area that lies outside a jurisdiction."""

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

#: Maximum number of outside regions that a refusal names.
MOST_NAMED = 5
#: Maximum number of resolved jurisdictions in memory, and of areas compared with one. A country's outline takes a
#: megabyte.
KEPT = 64
#: The owner of the jurisdiction that an area leaves.
OWN, KEYS, ANYBODYS = "your organisation", "this key", "your organisation and of all others"
POINTER = "/jurisdiction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """The part of an area outside a jurisdiction, and that jurisdiction's owner."""

    whose: str
    outside: Outside
    regions: tuple[tuple[str, str, float], ...]  # code, name, share of the region inside the area; largest part first


class Jurisdictions:
    """Resolves jurisdictions and compares areas with them. Keeps the latest results."""

    def __init__(self, regions: Regions, *, border_share: float) -> None:
        self._regions = regions
        self._border_share = border_share
        self._resolved: SingleFlightCache[bytes] = SingleFlightCache(KEPT)
        self._beyond: SingleFlightCache[Beyond | None] = SingleFlightCache(KEPT)

    async def of(self, jurisdiction: Jurisdiction) -> BaseGeometry:
        """Returns the geometry of a jurisdiction. Raises Problem if it cannot be resolved, with the faults below
        `/jurisdiction`.
        """
        library = self._regions.library

        async def make() -> bytes:
            """Computes the geometry in a thread, as WKB."""
            return await asyncio.to_thread(_resolved, jurisdiction, library)

        return shapely.from_wkb(await self._resolved.once(library.without_drawn, _digest(jurisdiction), make))

    async def is_within(self, area: shapely.MultiPolygon, other: BaseGeometry) -> bool:
        """Returns whether an area lies inside another geometry, with a tolerance at the border."""
        library, share = self._regions.library, self._border_share
        found = await asyncio.to_thread(outside, copy_of(area), other, library, most_share=share)
        return found is None

    async def beyond(self, area: shapely.MultiPolygon, jurisdiction: Jurisdiction, whose: str) -> Beyond | None:
        """Returns the part of an area outside a jurisdiction, with a tolerance at the border. Returns None if nothing
        lies outside. Raises Problem as `of` does.
        """
        library, wkb = self._regions.library, shapely.to_wkb(area)

        async def make() -> Beyond | None:
            """Computes the outside part in a thread."""
            within = await self.of(jurisdiction)
            return await asyncio.to_thread(_beyond, wkb, within, library, whose=whose, most_share=self._border_share)

        return await self._beyond.once(library.without_drawn, (digest(wkb), _digest(jurisdiction), whose), make)

    async def cut(self, area: shapely.MultiPolygon, jurisdiction: Jurisdiction) -> shapely.MultiPolygon:
        """Returns the part of an area inside a jurisdiction. Raises Problem as `of` does."""
        within = await self.of(jurisdiction)
        return await asyncio.to_thread(lambda: ground(shapely.intersection(area, within)))

    async def divided(
        self, area: shapely.MultiPolygon, own: Jurisdiction, others: Mapping[str, Jurisdiction]
    ) -> Division:
        """Returns the parts of an area in the organisation's own jurisdiction and in those of others, by organisation.
        Raises Problem if a part lies in no jurisdiction.
        """
        grounds = await self._of_each(others)
        within, library = await self.of(own), self._regions.library

        def division() -> Division:
            """Divides a copy of the area, because shapely may change the object of another thread."""
            return divide(copy_of(area), within, grounds, library, most_share=self._border_share)

        divided = await asyncio.to_thread(division)
        if divided.nobodys:
            raise refused(await asyncio.to_thread(_named, divided.nobodys, library, ANYBODYS))
        return divided

    async def _of_each(self, jurisdictions: Mapping[str, Jurisdiction]) -> dict[str, BaseGeometry]:
        """Returns the geometry of each jurisdiction. Skips one that names a removed region, so that it blocks no other
        organisation.
        """
        found = dict[str, BaseGeometry]()
        for org, jurisdiction in jurisdictions.items():
            try:
                found[org] = await self.of(jurisdiction)
            except Problem:
                structlog.get_logger().warning("jurisdiction.resolve_failed", organisation=org)
        return found


def unresolved(error: TargetErrors, pointer: str, what: str) -> Problem:
    """Returns the Problem of a document with an area that cannot be resolved, with a fault for each error. Their
    pointers begin with `pointer`. `what` is the noun for the area.
    """
    faults = tuple(Fault(f"{pointer}{fault.pointer}", fault.why) for fault in error.errors)
    unknown = any(isinstance(fault, UnknownRegion) for fault in error.errors)
    slug = "unknown-region" if unknown else "invalid-geometry"
    return Problem(slug, f"The {what} cannot be resolved; see the faults.", faults=faults)


def refused(beyond: Beyond, pointer: str = "/target", what: str = "target") -> Problem:
    """Returns the Problem of an area that leaves a jurisdiction. `pointer` is the place of the area in the document,
    `what` the noun for it.
    """
    found = beyond.outside
    names = ", ".join(dict.fromkeys(name for _, name, _ in beyond.regions)) or "open water"
    detail = f"{found.share:.1%} of the {what} ({found.km2:,.1f} km2) lies outside the jurisdiction of {beyond.whose}: in {names}."
    return Problem(
        "outside-jurisdiction", detail, faults=(Fault(pointer, "This leaves the jurisdiction. The area was not cut."),),
        outside=facts(beyond),
    )  # fmt: skip


def facts(beyond: Beyond) -> dict[str, object]:
    """Returns the part outside a jurisdiction as the API shows it."""
    return {
        "whose": beyond.whose,
        "share": round(beyond.outside.share, 4),
        "km2": round(beyond.outside.km2, 3),
        "regions": [{"code": code, "name": name, "share": round(share, 4)} for code, name, share in beyond.regions],
    }


def _digest(jurisdiction: Jurisdiction) -> bytes:
    """Returns a hash of a jurisdiction's document."""
    return digest(jurisdiction.model_dump_json().encode())


def _resolved(jurisdiction: Jurisdiction, library: Library) -> bytes:
    """Returns the geometry of a jurisdiction as WKB, with the strip of sea along the coasts of its regions. Raises
    Problem for drawn and unknown regions and for faulty polygons.
    """
    drawn = tuple(
        Fault(f"{POINTER}/regions/{i}", "A drawn region can change: give its outline as a polygon instead.")
        for i, code in enumerate(jurisdiction.regions)
        if code in library and library.get(code).kind is RegionKind.DRAWN
    )
    if drawn:
        raise Problem("invalid-request", "A jurisdiction cannot contain drawn regions.", faults=drawn)
    target = Target(regions=jurisdiction.regions, polygons=tuple(shape.model_dump() for shape in jurisdiction.polygons))
    try:
        return shapely.to_wkb(resolve(target, library).geometry)
    except TargetErrors as error:
        raise unresolved(error, POINTER, "jurisdiction") from None


def _beyond(wkb: bytes, within: BaseGeometry, library: Library, *, whose: str, most_share: float) -> Beyond | None:
    """Returns the part of an area (WKB) outside the geometry `within`, with a tolerance at the border. Returns None if
    nothing lies outside.
    """
    area = cast("shapely.MultiPolygon", shapely.from_wkb(wkb))
    found = outside(area, within, library, most_share=most_share)
    return _named(found, library, whose) if found else None


def _named(found: Outside, library: Library, whose: str) -> Beyond:
    """Returns the outside part with the regions that it lies in, and the owner of the jurisdiction (`whose`)."""
    touched = library.overlapping(copy_of(found.geometry))
    # Largest part first, and of nested regions the wider first: Spain, then Sevilla.
    named = sorted(touched, key=lambda one: (-round(one[0].km2 * one[1], 1), one[0].kind.depth))[:MOST_NAMED]
    return Beyond(whose=whose, outside=found, regions=tuple((r.code, r.name, share) for r, share in named))
