"""A legal hold: a case is kept whole, with its photos and ledgers, until another person lets it go. It is not purged, and nothing of it goes by its age.

A hold binds the case of one organisation. One person holds, for it stops harm; another releases, as an end is put off by a second person. An
administrator of the organisation that runs the service may release any hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.fields import folded_subject
from alertd.model.states import AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.decision_checks import TRIES
from alertd.service.organisations.organisations import Organisations
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.photos.photos import KEPT_AFTER_MS
from alertd.store.records.case_keys import Cases, Hold

#: What the event is called by which an organisation learns that the administrator of the service released its hold, and the act in its audit.
RELEASED, ACT = "hold_released", "alert.release"


@dataclass(frozen=True, slots=True)
class LegalHolds:
    """Holds cases and releases them, by any of their alerts. Repeating a call returns the first result."""

    cases: Cases
    alerts: Alerts
    approval: Approval
    organisations: Organisations
    audit: Audit
    clock: Clock

    async def of(self, record: AlertRecord) -> Hold | None:
        """The hold on an alert's case, or None."""
        found = await self.cases.hold(record.case)
        return found[0] if found else None

    async def seen(self, alert_id: str, who: Credential) -> AlertRecord:
        """An alert whose hold the caller may see and release: one of the caller's organisation; any for an administrator of the organisation that
        runs the service. Raises Problem.
        """
        record = await self.alerts.get(alert_id) if self.organisations.administers_host(who) else None
        return record or await self.approval.get(alert_id, who)

    async def hold(self, alert_id: str, who: Credential, reason: str) -> AlertRecord:
        """Put a hold on its case. A case has one hold: a second call leaves the first. Raises Problem."""
        record = await self.approval.get(alert_id, who)
        await self.approval.check_case(record, who)
        hold = Hold(
            org=record.org, by=who.subject, hands=tuple(sorted(who.hands)), at=self.clock.now_ms(), reason=reason
        )
        if record.state is AlertState.PURGED or await self.cases.keep(record.case, hold) is None:
            raise Problem("precondition-failed", "Nothing is left to keep: the case is purged, or is being purged.")
        return record

    async def release(self, alert_id: str, who: Credential) -> AlertRecord:
        """Release the hold on its case, which may be purged then. Raises Problem for the person who put it there, and for those whose hands that
        person's key came through. If the alert is another organisation's, its people find the release in their audit and among their events.
        """
        record = await self.seen(alert_id, who)
        await self.approval.check_case(record, who)
        found = await self.cases.hold(record.case)
        if found is None:
            return record
        hold, seen = found
        is_own = record.org == who.org
        if is_own and (folded_subject(who.subject) in hold.hands or folded_subject(hold.by) in who.hands):
            raise Problem("same-person", "Another person than who put it there releases a legal hold.")
        number = 0 if is_own else await self.audit.begin(who.acting_for(record.org), ACT, record.id)
        if not await self.cases.let_go(record.case, seen, until_ms=self.clock.now_ms() + KEPT_AFTER_MS):
            raise Problem("precondition-failed", "Somebody else changed the hold at this moment. Look at it again.")
        return record if is_own else await self._notify(record, who, number)

    async def _notify(self, record: AlertRecord, who: Credential, number: int) -> AlertRecord:
        """Tell the organisation of an alert that another released its hold. Returns the alert as it stands."""
        for _ in range(TRIES):
            done, old = await self.alerts.note_from(record, who.org, RELEASED, {})
            record = await self.alerts.get(record.id) or record
            if done or old != "changed":
                break
        noted = Noted(record=record, facts={"organisation": who.org})
        await self.audit.end(who.acting_for(record.org), ACT, DONE, noted, of=number)
        return record
