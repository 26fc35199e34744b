"""Converts the areas of a CAP message to the target of an alert."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from shapely.geometry import MultiPolygon

from alertd.common.errors import Fault, Problem
from alertd.model.cap.messages import Area, Info, Message, Named
from alertd.model.faults import MAX_FAULTS
from geofences.aliases import Alias
from geofences.circles import Circle
from geofences.errors import TargetErrors
from geofences.targets import Regions, Target, alike, outline

_NO_RADIUS = (
    "The radius of this circle is 0, so it holds no one. Send the radius in kilometres after the centre, as in 37.39,-5.98 2.5; or a "
    "polygon or a geocode beside it."
)


#: Maximum difference between the areas of two infos that count as the same, as a share of the larger. The first is for
#: two drawn areas with rounded positions. The second is for an area that is named by codes in one info and drawn in the
#: other.
_ROUNDED, _REDRAWN = 0.001, 0.05


class Places(Regions, Protocol):
    """Regions, and codes of places in other systems; implemented by `geofences.regions.Library`."""

    def resolve(self, scheme: str, value: str) -> Alias | None: ...


@dataclass(slots=True)
class Draft:
    """An alert as JSON. `origins` maps pointers into it to the pointers of the CAP elements that they came from."""

    document: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any, origin: str) -> None:
        self.document[name] = value
        self.origins[f"/{name}"] = origin


def refused(slug: str, detail: str, faults: Iterable[Fault], message: Message) -> Problem:
    """Returns the Problem of a CAP document, with the line of each fault in the document."""
    lined = tuple(Fault(one.pointer, one.detail, line=line(message, one.pointer)) for one in faults)
    return Problem(slug, detail, faults=lined[:MAX_FAULTS])


def line(message: Message, pointer: str) -> int:
    """Returns the line of the element at `pointer`; if the document lacks it, the line of the nearest element around
    it.
    """
    while pointer and pointer not in message.lines:
        pointer = pointer.rpartition("/")[0]
    return message.lines.get(pointer, 1)


def unfit_areas(message: Message, places: Places) -> list[Fault]:
    """Returns a fault for each area that has no polygon, circle or geocode, and for each info whose area differs from
    the infos' before it.
    """
    faults = []
    meant = next((_Ground(info, places) for info in message.infos if _ground(info)), None)
    for i, info in enumerate(message.infos):
        own = _ground(info)
        for j, area in enumerate(info.areas):
            if _shapes(area) or (
                not own and (meant or i)
            ):  # another info has the area, or the first info has the fault
                continue
            if area.circles:
                faults.append(Fault(f"/info/{i}/area/{j}/circle/0", _NO_RADIUS))
            else:
                why = "This area has no polygon, circle or geocode, so no one in it would get the alert. Add one."
                faults.append(Fault(f"/info/{i}/area/{j}", why))
        if own and meant and not _Ground(info, places).is_like(meant):
            why = "This info has another area than the infos before. Send it as a separate alert."
            faults.append(Fault(f"/info/{i}/area/0", why))
    return faults


def _is_drawn(info: Info) -> bool:
    """Returns whether polygons or circles draw every area of an info, so that no geocode counts."""
    return not any(isinstance(shape, Named) for shape in _ground(info))


@dataclass(frozen=True)
class _Ground:
    """The area of an info, for a comparison with that of another info."""

    info: Info
    places: Places

    @cached_property
    def outline(self) -> MultiPolygon | None:
        """Returns the area on the map, or None if there is none or a code in it is unknown."""
        draft, unknown = Draft({"target": _no_target()}), list[Fault]()
        for area in self.info.areas:
            _put_area(draft, area, "", self.places, unknown)
        found = draft.document["target"]
        circles = tuple(Circle(lon_lat=one["center"], radius_km=one["radius_km"]) for one in found["circles"])
        target = Target(regions=tuple(found["regions"]), polygons=tuple(found["polygons"]), circles=circles)
        try:
            return None if unknown else outline(target, self.places)
        except TargetErrors:
            return None

    def is_like(self, other: _Ground) -> bool:
        """Returns whether both infos have the same area, whether drawn or named. The first points of their rings may
        differ.
        """
        if _ground(self.info) == _ground(other.info):
            return True
        if self.outline is None or other.outline is None:
            return False
        most_share = _ROUNDED if _is_drawn(self.info) and _is_drawn(other.info) else _REDRAWN
        return alike(self.outline, other.outline, most_share=most_share)


def tag(language: str) -> str:
    """Returns a language's tag in its usual case (RFC 5646, section 2.1.1)."""
    first, *rest = language.split("-")
    cased = [part.upper() if len(part) == 2 else part.title() if len(part) == 4 else part.lower() for part in rest]
    return "-".join((first.lower(), *cased))


def _ground(info: Info) -> frozenset[Any]:
    return frozenset(shape for area in info.areas for shape in _shapes(area))


def _shapes(area: Area) -> list[Any]:
    """Returns the shapes of an area: its polygons and circles, else its geocodes. Circles of radius 0 and codes without
    a value are left out.
    """
    drawn = [*area.polygons, *(circle for circle in area.circles if circle.radius_km)]
    return drawn or [geocode for geocode in area.geocodes if geocode.value]


def put_target(draft: Draft, message: Message, places: Places) -> None:
    """Puts the alert's target into the draft: the area of the first info that draws it, and that of the first that
    names it by codes. It puts both, so that a small difference leaves no one out. Raises Problem: unknown-region.
    """
    having = [(i, info) for i, info in enumerate(message.infos) if _ground(info)] or [(0, message.infos[0])]
    meant = {_is_drawn(info): (i, info) for i, info in reversed(having)}
    first, info = having[0]
    draft.put("target", _no_target(), f"/info/{first}/area/0" if info.areas else f"/info/{first}")
    faults: list[Fault] = []
    for i, info in meant.values():
        for j, area in enumerate(info.areas):
            _put_area(draft, area, f"/info/{i}/area/{j}", places, faults)
    if faults:
        raise refused("unknown-region", "A geocode is unknown here. Send the area as a polygon.", faults, message)


def _no_target() -> dict[str, list[Any]]:
    return {"polygons": [], "circles": [], "regions": []}


def _put_area(draft: Draft, area: Area, pointer: str, places: Places, faults: list[Fault]) -> None:
    target = draft.document["target"]
    for n, ring in enumerate(area.polygons):
        draft.origins[f"/target/polygons/{len(target['polygons'])}"] = f"{pointer}/polygon/{n}"
        target["polygons"].append({"type": "Polygon", "coordinates": [ring]})
    circles = [(n, circle) for n, circle in enumerate(area.circles) if circle.radius_km]
    for n, circle in circles:
        draft.origins[f"/target/circles/{len(target['circles'])}"] = f"{pointer}/circle/{n}"
        target["circles"].append({"center": circle.center, "radius_km": circle.radius_km})
    if area.polygons or circles:
        return
    for code, n in _known(area, pointer, places, faults):
        draft.origins[f"/target/regions/{len(target['regions'])}"] = f"{pointer}/geocode/{n}"
        target["regions"].append(code)


def _known(area: Area, pointer: str, places: Places, faults: list[Fault]) -> list[tuple[str, int]]:
    """Returns the region codes that an area's geocodes stand for, each with the index of its geocode. Senders often
    name the same area in several systems of codes: one system with only known codes is enough. Otherwise returns none,
    and adds each unknown code to `faults`.
    """
    systems: dict[str, list[tuple[str, int]]] = {}
    unknown: dict[str, list[Fault]] = {}
    for n, geocode in enumerate(area.geocodes):
        found = places.resolve(geocode.name, geocode.value)
        if found is not None and found.exact:
            systems.setdefault(geocode.name, []).extend((code, n) for code in found.codes)
        elif geocode.value:
            why = "No region has this code." if found is None else "Only a larger region around it is known."
            unknown.setdefault(geocode.name, []).append(Fault(f"{pointer}/geocode/{n}", why))
    whole = next((codes for system, codes in systems.items() if system not in unknown), None)
    if whole is None:
        faults += [fault for several in unknown.values() for fault in several]
    return whole or []
