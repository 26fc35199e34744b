"""Stores organisations, checks who may change which of their settings, and where each may alert.

The service's own organisation always exists. Everything is permitted to it until a change restricts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import shapely
from msgspec.structs import replace

from alertd.common.errors import Fault, Problem
from alertd.model import rules
from alertd.model.alert import Alert
from alertd.model.case import MAX_CONTACTS
from alertd.model.kinds import Kind
from alertd.model.organisation import GRANTED, Organisation
from alertd.rendering.catalogue import matching
from alertd.service.access import APPROVE, OF_HOST, Credential
from alertd.service.areas.jurisdiction import KEYS, OWN, Beyond, Jurisdictions, refused
from alertd.service.decision_checks import changed_since
from alertd.store.alerts.records import AlertRecord
from alertd.store.organisations.organisations import OrganisationStore, StandingStops, StoredOrganisation
from geofences.polygons import area_km2
from geofences.targets import Area

#: Returns whether an organisation (first argument) now has this key or operator (second), with administrator rights and
#: not stopped.
Administers = Callable[[str, str], Awaitable[bool]]
NOT_VERIFIED, VOICE_ONLY = "The case is not verified.", "The alert names only numbers to call."


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An organisation in its current state."""

    id: str
    organisation: Organisation
    stored: StoredOrganisation  # its record, which names who allowed what; revision 0 before the first write


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationPolicy:
    """The rules for a submission, all read at one moment."""

    standing: StandingStops  # all current stops
    texts: int  # revision of its organisation's own texts, 0 for none
    known: Known


@dataclass(frozen=True, slots=True, kw_only=True)
class GoesUnattended:
    """Permission to send an alert without a second person."""

    setter: Credential  # the person who allowed it, and so acts as the second person
    people: int  # greatest number of recipients
    per_hour: int  # greatest number of such alerts in an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """Permission for the author to approve their own alert."""

    setter: Credential  # the person who allowed it, and so acts as the second person
    after_ms: int  # time that the alert must have waited before, in ms


class Organisations:
    """Stores organisations, and refuses areas outside their jurisdictions."""

    def __init__(
        self, store: OrganisationStore, jurisdictions: Jurisdictions, administers: Administers, *, default: str
    ) -> None:
        self._store = store
        self._administers = administers
        self._jurisdictions = jurisdictions
        self._default = default
        self._read: dict[str, tuple[bytes, Known]] = {}  # parsed once: a jurisdiction may have a megabyte

    async def get(self, org: str) -> Known:
        """Returns an organisation in its current state. One that was never written has its id as its name, and
        everything permitted.
        """
        return self._kept(org, *await self._store.get(org))

    async def get_policy(self, org: str) -> OrganisationPolicy:
        """Returns the rules for an alert that this organisation submits now."""
        standing, texts, stored, sealed = await self._store.read_policy(org)
        return OrganisationPolicy(standing=standing, texts=texts, known=self._kept(org, stored, sealed))

    def _kept(self, org: str, stored: StoredOrganisation | None, sealed: bytes) -> Known:
        """Returns an organisation from its record. `sealed` is the record as stored; it is parsed again only if that
        changed.
        """
        if org not in self._read or self._read[org][0] != sealed:
            stored = stored or StoredOrganisation(rev=0, document=Organisation(name=org).model_dump_json())
            organisation = Organisation.model_validate_json(stored.document)
            self._read[org] = (sealed, Known(id=org, organisation=organisation, stored=stored))
        return self._read[org][1]

    async def exists(self, org: str) -> bool:
        """Returns whether there is such an organisation. The one that runs the service always exists."""
        return org == self._default or (await self._store.get(org))[0] is not None

    def is_host(self, who: Credential) -> bool:
        """Returns whether the caller belongs to the organisation that runs the service."""
        return who.org == self._default

    def administers_host(self, who: Credential) -> bool:
        """Returns whether the caller is an administrator of the organisation that runs the service and settles
        conflicts between the others. A test key is not.
        """
        return self.is_host(who) and who.may("admin") and not who.test

    def check_scope(self, who: Credential, scope: str) -> None:
        """Raises Problem if a scope belongs to the organisation that runs the service, and the caller is of another
        one.
        """
        if scope in OF_HOST and not self.is_host(who):
            raise Problem(
                "not-allowed",
                "Subscribers belong to the organisation that runs the service: only its keys see and change them.",
            )

    async def names(self) -> Sequence[str]:
        """Returns the ids of all organisations with any record, and of the default one."""
        return sorted({self._default, *await self._store.names()})

    async def list(self) -> list[Known]:
        """Returns all organisations, sorted by id."""
        found = await asyncio.gather(*map(self.get, await self.names()))
        return [known for known in found if known.stored.rev or known.id == self._default]

    async def put(self, org: str, new: Organisation, who: Credential, *, rev: int | None = None) -> Known:
        """Creates an organisation, or changes it if its revision still is `rev` (None: any), and returns it.

        The organisation that runs the service creates it and grants the members in `GRANTED`. The administrators of the
        organisation itself change all other members. A repeated call changes nothing, with one exception: if the person
        who allowed unattended or break-glass alerts is no longer an administrator, the caller takes their place. Raises
        Problem.
        """
        stored, seen = await self._store.get(org)
        old = self._kept(org, stored, seen)
        if rev not in {None, old.stored.rev}:
            raise changed_since("organisation")
        self._check_rights(old, new, who)
        if new.jurisdiction is not None:
            await self._jurisdictions.of(new.jurisdiction)
        fresh, hands, with_ = old.stored, tuple(sorted(who.hands)), (who.org, who.key_id)
        if await self._answers(old, new, "unattended", fresh.allowed_with, who):
            fresh = replace(fresh, allowed_by=who.subject, allowed_hands=hands, allowed_with=with_)
        if await self._answers(old, new, "break_glass", fresh.glass_with, who):
            fresh = replace(fresh, glass_by=who.subject, glass_hands=hands, glass_with=with_)
        if stored is not None and fresh == stored and new == old.organisation:
            return old
        fresh = replace(fresh, rev=fresh.rev + 1, document=new.model_dump_json())
        if not await self._store.put(org, fresh, seen=seen):
            raise changed_since("organisation")
        return Known(id=org, organisation=new, stored=fresh)

    async def _answers(self, old: Known, new: Organisation, table: str, by: tuple[str, str], who: Credential) -> bool:
        """Returns whether the caller becomes the person responsible for a policy (`table`: unattended or break_glass):
        the caller changes it, or the one responsible (`by`: organisation and key) is no longer an administrator and the
        caller's organisation owns the policy.
        """
        if _differs(table, new, old.organisation):
            return True
        return getattr(new, table) is not None and who.org == old.id and not await self._administers(*by)

    def _check_rights(self, old: Known, new: Organisation, who: Credential) -> None:
        """Raises Problem if the caller may not make this change."""
        if who.test:
            raise Problem("not-allowed", "A test key may not change who can send Actual alerts.")
        is_host, is_own = self.is_host(who), who.org == old.id
        if not is_own and not (is_host and old.stored.rev == 0):
            changed = {name for name in Organisation.model_fields if _differs(name, new, old.organisation)}
            if not is_host:
                raise Problem("not-found", "There is no such organisation, or you may not see it.")
            if not changed <= set(GRANTED):
                raise Problem("not-allowed", f"You may change only {' and '.join(GRANTED)} of another organisation.")
        granted = tuple(
            Fault(f"/{name}", "Only the organisation that runs the service grants this.")
            for name in GRANTED
            if not is_host and _differs(name, new, old.organisation)
        )
        if granted:
            raise Problem(
                "not-allowed", "An organisation cannot grant itself a jurisdiction or a CAP sender.", faults=granted
            )

    async def unattended(self, record: AlertRecord, known: Known | None = None) -> GoesUnattended | None:
        """Returns the permission to send an alert like this without a second person, if an administrator gave it and
        still is one; else None. `known` is the alert's organisation, if this request has read it already.
        """
        known = known or await self.get(record.org)
        allowed, stored = known.organisation.unattended, known.stored
        again = record.update.renotify_count + record.update.new_recipients if record.update else 0
        people = max(record.target.seen, again)  # an update notifies the earlier recipients again
        if allowed is None or record.level not in allowed.levels or people > allowed.people:
            return None
        setter = await self._setter(record, stored.allowed_by, stored.allowed_hands, stored.allowed_with)
        per_hour = allowed.alerts_per_hour
        return GoesUnattended(setter=setter, people=allowed.people, per_hour=per_hour) if setter else None

    async def alone(self, record: AlertRecord) -> Alone | None:
        """Returns the permission for the author to approve an alert like this, if an administrator gave it
        and still is one; else None.
        """
        known = await self.get(record.org)
        allowed, stored = known.organisation.break_glass, known.stored
        if allowed is None or record.level not in allowed.levels:
            return None
        setter = await self._setter(record, stored.glass_by, stored.glass_hands, stored.glass_with)
        return Alone(setter=setter, after_ms=allowed.after_min * 60_000) if setter else None

    async def _setter(
        self, record: AlertRecord, subject: str, hands: tuple[str, ...], key: tuple[str, str]
    ) -> Credential | None:
        """Returns the credential of the administrator who allowed alerts without a second person (unattended or by
        break-glass); they count as approver. Returns None if they are no longer an administrator.
        """
        if not await self._administers(*key):
            return None
        return Credential(
            key_id=key[1], org=record.org, home=key[0], subject=subject, scopes=frozenset({APPROVE}), makers=hands
        )

    async def count(self, record: AlertRecord, unattended: GoesUnattended) -> bool:
        """Counts the alert towards the organisation's unattended alerts of the last hour. Returns False if their limit
        was reached already.
        """
        return await self._store.allow(record.org, record.id, unattended.per_hour)

    async def check(
        self, who: Credential, *, area: shapely.MultiPolygon | None = None, told: Sequence[str] | None = None,
        known: Known | None = None,
    ) -> None:  # fmt: skip
        """Raises Problem if an area leaves the jurisdiction of the caller's organisation or key, or if `told` (the
        languages in which the alert is sent) lacks one that the organisation promises. None skips a check. `known` is
        the caller's organisation, if this request has read it already.
        """
        known = known or await self.get(who.org)
        languages = known.organisation.languages if told is not None else ()
        if missing := [tag for tag in languages if matching(tag, told or ()) is None]:
            fault = Fault("/info", f"Your organisation also publishes each alert in: {', '.join(missing)}.")
            raise Problem("language-missing", "The alert lacks a language of your organisation.", faults=(fault,))
        if area is not None and (beyond := await self.beyond(area, who, known)):
            raise refused(beyond)

    async def check_ready(self, alert: Alert, org: str) -> None:
        """Raises Problem if a draft is not ready for approval: its case is not verified, or it has only numbers to
        call.
        """
        await self.check_verified(alert, org)
        if faults := rules.voice_only(alert):
            raise Problem("contact-voice-only", VOICE_ONLY, faults=tuple(faults))

    async def check_verified(self, alert: Alert, org: str) -> None:
        """Raises Problem if the case of an alert is not verified as its organisation requires now."""
        own = (await self.get(org)).organisation
        if faults := rules.missing_verification(alert, own.verification.get(alert.level)):
            raise Problem("case-not-verified", NOT_VERIFIED, faults=tuple(faults))

    async def beyond(self, area: shapely.MultiPolygon, who: Credential, known: Known | None = None) -> Beyond | None:
        """Returns the part of an area outside the jurisdiction of the caller's organisation. If the area lies inside
        that, returns the part outside the jurisdiction of the caller's key, or None if it lies inside both.
        """
        own = (known or await self.get(who.org)).organisation.jurisdiction
        for whose, jurisdiction in ((OWN, own), (KEYS, who.terms.jurisdiction)):
            if jurisdiction is not None and (found := await self._jurisdictions.beyond(area, jurisdiction, whose)):
                return found
        return None

    async def within(self, area: Area, who: Credential, known: Known | None = None) -> Area | None:
        """Returns the part of an area inside the jurisdictions of the caller's organisation and key, or None if there
        is none. `known` is the caller's organisation, if this request has read it already.
        """
        own = (known or await self.get(who.org)).organisation.jurisdiction
        geometry = area.geometry
        for jurisdiction in (own, who.terms.jurisdiction):
            if jurisdiction is not None:
                geometry = await self._jurisdictions.cut(geometry, jurisdiction)
        return None if geometry.is_empty else Area(geometry=geometry, km2=area_km2(geometry))


def completed(alert: Alert, own: Organisation) -> Alert:
    """Returns the alert with the standing contacts of its organisation, if it has no contact for people who cannot
    call. An alert that is not about a missing child stays unchanged.
    """
    case = alert.case
    if alert.kind is not Kind.MISSING_CHILD or any(one.is_voiceless for one in case.contact):
        return alert
    contact = (*case.contact, *own.contact)[:MAX_CONTACTS]
    return alert.model_copy(update={"case": case.model_copy(update={"contact": contact})})


def _differs(name: str, new: Organisation, old: Organisation) -> bool:
    """Returns whether a member of an organisation has another value now."""
    return bool(getattr(new, name) != getattr(old, name))
