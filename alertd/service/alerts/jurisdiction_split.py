"""Splits a target that reaches beyond its organisation's jurisdiction: into the part that is notified at once, and the
parts that neighbours must permit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec
import shapely

from alertd.common.errors import Problem
from alertd.model.alert import Alert, Target
from alertd.model.kinds import Kind, PermissionState
from alertd.model.permission import Permission, parse_permissions, written
from alertd.service.access import Credential, Terms
from alertd.service.areas.jurisdiction import KEYS, OWN, Beyond, Jurisdictions, refused
from alertd.service.areas.reach_preview import (
    ANSWERS,
    AlertReach,
    AreaReach,
    ReachPreview,
    check_contacts,
    population_of,
)
from alertd.service.areas.targeting import Targeting
from alertd.service.cache import SingleFlightCache, digest
from alertd.service.decision_checks import changed_since
from alertd.service.organisations.organisations import Known, Organisations
from alertd.service.reach import about, stored_estimate
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import GRANTED, GROUND, pack_area, unpack_area
from alertd.store.alerts.records import AlertRecord, TargetFacts, runs_of
from geofences.jurisdictions import Division
from geofences.polygons import area_km2, ground
from geofences.targets import Area

_NOTHING = shapely.MultiPolygon()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a target that a neighbour must permit."""

    org: str
    name: str  # the organisation's name
    geometry: shapely.MultiPolygon
    km2: float
    is_granted: bool  # the neighbour, or another, has permitted it before


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A target's area, split by jurisdiction."""

    at_once: Area
    parts: tuple[Part, ...]


@dataclass(slots=True)
class JurisdictionSplit:
    """Divides an alert's area by the organisations that are responsible for its parts. Repeats that when a draft or a
    returned alert is submitted, and refuses an approval if area or neighbours have changed since.
    """

    alerts: Alerts
    reach_previews: ReachPreview
    targeting: Targeting
    organisations: Organisations
    jurisdictions: Jurisdictions

    async def split(
        self, area: Area, who: Credential, known: Known | None = None, granted: shapely.MultiPolygon = _NOTHING
    ) -> Split | None:
        """Splits an area among the caller's organisation and its neighbours. Returns None if the whole area is in the
        organisation's own jurisdiction. The area `granted` is notified at once as well. Raises Problem for an area
        that the organisations together cannot permit in full.
        """
        found = await self._neighbours(area.geometry, who, known)
        if found is None:
            return None
        division, names = found
        beyond = ground(shapely.union_all([part.geometry for part in division.others.values()]))
        given = ground(shapely.intersection(beyond, granted))
        left = 1 - area_km2(given) / area_km2(beyond)
        at_once = replace(
            area, geometry=ground(shapely.union(division.own, given)), km2=max(area.km2 - left * division.outside_km2, 0.0)
        )  # fmt: skip
        parts = [
            Part(
                org=org, name=names[org], geometry=part.geometry, km2=part.km2,
                is_granted=not granted.is_empty and await self.jurisdictions.is_within(part.geometry, granted),
            )
            for org, part in sorted(division.others.items())
        ]  # fmt: skip
        return Split(at_once=at_once, parts=tuple(parts))

    async def _neighbours(
        self, area: shapely.MultiPolygon, who: Credential, known: Known | None = None
    ) -> tuple[Division, dict[str, str]] | None:
        """Divides an area among the caller's organisation and the neighbours that may permit the rest. Returns the
        division and the neighbours' names, or None if the area is in the organisation's jurisdiction. An organisation
        that may alert everywhere is not a neighbour.

        Raises Problem in three cases: the area leaves the jurisdiction of the key; a part belongs to no organisation;
        no part belongs to the caller's organisation.
        """
        known = known or await self.organisations.get(who.org)
        narrow, own = who.terms.jurisdiction, known.organisation.jurisdiction
        if narrow and (beyond := await self.jurisdictions.beyond(area, narrow, KEYS)):
            raise refused(beyond)
        if own is None or (beyond := await self.jurisdictions.beyond(area, own, OWN)) is None:
            return None
        near = {one.id: one.organisation for one in await self.organisations.list() if one.id != who.org}
        theirs = {org: one.jurisdiction for org, one in near.items() if one.jurisdiction}
        division = await self.jurisdictions.divided(area, own, theirs)
        if division.own.is_empty:
            raise refused(beyond)
        return division, {org: near[org].name for org in division.others}

    async def divided(
        self,
        alert: Alert,
        whole: AlertReach,
        who: Credential,
        known: Known | None = None,
        upon: AlertRecord | None = None,
    ) -> AlertReach:
        """Returns the reach of the part that is notified at once, with the permissions to ask neighbours for. `whole`
        is the reach of the whole target.

        The area that neighbours granted to the alert `upon`, which an update follows, is notified at once as well.
        Raises Problem for a target that the organisations together cannot permit in full.
        """
        if alert.target.beyond != "ask":
            await self.organisations.check(who, area=whole.area.geometry, known=known)
            return whole
        granted = granted_of(upon) if upon else _NOTHING
        found = await self.split(whole.area, who, known, granted)
        if found is None:
            return whole
        preview = await self.reach_previews.preview_alert(alert, found.at_once, whole.countries)
        keys = {one.org: one.key for one in parse_permissions(upon.neighbours.permissions)} if upon else {}
        # Leaves out an organisation that got the area into its jurisdiction only after the permissions were given. The
        # permission of another organisation covers the area, so alertd does not ask this one.
        parts = [part for part in found.parts if not part.is_granted or keys.get(part.org)]
        areas = {f"{GROUND}{part.org}": pack_area(part.geometry) for part in parts}
        return replace(
            preview,
            permissions=tuple(
                [await self._permission(alert, part, preview.area, keys.get(part.org, "")) for part in parts]
            ),
            areas=areas | ({} if granted.is_empty else {GRANTED: pack_area(granted)}),
            outline=whole.outline,
        )

    async def counted(self, alert: Alert, whole: AlertReach, who: Credential, known: Known | None = None) -> AlertReach:
        """Returns the preview of the whole target, but counts only the people in the caller's jurisdictions."""
        if await self.organisations.beyond(whole.area.geometry, who, known) is None:
            return whole
        own = await self.organisations.within(whole.area, who, known)
        counts = await self.reach_previews.preview_alert(alert, own, whole.countries) if own else None
        return replace(
            whole,
            reach=counts.reach if counts else None,
            rings=counts.rings if counts else {},
            answers=SingleFlightCache(ANSWERS),
        )

    async def previewed(
        self, target: Target, kind: Kind, who: Credential
    ) -> tuple[Area, AreaReach, Beyond | None, list[Permission]]:
        """Previews a target for the caller.

        Returns four values: the area that would be alerted; the reach of the part in the caller's jurisdictions; the
        part that would be refused, or None; the permissions that neighbours may give. Raises Problem.
        """
        area, split = (await self.reach_previews.resolved(target)).area, None
        beyond = await self.organisations.beyond(area.geometry, who)
        if beyond is None:
            return area, await self.reach_previews.of(area, target, kind), None, []
        with suppress(Problem):
            split = await self.split(area, who)
        own = await self.organisations.within(area, who)
        nothing = AreaReach(area=Area(geometry=_NOTHING, km2=0.0), shares=[], reach=None, rings={})
        preview = await self.reach_previews.of(own, target, kind) if own else nothing
        if split is None:
            return area, preview, beyond, []
        permissions = [self._asked(part, 0, "") for part in split.parts]
        asks = target.beyond == "ask"
        return split.at_once if asks else area, preview, None if asks else beyond, permissions

    async def _permission(self, alert: Alert, part: Part, at_once: Area, key: str) -> Permission:
        """Returns the permission to ask the neighbour of a part for, with the estimate of people there. `key` is the
        key of an earlier grant of this neighbour, '' for none.
        """
        regions = await self.targeting.notified_regions_across(at_once.geometry, part.geometry)
        shares = await self.targeting.shares(part.geometry)
        reach = await self.reach_previews.reach(part.geometry, shares, population_of(alert), regions)
        return msgspec.structs.replace(
            self._asked(part, stored_estimate(reach.whole.people), runs_of(regions)), key=key
        )

    @staticmethod
    def _asked(part: Part, people: int, regions: str) -> Permission:
        """Returns the permission to ask for a part. `people` is the estimate to store. `regions` are the numbers of the
        regions in which people are notified who chose the region instead of a point.
        """
        return Permission(
            org=part.org,
            name=part.name,
            ground=_digest(part.geometry),
            km2=round(part.km2, 3),
            seen=people,
            people=about(people),
            regions=regions,
            answer=PermissionState.GRANTED if part.is_granted else "",
        )

    async def submitted(self, record: AlertRecord, who: Credential) -> AlertRecord:
        """Resolves the target of a draft or a returned alert again on its submission, stores the result, and returns
        the alert. Regions and jurisdictions may have changed since the draft. Raises Problem.
        """
        alert = record.alert
        whole = await self.reach_previews.cached_preview(alert)
        check_contacts(alert, whole.countries)
        preview = await self.divided(alert, whole, who, upon=record)
        self.reach_previews.check_size(alert, preview)
        new = replace(
            record,
            target=TargetFacts(
                seen=preview.people, regions=preview.regions, countries=" ".join(whole.countries), outline=whole.outline
            ),
            neighbours=replace(record.neighbours, permissions=written(preview.permissions), areas=preview.areas),
        )
        done, _ = await self.alerts.amend(new, preview.packed)
        if not done:
            raise changed_since()
        return replace(new, rev=record.rev + 1)

    async def check_ground(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem if the target resolves to another area now than at submission, or if the neighbours that must
        permit a part have changed. Otherwise the approver would see one area and approve another.
        """
        if not await self._is_as_submitted(record, who):
            raise Problem(
                "approval-stale",
                "The area of this alert's target has changed since it was submitted. Return the alert, and have it submitted again.",
            )

    async def _is_as_submitted(self, record: AlertRecord, who: Credential) -> bool:
        """Returns whether the target still resolves to the area of the submission, and the same neighbours must permit
        the same parts, other than parts that are granted already.
        """
        with suppress(Problem):  # a region was removed, or a part belongs to no organisation now
            where = await self.reach_previews.resolved(record.alert.target)
            if where.outline != record.target.outline:
                return False
            if record.alert.target.beyond != "ask":
                return True
            found = await self._neighbours(where.area.geometry, replace(who, terms=Terms()))
            others = found[0].others if found else {}
            parts = {(org, _digest(part.geometry)): part.geometry for org, part in others.items()}
            asked = {(one.org, one.ground) for one in parse_permissions(record.neighbours.permissions)}
            rest = [geometry for part, geometry in parts.items() if part not in asked]
            return asked <= parts.keys() and await self._is_permitted(rest, granted_of(record))
        return False

    async def _is_permitted(self, parts: Sequence[shapely.MultiPolygon], granted: shapely.MultiPolygon) -> bool:
        """Returns whether all parts lie in the granted area, so that no neighbour must be asked for them."""
        return all([not granted.is_empty and await self.jurisdictions.is_within(part, granted) for part in parts])

    async def check(self, record: AlertRecord, who: Credential, area: shapely.MultiPolygon) -> None:
        """Raises Problem if a part of the alert's area is outside the caller's jurisdictions and no neighbour has
        permitted it.
        """
        own = ground(shapely.difference(area, granted_of(record))) if GRANTED in record.neighbours.areas else area
        if not own.is_empty:
            await self.organisations.check(who, area=own)


def _digest(geometry: shapely.MultiPolygon) -> str:
    """Returns a hash of an area in hexadecimal, which changes with the area."""
    return digest(shapely.to_wkb(geometry)).hex()


def granted_of(record: AlertRecord) -> shapely.MultiPolygon:
    """Returns the area that neighbours have permitted for an alert."""
    raw = record.neighbours.areas.get(GRANTED)
    return unpack_area(raw) if raw else _NOTHING


def taken_over(alert: AlertRecord, update: AlertRecord) -> AlertRecord:
    """Returns the alert with the permissions that its update needs, merged with the permissions it has. An answer
    remains valid for the area that it was given for. A granted area is not asked for again. A grant that the update
    leaves out is kept, so that a later update can use the area without asking.
    """
    before = {one.org: one for one in parse_permissions(alert.neighbours.permissions)}
    merged = [_carried(one, before.pop(one.org, None)) for one in parse_permissions(update.neighbours.permissions)]
    merged += [_left_out(one) for one in before.values() if one.key]
    asked = {name: wkb for name, wkb in update.neighbours.areas.items() if name != GRANTED}
    return replace(alert, neighbours=replace(alert.neighbours, permissions=written(merged), areas=asked))


def newly_asked(alert: AlertRecord, before: AlertRecord | None = None) -> list[str]:
    """Returns the ids of the neighbours that an approval must ask for permission. Leaves out those that `before` (the
    alert before the change) already asked for the same area.
    """
    old = (
        {(one.org, one.ground) for one in parse_permissions(before.neighbours.permissions) if not one.answer}
        if before
        else set()
    )
    return [
        one.org
        for one in parse_permissions(alert.neighbours.permissions)
        if not one.answer and (one.org, one.ground) not in old
    ]


def _carried(new: Permission, old: Permission | None) -> Permission:
    """Returns the permission that an update needs of a neighbour, with what remains of its earlier one (None: there was
    none): the key of a grant; and the answer, if it is a refusal for the same area or the same answer.
    """
    if old is None:
        return new
    kept: dict[str, str | int] = {"key": old.key}  # its grant stays in force, even if it must permit more now
    is_refused = old.answer == PermissionState.REFUSED and new.ground == old.ground
    if is_refused or new.answer == old.answer:
        kept |= {"answer": old.answer, "at": old.at, "version": old.version}
    return Permission(**{name: getattr(new, name) for name in Permission.__struct_fields__} | kept)


def _left_out(old: Permission) -> Permission:
    """Returns the permission for an area that the update does not include: a grant stays, any other permission lapses."""
    is_granted = old.answer == PermissionState.GRANTED
    return old if is_granted else msgspec.structs.replace(old, answer=PermissionState.LAPSED)
