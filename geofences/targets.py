"""What was asked for, and the area it comes to: regions, polygons, circles and rings, made wider by a buffer, less what is excluded,
as one MultiPolygon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from geofences.buffers import MOST_EXCESS, buffered
from geofences.circles import Circle, circle
from geofences.errors import EmptyArea, InvalidGeometry, TargetErrors, TargetFault, TooManyVertices, UnknownRegion
from geofences.geodesy import area_km2
from geofences.shapes import MAX_VERTICES, Outline, Repair, polygon
from geofences.tangles import too_tangled

# Looking for the nearest of an unknown code takes some 20 ms; a list of nothing but such codes must not hold a worker for minutes.
MOST_UNKNOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Ground, named or drawn; all of it together."""

    regions: tuple[str, ...] = ()  # codes of the region library
    polygons: tuple[Any, ...] = ()  # as `shapes.polygon` takes them
    circles: tuple[Circle, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Selection):
    """What was asked for: a selection and rings, wider by a buffer, less another selection."""

    rings: tuple[Circle, ...] = ()
    buffer_km: float = 0  # along the ground; it makes everything wider but what is excluded
    exclude: Selection = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """What a target comes to. The geometry belongs to this area alone, so it may be prepared."""

    geometry: MultiPolygon  # valid, WGS84 lon/lat, within -180..180
    km2: float  # true area
    repairs: tuple[Repair, ...] = ()


class Outlines(Protocol):
    """Whoever knows the outlines of regions; `regions.Library` does."""

    def geometry(self, code: str) -> BaseGeometry: ...


def resolve(target: Target, library: Outlines) -> Area:
    """The area of a target. Raises TargetErrors with every fault at once, each with a pointer into the target."""
    faults: list[TargetFault] = []
    wanted = _outlines(_wanted(target, library), "", faults)
    unwanted = _outlines(_unwanted(target.exclude, library), "/exclude", faults)
    if not wanted and not faults:
        faults.append(EmptyArea("", "The target names no region, polygon or circle. Give at least one."))
    faults += _too_much(wanted + unwanted)
    if faults:
        raise TargetErrors(tuple(faults))
    repairs = [repair for found in wanted + unwanted for repair in found.repairs]
    geometry = _widened(wanted, target.buffer_km, repairs)
    if unwanted:
        geometry = shapely.difference(geometry, _together([found.geometry for found in unwanted]))
    if geometry.is_empty:
        raise TargetErrors((EmptyArea("/exclude", "The exclusions leave nothing of the target."),))
    whole = as_multipolygon(geometry)
    return Area(geometry=whole, km2=area_km2(whole), repairs=tuple(repairs))


def ring_areas(target: Target, area: BaseGeometry) -> tuple[MultiPolygon, ...]:
    """The ground of each ring of a target whose area this is: all within its radius, inner rings too. One may be empty."""
    outlines = (circle(ring, wider_km=target.buffer_km).geometry for ring in target.rings)
    return tuple(as_multipolygon(shapely.intersection(outline, area)) for outline in outlines)


def _too_much(found: list[_Found]) -> list[TargetFault]:
    """What was drawn in all, where it is more than can be worked on."""
    drawn = [one.geometry for one in found if one.drawn]
    vertices = sum(int(shapely.get_num_coordinates(geometry)) for geometry in drawn)
    if vertices > MAX_VERTICES:
        return [TooManyVertices("", vertices, MAX_VERTICES)]
    if too_tangled(shapely.get_parts(drawn)):
        why = "The polygons and circles cross each other too often. Send their outline instead."
        return [InvalidGeometry("", why)]
    return []


def _widened(found: list[_Found], buffer_km: float, repairs: list[Repair]) -> BaseGeometry:
    """All of it together; what did not become wider by itself does here, and what that adds is told."""
    if not buffer_km:
        return _together([one.geometry for one in found])
    narrow, wide = ([one.geometry for one in found if one.wide is is_wide] for is_wide in (False, True))
    if narrow:
        try:
            wide.append(buffered(_together(narrow), buffer_km, "/buffer_km"))
        except TargetFault as fault:
            raise TargetErrors((fault,)) from None
    what = f"The area was made wider by {buffer_km:g} km. Its line may lie up to {MOST_EXCESS:.0%} of that farther out."
    repairs.append(Repair(pointer="/buffer_km", what=what))
    return _together(wide)


def as_multipolygon(geometry: BaseGeometry) -> MultiPolygon:
    """The polygons of a geometry as a new MultiPolygon, sharing nothing with it; lines and points fall out."""
    return MultiPolygon([part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"])


#: Reads one member of a selection, given its pointer.
_Read = Callable[[str], Outline]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    geometry: BaseGeometry
    repairs: tuple[Repair, ...]
    drawn: bool
    wide: bool  # the buffer is in it already: a circle becomes wider by its radius


@dataclass(frozen=True, slots=True)
class _Member:
    pointer: str
    read: _Read
    drawn: bool = True
    wide: bool = False


def _outlines(members: Iterator[_Member], under: str, faults: list[TargetFault]) -> list[_Found]:
    """The outline of every member of a selection that has one; the faults of the others are added to `faults`."""
    found = []
    for one in members:
        try:
            outline = one.read(one.pointer)
        except UnknownRegion as fault:
            faults.append(fault.at(one.pointer))
            if sum(isinstance(other, UnknownRegion) for other in faults) == MOST_UNKNOWN:
                faults.append(TargetFault(under, f"{MOST_UNKNOWN} codes are unknown; what follows was not looked at."))
                break
        except TargetFault as fault:
            faults.append(fault)
        else:
            found.append(_Found(geometry=outline.geometry, repairs=outline.repairs, drawn=one.drawn, wide=one.wide))
    return found


def _wanted(target: Target, library: Outlines) -> Iterator[_Member]:
    for i, code in enumerate(target.regions):
        yield _Member(f"/regions/{i}", partial(_named, library, code), drawn=False)
    for i, drawn in enumerate(target.polygons):
        yield _Member(f"/polygons/{i}", partial(polygon, drawn))
    for name, circles in (("circles", target.circles), ("rings", target.rings)):
        for i, asked in enumerate(circles):
            yield _Member(f"/{name}/{i}", partial(circle, asked, wider_km=target.buffer_km), wide=True)


def _unwanted(selection: Selection, library: Outlines) -> Iterator[_Member]:
    for i, code in enumerate(selection.regions):
        yield _Member(f"/exclude/regions/{i}", partial(_named, library, code), drawn=False)
    for i, drawn in enumerate(selection.polygons):
        yield _Member(f"/exclude/polygons/{i}", partial(polygon, drawn, excludes=True))
    for i, asked in enumerate(selection.circles):
        yield _Member(f"/exclude/circles/{i}", partial(circle, asked))


def _named(library: Outlines, code: str, _pointer: str) -> Outline:
    return Outline(geometry=library.geometry(code))


def _together(geometries: list[BaseGeometry]) -> BaseGeometry:
    if len(geometries) == 1:
        return geometries[0]
    result: BaseGeometry = shapely.union_all(np.array(geometries, dtype=object))
    return result
