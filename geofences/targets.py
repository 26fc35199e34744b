"""Computes the area of a target: regions, polygons, circles and rings, widened by a buffer, minus exclusions. The area is one MultiPolygon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from geofences.buffers import MOST_EXCESS, buffered
from geofences.circles import Circle, circle
from geofences.errors import EmptyArea, InvalidGeometry, TargetErrors, TargetFault, TooManyVertices, UnknownRegion
from geofences.polygons import area_km2, ground, too_tangled
from geofences.regions import Ground
from geofences.shapes import MAX_VERTICES, Outline, Repair, polygon

# Maximum number of unknown codes that are examined. Finding codes similar to one takes some 20 ms, and a list of only unknown codes must
# not occupy a worker for minutes.
MOST_UNKNOWN = 20
# Shores from this size (km2) on are reported as a repair.
TOLD_KM2 = 1
_IDLE = "This takes nothing from the target. Mend it (a position is [longitude, latitude]), or take it away."


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Named regions and drawn shapes; the selection is their union."""

    regions: tuple[str, ...] = ()  # codes of the region library
    polygons: tuple[Any, ...] = ()  # as `shapes.polygon` takes them
    circles: tuple[Circle, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Selection):
    """The requested area: a selection and rings, widened by a buffer, minus another selection."""

    rings: tuple[Circle, ...] = ()
    buffer_km: float = 0  # along the ground; it widens everything except the exclusion
    exclude: Selection = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The area of a target. Its geometry may be shared: shapely prepares in place, so prepare a copy."""

    geometry: MultiPolygon  # valid, WGS84 lon/lat, within -180..180, with the shores of regions
    km2: float  # true area, without shores
    repairs: tuple[Repair, ...] = ()


class Regions(Protocol):
    """A source of regions; `regions.Library` is one."""

    def codes(self, code: str) -> tuple[str, ...]:
        """Returns the codes of the regions that a code stands for. Raises UnknownRegion."""

    def ground(self, codes: Iterable[str], *, inwards: bool = False) -> Ground:
        """Returns the combined area of regions. All codes must be known."""


def resolve(target: Target, library: Regions) -> Area:
    """Returns the area of a target, with the shores of its regions. Raises TargetErrors with all faults at once, each
    with a pointer into the target.
    """
    faults: list[TargetFault] = []
    wanted = _named(target.regions, library, "", faults) + _drawn(
        target, "", faults, rings=target.rings, wider_km=target.buffer_km
    )
    unwanted = _named(target.exclude.regions, library, "/exclude", faults) + _drawn(target.exclude, "/exclude", faults)
    if not wanted and not faults:
        faults.append(EmptyArea("", "The target names no region, polygon or circle. Give at least one."))
    faults += _too_much(wanted + unwanted)
    if faults:
        raise TargetErrors(tuple(faults))
    repairs = [repair for found in wanted + unwanted for repair in found.repairs]
    geometry = _widened(wanted, target.buffer_km, repairs)
    if unwanted:
        _refuse_idle(unwanted, [geometry, *(found.shore for found in wanted)])
        geometry = shapely.difference(geometry, _together([found.geometry for found in unwanted]))
    geometry = ground(geometry)
    if geometry.is_empty:
        left = EmptyArea("/exclude", "The exclusions leave nothing of the target.")
        raise TargetErrors((left if unwanted else EmptyArea("", "The target is too small to hold a person."),))
    km2 = area_km2(geometry)
    whole = ground(_with_shores(geometry, wanted, unwanted))
    if (more := area_km2(whole) - km2) >= TOLD_KM2:
        what = (
            f"{more:,.0f} km2 of water and gaps off the regions were added, where people count to the nearest of them."
        )
        repairs.append(Repair(pointer="/regions", what=what, code="shores", figures={"km2": round(more, 3)}))
    return Area(geometry=whole, km2=km2, repairs=tuple(repairs))


def outline(target: Target, library: Regions) -> MultiPolygon:
    """Returns the ground of a target's regions and shapes alone, without shores, and without exclusions. Regions and polygons are not
    widened by the buffer; circles and rings are. Raises TargetErrors.
    """
    faults: list[TargetFault] = []
    wanted = _named(target.regions, library, "", faults) + _drawn(
        target, "", faults, rings=target.rings, wider_km=target.buffer_km
    )
    faults += _too_much(wanted)
    if faults:
        raise TargetErrors(tuple(faults))
    return ground(_together([one.geometry for one in wanted]))


def alike(one: MultiPolygon, other: MultiPolygon, *, most_share: float) -> bool:
    """Returns whether two areas differ by at most `most_share` of the larger one, by true area. Returns False if the comparison would take
    too long.
    """
    sizes = area_km2(one), area_km2(other)
    most = most_share * max(sizes)
    if abs(sizes[0] - sizes[1]) > most or too_tangled(shapely.get_parts([one, other])):
        return False
    return area_km2(ground(shapely.symmetric_difference(one, other))) <= most


def _refuse_idle(unwanted: list[_Found], area: list[BaseGeometry]) -> None:
    """Raises TargetErrors for exclusions that remove nothing from the area, because they were meant to spare people."""
    faults = [
        InvalidGeometry(one.pointer, _IDLE)
        for one in unwanted
        if not any(_share_ground(part, own) for part in area for own in (one.geometry, one.shore))
    ]
    if faults:
        raise TargetErrors(tuple(faults))


def _share_ground(one: BaseGeometry, other: BaseGeometry) -> bool:
    return bool(shapely.intersects(one, other) and not shapely.touches(one, other))


def _with_shores(geometry: BaseGeometry, wanted: list[_Found], unwanted: list[_Found]) -> BaseGeometry:
    """Returns the area with the shores of the target's regions, and without the shores of the excluded regions."""
    more, less = ([one.shore for one in found if not one.shore.is_empty] for found in (wanted, unwanted))
    if more:
        outlines = [one.geometry for one in unwanted]
        shore = shapely.difference(_together(more), _together(outlines)) if outlines else _together(more)
        geometry = shapely.union(geometry, shore)
    return shapely.difference(geometry, _together(less)) if less else geometry


def ring_areas(target: Target, area: BaseGeometry) -> tuple[MultiPolygon, ...]:
    """Returns the part of the area within each ring of the target, in the rings' order. A ring includes the rings inside it. A part may be
    empty.
    """
    outlines = (circle(ring, wider_km=target.buffer_km).geometry for ring in target.rings)
    return tuple(ground(shapely.intersection(outline, area)) for outline in outlines)


def _too_much(found: list[_Found]) -> list[TargetFault]:
    """Returns a list with one fault if the drawn shapes together have too many vertices or cross each other too often, else []."""
    drawn = [one.geometry for one in found if one.drawn]
    vertices = sum(int(shapely.get_num_coordinates(geometry)) for geometry in drawn)
    if vertices > MAX_VERTICES:
        return [TooManyVertices("", vertices, MAX_VERTICES)]
    if too_tangled(shapely.get_parts(drawn)):
        why = "The polygons and circles cross each other too often. Send their outline instead."
        return [InvalidGeometry("", why)]
    return []


def _widened(found: list[_Found], buffer_km: float, repairs: list[Repair]) -> BaseGeometry:
    """Returns the union of the shapes, widened by a buffer. Adds a repair that states the buffer and its excess.

    Circles are widened already (`wide`); this widens the others. Raises TargetErrors if that is impossible.
    """
    if not buffer_km:
        return _together([one.geometry for one in found])
    narrow, wide = ([one.geometry for one in found if one.wide is is_wide] for is_wide in (False, True))
    if narrow:
        try:
            wide.append(buffered(_together(narrow), buffer_km, "/buffer_km"))
        except TargetFault as fault:
            raise TargetErrors((fault,)) from None
    what = f"The area was made wider by {buffer_km:g} km. Its line may lie up to {MOST_EXCESS:.0%} of that farther out."
    figures = {"km": buffer_km, "excess_percent": MOST_EXCESS * 100}
    repairs.append(Repair(pointer="/buffer_km", what=what, code="wider", figures=figures))
    return _together(wide)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    pointer: str
    geometry: BaseGeometry
    repairs: tuple[Repair, ...]
    drawn: bool
    wide: bool  # it includes the buffer already: a circle gets a larger radius
    shore: BaseGeometry = field(default_factory=MultiPolygon)


def _named(codes: Sequence[str], library: Regions, under: str, faults: list[TargetFault]) -> list[_Found]:
    """Returns the combined area of the regions with these codes, as one element; [] without codes. Adds faults to `faults`, and returns []
    if `faults` is not empty.
    """
    unknown: list[TargetFault] = []
    for i, code in enumerate(codes):
        try:
            library.codes(code)
        except UnknownRegion as fault:
            unknown.append(fault.at(f"{under}/regions/{i}"))
        if len(unknown) == MOST_UNKNOWN:
            unknown.append(TargetFault(under, f"{MOST_UNKNOWN} codes are unknown; what follows was not looked at."))
            break
    faults += unknown
    if not codes or faults:
        return []
    found = library.ground(codes, inwards=bool(under))
    pointer = f"{under}/regions"
    return [_Found(pointer=pointer, geometry=found.outline, repairs=(), drawn=False, wide=False, shore=found.shore)]


def _drawn(
    selection: Selection, under: str, faults: list[TargetFault], *, rings: Sequence[Circle] = (), wider_km: float = 0
) -> list[_Found]:
    """Returns the outlines of the polygons and circles of a selection and of the rings. Adds the faults of invalid ones to `faults`."""
    excludes = bool(under)
    members: list[tuple[str, bool, Callable[[str], Outline]]] = [
        (f"{under}/polygons/{i}", False, partial(polygon, drawn, excludes=excludes))
        for i, drawn in enumerate(selection.polygons)
    ]
    for name, circles in (("circles", selection.circles), ("rings", rings)):
        members += [
            (f"{under}/{name}/{i}", True, partial(circle, asked, wider_km=wider_km, excludes=excludes))
            for i, asked in enumerate(circles)
        ]
    found = []
    for pointer, is_wide, read in members:
        try:
            outline = read(pointer)
        except TargetFault as fault:
            faults.append(fault)
        else:
            shape = outline.geometry
            found.append(_Found(pointer=pointer, geometry=shape, repairs=outline.repairs, drawn=True, wide=is_wide))
    return found


def _together(geometries: list[BaseGeometry]) -> BaseGeometry:
    if len(geometries) == 1:
        return geometries[0]
    result: BaseGeometry = shapely.union_all(np.array(geometries, dtype=object))
    return result
