"""Converts polygons from operators and programs to valid geometries.

A polygon is a GeoJSON Polygon or MultiPolygon object, one ring of [lon, lat] positions, or a list of rings (the outline, then its holes).
Edges run as a web map draws them (see `planes`). Longitudes may run past 180: 177 to 182 crosses the antimeridian, and is cut there; a ring
that ends where it began after a whole turn encloses the nearer pole. What can be repaired without guessing is repaired and reported;
anything else is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from geofences import antimeridian, planes
from geofences.errors import InvalidGeometry, TooManyVertices
from geofences.polygons import area_km2, too_tangled
from geofences.simplifying import thinned

Floats = NDArray[np.float64]

# Validating 100,000 vertices takes 0.16 s, a million 13 s.
MAX_VERTICES = 100_000
# Largest longitude in the input: one and a half turns. A shape that crosses the antimeridian from either side, starting anywhere, stays
# below.
MAX_LONGITUDE = 540.0
SHAPES = ("Polygon", "MultiPolygon")
# Degrees, a millionth of a millimetre. Smaller values count as 0: their square may underflow, and GEOS divides by it.
TINY = 1e-14
# Square degrees, some square metres. An outline up to this size encloses nothing: the rest is a rounding error.
NOTHING = 1e-10


cut_at_antimeridian = antimeridian.cut_at_antimeridian
_OUTSIDE = (
    "This hole lies outside its polygon, so it removes no ground. Are longitude and latitude swapped? The order is "
    "[longitude, latitude]. Ground of its own is a polygon of its own."
)
_NOTHING = "The outline encloses nothing: its points lie on one line or one spot."


#: Codes of repairs, for callers that use other texts than those of this module.
RepairCode = Literal["round-north", "round-south", "open", "crossed", "simpler", "shores", "wider"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A repair of the input, to be shown to the operator before anything is sent."""

    pointer: str
    what: str
    code: RepairCode
    #: Values for texts in other languages: numbers, in the unit that the name gives, and words of this module.
    figures: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A valid polygon or multipolygon within -180..180, and the repairs that were needed."""

    geometry: BaseGeometry
    repairs: tuple[Repair, ...] = ()


def polygon(value: Any, pointer: str = "", *, excludes: bool = False) -> Outline:
    """Returns the area of one polygon of the input. Raises InvalidGeometry, with a pointer to the fault.

    An outline with very many vertices is simplified so that it covers no less ground; with `excludes`, so that it covers no more.
    """
    polygons = _polygons(value, pointer)
    count = sum(len(ring) for _, rings in polygons for _, ring in rings)
    if count > MAX_VERTICES:
        raise TooManyVertices(pointer, count, MAX_VERTICES)
    repairs: list[Repair] = []
    drawn = [part for place, rings in polygons for part in _parts(place, rings, repairs)]
    geometry = _sound(drawn[0] if len(drawn) == 1 else MultiPolygon(drawn), pointer, repairs)
    if geometry.area < NOTHING:
        raise InvalidGeometry(pointer, _NOTHING)
    whole = cut_at_antimeridian(_simple(geometry, pointer, repairs, excludes=excludes))
    return Outline(geometry=whole, repairs=tuple(repairs))


def _polygons(value: Any, pointer: str) -> list[tuple[str, list[tuple[str, Sequence[Any]]]]]:
    """Returns for each polygon of the input its pointer, and the pointer and positions of each ring. Raises InvalidGeometry."""
    if isinstance(value, Mapping):
        kind, coordinates = value.get("type"), value.get("coordinates")
        if kind not in SHAPES:
            raise InvalidGeometry(
                pointer,
                f"A GeoJSON {' or '.join(SHAPES)} is needed here, not {str(kind)[:40]!r}. Of a Feature, send its geometry.",
            )
        nested = [coordinates] if kind == "Polygon" else coordinates
        under = f"{pointer}/coordinates"
        places = itertools.repeat(under) if kind == "Polygon" else (f"{under}/{i}" for i in itertools.count())
    else:
        nested, places = [[value] if _is_ring(value) else value], itertools.repeat(pointer)
    if not _is_list(nested) or not nested or not all(_is_list(rings) and rings for rings in nested):
        raise InvalidGeometry(pointer, "The polygon is empty. Give at least three [lon, lat] positions.")
    flat = not isinstance(value, Mapping) and _is_ring(value)
    found = []
    for place, rings in zip(places, nested, strict=False):
        named = [(place if flat else f"{place}/{i}", ring) for i, ring in enumerate(rings)]
        for where, ring in named:
            if not _is_list(ring) or not ring:
                raise InvalidGeometry(
                    where, "A ring is a list of at least three [lon, lat] positions; this one is empty or no list."
                )
        found.append((place, named))
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_ring(value: Any) -> bool:
    """Returns whether a list is a single ring: its first element is a position and not a ring."""
    return _is_list(value) and bool(value) and _is_list(value[0]) and bool(value[0]) and not _is_list(value[0][0])


def _parts(pointer: str, rings: list[tuple[str, Sequence[Any]]], repairs: list[Repair]) -> list[Polygon]:
    """Returns the polygons of an outline and its holes: one, or possibly several if a ring goes round a pole. Raises InvalidGeometry."""
    outline, *holes = [_ring(where, ring, repairs, hole=i > 0) for i, (where, ring) in enumerate(rings)]
    if not any(map(antimeridian.goes_round, (outline, *holes))):
        holes = [_nearest_turn(hole, outline) for hole in holes]
        if holes:
            shell, *cut_out = [_sound(Polygon(ring), pointer, []) for ring in (outline, *holes)]
            _refuse_outside(shell, cut_out, rings)
        return [Polygon(outline, holes)]
    filled, *cut_out = [cut_at_antimeridian(_sound(_filled(ring), pointer, repairs)) for ring in (outline, *holes)]
    _refuse_outside(filled, cut_out, rings)
    return list(shapely.get_parts(shapely.difference(filled, shapely.union_all(cut_out)) if cut_out else filled))


def _refuse_outside(shell: BaseGeometry, holes: list[BaseGeometry], rings: list[tuple[str, Sequence[Any]]]) -> None:
    """Raises InvalidGeometry for a hole outside its polygon. The hole was meant to exclude people, but a repair of the
    polygon would include them.
    """
    for at in np.flatnonzero(outside(shell, np.array(holes, dtype=object)))[:1].tolist():
        raise InvalidGeometry(rings[at + 1][0], _OUTSIDE)


def outside(shell: BaseGeometry, holes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Returns which of the holes share no ground with their outline. All geometries must be valid."""
    shapely.prepare(shell)
    misses: NDArray[np.bool_] = ~shapely.intersects(shell, holes) | shapely.touches(shell, holes)
    return misses & ~shapely.is_empty(holes)


def _filled(ring: Floats) -> Polygon:
    """Returns the polygon of a ring; of a ring once round the earth, that up to the nearer pole."""
    if not antimeridian.goes_round(ring):
        return Polygon(ring)
    return antimeridian.round_pole(ring, 90.0 if ring[0, 1] > 0 else -90.0)


def _nearest_turn(hole: Floats, outline: Floats) -> Floats:
    """Returns a hole, moved by whole turns of 360 degrees to its outline: -179 is also a hole in 177..182."""
    middles = [(ring[:, 0].min() + ring[:, 0].max()) / 2 for ring in (outline, hole)]
    turns = round((middles[0] - middles[1]) / 360)
    return hole + np.array([360.0 * turns, 0.0]) if turns else hole


def _ring(pointer: str, ring: Sequence[Any], repairs: list[Repair], *, hole: bool = False) -> Floats:
    """Returns one ring as an array of lon/lat positions: checked, and closed or once round a pole. Adds repairs to `repairs`. Raises
    InvalidGeometry.
    """
    lon_lat = _positions(pointer, ring)
    _check_range(pointer, lon_lat)
    lon_lat = antimeridian.unwound(lon_lat)
    if antimeridian.goes_round(lon_lat):
        pole = _pole(pointer, lon_lat)
        what = f"The ring goes once round the earth; it was taken to enclose the {pole} pole. Check the area shown."
        repairs.append(Repair(pointer=pointer, what=what, code="round-north" if pole == "north" else "round-south"))
    elif not np.array_equal(lon_lat[0], lon_lat[-1]):
        lon_lat = np.vstack([lon_lat, lon_lat[:1]])
        what = "The ring was open; its last position was joined to its first."
        repairs.append(Repair(pointer=pointer, what=what, code="open"))
    if len(lon_lat) < 4:
        raise InvalidGeometry(
            pointer, f"A ring needs at least three different positions; this one has {len(lon_lat) - 1}."
        )
    if (leaps := antimeridian.leaps(lon_lat)).any():
        raise InvalidGeometry(pointer, _which_way(lon_lat, int(leaps.argmax())))
    is_line = np.linalg.matrix_rank(lon_lat - lon_lat[0]) < 2 and not antimeridian.goes_round(lon_lat)
    if is_line and not hole:
        raise InvalidGeometry(pointer, _NOTHING)  # before its edges are bent
    if (count := int(planes.pieces(lon_lat).sum())) > MAX_VERTICES:
        raise TooManyVertices(pointer, count, MAX_VERTICES)
    return planes.as_drawn(lon_lat)


def _pole(pointer: str, lon_lat: Floats) -> Literal["north", "south"]:
    """Returns the pole that a ring encloses. Raises InvalidGeometry if that is ambiguous."""
    if not ((lon_lat[:, 1] > 0).all() or (lon_lat[:, 1] < 0).all()):
        raise InvalidGeometry(
            pointer,
            "The ring goes once round the earth and across the equator: which half is meant? Write the half as a polygon "
            "from longitude -180 to 180 with its last edges along the pole, at latitude 90 or -90.",
        )
    return "north" if lon_lat[0, 1] > 0 else "south"


def _positions(pointer: str, ring: Sequence[Any]) -> Floats:
    """Returns the positions of a ring as an array, without heights. Raises InvalidGeometry."""
    for i, position in enumerate(ring):
        if not _is_list(position) or len(position) < 2 or not all(type(c) in (int, float) for c in position[:2]):
            raise InvalidGeometry(f"{pointer}/{i}", "A position is [longitude, latitude], two numbers in degrees.")
    try:
        lon_lat = np.array([position[:2] for position in ring], np.float64)  # a height, if any, is dropped
    except OverflowError as error:
        raise InvalidGeometry(pointer, "A coordinate is far too large to be a number of degrees.") from error
    return settled(lon_lat)


def settled(lon_lat: Floats) -> Floats:
    """Returns degrees, with 0 for values that are almost 0."""
    return np.where(np.abs(lon_lat) < TINY, 0.0, lon_lat)


def _check_range(pointer: str, lon_lat: Floats) -> None:
    """Raises InvalidGeometry for positions that are not finite, or beyond the range of longitude or latitude."""
    for index, why in (
        (
            np.flatnonzero(~np.isfinite(lon_lat).all(axis=1)),
            "The position is not a finite number of degrees (NaN or infinity).",
        ),
        (np.flatnonzero(np.abs(lon_lat[:, 1]) > 90), _latitude_fault(lon_lat)),
        (
            np.flatnonzero(np.abs(lon_lat[:, 0]) > MAX_LONGITUDE),
            f"A longitude lies between -180 and 180; up to {MAX_LONGITUDE:g} is taken for crossing 180.",
        ),
    ):
        if len(index):
            raise InvalidGeometry(f"{pointer}/{index[0]}", why)


def _latitude_fault(lon_lat: Floats) -> str:
    swapped = bool((np.abs(lon_lat[:, 0]) <= 90).all() and (np.abs(lon_lat[:, 1]) <= 180).all())
    hint = " Longitude and latitude look swapped: the order is [longitude, latitude]." if swapped else ""
    return f"A latitude lies between -90 and 90.{hint}"


def _which_way(lon_lat: Floats, at: int) -> str:
    (west, south), (east, north) = lon_lat[at], lon_lat[at + 1]
    return (
        f"Which way round? The edge from [{west:g}, {south:g}] to [{east:g}, {north:g}] spans {abs(east - west):g} degrees. "
        f"To cross the antimeridian write {east + np.sign(west - east) * 360:g} instead of {east:g}; to go the long way add a position between."
    )


def _sound(geometry: BaseGeometry, pointer: str, repairs: list[Repair]) -> BaseGeometry:
    """Returns the geometry, repaired if it is invalid. Raises InvalidGeometry if the repair would take too long."""
    if too_tangled(shapely.get_parts(geometry)):
        raise InvalidGeometry(
            pointer, "The outline is too tangled to be worked out. Draw it with fewer and shorter edges."
        )
    return geometry if geometry.is_valid else _mend(geometry, pointer, repairs)


def _mend(geometry: BaseGeometry, pointer: str, repairs: list[Repair]) -> BaseGeometry:
    """Returns the repaired geometry, and adds a repair. Keeps all ground that an outer ring encloses (method "structure"; with "linework" the
    middle of a star would be lost). Raises InvalidGeometry if the outline crosses itself too often.
    """
    if too_tangled(shapely.get_parts(geometry), mending=True):
        raise InvalidGeometry(pointer, "The outline crosses itself too often to be mended. Draw it anew.")
    why = shapely.is_valid_reason(geometry)
    mended: BaseGeometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    repairs.append(
        Repair(
            pointer=pointer,
            what=f"The outline crossed or touched itself ({why}) and was made valid. Check the area shown.",
            code="crossed",
            figures={"before_km2": round(area_km2(geometry), 3), "after_km2": round(area_km2(mended), 3)},
        )
    )
    return mended


def _simple(geometry: BaseGeometry, pointer: str, repairs: list[Repair], *, excludes: bool) -> BaseGeometry:
    """Returns the geometry, simplified by `thinned` if it has very many vertices. Adds a repair then."""
    simple = thinned(geometry, inwards=excludes)
    if simple is not geometry:
        was, now = (int(shapely.get_num_coordinates(one)) for one in (geometry, simple))
        before, after = area_km2(geometry), area_km2(simple)
        change = (
            f"{abs(after - before):,.3g} km2 ({abs(after - before) / before:.2%}) {'smaller' if excludes else 'larger'}"
        )
        what = f"The outline was made simpler, from {was:,} positions to {now:,}; the area is {change}."
        figures = {"was": was, "now": now, "before_km2": round(before, 3), "after_km2": round(after, 3)}
        repairs.append(Repair(pointer=pointer, what=what, code="simpler", figures=figures))
    return simple
