"""The second person: an alert is sent only after someone else has seen what it will do."""

from __future__ import annotations

from alertd.alerts import AlertState
from alertd.config import AudienceSection
from alertd.documents import Alert, Status
from alertd.errors import Problem
from alertd.service.access import Credential
from alertd.service.targeting import Targeting
from alertd.store.alerts import AlertRecord, Alerts


class Approval:
    """Decides about alerts."""

    def __init__(self, alerts: Alerts, targeting: Targeting, settings: AudienceSection) -> None:
        self._alerts = alerts
        self._targeting = targeting
        self._settings = settings

    async def get(self, alert_id: str, who: Credential) -> AlertRecord:
        """An alert of the caller's organisation. Raises Problem: what is another's is not found."""
        record = await self._alerts.get(alert_id)
        if record is None or record.org != who.org:
            raise Problem("not-found", "There is no such alert.")
        return record

    async def submit(self, alert_id: str, who: Credential) -> AlertRecord:
        """A draft, or one that was returned, asks for its second person."""
        await self.get(alert_id, who)
        return await self._step(alert_id, AlertState.PENDING, who)

    async def approve(self, alert_id: str, who: Credential, *, people: int | None = None) -> AlertRecord:
        """Freeze the audience and open the gate. `people` is the count the approver saw; by default the one at submission.

        Raises Problem: same-person, audience-changed (with both counts), expired, precondition-failed.
        """
        record = await self.get(alert_id, who)
        if record.author == who.subject and record.status == Status.ACTUAL:
            raise Problem("same-person", "An Actual alert needs a second person: its author cannot approve it.")
        if who.test and record.status == Status.ACTUAL:
            raise Problem("not-allowed", "A test key cannot approve an Actual alert.")
        alert = Alert.model_validate_json(record.document)
        area = await self._alerts.area(alert_id)
        shares = await self._targeting.shares(area)
        found = await self._targeting.people(area, alert, shares)
        seen = record.seen if people is None else people
        if abs(len(found) - seen) > self._settings.drift_share * max(seen, 1):
            raise Problem(
                "audience-changed",
                "The audience is no longer the one that was seen. Look at it again, then approve with its count.",
                seen=seen,
                now=len(found),
            )
        done, old = await self._alerts.approve(
            alert_id, found.numbers, who.subject, self._targeting.told_regions(shares)
        )
        if not done:
            raise _refused(old, AlertState.APPROVED)
        return await self.get(alert_id, who)

    async def reject(self, alert_id: str, who: Credential, reason: str) -> AlertRecord:
        """It will not be sent."""
        await self.get(alert_id, who)
        return await self._step(alert_id, AlertState.REJECTED, who, reason=reason)

    async def give_back(self, alert_id: str, who: Credential, reason: str) -> AlertRecord:
        """Return an alert to its author."""
        await self.get(alert_id, who)
        return await self._step(alert_id, AlertState.RETURNED, who, reason=reason)

    async def cancel(self, alert_id: str, who: Credential, reason: str) -> AlertRecord:
        """Close the gate: what is queued is not sent. Whoever was told already is told nothing more by this."""
        record = await self.get(alert_id, who)
        waiting = {AlertState.DRAFT, AlertState.PENDING, AlertState.RETURNED}
        new = AlertState.REJECTED if record.state in waiting else AlertState.CANCELLED
        return await self._step(alert_id, new, who, reason=reason)

    async def _step(self, alert_id: str, new: AlertState, who: Credential, **fields: str) -> AlertRecord:
        done, old = await self._alerts.step(alert_id, new, by=who.subject, **fields)
        if not done:
            raise _refused(old, new)
        return await self.get(alert_id, who)


def _refused(old: str, new: AlertState) -> Problem:
    if old == "expired":
        return Problem("expired", "The alert's end has passed.")
    return Problem("precondition-failed", f"An alert that is {old or 'gone'} cannot become {new}.")
