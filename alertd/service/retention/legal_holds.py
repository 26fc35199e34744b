"""Legal holds: a hold keeps a case whole, with its photos and ledgers, until a second person releases it.

A held case cannot be purged, and retention deletes nothing of it by age. A hold binds the case of one organisation. One
person suffices to hold, because a hold prevents harm. A release needs another person, as the extension of an alert
does. An administrator of the organisation that runs the service may release any hold.
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

#: The name of the event that informs an organisation that the administrator of the service released its hold, and the
#: name of that act in its audit.
RELEASED, ACT = "hold_released", "alert.release"


@dataclass(frozen=True, slots=True)
class LegalHolds:
    """Places and releases holds on cases; any alert of a case names it. Repeating a call returns the first result."""

    cases: Cases
    alerts: Alerts
    approval: Approval
    organisations: Organisations
    audit: Audit
    clock: Clock

    async def of(self, record: AlertRecord) -> Hold | None:
        """Returns the hold on an alert's case, or None."""
        found = await self.cases.hold(record.case)
        return found[0] if found else None

    async def seen(self, alert_id: str, who: Credential) -> AlertRecord:
        """Returns an alert if the caller may see and release its hold.

        The alert must belong to the caller's organisation. An administrator of the organisation that runs the service
        may read any alert. Raises Problem.
        """
        record = await self.alerts.get(alert_id) if self.organisations.administers_host(who) else None
        return record or await self.approval.get(alert_id, who)

    async def hold(self, alert_id: str, who: Credential, reason: str) -> AlertRecord:
        """Puts a hold on the alert's case and returns the alert.

        A case has one hold: a second call keeps the first. Raises Problem if the case is purged or is being purged.
        """
        record = await self.approval.get(alert_id, who)
        await self.approval.check_case(record, who)
        hold = Hold(
            org=record.org, by=who.subject, hands=tuple(sorted(who.hands)), at=self.clock.now_ms(), reason=reason
        )
        if record.state is AlertState.PURGED or await self.cases.keep(record.case, hold) is None:
            raise Problem("precondition-failed", "This case is purged or being purged, so a hold has nothing to keep.")
        return record

    async def release(self, alert_id: str, who: Credential) -> AlertRecord:
        """Releases the hold on the alert's case, which may then be purged. Returns the alert.

        Within one organisation, raises Problem for the person who placed the hold, and for anyone who made that
        person's key or whose key that person made. Also raises Problem if the hold changed meanwhile. A release by
        another organisation appears in the audit and the events of the alert's organisation.
        """
        record = await self.seen(alert_id, who)
        await self.approval.check_case(record, who)
        found = await self.cases.hold(record.case)
        if found is None:
            return record
        hold, seen = found
        is_own = record.org == who.org
        if is_own and (folded_subject(who.subject) in hold.hands or folded_subject(hold.by) in who.hands):
            raise Problem("same-person", "The person who placed a legal hold cannot release it. Ask another person.")
        number = 0 if is_own else await self.audit.begin(who.acting_for(record.org), ACT, record.id)
        if not await self.cases.let_go(record.case, seen, until_ms=self.clock.now_ms() + KEPT_AFTER_MS):
            raise Problem("precondition-failed", "Another person changed the hold at the same moment. Check it again.")
        return record if is_own else await self._notify(record, who, number)

    async def _notify(self, record: AlertRecord, who: Credential, number: int) -> AlertRecord:
        """Records, for the organisation of an alert, that another organisation released its hold. Returns the current
        alert.
        """
        for _ in range(TRIES):
            done, old = await self.alerts.note_from(record, who.org, RELEASED, {})
            record = await self.alerts.get(record.id) or record
            if done or old != "changed":
                break
        noted = Noted(record=record, facts={"organisation": who.org})
        await self.audit.end(who.acting_for(record.org), ACT, DONE, noted, of=number)
        return record
