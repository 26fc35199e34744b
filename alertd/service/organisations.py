"""Organisations: what is kept of each, who may change what of it, and where it may alert.

The service's own organisation exists by itself, with everything permitted until somebody writes otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import shapely
from shapely.geometry.base import BaseGeometry

from alertd.errors import Fault, Problem
from alertd.organisations import GRANTED, Jurisdiction, Organisation
from alertd.rendering.languages import matching
from alertd.service.access import APPROVE, OF_HOST, Credential
from alertd.service.kept import Kept, digest
from alertd.service.regions import Regions
from alertd.store.alerts import AlertRecord
from alertd.store.organisations import OrganisationStore, StoredOrganisation
from alertd.store.stops import Standing
from geofences.errors import TargetErrors, UnknownRegion
from geofences.jurisdictions import Outside, outside
from geofences.regions import Kind, Library
from geofences.targets import Target, resolve

#: Jurisdictions that are kept resolved, and areas that were compared with one: a country's outline has a megabyte.
KEPT = 64
#: Whether an organisation has this key or operator now, it is an administrator's, and it is not stopped.
Administers = Callable[[str, str], Awaitable[bool]]
#: Regions that are named to whoever asked for an area outside.
MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An organisation as it stands. `rev` is 0 before anybody has written it."""

    id: str
    rev: int
    organisation: Organisation
    allowed_by: str  # the person who last changed what goes out without a second one
    allowed_hands: frozenset[str]
    allowed_with: tuple[str, str]  # organisation, and key or operator
    glass_by: str  # the person who last changed what its author may approve alone
    glass_hands: frozenset[str]
    glass_with: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stance:
    """What a submission is measured against, as it all was at one moment."""

    standing: Standing  # what is stopped, anywhere
    texts: int  # revision of its organisation's own texts, 0 for none
    known: Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """That an alert goes out without a second person."""

    setter: Credential  # whoever allowed it: the second person, as far as there is one
    people: int  # at most
    per_hour: int  # alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """That its author may approve an alert."""

    setter: Credential  # whoever allowed it: the second person, as far as there is one
    after_ms: int  # that it must have waited


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What of an area lies outside a jurisdiction, and whose that is."""

    whose: str
    outside: Outside
    regions: tuple[tuple[str, str, float], ...]  # code, name, share of the region that lies in the area: the most first


class Organisations:
    """Keeps organisations, and refuses what lies outside their jurisdictions."""

    def __init__(
        self, store: OrganisationStore, regions: Regions, administers: Administers, *, default: str, border_share: float
    ) -> None:
        self._store = store
        self._administers = administers
        self._regions = regions
        self._default = default
        self._border_share = border_share
        self._read: dict[str, tuple[bytes, Known]] = {}  # a jurisdiction may have a megabyte
        self._grounds: Kept[bytes] = Kept(KEPT)
        self._beyond: Kept[Beyond | None] = Kept(KEPT)

    async def get(self, org: str) -> Known:
        """As it stands; of one that nobody has written, its id as its name and everything permitted."""
        return self._kept(org, *await self._store.get(org))

    async def stance(self, org: str) -> Stance:
        """What is submitted for it now is measured against this."""
        standing, texts, stored, sealed = await self._store.stance(org)
        return Stance(standing=standing, texts=texts, known=self._kept(org, stored, sealed))

    def _kept(self, org: str, stored: StoredOrganisation | None, sealed: bytes) -> Known:
        if org not in self._read or self._read[org][0] != sealed:
            self._read[org] = (sealed, _known(org, stored))
        return self._read[org][1]

    async def exists(self, org: str) -> bool:
        return org == self._default or (await self._store.get(org))[0] is not None

    def is_host(self, who: Credential) -> bool:
        """Whether the caller is of whoever runs the service."""
        return who.org == self._default

    def check_scope(self, who: Credential, scope: str) -> None:
        """Raises Problem for what is of whoever runs the service, where the caller is of another organisation."""
        if scope in OF_HOST and not self.is_host(who):
            raise Problem(
                "not-allowed", "Subscribers are of whoever runs the service: its own keys see and change them."
            )

    async def names(self) -> Sequence[str]:
        """The ids of all that may have alerts."""
        return sorted({self._default, *await self._store.names()})

    async def list(self) -> list[Known]:
        """All of them, by id."""
        found = [await self.get(name) for name in await self.names()]
        return [known for known in found if known.rev or known.id == self._default]

    async def put(self, org: str, new: Organisation, who: Credential, *, rev: int | None = None) -> Known:
        """Make an organisation, or change it if it still is of revision `rev`. Whoever runs the service makes it and grants what is
        `GRANTED`; all else is changed by its own administrators. Said again it changes nothing, but where whoever allowed what goes
        out unattended administers no more: then the caller allows it. Raises Problem.
        """
        stored, seen = await self._store.get(org)
        old = _known(org, stored)
        if rev not in {None, old.rev}:
            raise _changed_since()
        self._check_rights(old, new, who)
        await self._check_ground(new)
        made = replace(old, rev=old.rev + 1, organisation=new)
        with_, hands = (who.org, who.key_id), who.hands
        if await self._answers(old, new, "unattended", old.allowed_with, who):
            made = replace(made, allowed_by=who.subject, allowed_hands=hands, allowed_with=with_)
        if await self._answers(old, new, "break_glass", old.glass_with, who):
            made = replace(made, glass_by=who.subject, glass_hands=hands, glass_with=with_)
        if stored is not None and replace(made, rev=old.rev) == old:
            return old
        if not await self._store.put(org, _stored(made), seen=seen):
            raise _changed_since()
        return made

    async def _answers(self, old: Known, new: Organisation, table: str, by: tuple[str, str], who: Credential) -> bool:
        """Whether the caller answers for a table from now on: it is another, or whoever did administers no more."""
        if _differs(table, new, old.organisation):
            return True
        return getattr(new, table) is not None and who.org == old.id and not await self._administers(*by)

    def _check_rights(self, old: Known, new: Organisation, who: Credential) -> None:
        """Raises Problem."""
        if who.test:
            raise Problem("not-allowed", "A test key decides nothing about who may send Actual alerts.")
        is_host, is_own = self.is_host(who), who.org == old.id
        if not is_own and not (is_host and old.rev == 0):
            changed = {name for name in Organisation.model_fields if _differs(name, new, old.organisation)}
            if not is_host:
                raise Problem("not-found", "There is no such organisation, or it is another's.")
            if not changed <= set(GRANTED):
                raise Problem("not-allowed", f"Of another organisation you change {' and '.join(GRANTED)} alone.")
        granted = tuple(
            Fault(f"/{name}", "Whoever runs the service grants this.")
            for name in GRANTED
            if not is_host and _differs(name, new, old.organisation)
        )
        if granted:
            raise Problem("not-allowed", "An organisation does not grant itself where it may alert.", faults=granted)

    async def _check_ground(self, new: Organisation) -> None:
        if new.jurisdiction is not None:
            await self.ground(new.jurisdiction)

    async def ground(self, jurisdiction: Jurisdiction, pointer: str = "/jurisdiction") -> BaseGeometry:
        """The ground of a jurisdiction. Raises Problem for one that is none, its faults below `pointer`."""
        library, name = self._regions.library, digest(jurisdiction.model_dump_json().encode())

        async def make() -> bytes:
            return await asyncio.to_thread(_resolved, jurisdiction, library, pointer)

        return shapely.from_wkb(await self._grounds.once(library, name, make))

    async def permit(self, record: AlertRecord, known: Known | None = None) -> Permit | None:
        """Who allowed that an alert like this goes out without a second person; None where nobody did who still might. `known` is its organisation where
        that was read for this very request.
        """
        known = known or await self.get(record.org)
        allowed = known.organisation.unattended
        people = max(record.seen, record.again + record.newly)  # an update tells those again who were told
        if allowed is None or record.level not in allowed.levels or people > allowed.people:
            return None
        if not await self._administers(*known.allowed_with):
            return None  # whoever allowed it has no say any more
        setter = _setter(record, known.allowed_by, known.allowed_hands, known.allowed_with)
        return Permit(setter=setter, people=allowed.people, per_hour=allowed.alerts_per_hour)

    async def alone(self, record: AlertRecord) -> Alone | None:
        """Who allowed that its author approves an alert like this; None where nobody did who still might."""
        known = await self.get(record.org)
        allowed = known.organisation.break_glass
        if allowed is None or record.level not in allowed.levels:
            return None
        if not await self._administers(*known.glass_with):
            return None
        setter = _setter(record, known.glass_by, known.glass_hands, known.glass_with)
        return Alone(setter=setter, after_ms=allowed.after_min * 60_000)

    async def count(self, record: AlertRecord, permit: Permit) -> bool:
        """Count the alert among those of the last hour. False when there were as many as may be."""
        return await self._store.allow(record.org, record.id, permit.per_hour)

    async def check(
        self, who: Credential, *, area: shapely.MultiPolygon | None = None, told: Sequence[str] | None = None,
        known: Known | None = None,
    ) -> None:  # fmt: skip
        """Raises Problem where an area is not to be alerted by the caller, because it lies outside the jurisdiction of the organisation or
        of the key, and where what is `told` in these languages lacks one that the organisation promises. `known` is that organisation where
        it was read for this very request.
        """
        known = known or await self.get(who.org)
        if told is not None:
            _check_languages(known.organisation, told)
        if area is not None and (beyond := await self.beyond(area, who, known)):
            raise _refused(beyond)

    async def beyond(self, area: shapely.MultiPolygon, who: Credential, known: Known | None = None) -> Beyond | None:
        """What of an area lies outside the caller's jurisdictions, the first that it leaves; None where it lies inside."""
        own = (known or await self.get(who.org)).organisation.jurisdiction
        for whose, jurisdiction in (("your organisation", own), ("this key", who.terms.jurisdiction)):
            if jurisdiction is not None and (found := await self._compared(area, jurisdiction, whose)):
                return found
        return None

    async def _compared(self, area: shapely.MultiPolygon, jurisdiction: Jurisdiction, whose: str) -> Beyond | None:
        library, wkb = self._regions.library, shapely.to_wkb(area)
        name = (digest(wkb), digest(jurisdiction.model_dump_json().encode()), whose)

        async def make() -> Beyond | None:
            within = await self.ground(jurisdiction)
            return await asyncio.to_thread(_beyond, wkb, within, library, whose=whose, most_share=self._border_share)

        return await self._beyond.once(library, name, make)


def _setter(record: AlertRecord, subject: str, hands: frozenset[str], key: tuple[str, str]) -> Credential:
    """Whoever allowed something, as if they approved an alert."""
    return Credential(
        key_id=key[1], org=record.org, subject=subject, scopes=frozenset({APPROVE}), makers=tuple(sorted(hands))
    )


def _known(org: str, stored: StoredOrganisation | None) -> Known:
    if stored is None:
        stored = StoredOrganisation(rev=0, document=Organisation(name=org).model_dump_json())
    return Known(
        id=org, rev=stored.rev, organisation=Organisation.model_validate_json(stored.document),
        allowed_by=stored.allowed_by, allowed_hands=frozenset(stored.allowed_hands), allowed_with=stored.allowed_with,
        glass_by=stored.glass_by, glass_hands=frozenset(stored.glass_hands), glass_with=stored.glass_with,
    )  # fmt: skip


def _stored(known: Known) -> StoredOrganisation:
    return StoredOrganisation(
        rev=known.rev, document=known.organisation.model_dump_json(), allowed_by=known.allowed_by,
        allowed_hands=tuple(sorted(known.allowed_hands)), allowed_with=known.allowed_with,
        glass_by=known.glass_by, glass_hands=tuple(sorted(known.glass_hands)), glass_with=known.glass_with,
    )  # fmt: skip


def _check_languages(own: Organisation, told: Sequence[str]) -> None:
    """Raises Problem."""
    if missing := [tag for tag in own.languages if matching(tag, told) is None]:
        fault = Fault("/info", f"Your organisation tells each alert in these as well: {', '.join(missing)}.")
        raise Problem("language-missing", "The alert lacks a language of your organisation.", faults=(fault,))


def _differs(name: str, new: Organisation, old: Organisation) -> bool:
    return bool(getattr(new, name) != getattr(old, name))


def _resolved(jurisdiction: Jurisdiction, library: Library, pointer: str) -> bytes:
    """The ground as WKB, with the shores of its regions. Raises Problem."""
    drawn = tuple(
        Fault(f"{pointer}/regions/{i}", "Whoever drew this region can draw it anew: give its outline as a polygon.")
        for i, code in enumerate(jurisdiction.regions)
        if code in library and library.get(code).kind is Kind.DRAWN
    )
    if drawn:
        raise Problem("invalid-request", "A jurisdiction is of ground that stays.", faults=drawn)
    target = Target(regions=jurisdiction.regions, polygons=tuple(shape.model_dump() for shape in jurisdiction.polygons))
    try:
        return shapely.to_wkb(resolve(target, library).geometry)
    except TargetErrors as error:
        faults = tuple(Fault(f"{pointer}{fault.pointer}", fault.why) for fault in error.errors)
        unknown = any(isinstance(fault, UnknownRegion) for fault in error.errors)
        slug = "unknown-region" if unknown else "invalid-geometry"
        raise Problem(slug, "The jurisdiction cannot be resolved; see the faults.", faults=faults) from None


def _beyond(wkb: bytes, within: BaseGeometry, library: Library, *, whose: str, most_share: float) -> Beyond | None:
    area = cast("shapely.MultiPolygon", shapely.from_wkb(wkb))
    found = outside(area, within, library, most_share=most_share)
    if found is None:
        return None
    overlapped = library.overlapping(shapely.from_wkb(shapely.to_wkb(found.geometry)))
    touched = [one for one in overlapped if one[0].kind is not Kind.DRAWN]
    # The most ground first, and of what is part of each other the wider: Spain, then Sevilla.
    named = sorted(touched, key=lambda one: (-round(one[0].km2 * one[1], 1), one[0].kind.depth))[:MOST_NAMED]
    return Beyond(whose=whose, outside=found, regions=tuple((r.code, r.name, share) for r, share in named))


def _refused(beyond: Beyond) -> Problem:
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


def _changed_since() -> Problem:
    return Problem("precondition-failed", "The organisation was changed since you read it.", status=412)
