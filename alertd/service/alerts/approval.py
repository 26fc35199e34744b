"""Approves alerts: an Actual alert is sent only after a second person has seen what it will do. An alert that needs no
second person is sent when it is submitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import shapely
from pydantic import ValidationError

from alertd.common.clock import Clock, time_of
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model import rules
from alertd.model.alert import Alert, Status
from alertd.model.states import AMENDABLE, KNOWN, WAITING, AlertState
from alertd.service.access import APPROVE, BY_GLASS, BY_POLICY, OVERSPEND, Credential, hands_of, hands_text
from alertd.service.alerts.budget import Budget
from alertd.service.alerts.duplicates import claim_external_id
from alertd.service.alerts.freezing import Freezing
from alertd.service.alerts.intake import TOLD_TOO_LATE, Intake, Taken
from alertd.service.alerts.jurisdiction_split import JurisdictionSplit
from alertd.service.alerts.stops import StopControl, check_submission
from alertd.service.areas.reach_preview import ReachPreview, population_of
from alertd.service.areas.targeting import Targeting
from alertd.service.decision_checks import (
    changed_since,
    check_drift,
    check_key,
    check_plates,
    check_revision,
    check_second_person,
    has_ended,
    is_approved_by,
    is_as_approved,
    refused,
)
from alertd.service.messages.texts import Texts
from alertd.service.organisations.organisations import Known, OrganisationPolicy, Organisations
from alertd.service.reach import LEAST_SHOWN, stored_estimate
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import FrozenAudience
from alertd.store.alerts.records import AlertRecord, BrokenGlass, numbers_of
from alertd.store.engine.codec import SealError


@dataclass(slots=True)
class Approval:
    """Takes decisions about waiting alerts. A repeated decision returns the first result, so a client can retry."""

    alerts: Alerts
    freezing: Freezing
    targeting: Targeting
    texts: Texts
    stop_control: StopControl
    clock: Clock
    organisations: Organisations
    budget: Budget
    jurisdiction_split: JurisdictionSplit
    reach_previews: ReachPreview

    async def get(self, alert_id: str, who: Credential) -> AlertRecord:
        """Returns an alert of the caller's organisation. Raises Problem not-found for any other id."""
        record = await self.alerts.get(alert_id)
        if record is None or record.org != who.org:
            raise Problem("not-found", "There is no such alert.")
        return record

    async def chain(self, alert_id: str, who: Credential) -> AlertRecord:
        """Returns the alert that a version belongs to. Raises Problem as `get` does, also for an unknown version."""
        record = await self.get(alert_id, who)
        return record if record.id == chain_of(alert_id) else await self.get(chain_of(alert_id), who)

    async def begin(self, record: AlertRecord, who: Credential, known: Known | None = None) -> AlertRecord:
        """Continues with an alert that was just submitted: approves it at once if it needs no second person, and
        returns it. A repeat changes nothing. `known`: its organisation, if the caller has read it.
        """
        if record.state is not AlertState.PENDING:
            return record
        if record.status != Status.ACTUAL:  # Test and Exercise reach only testers, so they need no second person
            return await self._open(record, who)
        return await self._unattended(record, who, known)

    async def _unattended(self, record: AlertRecord, who: Credential, known: Known | None) -> AlertRecord:
        """Approves an alert without a second person if its organisation allows that; the person who set this policy
        counts as the second person. Otherwise, or if a check fails, the alert waits for a person. Returns the alert.
        """
        unattended = await self.organisations.unattended(record, known)
        # A scheduled alert's reach is unknown yet. An alert to very few people would reveal whether a person lives
        # there.
        if unattended is None or record.times.starts or record.target.seen < LEAST_SHOWN:
            return record
        try:
            await self.check_person(record, unattended.setter)
            check_plates(record, ())
            if not await self.organisations.count(record, unattended):
                return record
            policy = replace(unattended.setter, subject=BY_POLICY + unattended.setter.subject)
            return await self._open(record, policy, record.target.seen, most=unattended.people)
        except Problem:
            return await self.get(record.id, who)

    async def submit(self, alert_id: str, who: Credential, *, rev: int | None = None) -> AlertRecord:
        """Submits a draft or a returned alert to a second person; approves it if it needs none. Raises Problem."""
        record = await self.get(alert_id, who)
        hands = hands_text(who.hands | hands_of(record.author.subject, record.author.hands))
        if record.state in AMENDABLE:
            check_key(record, who)
            check_revision(record, rev)
            await self.organisations.check_ready(record.alert, record.org)
            record = await self.jurisdiction_split.submitted(record, who)
            await claim_external_id(self.alerts, record)
            rev = record.rev  # the claim of the external id is for this revision
        elif record.state is AlertState.SCHEDULED:  # `unschedule` alone takes back an approval
            raise refused(record.state, AlertState.PENDING)
        texts = await self.texts.revision(record.org)
        pending = await self._step(alert_id, AlertState.PENDING, who, rev, texts=texts, hands=hands)
        return await self.begin(pending, who)

    async def approve(
        self,
        alert_id: str,
        who: Credential,
        *,
        people: int | None = None,
        plates: Sequence[str] = (),
        overspend: str = "",
        rev: int | None = None,
    ) -> AlertRecord:
        """Approves an alert. Fixes the list of people to notify and lets the sending begin; if the alert starts later,
        schedules it instead. Returns the alert.

        `people` is the count that the approver saw, by default the estimate at submission. `plates` are the number
        plates of the alert's vehicles, typed again. `overspend` is the reason why the alert may exceed the budget.
        `rev` is the revision of the alert that the approver saw; another one than the current raises version-changed. A
        repeat by the same approver changes nothing, also with the revision that they approved.

        Raises Problem: same-person, protection-review-required, invalid-request for other plates, outside-jurisdiction,
        audience-too-small, audience-changed (with both counts), over-budget, expired, approval-stale,
        precondition-failed; not-allowed if the caller may not exceed the budget.
        """
        record = await self.get(alert_id, who)
        if overspend and not who.may(OVERSPEND):
            raise Problem("not-allowed", f"To exceed the budget, a key needs the scope {OVERSPEND}.", scope=OVERSPEND)
        if is_approved_by(record, who):
            if record.approval.rev and rev != record.approval.rev:
                check_revision(record, rev)
            if overspend:
                await self.budget.free(record)
            return record
        await self.check_person(record, who)
        if record.status == Status.ACTUAL:
            check_plates(record, plates)
        # Check the state first: an alert that no longer waits cannot be approved, at any revision or count.
        if record.state not in WAITING:
            raise refused(record.state, AlertState.APPROVED)
        if record.expires <= self.clock.now_ms():
            raise has_ended()
        check_revision(record, rev)
        return await self._open(
            record, who, record.target.seen if people is None else people, overspends=bool(overspend)
        )

    async def approve_alone(
        self, record: AlertRecord, who: Credential, why: str, *, people: int | None, plates: Sequence[str]
    ) -> AlertRecord:
        """Approves an alert by its own author, after `break_glass` found that this is allowed, and returns it. All
        checks of `approve` apply but the one for a second person, and an alert that starts later is refused. From then
        on, neither the caller nor a maker of the caller's sign-in can be the second person. Raises as `approve`.
        """
        if record.times.starts > self.clock.now_ms():
            raise Problem("precondition-failed", "The alert starts later: have a second person approve it before then.")
        await self._check_protection(record, who)
        check_plates(record, plates)
        hands = hands_text(hands_of(record.author.subject, record.author.hands) | who.hands)
        glass = BrokenGlass(at=0, why=why)
        alone = replace(
            record, author=replace(record.author, hands=hands), approval=replace(record.approval, glass=glass)
        )
        named = replace(who, subject=BY_GLASS + who.subject)
        return await self._open(alone, named, record.target.seen if people is None else people)

    async def start(self, record: AlertRecord) -> AlertRecord:
        """Opens the gate of a scheduled alert at its start, with the present audience, and returns it. Repeats all
        checks but those of the second person and the plates. Raises Problem; then no person is notified.
        """
        scopes = await self.stop_control.scopes(record.org, record.approval.key)
        who = Credential(key_id=record.approval.key, org=record.org, subject=record.approval.by, scopes=scopes)
        if record.status == Status.ACTUAL:
            if not who.may(APPROVE):
                raise Problem("not-allowed", "Its approver may no longer approve alerts.", scope=APPROVE)
            await self._check_protection(record, who)
        return await self._open(record, who, record.target.seen, starts=True)

    async def unschedule(self, record: AlertRecord, reason: str) -> AlertRecord | None:
        """Makes a scheduled alert wait for a second person again, with the current texts and `reason`. Returns it, or
        None if `record` is outdated.
        """
        texts = await self.texts.revision(record.org)
        done, _ = await self.alerts.step(
            record.id, AlertState.PENDING, rev=record.rev, texts=texts, reason=reason, approver="", approver_key=""
        )
        return await self.alerts.get(record.id) if done else None

    async def _schedule(self, record: AlertRecord, who: Credential, people: int) -> AlertRecord:
        """Stores the approval for the alert's start; then its reach is compared with `people`. Returns the alert.
        Raises Problem.
        """
        await self.alerts.times.note_start(record)
        done, old = await self.alerts.step(
            record.id, AlertState.SCHEDULED, rev=record.rev, by=who.signature, approver=who.signature,
            approver_key=who.key_id, approved_rev=str(record.rev), seen=str(people),
        )  # fmt: skip
        now = await self.get(record.id, who)
        if not done and not is_as_approved(now, record, who):
            raise refused(old, AlertState.SCHEDULED)
        return now

    async def _open(
        self, record: AlertRecord, who: Credential, seen: int | None = None, *, most: int | None = None,
        starts: bool = False, overspends: bool = False,
    ) -> AlertRecord:  # fmt: skip
        """Freezes the audience of the alert as it was read and opens the gate, or schedules the alert if it starts
        later. Returns it. `seen` is the count that the approver saw, and `most` the maximum number of people.
        `overspends` lifts the budget. With `starts`, it opens a scheduled alert; no other approval can do that. Raises
        Problem.
        """
        if (record.state is AlertState.SCHEDULED and not starts) or not record.document:
            raise refused(record.state, AlertState.APPROVED)
        await self.alerts.mark_live(record.id)  # before the check for stops: a stop from now on finds this chain
        area = await self.alerts.area(record.id)
        await self._check(record, who, area)
        people = await self._check_reach(record, area, seen=seen, most=most, overspends=overspends)
        if record.times.starts > self.clock.now_ms() and not record.update:
            return await self._schedule(record, who, people)
        found = await self.targeting.people(area, record.alert, numbers_of(record.target.regions))
        frozen = FrozenAudience(numbers=found.numbers, rings=await self.targeting.rings(area, record.alert, found))
        if record.update:
            done, old = await self.freezing.replace(record, record.alert, frozen, who)
        else:
            done, old = await self.freezing.freeze(record, frozen, who)
        await self.stop_control.apply_stops(chain_of(record.id))
        now = await self.get(record.id, who)
        if not done and not is_as_approved(now, record, who):
            raise refused(old, AlertState.APPROVED)
        return now

    async def _check(self, record: AlertRecord, who: Credential, area: shapely.MultiPolygon) -> None:
        """Raises Problem for the first of these that fails: a stop is active; the organisation's texts changed after
        submission; the area is outside the jurisdiction; the target resolves to another area now; people would be
        notified too late; the case is not verified.
        """
        await self.stop_control.check(record.org, record.author.key, who.sender)
        if await self.texts.revision(record.org) != record.texts:
            raise Problem(
                "approval-stale",
                "Your organisation's own texts were changed after this alert was submitted. Return it, and have it submitted again.",
            )
        await self.jurisdiction_split.check(record, who, area)
        await self.jurisdiction_split.check_ground(record, who)
        rings_from = record.times.rings_from if record.update else None
        if faults := tuple(rules.delay_faults(record.alert, time_of(self.clock.now_ms()), rings_from)):
            raise Problem("invalid-request", TOLD_TOO_LATE, faults=faults)
        await self.organisations.check_verified(record.alert, record.org)

    async def _check_reach(
        self, record: AlertRecord, area: shapely.MultiPolygon, *, seen: int | None, most: int | None, overspends: bool
    ) -> int:
        """Checks the estimated reach and returns it. Raises Problem if it is too small, too large, differs too much
        from `seen`, or costs too much. The exact count decides nothing here, because a refusal would reveal it.
        """
        alert = record.alert
        # Use the regions of the submission, so that a later import removes no person from the area that the author saw.
        told = numbers_of(record.target.regions)
        reach = await self.reach_previews.reach(area, await self.targeting.shares(area), population_of(alert), told)
        people = stored_estimate(reach.whole.people)
        if alert.status is Status.ACTUAL:
            self.reach_previews.check_people(reach)
        if most is not None and max(people, LEAST_SHOWN) > most:
            raise Problem(
                "too-many-people", "The alert reaches more people than may be notified without a second person."
            )
        if seen is not None:
            check_drift(seen, people, self.targeting.settings.drift_share)
        # Last of the checks, so that a refusal lifts no limit.
        await (self.budget.free(record) if overspends else self.budget.check(record, alert, reach.whole))
        return people

    async def check_approver(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem unless the caller could approve the alert now, by person, child protection and jurisdiction.
        For a reopening or a later end, which show more than the second person approved.
        """
        await self.check_person(record, who)
        await self.jurisdiction_split.check(record, who, await self.alerts.area(record.id))

    async def check_person(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem if the caller may not be the second person of an Actual alert: is not independent of the
        author, or is no protection officer although the case needs one. Does nothing for other alerts.
        """
        if record.status == Status.ACTUAL:
            check_second_person(record, who)
            await self._check_protection(record, who)

    async def _check_protection(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem if only a protection officer may approve this: if this alert, or any other alert of its case
        that is shown, stood down or waiting, says that the child is under protection.
        """
        live = [
            one.id
            for one in await self.alerts.in_case(record.case)
            if one.id != record.id and one.state in KNOWN | WAITING
        ]
        own = [record.alert] if record.document else []
        alerts = own + [said for said in await asyncio.gather(*map(self._said, live)) if said]
        if any(alert.case.protection for alert in alerts) and not who.may("alerts:protect"):
            raise Problem(
                "protection-review-required", "The child is under protection: a protection officer approves this."
            )

    async def _said(self, alert_id: str) -> Alert | None:
        """Returns the content of an alert, or None if it has none or is damaged: it must not stop another alert."""
        with suppress(SealError, ValidationError):
            record = await self.alerts.get(alert_id)
            return record.alert if record and record.document else None
        return None

    async def reject(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> AlertRecord:
        """Rejects an alert, so that it is never sent, and returns it. Raises Problem."""
        return await self._step(alert_id, AlertState.REJECTED, who, rev, reason=reason)

    async def give_back(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> AlertRecord:
        """Returns a pending or scheduled alert to its author; a scheduled one loses its approval. Raises Problem."""
        return await self._step(
            alert_id, AlertState.RETURNED, who, rev, reason=reason, approver="", approver_key="", stand_down_asked=""
        )

    async def call_off(self, record: AlertRecord, who: Credential, reason: str, *, rev: int | None) -> AlertRecord:
        """Rejects an undecided alert, or cancels a scheduled one. Raises Problem, also if a scheduled alert changed
        since it was read.
        """
        if record.state is AlertState.SCHEDULED:
            rev = record.rev if rev is None else rev  # it may start at this moment
            return await self._step(record.id, AlertState.CANCELLED, who, rev, reason=reason)
        return await self.reject(record.id, who, reason, rev=rev)

    async def check_case(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem if the caller's key may not decide about every alert of the case (Tests or Actuals)."""
        for one in (record, *await self.alerts.in_case(record.case)):
            check_key(one, who)

    async def _step(
        self, alert_id: str, new: AlertState, who: Credential, rev: int | None, *, texts: int | None = None,
        **fields: str,
    ) -> AlertRecord:  # fmt: skip
        """Brings an alert to the state `new` and returns it. Repeating a step of one's own changes nothing. Raises
        Problem.
        """
        check_key(await self.get(alert_id, who), who)
        done, old = await self.alerts.step(alert_id, new, rev=rev, texts=texts, by=who.signature, **fields)
        now = await self.get(alert_id, who)
        said_before = now.state is new and who.is_person(now.last_step.by)
        if not done and not said_before:
            raise changed_since() if old == "changed" else refused(old, new)
        return now


async def submit(  # noqa: PLR0913  each is a choice of its own
    intake: Intake,
    approval: Approval,
    alert: Alert,
    who: Credential,
    org_policy: OrganisationPolicy | None = None,
    *,
    alert_id: str | None = None,
    dry_run: bool = False,
    draft: bool = False,
    known: str = "",
) -> Taken:
    """Submits an alert, and approves it at once if it needs no second person. A dry run stores nothing. `org_policy` is
    the caller's policy, if it was read for this request; `known` an earlier alert that this one repeats. Raises Problem.
    """
    org_policy = org_policy or await intake.organisations.get_policy(who.org)
    # Check stops first: a stopped caller gets that answer before any other error.
    check_submission(org_policy.standing, who, goes_out=not draft and alert.status is not Status.ACTUAL)
    taken = await intake.submit(alert, who, org_policy, alert_id=alert_id, dry_run=dry_run, draft=draft, known=known)
    if dry_run or taken.is_repeat:
        return taken
    record = await approval.begin(taken.record, who, org_policy.known)
    return taken if record is taken.record else replace(taken, record=record)


async def submitted(intake: Intake, approval: Approval, alert_id: str, alert: Alert, who: Credential) -> Taken:
    """Returns an alert that was submitted before, in its present state and with its present reach. Raises Problem."""
    record = await approval.get(alert_id, who)
    return Taken.of(record, await intake.preview(alert, who))
