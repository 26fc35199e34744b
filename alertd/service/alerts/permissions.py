"""A neighbour permits or refuses that an alert is sent in its jurisdiction. After a refusal it can be asked again.

A grant makes a new version of the alert, which is sent in the permitted part. As with an update, that version notifies
people who are newly in the area, and no earlier recipient again. A permission covers only the area that was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import shapely

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.alert import Status
from alertd.model.fields import folded_subject
from alertd.model.kinds import Notify, Occasion, PermissionState
from alertd.model.permission import Permission, parse_permissions, with_words, words_of, written
from alertd.model.states import AlertState
from alertd.service.access import BY_POLICY, Credential, signer
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.budget import Budget
from alertd.service.alerts.jurisdiction_split import granted_of
from alertd.service.alerts.later_audience import TELLS, check_room, later_version, versions_of
from alertd.service.alerts.stops import StopControl
from alertd.service.areas.reach_preview import ReachPreview, population_of
from alertd.service.areas.targeting import Targeting
from alertd.service.decision_checks import TRIES, changed_since, check_drift, check_key, check_second_person, has_ended
from alertd.service.organisations.organisations import Organisations
from alertd.service.reach import Reach, stored_estimate
from alertd.service.records.audit import DONE, REFUSED, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import GRANTED, GROUND, FrozenAudience, pack_area, unpack_area
from alertd.store.alerts.records import AlertRecord, Update, numbers_of, runs_of
from alertd.store.approvals.later_versions import PermissionStore, Updates
from geofences.polygons import ground as ground_of

#: Maximum number of requests that an organisation sees, newest first. Every unanswered request is among them: it ends
#: with its alert, long before so many newer ones arrive.
MOST = 200
_S = PermissionState
#: The name of each event, and of each act in the audit of the organisation that alerts.
WORDS = {_S.ASKED: "permission_asked", _S.GRANTED: "permission_granted", _S.REFUSED: "permission_refused"}
ACTS = {_S.GRANTED: "alert.permission-granted", _S.REFUSED: "alert.permission-refused"}
#: By answer: the states of a request from which the answer is possible. A refusal can be changed into a grant. A grant
#: is final, because the alert was sent.
_FROM = {_S.GRANTED: {_S.ASKED, _S.REFUSED}, _S.REFUSED: {_S.ASKED}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to an organisation for its permission."""

    record: AlertRecord
    permission: Permission
    asked_by: str  # the name of the organisation that alerts

    @property
    def ground(self) -> shapely.MultiPolygon:
        """Returns the part of the target that needs this permission. It is empty if the alert was purged, or its record
        was not fully read.
        """
        raw = self.record.neighbours.areas.get(f"{GROUND}{self.permission.org}")
        return unpack_area(raw) if raw else shapely.MultiPolygon()

    @property
    def state(self) -> PermissionState:
        """Returns the state of the permission, given the state of the alert."""
        return self.permission.state(self.record.state)


@dataclass(slots=True)
class Permissions:
    """Handles the permissions that an alert needs of neighbour organisations. A neighbour permits its part, and a new
    version of the alert is sent there at once, or refuses it; then the organisation that alerts can ask again. A person
    who repeats an answer gets the first result. `ask` raises Problem while a request is unanswered.
    """

    store: PermissionStore
    alerts: Alerts
    updates: Updates
    approval: Approval
    organisations: Organisations
    targeting: Targeting
    stop_control: StopControl
    budget: Budget
    audit: Audit
    clock: Clock
    reach_previews: ReachPreview

    async def asked_of(self, org: str) -> list[Request]:
        """Returns the requests to an organisation, answered ones too, newest first and without documents. Forgets the
        requests of purged alerts.
        """
        chains = await self.store.of(org, MOST)
        states = await self.alerts.fields(chains, "state")
        gone = [
            chain
            for chain, (state,) in zip(chains, states, strict=True)
            if state in {None, AlertState.PURGED.value.encode()}
        ]
        await self.store.drop(org, gone)
        heads = await self.alerts.listed([chain for chain in chains if chain not in gone])
        found = [(one, _asked(one, org)) for one in heads if one is not None]
        asked = [(one, permission) for one, permission in found if permission]
        return list(await asyncio.gather(*(self._request(one, permission) for one, permission in asked)))

    async def get(self, alert_id: str, who: Credential) -> Request:
        """Returns the request to the caller's organisation about another organisation's alert. Raises Problem
        not-found if there is none.
        """
        record = await self.alerts.get(alert_id)
        permission = _asked(record, who.org) if record else None
        if record is None or permission is None:
            raise Problem("not-found", "Your organisation has no request about this alert.")
        return await self._request(record, permission)

    async def regions(self, asked: Request) -> list[int]:
        """Returns the numbers of the regions in which people are notified who chose the region instead of a point, if
        the request is granted. These are the regions counted at submission, and regions that lie partly in the
        requested area and partly in the alert's present area. The present area may have grown, because another
        neighbour permitted its part.
        """
        across = await self.targeting.notified_regions_across(await self.alerts.area(asked.record.id), asked.ground)
        return sorted({*numbers_of(asked.permission.regions), *across})

    async def reach(self, record: AlertRecord, ground: shapely.MultiPolygon, told: Sequence[int]) -> Reach:
        """Returns an estimate of the people that an alert reaches in an area. `told` are the numbers of the regions in
        which people are notified who chose the region instead of a point.
        """
        shares = await self.targeting.shares(ground)
        return await self.reach_previews.reach(ground, shares, population_of(record.alert), told)

    async def grant(self, alert_id: str, who: Credential, ground: str, *, people: int | None = None) -> Request:
        """Permits that the alert is sent in the area that the approver saw, and returns the request. `ground` is the
        digest of that area, and `people` the count that the approver saw.

        Raises Problem as an approval does for the person, the audience and the budget; approval-stale for another area;
        precondition-failed if the alert is over or withdrawn, or another person has granted the request. A refused
        request can still be granted.
        """
        return await self._answered(alert_id, who, _S.GRANTED, "", ground, people)

    async def refuse(self, alert_id: str, who: Credential, why: str) -> Request:
        """Refuses the request: the alert is not sent in this part. Returns the request. Raises Problem."""
        return await self._answered(alert_id, who, _S.REFUSED, why)

    async def ask(self, alert_id: str, who: Credential, org: str) -> AlertRecord:
        """Asks the neighbour `org` again after its refusal, and returns the alert. Raises Problem: permission-pending
        if it has not answered yet, precondition-failed if it has not refused, not-found if the alert needs no
        permission of it.
        """
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            check_key(record, who)
            permission = _of(record, org)
            if permission is None:
                raise Problem("not-found", "This alert needs no permission of that organisation.")
            _check_asks(permission.state(record.state))
            again = replace_one(record, permission, answer="", at=0)
            await self.store.note([org], record.id, self.clock.now_ms())
            done, old = await self.store.answer(record, WORDS[_S.ASKED], org, {"permissions": again})
            if done:
                return await self.approval.get(alert_id, who)
            _check(old)
        raise changed_since()

    async def _answered(
        self, alert_id: str, who: Credential, answer: PermissionState, why: str, ground: str = "",
        people: int | None = None,
    ) -> Request:  # fmt: skip
        """Answers the request to the caller's organisation, and writes the answer to the audit before and after.
        Returns the request, unchanged if this person gave this answer before. `why`: reason of a refusal. `ground`:
        digest of the area that was seen, for a grant. Raises Problem.
        """
        asked = await self.get(alert_id, who)
        if _said(asked, who, answer):
            return asked
        check_key(asked.record, who)
        theirs = who.acting_for(asked.record.org)  # the act belongs to the audit of the alert's organisation
        number = await self.audit.begin(theirs, ACTS[answer], alert_id)
        try:
            done = await self._tried(asked, who, answer, why, ground, people)
        except Problem:
            await self._enter(who, answer, asked.record, REFUSED, number)
            raise
        await self._enter(who, answer, done.record, DONE, number)
        return done

    async def _tried(
        self, asked: Request, who: Credential, answer: PermissionState, why: str, ground: str, people: int | None
    ) -> Request:
        """Stores the answer, and tries again if another call changes the alert meanwhile. Returns the request. Raises
        Problem.
        """
        for _ in range(TRIES):
            record, permission = asked.record, asked.permission
            _check_answer(asked.state, answer)
            if answer is _S.GRANTED and permission.ground != ground:
                raise Problem(
                    "approval-stale", "The alert's area has changed since you saw it. Look at the request again."
                )
            if answer is _S.GRANTED:
                done, old = await self._grant(asked, who, people)
            else:
                done, old = await self._refuse(record, permission, who, why)
            asked = await self.get(record.id, who)
            if done or _said(asked, who, answer):
                return asked
            _check(old)
        raise changed_since()

    async def _enter(
        self, who: Credential, answer: PermissionState, record: AlertRecord, outcome: str, number: int
    ) -> None:
        """Writes the answer to the audit of the organisation that alerts, and so to the alert's history."""
        noted = Noted(record=record, facts={"organisation": who.org})
        await self.audit.end(who.acting_for(record.org), ACTS[answer], outcome, noted, of=number)

    async def _refuse(self, record: AlertRecord, permission: Permission, who: Credential, why: str) -> tuple[bool, str]:
        """Stores a refusal with its reason. Returns whether it was stored, and the state that prevented it."""
        fields = {
            "permissions": replace_one(record, permission, answer=_S.REFUSED, at=self.clock.now_ms()),
            "permitted_by": with_words(record.neighbours.answered_by, who.org, who.subject),
            "permission_why": with_words(record.neighbours.reasons, who.org, why),
        }
        return await self.store.answer(record, WORDS[_S.REFUSED], who.org, fields)

    async def _grant(self, asked: Request, who: Credential, people: int | None) -> tuple[bool, str]:
        """Checks a grant and stores it with the version that it sends. Returns whether it was stored, and the state
        that prevented it. Raises Problem if a check fails.
        """
        record, ground = asked.record, asked.ground
        permission = msgspec.structs.replace(asked.permission, regions=runs_of(await self.regions(asked)))
        await self.approval.check_person(record, who)
        await self._check_senders(record, who)
        await self.stop_control.check(record.org, record.author.key)
        await self.stop_control.check(who.org, who.key_id)
        await self.organisations.check(who, area=ground)
        frozen, newly = await self._audience(record, permission, ground, people)
        alert, version = await self._widened(record, permission, who, ground, people=len(frozen.numbers), newly=newly)
        area = ground_of(shapely.union(await self.alerts.area(record.id), ground))
        done, old = await self.store.widen(alert, version, pack_area(area), frozen, org=who.org, key=who.key_id)
        await self.stop_control.apply_stops(record.id)
        if done:
            await self.updates.list(replace(version, times=replace(version.times, created=self.clock.now_ms())))
        return done, old

    async def _check_senders(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem if the caller wrote or approved the alert, or an update of it that needed permissions: one
        person with two keys must not be able to send alone. Does not check Tests and Exercises.
        """
        if record.status != Status.ACTUAL:
            return
        allowed_hands = frozenset((await self.organisations.get(record.org)).stored.allowed_hands)
        for one in await versions_of(self.alerts, record.id):
            # Skip versions that a neighbour permitted: they make no requests.
            if one.approval.by and (one.id == record.id or one.neighbours.permissions):
                check_second_person(one, who)
                _check_approver(one.approval.by, who, allowed_hands)

    async def _audience(
        self, record: AlertRecord, permission: Permission, ground: shapely.MultiPolygon, people: int | None
    ) -> tuple[FrozenAudience, int]:
        """Returns the audience of the alert, extended by the people in the granted area now, and how many people that
        adds. Raises Problem if the estimate differs too much from the count that was seen, or exceeds the budget.
        """
        alert = record.alert
        told = numbers_of(permission.regions)
        reach = await self.reach(record, ground, told)
        seen = permission.seen if people is None else people
        check_drift(seen, stored_estimate(reach.whole.people), self.targeting.settings.drift_share)
        await self.budget.check(record, alert, reach.whole)
        found = await self.targeting.people(ground, alert, told)
        of_each = await self.targeting.rings(ground, alert, found)
        before = await self.alerts.audience(await self.store.teller(record.id))
        new = ~np.isin(found.numbers, before.numbers, assume_unique=True)
        numbers = np.concatenate([before.numbers, found.numbers[new]])
        order = np.argsort(numbers, kind="stable")
        rings = np.concatenate([before.rings, of_each[new]])
        return FrozenAudience(numbers=numbers[order], rings=rings[order]), int(new.sum())

    async def _widened(
        self, record: AlertRecord, permission: Permission, who: Credential, ground: shapely.MultiPolygon, *,
        people: int, newly: int,
    ) -> tuple[AlertRecord, AlertRecord]:  # fmt: skip
        """Returns the alert with the granted area, and the version that sends it there."""
        last, now = len(await versions_of(self.alerts, record.id)), self.clock.now_ms()
        check_room(last + 1)
        version = later_version(
            record,
            last + 1,
            Occasion.UPDATE,
            TELLS,
            by=who.acting_for(record.org).signature,
            expires=record.expires,
            loudness=record.loudness,
        )
        granted = pack_area(ground_of(shapely.union(granted_of(record), ground)))
        changed = replace_one(
            record, permission, answer=_S.GRANTED, at=now, version=version.id, key=permission.with_key(who.key_id)
        )
        regions = runs_of({*numbers_of(record.target.regions), *numbers_of(permission.regions)})
        alert = replace(
            record,
            times=replace(record.times, changes=f"{record.times.changes} {now}".strip()),
            target=replace(record.target, regions=regions),
            neighbours=replace(
                record.neighbours,
                permissions=changed,
                answered_by=with_words(record.neighbours.answered_by, who.org, who.subject),
                reasons=with_words(record.neighbours.reasons, who.org, ""),
                areas={**record.neighbours.areas, GRANTED: granted},
            ),
        )
        update = Update(
            occasion=Occasion.UPDATE,
            follows=TELLS,
            alerted=record.times.start,
            notify=Notify.NEWLY,
            new_recipients=newly,
        )
        return alert, replace(version, follow_up=update, target=replace(alert.target, seen=people))

    async def _request(self, record: AlertRecord, permission: Permission) -> Request:
        """Returns the request about an alert, with the name of the organisation that alerts."""
        name = (await self.organisations.get(record.org)).organisation.name
        return Request(record=record, permission=permission, asked_by=name)


def _said(asked: Request, who: Credential, answer: PermissionState) -> bool:
    """Returns whether this very person has given this answer before."""
    return asked.permission.answer == answer and who.is_person(
        words_of(asked.record.neighbours.answered_by).get(who.org, "")
    )


def replace_one(record: AlertRecord, permission: Permission, **changes: str | int) -> str:
    """Returns all permissions of an alert, as its record stores them, with one of them changed."""
    fields = {name: getattr(permission, name) for name in Permission.__struct_fields__}
    new = Permission(**(fields | changes))
    return written([new if one.org == new.org else one for one in parse_permissions(record.neighbours.permissions)])


def _of(record: AlertRecord, org: str) -> Permission | None:
    """Returns what an alert records of the permission of organisation `org`; None if it needs none of it."""
    return next((one for one in parse_permissions(record.neighbours.permissions) if one.org == org), None)


def _asked(record: AlertRecord, org: str) -> Permission | None:
    """Returns an organisation's permission of this alert, if the organisation may see a request for it. Returns None
    otherwise, for instance before the alert is approved.
    """
    permission = _of(record, org) if record.times.start else None
    return permission if permission and permission.state(record.state) is not _S.UNASKED else None


def _check_approver(approver: str, who: Credential, allowed_hands: frozenset[str]) -> None:
    """Raises Problem if the approver is the caller, or a maker of the caller's key. For an unattended alert the
    approver is the person who set the policy; then also if the caller is in `allowed_hands`, the makers of that
    person's key.
    """
    hands = allowed_hands if approver.startswith(BY_POLICY) else frozenset()
    subject, _ = signer(approver.removeprefix(BY_POLICY), "")
    if folded_subject(subject) in who.hands or folded_subject(who.subject) in hands:
        raise Problem(
            "same-person",
            "The person who approved an alert, or allowed it to go out unattended, cannot also permit it for a neighbour: you are that person, or one of you made the other's key.",
        )


def _check_answer(state: PermissionState, answer: PermissionState) -> None:
    """Raises Problem precondition-failed if this answer is not possible in this state of the request."""
    if state not in _FROM[answer]:
        why = "The request has lapsed." if state is _S.LAPSED else f"The permission was {state} already."
        raise Problem("precondition-failed", why)


def _check_asks(state: PermissionState) -> None:
    """Raises Problem unless the neighbour has refused: permission-pending if it has not answered yet, else
    precondition-failed.
    """
    if state is _S.ASKED:
        raise Problem("permission-pending", "That organisation was asked already, and has not answered yet.")
    if state is not _S.REFUSED:
        raise Problem("precondition-failed", f"A permission that is {state} cannot be requested again.")


def _check(old: str) -> None:
    """Raises Problem unless a new attempt can succeed. `old` is the alert's state that prevented the last one; 'again'
    and 'changed' mean that another call changed the alert meanwhile.
    """
    if old == "expired":
        raise has_ended()
    if old not in {"again", "changed"}:
        raise Problem("precondition-failed", f"An alert that is {old or 'gone'} is no longer sent.")
