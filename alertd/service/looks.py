"""What a target comes to: its ground, and the people on it, as whoever submits an alert is told of them.

A case system sends the same few targets again and again, so a look is shared by those who ask for the same within a few seconds. That
decides about nobody: `approve` looks for people afresh, and compares with what was told here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely

from alertd import rules
from alertd.documents import Alert, Policy, Status, Target
from alertd.errors import Problem
from alertd.permissions import Permission
from alertd.service.counts import too_few_people
from alertd.service.kept import Kept, digest
from alertd.service.rings import Ringed
from alertd.service.targeting import Share, Targeting
from alertd.store.alert_records import runs_of
from alertd.store.found import Found
from alertd.store.frozen import pack_area
from alertd.store.people import People
from geofences.targets import Area

#: Targets that are kept resolved: a country's outline has a megabyte.
RESOLVED = 64
#: A look is shared for so long, and for as long again at most while the next is made: 1,000 alerts a second to few targets cost few searches.
FRESH_S = 2.0
#: Looks of four seconds. One has some 40 bytes for each of its people.
KEPT = 64
#: Answers about one look: it is told in few languages, of few channels.
ANSWERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An area, with what follows from it alone. Several may have it: nobody prepares the geometry."""

    area: Area
    shares: Sequence[Share]
    countries: tuple[str, ...]
    told: Sequence[int]  # numbers of regions whose people are told although they named no point
    regions: str  # the same, as `runs_of` writes them
    packed: bytes  # the area, as it is kept beside an alert
    outline: str  # of the area, by its digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a target comes to: its ground and the people on it. Several may have it: nobody prepares the geometry."""

    area: Area
    shares: Sequence[Share]
    found: Found
    ringed: Ringed
    permissions: tuple[Permission, ...] = ()  # of neighbours, for what is not in `area`
    answers: Kept[Any] = field(default_factory=lambda: Kept(ANSWERS), compare=False)  # what was made of it to be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight(Look):
    """A look at the target of an alert, with what the alert's record says of it."""

    countries: tuple[str, ...]
    regions: str  # numbers of those whose people are told although they named no point, as `runs_of` writes them
    packed: bytes  # the area, as it is kept beside an alert
    outline: str  # of the whole target, by its digest
    grounds: Mapping[str, bytes] = field(default_factory=dict)  # as an alert's record has them


class Looks:
    """Looks at targets."""

    def __init__(self, targeting: Targeting, people: People) -> None:
        self._targeting = targeting
        self._people = people
        self._resolved: Kept[Resolved] = Kept(RESOLVED)
        self._kept: Kept[Sight] = Kept(KEPT, fresh_s=FRESH_S)
        self._seen: tuple[int, object] = (0, None)

    async def countries(self, alert: Alert) -> tuple[str, ...]:
        """The countries that an alert's target lies in. Raises Problem for a target that is none, and where no contact works in all of
        them.
        """
        countries = (await self.resolved(alert.target)).countries
        check_contacts(alert, countries)
        return countries

    def check_own(self, alert: Alert, org: str) -> None:
        """Raises Problem where its target names what another organisation drew."""
        self._targeting.check_own(alert.target, org)

    async def lately(self, alert: Alert) -> Sight:
        """A look that began four seconds ago at most, and after whatever was registered here before. Raises Problem for a target that is none."""
        name = (alert.target, alert.kind, alert.policy, alert.status is Status.ACTUAL)
        return await self._kept.once(self._source(), name, lambda: self._look(alert))

    def check_size(self, alert: Alert, look: Look) -> None:
        """Raises Problem where an Actual alert has too small an area, or too few people."""
        if alert.status is not Status.ACTUAL:
            return
        least = self._targeting.settings
        if look.area.km2 < least.least_km2:
            raise Problem(
                "audience-too-small", f"The area has {look.area.km2:.3f} km2; the least is {least.least_km2} km2."
            )
        if len(look.found) < least.least_people:
            raise too_few_people(least.least_people)

    def _source(self) -> object:
        """The same object until a library is another or somebody is registered here."""
        library, changes = self._targeting.library, self._people.changes
        if self._seen != (changes, library):
            self._seen = (changes, library)
        return self._seen

    async def _look(self, alert: Alert) -> Sight:
        return await self._sight(alert, await self.resolved(alert.target))

    async def resolved(self, target: Target) -> Resolved:
        """The ground of a target as it is now. Raises Problem for a target that is none."""

        async def worked_out() -> Resolved:
            area = await self._targeting.area(target)
            shares = await self._targeting.shares(area.geometry)
            return self._of(area, shares, self._targeting.countries(target, area, shares))

        return await self._resolved.once(self._targeting.library, digest(target.model_dump_json().encode()), worked_out)

    async def of(self, area: Area, target: Target, kind: str, policy: Policy) -> Look:
        """The people that a policy tells on some ground of a target, looked for afresh."""
        shares = await self._targeting.shares(area.geometry)
        found = await self._targeting.find(area.geometry, kind, policy, self._targeting.told_regions(shares))
        ringed = await self._targeting.find_rings(area.geometry, target, found, kind, policy)
        return Look(area=area, shares=shares, found=found, ringed=ringed)

    async def sight(self, alert: Alert, area: Area, countries: tuple[str, ...]) -> Sight:
        """The people of an alert on some ground, looked for afresh."""
        return await self._sight(alert, self._of(area, await self._targeting.shares(area.geometry), countries))

    def _of(self, area: Area, shares: Sequence[Share], countries: tuple[str, ...]) -> Resolved:
        told = self._targeting.told_regions(shares)
        return Resolved(
            area=area, shares=shares, countries=countries, told=told, regions=runs_of(told),
            packed=pack_area(area.geometry), outline=digest(shapely.to_wkb(area.geometry)).hex(),
        )  # fmt: skip

    async def _sight(self, alert: Alert, where: Resolved) -> Sight:
        found = await self._targeting.people(where.area.geometry, alert, where.told)
        return Sight(
            area=where.area,
            shares=where.shares,
            found=found,
            ringed=await self._targeting.ringed(where.area.geometry, alert, found),
            countries=where.countries,
            regions=where.regions,
            packed=where.packed,
            outline=where.outline,
        )


def check_contacts(alert: Alert, countries: Sequence[str]) -> None:
    """Raises Problem where no contact works in all of these countries."""
    if faults := tuple(rules.unreachable(alert, countries)):
        raise Problem("contact-unreachable-from-area", "No contact works where people are told.", faults=faults)
