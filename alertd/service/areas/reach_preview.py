"""Previews reach: returns the area of a target and an estimate of the people in it, for the author of an alert.

A case system sends the same few targets again and again. So callers who ask for the same target within a few seconds
share a preview. A preview does not select recipients: the approval finds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import shapely

from alertd.common.errors import Problem
from alertd.model import rules
from alertd.model.alert import Alert, Status, Target
from alertd.model.permission import Permission
from alertd.service.areas.targeting import REST, Share, Targeting, own_ring_areas
from alertd.service.cache import SingleFlightCache, digest
from alertd.service.reach import Count, Ground, Reach, Reaches, stored_estimate, too_few_people
from alertd.store.alerts.record_fields import pack_area
from alertd.store.alerts.records import runs_of
from alertd.store.people.people_map import Population
from geofences.polygons import area_km2, ground
from geofences.targets import Area

#: Maximum number of resolved targets in memory. A country's outline takes a megabyte.
RESOLVED = 64
#: Seconds for which callers share a preview. While the next one is made, they share the old one for at most as long
#: again. So 1,000 alerts a second to few targets cost few searches.
FRESH_S = 2.0
#: Maximum number of previews in memory: those of four seconds.
KEPT = 64
#: Maximum number of API answers that are kept with one preview. A preview is shown in few languages, for few channels.
ANSWERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The area of a target and the facts that follow from the area alone. Callers share this object, so none may
    prepare the geometry.
    """

    area: Area
    shares: Sequence[Share]
    countries: tuple[str, ...]
    told: Sequence[int]  # numbers of the regions for which people are notified who named the region instead of a point
    regions: str  # the same numbers, as written by `runs_of`
    packed: bytes  # the area, as it is stored with an alert
    outline: str  # digest of the area


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """The part of a ring that lies in no smaller ring."""

    km2: float
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaReach:
    """The area of a target and its estimated reach. Callers share this object, so none may prepare the geometry."""

    area: Area
    shares: Sequence[Share]
    reach: Reach | None  # None: the caller has no jurisdiction there, so no counts are shown
    rings: Mapping[int, Ring]  # by ring number, from the innermost; empty if the target has no rings
    permissions: tuple[Permission, ...] = ()  # of neighbours, for parts outside `area`
    answers: SingleFlightCache[Any] = field(
        default_factory=partial(SingleFlightCache, ANSWERS), compare=False
    )  # API answers made from this preview

    @property
    def people(self) -> int:
        """Returns the estimated number of people, as a record stores it: rounded, 0 if below 100 or unknown."""
        return stored_estimate(self.reach.whole.people) if self.reach else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertReach(AreaReach):
    """A preview of an alert's target, with the values for the alert's record."""

    countries: tuple[str, ...]
    regions: str  # the same as `Resolved.regions`
    packed: bytes  # the area, as it is stored with an alert
    outline: str  # digest of the whole target's area
    areas: Mapping[str, bytes] = field(default_factory=dict)  # as in an alert's record


class ReachPreview:
    """Makes previews of targets."""

    def __init__(self, targeting: Targeting, reaches: Reaches) -> None:
        self.targeting = targeting
        self._reaches = reaches
        self._resolved: SingleFlightCache[Resolved] = SingleFlightCache(RESOLVED)
        self._kept: SingleFlightCache[AlertReach] = SingleFlightCache(KEPT, fresh_s=FRESH_S)

    async def countries(self, alert: Alert) -> tuple[str, ...]:
        """Returns the countries that an alert's target lies in. Raises Problem if the target cannot be resolved, or as
        `check_contacts` does.
        """
        countries = (await self.resolved(alert.target)).countries
        check_contacts(alert, countries)
        return countries

    async def cached_preview(self, alert: Alert) -> AlertReach:
        """Returns a preview that was begun at most four seconds ago, from the latest map of people. Raises Problem if
        the target cannot be resolved.
        """
        people = await self._reaches.current(self.targeting.regions.library)
        where = await self.resolved(alert.target)
        # The outline is part of the name, because a region that the target names may be redrawn.
        name = (where.outline, alert.target, population_of(alert))
        return await self._kept.once(people, name, lambda: self._preview_alert(alert, where))

    def check_size(self, alert: Alert, preview: AreaReach) -> None:
        """Raises Problem if an Actual alert has too small an area, or too few people."""
        if alert.status is not Status.ACTUAL:
            return
        least = self.targeting.settings
        if preview.area.km2 < least.least_km2:
            raise Problem(
                "audience-too-small", f"The area has {preview.area.km2:.3f} km2; the least is {least.least_km2} km2."
            )
        if preview.reach:
            self.check_people(preview.reach)

    def check_people(self, reach: Reach) -> None:
        """Raises Problem `audience-too-small` if an Actual alert certainly reaches too few people. The map's noise
        alone never stops an alert.
        """
        if reach.most < self.targeting.settings.least_people:
            raise too_few_people(self.targeting.settings.least_people)

    async def resolved(self, target: Target) -> Resolved:
        """Returns the current area of a target. Raises Problem if the target cannot be resolved."""

        async def worked_out() -> Resolved:
            """Computes the area and its facts."""
            area = await self.targeting.area(target)
            shares = await self.targeting.shares(area.geometry)
            return self._of(area, shares, self.targeting.countries(target, area, shares))

        return await self._resolved.once(
            self.targeting.regions.library, digest(target.model_dump_json().encode()), worked_out
        )

    async def of(self, area: Area, target: Target, kind: str) -> AreaReach:
        """Returns the preview of a target within `area`. Counts everybody who consented to this kind of alert."""
        shares = await self.targeting.shares(area.geometry)
        reach = await self.reach(area.geometry, shares, (kind, False))
        return AreaReach(area=area, shares=shares, reach=reach, rings=await self._rings(area, target, (kind, False)))

    async def preview_alert(self, alert: Alert, area: Area, countries: tuple[str, ...]) -> AlertReach:
        """Returns the preview of an alert within `area`, with the values for the alert's record."""
        return await self._preview_alert(alert, self._of(area, await self.targeting.shares(area.geometry), countries))

    async def reach(
        self,
        area: shapely.MultiPolygon,
        shares: Sequence[Share],
        population: Population,
        told: Sequence[int] | None = None,
    ) -> Reach:
        """Returns the estimated reach of an area. `shares` are the regions that it touches. `told` are the numbers of
        the regions in which people are notified who chose the region instead of a point; by default
        `Targeting.notified_regions` of the shares.
        """
        if told is None:
            told = self.targeting.notified_regions(shares)
        ground = Ground(area=area, told=told, touched={share.number: share.share for share in shares})
        return await self._reaches.of(population, ground, self.targeting.regions.library)

    async def newly(self, alert: Alert, preview: AreaReach, before: shapely.MultiPolygon) -> Reach:
        """Returns the estimated reach of that part of a preview's area that lies outside the area `before`. Leaves out
        people who chose a region that is notified in `before` already.
        """
        told = set(self.targeting.notified_regions(await self.targeting.shares(before)))
        new = await asyncio.to_thread(lambda: ground(shapely.difference(preview.area.geometry, before)))
        shares = [] if new.is_empty else await self.targeting.shares(new)
        own = self.targeting.notified_regions(preview.shares)
        return await self.reach(new, shares, population_of(alert), [one for one in own if one not in told])

    async def _rings(self, area: Area, target: Target, population: Population) -> dict[int, Ring]:
        """Returns the area and the estimated people of each ring, by its number. A person counts in the smallest ring
        only, and a region's people in the first ring in which they are notified.
        """
        discs = await self.targeting.ring_areas(target, area.geometry)
        found, before = dict[int, Ring](), set[int]()
        own = await asyncio.to_thread(own_ring_areas, target, discs, area.geometry) if discs else {}
        for ring, part in own.items():
            whole = area.geometry if ring == REST else discs[ring - 1]
            told = [] if whole.is_empty else self.targeting.notified_regions(await self.targeting.shares(whole))
            shares = [] if part.is_empty else await self.targeting.shares(part)
            reach = await self.reach(part, shares, population, [one for one in told if one not in before])
            before.update(told)
            found[ring] = Ring(km2=sum(map(area_km2, part.geoms)), count=reach.whole)
        return found

    def _of(self, area: Area, shares: Sequence[Share], countries: tuple[str, ...]) -> Resolved:
        """Returns the facts that follow from an area and the regions that it touches."""
        told = self.targeting.notified_regions(shares)
        return Resolved(
            area=area, shares=shares, countries=countries, told=told, regions=runs_of(told),
            packed=pack_area(area.geometry), outline=digest(shapely.to_wkb(area.geometry)).hex(),
        )  # fmt: skip

    async def _preview_alert(self, alert: Alert, where: Resolved) -> AlertReach:
        """Returns the preview of an alert's resolved area, with the values for the alert's record."""
        population = population_of(alert)
        return AlertReach(
            area=where.area,
            shares=where.shares,
            reach=await self.reach(where.area.geometry, where.shares, population, where.told),
            rings=await self._rings(where.area, alert.target, population),
            countries=where.countries,
            regions=where.regions,
            packed=where.packed,
            outline=where.outline,
        )


def population_of(alert: Alert) -> Population:
    """Returns which people an alert may reach: those who want its kind; for a Test or Exercise, only testers."""
    return alert.kind, alert.status is not Status.ACTUAL


def check_contacts(alert: Alert, countries: Sequence[str]) -> None:
    """Raises Problem if no single contact of the alert works in all of these countries, or if one of them has no
    contact that deaf and mute people can use while another has.
    """
    if faults := tuple(rules.unreachable(alert, countries)):
        raise Problem(
            "contact-unreachable-from-area", "No contact works in all countries of the target.", faults=faults
        )
