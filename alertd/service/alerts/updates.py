"""Updates an alert with new facts. One person submits an update, and another person approves it, as with an alert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alertd.common.errors import Fault, Problem
from alertd.common.ids import chain_of
from alertd.model.alert import Alert, Status
from alertd.model.kinds import Notify, Occasion
from alertd.model.redaction import restricted
from alertd.model.states import SHOWN, AlertState
from alertd.rendering import Telling
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.duplicates import find_first
from alertd.service.alerts.intake import Intake, Taken
from alertd.service.alerts.later_audience import TELLS, check_room, earlier_recipients, renotified, versions_of
from alertd.service.alerts.stops import check_submission
from alertd.service.decision_checks import TRIES, changed_since, check_key, check_revision, has_ended
from alertd.service.reach import stored_estimate
from alertd.service.records.photos import Photos
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.external_ids import UNDER_WAY
from alertd.store.alerts.record_fields import pack_area
from alertd.store.alerts.records import AlertRecord, Update
from alertd.store.approvals.later_versions import Updates
from alertd.store.delivery.work import Work

_UPDATE = Telling(occasion=Occasion.UPDATE)


@dataclass(slots=True)
class UpdateProposals:
    """Submits updates. Idempotent: repeating a submission returns the first result."""

    alerts: Alerts
    updates: Updates
    work: Work
    intake: Intake
    approval: Approval
    photos: Photos

    async def submit(  # noqa: PLR0913  the API and CAP each need some of them
        self, alert_id: str, alert: Alert, notify: Notify, who: Credential, *, rev: int | None = None,
        dry_run: bool = False, external_id: str = "", again: bool = False,
        check: Callable[[Sequence[AlertRecord]], None] | None = None,
    ) -> Taken:  # fmt: skip
        """Submits an update: stores `alert` as a version that waits for its second person, and returns it. An update of
        a Test or Exercise is sent at once.

        `external_id` is the update's own external id. `again` says that the same request may have been stored before.
        `check` gets the alert's versions, and raises Problem if the update must not follow them. Raises Problem as the
        intake of an alert and `check` do, and also: expired; precondition-failed if the alert is not shown, another
        update of it waits already, or `alert_id` is not the alert's own id.
        """
        for _ in range(TRIES):
            old = await self.approval.get(alert_id, who)
            check_key(old, who)
            versions = await versions_of(self.alerts, alert_id)
            if again and not dry_run and (done := await self._done(versions, alert, notify, external_id, who)):
                return done
            living = [one for one in versions if external_id == one.external_id and one.state in UNDER_WAY]
            if external_id and (first := await self._done(living, alert, notify, external_id, who, dry_run=dry_run)):
                return replace(first, is_repeat=True)
            if check:
                check(versions)
            _check_shown(old.state)
            check_revision(old, rev)
            goes_out = alert.status is not Status.ACTUAL
            check_submission(await self.approval.stop_control.standing(), who, goes_out=goes_out)
            taken = await self._looked_over(old, alert, notify, who, versions, external_id)
            waiting = [one for one in versions if one.state is AlertState.PENDING]
            same = await self._same(waiting, taken.record.document, notify, who)
            if not same:
                check_room(len(versions) + 1)
            if dry_run:
                return replace(taken, record=same or taken.record)
            if same or await self._propose(old, taken, versions):
                return replace(taken, record=await self._begun((same or taken.record).id, who))
        raise changed_since()

    async def _looked_over(
        self, old: AlertRecord, alert: Alert, notify: Notify, who: Credential, versions: Sequence[AlertRecord],
        external_id: str,
    ) -> Taken:  # fmt: skip
        """Checks an update. Returns it as it would be stored, with its reach. Raises Problem."""
        before = old.alert
        if faults := tuple(_other(before, alert, restricted_only=old.times.restricted > 0)):
            raise Problem("invalid-request", "This is another alert, not an update of it.", faults=faults)
        alert = alert.model_copy(update={"external_id": external_id or None})
        taken = await self.intake.look_over(alert, who, old.version(len(versions) + 1), _UPDATE, upon=old)
        again, new = await self._counts(taken, notify, before)
        update = Update(
            occasion=Occasion.UPDATE, follows=TELLS, alerted=old.times.start, notify=notify, renotify_count=again,
            new_recipients=new, based_on=old.times.changes,
        )  # fmt: skip
        times = replace(taken.record.times, rings_from=old.counts_on(taken.record.alert))
        return replace(taken, record=replace(taken.record, case=old.case, follow_up=update, times=times))

    async def _counts(self, taken: Taken, notify: Notify, before: Alert) -> tuple[int, int]:
        """Returns two counts: recipients that the update would notify again, and about how many people are in its area
        but not in the alert's.
        """
        chain, channels = chain_of(taken.record.id), before.channels
        recipients = await earlier_recipients(self.alerts, self.work, chain, channels, np.empty(0, np.uint64))
        again = np.unique(renotified(recipients, notify, channels) >> np.uint64(3))
        if notify is Notify.NONE or taken.reach is None:
            return len(again), 0
        new = await self.intake.reach_previews.newly(taken.record.alert, taken, await self.alerts.area(chain))
        return len(again), stored_estimate(new.whole.people)

    async def _done(
        self, versions: Sequence[AlertRecord], alert: Alert, notify: Notify, external_id: str, who: Credential,
        *, dry_run: bool = False,
    ) -> Taken | None:  # fmt: skip
        """Returns an update that was stored before, in its present state and with its present reach. Returns None if
        there is none.
        """
        alert = await self.intake.completed(alert, who)
        said = await self.photos.add_descriptions(alert.model_copy(update={"external_id": external_id or None}), who)
        document = said.model_dump_json(by_alias=True).encode()
        record = await self._same(versions, document, notify, who)
        if record is None and notify == Notify.NONE:
            # An approval changes NONE to SILENT while people are still being notified of a restriction or a reopening.
            record = await self._same(versions, document, Notify.SILENT, who)
        if record is None:
            return None
        if record.state is AlertState.PENDING and not dry_run:
            record = await self._begun(record.id, who)
        preview = await self.intake.preview(said, who)
        return Taken.of(record, preview)

    async def _same(
        self, versions: Sequence[AlertRecord], document: bytes, notify: Notify, who: Credential
    ) -> AlertRecord | None:
        """Returns the stored update with exactly this document and `notify`, or None. It is the caller's own, or
        anyone's in the organisation if it came as a CAP message.
        """
        for one in versions:
            if (
                one.update
                and one.update.notify is notify
                and (one.external_id or who.wrote(one.author.subject, one.author.key))
            ):
                kept = await self.alerts.get(one.id)
                if kept and kept.document == document:
                    return kept
        return None

    async def _propose(self, old: AlertRecord, taken: Taken, versions: Sequence[AlertRecord]) -> bool:
        """Stores the update. Returns False if the alert or its chain has changed, and must be read again. Raises
        Problem.
        """
        record = taken.record
        # Another key of the organisation may have submitted it first.
        if await find_first(self.alerts, self.intake.clock, record):
            return False
        done, said = await self.updates.propose(old, record, pack_area(taken.area.geometry), last=len(versions))
        if done or said in {"again", "changed"}:
            return done
        if said == "expired":
            raise has_ended()
        if chain_of(said) == old.id:
            raise Problem(
                "precondition-failed",
                "Another update of this alert waits for its second person. Have it approved, returned or rejected first.",
                alert=said,
            )
        _check_shown(said)
        return False

    async def _begun(self, update_id: str, who: Credential) -> AlertRecord:
        """Continues with a stored update, also after its first request was cut off: attaches its photos, lists it for
        approvers, and approves it at once if it needs no second person. Returns it in its new state. Repeating the call
        changes nothing. Rejects the update and raises Problem if a photo is gone.
        """
        record = await self.approval.get(update_id, who)
        try:
            await self.photos.attach(record.alert, record)
        except Problem:
            await self.approval.reject(record.id, who, "A photo is gone.")
            raise
        await self.updates.list(record)
        return await self.approval.begin(record, who)


def _check_shown(state: str) -> None:
    """Raises Problem unless an alert in this state is shown."""
    if state not in SHOWN:
        raise Problem("precondition-failed", f"An alert that is {state or 'gone'} cannot be updated.")


def _other(before: Alert, alert: Alert, *, restricted_only: bool) -> Iterator[Fault]:
    """Yields a fault for each member that the update `alert` changes although it may not, and for removed channels, on
    which recipients must get the alert's end. `restricted_only`: the facts and photos of `before` were removed for
    good, so yields a fault if the update contains any.
    """
    if alert.kind != before.kind:
        yield Fault("/kind", f"The alert is of kind {before.kind}. Submit a new alert.")
    if alert.status != before.status:
        yield Fault("/status", f"The alert is of status {before.status}. Submit a new alert.")
    if alert.case.number != before.case.number:
        yield Fault("/case/number", "The alert belongs to another case. Submit a new alert.")
    if alert.external_id not in {None, before.external_id}:
        yield Fault("/external_id", "The alert has another external id.")
    if alert.starts != before.starts:
        yield Fault("/starts", "An update is sent when it is approved. Do not change the start.")
    if missing := [channel for channel in before.channels if channel not in alert.channels]:
        yield Fault("/channels", f"People were notified on {', '.join(missing)}. An update must keep these channels.")
    if restricted_only and restricted(alert).model_dump_json() != alert.model_dump_json():
        yield Fault("/case", "The facts and photos of this alert were removed for good. An update must contain none.")
