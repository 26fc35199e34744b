"""The ground of a jurisdiction, and what of an area lies beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import shapely
from shapely.geometry.base import BaseGeometry

from alertd.errors import Fault, Problem
from alertd.organisations import Jurisdiction
from geofences.errors import TargetErrors, UnknownRegion
from geofences.jurisdictions import Outside, outside
from geofences.regions import Kind as RegionKind
from geofences.regions import Library
from geofences.targets import Target, resolve

#: Regions that are named to whoever asked for an area outside.
MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What of an area lies outside a jurisdiction, and whose that is."""

    whose: str
    outside: Outside
    regions: tuple[tuple[str, str, float], ...]  # code, name, share of the region that lies in the area: the most first


def resolved(jurisdiction: Jurisdiction, library: Library, pointer: str) -> bytes:
    """The ground as WKB, with the shores of its regions. Raises Problem."""
    drawn = tuple(
        Fault(f"{pointer}/regions/{i}", "Whoever drew this region can draw it anew: give its outline as a polygon.")
        for i, code in enumerate(jurisdiction.regions)
        if code in library and library.get(code).kind is RegionKind.DRAWN
    )
    if drawn:
        raise Problem("invalid-request", "A jurisdiction is of ground that stays.", faults=drawn)
    target = Target(regions=jurisdiction.regions, polygons=tuple(shape.model_dump() for shape in jurisdiction.polygons))
    try:
        return shapely.to_wkb(resolve(target, library).geometry)
    except TargetErrors as error:
        raise unresolved(error, pointer, "jurisdiction") from None


def unresolved(error: TargetErrors, pointer: str, what: str) -> Problem:
    """The faults of what names ground, each with its pointer under `pointer`."""
    faults = tuple(Fault(f"{pointer}{fault.pointer}", fault.why) for fault in error.errors)
    unknown = any(isinstance(fault, UnknownRegion) for fault in error.errors)
    slug = "unknown-region" if unknown else "invalid-geometry"
    return Problem(slug, f"The {what} cannot be resolved; see the faults.", faults=faults)


def beyond_of(wkb: bytes, within: BaseGeometry, library: Library, *, whose: str, most_share: float) -> Beyond | None:
    """What of an area (WKB) lies outside, but for the border; None where nothing does."""
    area = cast("shapely.MultiPolygon", shapely.from_wkb(wkb))
    found = outside(area, within, library, most_share=most_share)
    return named(found, library, whose) if found else None


def named(found: Outside, library: Library, whose: str) -> Beyond:
    """With the regions that it lies in."""
    overlapped = library.overlapping(shapely.from_wkb(shapely.to_wkb(found.geometry)))
    touched = [one for one in overlapped if one[0].kind is not RegionKind.DRAWN]
    # The most ground first, and of what is part of each other the wider: Spain, then Sevilla.
    named = sorted(touched, key=lambda one: (-round(one[0].km2 * one[1], 1), one[0].kind.depth))[:MOST_NAMED]
    return Beyond(whose=whose, outside=found, regions=tuple((r.code, r.name, share) for r, share in named))


def copy_of(area: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """To be prepared in a thread of its own."""
    return cast("shapely.MultiPolygon", shapely.from_wkb(shapely.to_wkb(area)))


def refused(beyond: Beyond) -> Problem:
    """What whoever asked for such an area is told."""
    found = beyond.outside
    names = ", ".join(dict.fromkeys(name for _, name, _ in beyond.regions)) or "open water"
    detail = f"{found.share:.1%} of the target ({found.km2:,.1f} km2) lies outside the jurisdiction of {beyond.whose}: in {names}."
    return Problem(
        "outside-jurisdiction", detail, faults=(Fault("/target", "This leaves the jurisdiction; nothing was cut off."),),
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
