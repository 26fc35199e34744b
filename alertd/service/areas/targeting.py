"""Resolves a target to an area, finds the people in it, and assigns each person to a ring.

A person in several rings belongs to the innermost, which decides loudness and delay. Rings are numbered from 1 in the
target's order. Ring 0 is the rest of the area, notified at once with the alert's own loudness.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.common.clock import HOUR_MS, Clock
from alertd.common.errors import Fault, Problem
from alertd.config.sections import AudienceSection
from alertd.metrics import Metrics
from alertd.model import alert as documents
from alertd.model.alert import Alert, Policy, Status, Target, loudness
from alertd.model.states import KINDS, PLACE_KINDS
from alertd.service.areas.jurisdiction import unresolved
from alertd.service.areas.regions import TANGLED, Regions
from alertd.service.cache import SingleFlightCache, digest
from alertd.service.reach import SMALL_COUNT
from alertd.store.delivery.work_records import Pace, When
from alertd.store.engine.bulk_reads import Batcher
from alertd.store.people.audience import Audience, Matches, MatchFilter
from channels.base import Loudness
from geofences import targets
from geofences.area_names import Part, parts_of
from geofences.borders import reaches_into
from geofences.circles import Circle
from geofences.errors import InvalidGeometry, TargetErrors
from geofences.polygons import area_km2, copy_of, polygons_of
from geofences.polygons import ground as ground_of
from geofences.regions import Kind as RegionKind
from geofences.regions import Library

#: Minimum share of a drawn area that must lie in a country for the country to count, because outlines of two sources
#: differ by some hundred metres. A small country counts if this share of it lies inside.
LEAST_OF_AREA, WHOLE_COUNTRY = 0.02, 0.95
#: A smallest region counts if this share of the area lies in it, or if the area reaches this far (km) across its
#: border, because outlines of two sources differ by some hundred metres.
SHARE_OF_AREA, ACROSS_KM = 0.1, 0.3
#: Maximum number of areas in memory with their regions and names, and of searches that several callers may share.
KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A region, and the share of it that lies in an area."""

    code: str
    name: str
    kind: str
    number: int
    share: float
    is_met: bool = False  # a smallest region in which a part of the area lies, however little of the region that is


class Targeting:
    """Resolves targets and finds audiences."""

    def __init__(
        self, regions: Regions, audience: Audience, settings: AudienceSection, clock: Clock, metrics: Metrics
    ) -> None:
        self.regions = regions
        self._audience = audience
        self.settings = settings
        self._clock = clock
        self._metrics = metrics
        self._names: SingleFlightCache[tuple[Part, ...]] = SingleFlightCache(KEPT)
        self._searches = lru_cache(KEPT)(lambda _name: Batcher(self._find_once))
        self._shares: SingleFlightCache[tuple[Share, ...]] = SingleFlightCache(KEPT)

    async def area(self, target: Target) -> targets.Area:
        """Returns the area of a target. Raises Problem with all faults at once, each with its pointer under /target."""
        try:
            return await asyncio.to_thread(_resolved, asked_for(target), self.regions.library)
        except TargetErrors as error:
            raise unresolved(error, "/target", "target") from None

    def check_own(self, target: Target, org: str) -> None:
        """Raises Problem if a target names a region that another organisation drew, as if the region did not exist."""
        faults = tuple(
            Fault(f"/target/{part}regions/{i}", f"There is no region {code}.")
            for part, named in (("", target), ("exclude/", target.exclude))
            for i, code in enumerate(named.regions)
            if self.regions.is_anothers(code, org)
        )
        if faults:
            raise Problem("unknown-region", "The target cannot be resolved; see the faults.", faults=faults)

    async def people(self, geometry: shapely.MultiPolygon, alert: Alert, regions: Sequence[int]) -> Matches:
        """Returns everyone in the area who may get this alert, and everyone who named one of these `regions` instead of
        a point.
        """
        started = self._clock.monotonic()
        found = await self._search(geometry, alert, regions)
        self._metrics.audience_seconds.observe(self._clock.monotonic() - started)
        # Metrics can be read and added up by many people. So this metric shows only the order of magnitude, and 0 for
        # few people.
        magnitude = 10 ** (len(str(len(found))) - 1) if len(found) >= SMALL_COUNT else 0
        self._metrics.audience_people.observe(magnitude)
        return found

    async def _search(self, geometry: shapely.MultiPolygon, alert: Alert, regions: Sequence[int]) -> Matches:
        """Does the search of `people`. Callers that ask for the same people share the next search, which begins after
        they asked. So it finds everyone who was registered before.
        """
        wanted = MatchFilter(
            area=geometry,
            regions=regions,
            kind=1 << KINDS.index(alert.kind),
            places=frozenset(PLACE_KINDS.index(place) for place in alert.policy.places),
            max_age_h=alert.policy.max_age_h,
            testers_only=alert.status is not Status.ACTUAL,
            now_h=self._clock.now_ms() // HOUR_MS,
        )
        name = (
            wanted.shape, *regions, "", wanted.kind, wanted.places, wanted.max_age_h, wanted.testers_only,
        )  # fmt: skip
        return await self._searches(name).one(wanted)

    async def _find_once(self, alike: Sequence[MatchFilter]) -> list[Matches]:
        """Searches once and returns the result once for each caller. All filters are alike but for their time; the last
        one counts.
        """
        return [await self._audience.find(alike[-1])] * len(alike)

    async def rings(self, geometry: shapely.MultiPolygon, alert: Alert, found: Matches) -> NDArray[np.uint8]:
        """Returns the ring number of each person found in an alert's area: the innermost ring in which any of their
        places lies, or that notifies the region that they chose. People in no ring get the `base_ring`.
        """
        target = alert.target
        base = base_ring(target)
        of_each = np.full(len(found), base, np.uint8)
        discs = await self.ring_areas(target, geometry)
        for ring in reversed(rings_outwards(target)):
            ground = discs[ring - 1]
            if ring != base and not ground.is_empty:
                inside = await self._search(ground, alert, self.notified_regions(await self.shares(ground)))
                of_each[np.isin(found.numbers, inside.numbers, assume_unique=True)] = ring
        return of_each

    async def ring_areas(self, target: Target, geometry: shapely.MultiPolygon) -> Sequence[shapely.MultiPolygon]:
        """Returns the whole disc of each ring, cut to the area, in the target's order."""
        return await asyncio.to_thread(targets.ring_areas, asked_for(target), geometry) if target.rings else []

    async def shares(self, geometry: shapely.MultiPolygon) -> list[Share]:
        """Returns the regions that an area touches, with the share of each that lies inside."""
        library, wkb = self.regions.library.without_drawn, shapely.to_wkb(geometry)
        return list(await self._shares.once(library, digest(wkb), lambda: asyncio.to_thread(_shares_of, library, wkb)))

    def countries(self, target: Target, area: targets.Area, shares: Sequence[Share]) -> tuple[str, ...]:
        """Returns the countries in which people are notified, as ISO 3166-1 codes. These are the countries of the
        target's regions and, if the target draws shapes, those with enough of its area. `shares` are the area's own.
        """
        library = self.regions.library
        found = {library.get(code).country for name in target.regions for code in library.codes(name)}
        if target.polygons or target.circles or target.rings or target.buffer_km:
            touched = [(library.get(share.code), share.share) for share in shares if share.code in library]
            found |= {
                region.country
                for region, share in touched
                if share * region.km2 >= LEAST_OF_AREA * area.km2
                or (region.kind is RegionKind.COUNTRY and share >= WHOLE_COUNTRY)
            }
        return tuple(sorted(found - {""}))

    async def parts(self, area: targets.Area, shares: Sequence[Share]) -> tuple[Part, ...]:
        """Returns the regions that the name of an area lists, such as "Berlin and part of Potsdam", in groups of the
        same parent and without words. `shares` are the regions that the area touches, with the share inside.
        """
        library, name = self.regions.library.without_drawn, digest(shapely.to_wkb(area.geometry))
        found = ((library.get(share.code), share.share) for share in shares if share.code in library)
        return await self._names.once(
            library, name, lambda: asyncio.to_thread(parts_of, library, area.geometry, area.km2, [*found])
        )

    def notified_regions(self, shares: Sequence[Share]) -> list[int]:
        """Returns the numbers of the regions in which people are notified who chose the region instead of a point: the
        smallest regions in which any part of the area lies, and wider ones with enough of their own area inside.
        """
        return [each.number for each in shares if each.is_met or each.share >= self.settings.region_share]

    async def notified_regions_across(self, own: shapely.MultiPolygon, part: shapely.MultiPolygon) -> list[int]:
        """Returns the numbers of the regions in which people are notified who chose the region instead of a point, if
        the alert is sent in `part` next to the organisation's `own` area. Includes regions in both that have enough of
        their area inside only together.
        """
        both = await asyncio.to_thread(lambda: ground_of(shapely.union(own, part)))
        whole, before, alone = [set(self.notified_regions(await self.shares(one))) for one in (both, own, part)]
        return sorted(alone | (whole - before))


def _shares_of(library: Library, wkb: bytes) -> tuple[Share, ...]:
    """Returns the regions that an area touches (given as WKB, degrees) with their shares. Computed for
    `Targeting.shares`.
    """
    area = polygons_of(shapely.from_wkb(wkb))
    km2 = sum(map(area_km2, area.geoms))
    return tuple(
        Share(
            code=region.code, name=region.name, kind=region.kind, number=region.number, share=share,
            is_met=share < 1
            and not library.children(region.code)
            and (share * region.km2 >= SHARE_OF_AREA * km2 or reaches_into(area, library.geometry(region.code), ACROSS_KM)),
        )
        for region, share in library.overlapping(shapely.from_wkb(wkb))  # a copy, which may be prepared
    )  # fmt: skip


def _resolved(target: targets.Target, library: Library) -> targets.Area:
    """Returns the area of a target. Raises TargetErrors, also if a drawn area crosses the regions' outlines too often
    for its regions to be computed within seconds.
    """
    area = targets.resolve(target, library)
    if (target.polygons or target.exclude.polygons) and library.is_tangled(copy_of(area.geometry)):
        raise TargetErrors((InvalidGeometry("", TANGLED),))
    return area


def asked_for(target: Target) -> targets.Target:
    """Returns the target of a document in the form of `geofences`."""
    selections: list[dict[str, Any]] = [
        {
            "regions": one.regions,
            "polygons": tuple(shape.model_dump() for shape in one.polygons),
            "circles": _circles(one.circles),
        }
        for one in (target, target.exclude)
    ]
    wanted, unwanted = selections
    return targets.Target(
        **wanted, rings=_circles(target.rings), buffer_km=target.buffer_km, exclude=targets.Selection(**unwanted)
    )


def _circles(circles: Sequence[documents.Circle]) -> tuple[Circle, ...]:
    """Returns the circles of a document in the form of `geofences`."""
    return tuple(Circle(lon_lat=circle.center, radius_km=circle.radius_km) for circle in circles)


REST = 0
_MINUTE_MS = 60_000
_LOUDEST_FIRST = (Loudness.LOUD, Loudness.NORMAL, Loudness.SILENT)


def rings_outwards(target: Target) -> list[int]:
    """Returns the ring numbers from the innermost to the outermost; of rings with the same radius the first comes
    first.
    """
    return sorted(range(1, len(target.rings) + 1), key=lambda ring: (target.rings[ring - 1].radius_km, ring))


def base_ring(target: Target) -> int:
    """Returns the ring of people who are in no smaller ring: the outermost if the target has only rings, else the rest."""
    other = target.regions or target.polygons or target.circles
    return REST if other or not target.rings else rings_outwards(target)[-1]


def own_ring_areas(
    target: Target, discs: Sequence[shapely.MultiPolygon], area: shapely.MultiPolygon
) -> dict[int, shapely.MultiPolygon]:
    """Returns, by ring number, the part of each ring that lies in no smaller ring. Under `REST` it returns the rest of
    the area, if the target has one. `discs` are the discs in the target's order.
    """
    taken: shapely.Geometry = shapely.MultiPolygon()
    found: dict[int, shapely.MultiPolygon] = {}
    for ring in rings_outwards(target):
        found[ring] = ground_of(shapely.difference(discs[ring - 1], taken))
        taken = shapely.union(taken, discs[ring - 1])
    if base_ring(target) == REST:
        found[REST] = ground_of(shapely.difference(area, taken))
    return found


def ring_delays_ms(target: Target) -> dict[int, int]:
    """Returns how long after the approval each ring is notified (ms)."""
    return {number: ring.delay_min * _MINUTE_MS for number, ring in enumerate(target.rings, 1)}


def ring_waits(alert: Alert, since_ms: int = 0, waited_ms: int = 0) -> When:
    """Returns when each ring's messages are sent: its delay (ms, less `waited_ms`, which has passed already) and its
    pace (messages a minute). `since_ms` is how long before this version the one that it continues began to be sent;
    `When.of` subtracts it from the delays.
    """
    paced = ring_paces(alert.target, alert.policy)
    delays = {ring: max(0, delay_ms - waited_ms) for ring, delay_ms in ring_delays_ms(alert.target).items()}
    return When(delays_ms=delays, paces=paced, late_ms=1_000 * alert.policy.after_s, since_ms=since_ms)


def ring_paces(target: Target, policy: Policy) -> dict[int, Pace]:
    """Returns the pace (messages a minute) of each ring that has one, by ring number. Rings without their own pace, and
    the rest of the area, share the policy's pace. Empty if there is none.
    """
    own = {REST: None} | {number: ring.pace_per_min for number, ring in enumerate(target.rings, 1)}
    shared = Pace("all", policy.pace_per_min) if policy.pace_per_min else None
    wanted = {number: Pace(str(number), pace) if pace else shared for number, pace in own.items()}
    return {number: pace for number, pace in wanted.items() if pace}


def paced_s(paces_of: Mapping[int, Pace], messages: Mapping[int, int]) -> dict[int, float]:
    """Returns the seconds that each ring's pace takes, given the number of messages in each ring. Rings with a common
    pace all get the time for their messages together. Leaves out rings without a pace.
    """
    totals = Counter[Pace]()
    for ring, count in messages.items():
        if pace := paces_of.get(ring):
            totals[pace] += count
    return {ring: totals[pace] * 60 / pace.per_min for ring, pace in paces_of.items()}


def ring_order(alert: Alert, rings: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Returns the order in which to plan people, as indices; `rings` has the ring of each. Short delays come first,
    then loud rings, then inner rings.
    """
    delays, inner = ring_delays_ms(alert.target), [*rings_outwards(alert.target), REST]
    numbers = range(len(alert.target.rings) + 1)
    turn = sorted(numbers, key=lambda r: (delays.get(r, 0), _LOUDEST_FIRST.index(loudness(alert, r)), inner.index(r)))
    place = np.empty(len(turn), np.uint8)
    place[turn] = np.arange(len(turn))
    return np.argsort(place[rings], kind="stable")
