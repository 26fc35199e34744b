"""An alert is taken in and, where it needs nobody else, goes out at once."""

from __future__ import annotations

from dataclasses import replace

from alertd.model.alert import Alert, Status
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.intake import Intake, Taken
from alertd.service.alerts.stops import check_submission
from alertd.service.organisations.organisations import OrganisationPolicy


async def submit(  # noqa: PLR0913  each is a choice of its own
    intake: Intake,
    approval: Approval,
    alert: Alert,
    who: Credential,
    stance: OrganisationPolicy | None = None,
    *,
    alert_id: str | None = None,
    dry_run: bool = False,
    draft: bool = False,
    known: str = "",
) -> Taken:
    """The alert as it is kept then, or would be where this is a dry run. `stance` is that of the caller's organisation where it was read for
    this very request. `known` is the id of the alert that this one repeats, if the caller found it already. Raises Problem.
    """
    stance = stance or await intake.stance(who)
    # First: whoever is stopped is told that, whatever else is wrong.
    check_submission(stance.standing, who, goes_out=not draft and alert.status is not Status.ACTUAL)
    taken = await intake.submit(alert, who, stance, alert_id=alert_id, dry_run=dry_run, draft=draft, known=known)
    if dry_run or taken.is_repeat:
        return taken
    record = await approval.begin(taken.record, who, stance.known)
    return taken if record is taken.record else replace(taken, record=record)


async def submitted(intake: Intake, approval: Approval, alert_id: str, alert: Alert, who: Credential) -> Taken:
    """What was submitted before, as it stands now, and whom it would reach now. Raises Problem."""
    record = await approval.get(alert_id, who)
    return Taken.of(record, await intake.look(alert, who))
