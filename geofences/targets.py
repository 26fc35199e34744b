"""What was asked for, and the area it comes to: regions, polygons and circles, less what is excluded, as one MultiPolygon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

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
    """What was asked for: a selection, less another."""

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
    wanted = _outlines(target, library, "", faults)
    unwanted = _outlines(target.exclude, library, "/exclude", faults)
    if not wanted and not faults:
        faults.append(EmptyArea("", "The target names no region, polygon or circle. Give at least one."))
    vertices = sum(int(shapely.get_num_coordinates(one.geometry)) for one in wanted + unwanted if one.drawn)
    if vertices > MAX_VERTICES:
        faults.append(TooManyVertices("", vertices, MAX_VERTICES))
    elif too_tangled(shapely.get_parts([one.geometry for one in wanted + unwanted if one.drawn])):
        faults.append(
            InvalidGeometry("", "The polygons and circles cross each other too often. Send their outline instead.")
        )
    if faults:
        raise TargetErrors(tuple(faults))
    geometry = _together(wanted)
    if unwanted:
        geometry = shapely.difference(geometry, _together(unwanted))
    if geometry.is_empty:
        raise TargetErrors((EmptyArea("/exclude", "The exclusions leave nothing of the target."),))
    repairs = tuple(repair for found in wanted + unwanted for repair in found.repairs)
    whole = as_multipolygon(geometry)
    return Area(geometry=whole, km2=area_km2(whole), repairs=repairs)


def as_multipolygon(geometry: BaseGeometry) -> MultiPolygon:
    """The polygons of a geometry as a new MultiPolygon, sharing nothing with it; lines and points fall out."""
    return MultiPolygon([part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    geometry: BaseGeometry
    repairs: tuple[Repair, ...]
    drawn: bool


def _outlines(selection: Selection, library: Outlines, under: str, faults: list[TargetFault]) -> list[_Found]:
    """The outline of every member of a selection that has one; the faults of the others are added to `faults`."""
    found = []
    for pointer, drawn, read in _members(selection, library, under):
        try:
            outline = read(pointer)
        except UnknownRegion as fault:
            faults.append(fault.at(pointer))
            if sum(isinstance(other, UnknownRegion) for other in faults) == MOST_UNKNOWN:
                faults.append(TargetFault(under, f"{MOST_UNKNOWN} codes are unknown; what follows was not looked at."))
                break
        except TargetFault as fault:
            faults.append(fault)
        else:
            found.append(_Found(geometry=outline.geometry, repairs=outline.repairs, drawn=drawn))
    return found


def _members(
    selection: Selection, library: Outlines, under: str
) -> Iterator[tuple[str, bool, Callable[[str], Outline]]]:
    """Each member of a selection: its pointer, whether it was drawn, and what reads it, given the pointer."""
    for i, code in enumerate(selection.regions):
        yield f"{under}/regions/{i}", False, partial(_named, library, code)
    for i, drawn in enumerate(selection.polygons):
        yield f"{under}/polygons/{i}", True, partial(polygon, drawn)
    for i, asked in enumerate(selection.circles):
        yield f"{under}/circles/{i}", True, partial(circle, asked)


def _named(library: Outlines, code: str, _pointer: str) -> Outline:
    return Outline(geometry=library.geometry(code))


def _together(found: list[_Found]) -> BaseGeometry:
    if len(found) == 1:
        return found[0].geometry
    result: BaseGeometry = shapely.union_all(np.array([one.geometry for one in found], dtype=object))
    return result
