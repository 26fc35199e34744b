"""An alert is told anew with what is known now: an update is written by one person, and approved by another as an alert is."""

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
from alertd.service.alerts.later_audience import TELLS, check_room, told_again, told_before, versions_of
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
    """Takes updates in. Whoever says the same twice gets the same answer."""

    alerts: Alerts
    updates: Updates
    work: Work
    intake: Intake
    approval: Approval
    photos: Photos

    async def submit(  # noqa: PLR0913  some are of one way in alone
        self, alert_id: str, alert: Alert, notify: Notify, who: Credential, *, rev: int | None = None,
        dry_run: bool = False, external_id: str = "", again: bool = False,
        check: Callable[[Sequence[AlertRecord]], None] | None = None,
    ) -> Taken:  # fmt: skip
        """What the alert is to say, kept as a version of it that waits for its second person; of a Test or an Exercise it goes out at
        once. `external_id` is a name of its own; `again`: it was taken in before. Raises Problem as where an alert is taken in, as `check`
        does of the versions that it would follow, and: precondition-failed for an alert that is not told, or has an update that waits
        already; expired; superseded for a version that is none.
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
        """The update as it would be kept, and whom it would reach."""
        before = old.alert
        if faults := tuple(_other(before, alert, restricted_only=old.times.restricted > 0)):
            raise Problem("invalid-request", "This is another alert, not an update of it.", faults=faults)
        alert = alert.model_copy(update={"external_id": external_id or None})
        taken = await self.intake.look_over(alert, who, old.version(len(versions) + 1), _UPDATE, upon=old)
        again, newly = await self._counts(taken, notify, before)
        update = Update(
            occasion=Occasion.UPDATE, follows=TELLS, alerted=old.times.start, notify=notify, again=again, newly=newly,
            upon=old.times.changes,
        )  # fmt: skip
        times = replace(taken.record.times, rings_from=old.counts_on(taken.record.alert))
        return replace(taken, record=replace(taken.record, case=old.case, follow_up=update, times=times))

    async def _counts(self, taken: Taken, notify: Notify, before: Alert) -> tuple[int, int]:
        """People who were notified and would be again, and about how many people are in the area where it is not the alert's."""
        chain, channels = chain_of(taken.record.id), before.channels
        told = await told_before(self.alerts, self.work, chain, channels, np.empty(0, np.uint64))
        again = np.unique(told_again(told, notify, channels) >> np.uint64(3))
        if notify is Notify.NONE or taken.reach is None:
            return len(again), 0
        new = await self.intake.reach_previews.newly(taken.record.alert, taken, await self.alerts.area(chain))
        return len(again), stored_estimate(new.whole.people)

    async def _done(
        self, versions: Sequence[AlertRecord], alert: Alert, notify: Notify, external_id: str, who: Credential,
        *, dry_run: bool = False,
    ) -> Taken | None:  # fmt: skip
        """What was taken in before, as it stands now, and whom it would reach now."""
        alert = await self.intake.completed(alert, who)
        said = await self.photos.add_descriptions(alert.model_copy(update={"external_id": external_id or None}), who)
        document = said.model_dump_json(by_alias=True).encode()
        record = await self._same(versions, document, notify, who)
        if record is None and notify == Notify.NONE:
            # Since its approval it may tell in silence what was still to be told.
            record = await self._same(versions, document, Notify.SILENT, who)
        if record is None:
            return None
        if record.state is AlertState.PENDING and not dry_run:
            record = await self._begun(record.id, who)
        look = await self.intake.look(said, who)
        return Taken.of(record, look)

    async def _same(
        self, versions: Sequence[AlertRecord], document: bytes, notify: Notify, who: Credential
    ) -> AlertRecord | None:
        """Returns the update with this very document: the caller's own, or anyone's in the organisation if it came as a CAP message."""
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
        """Whether it was kept; no where the alert or its chain is another since, and is to be looked at again. Raises Problem."""
        record = taken.record
        if await find_first(self.alerts, self.intake.clock, record):  # another key of the organisation was faster
            return False
        done, said = await self.updates.propose(old, record, pack_area(taken.area.geometry), last=len(versions))
        if done or said in {"again", "changed"}:
            return done
        if said == "expired":
            raise has_ended()
        if chain_of(said) == old.id:
            raise Problem(
                "precondition-failed",
                "Another update waits for its second person; have it approved, returned or rejected first.",
                alert=said,
            )
        _check_shown(said)
        return False

    async def _begun(self, update_id: str, who: Credential) -> AlertRecord:
        """What becomes of an update that was just kept, or whose first request died there: it has its photos, and approvers find
        it. Doing it again changes nothing.
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
    if state not in SHOWN:
        raise Problem("precondition-failed", f"An alert that is {state or 'gone'} is not updated.")


def _other(before: Alert, alert: Alert, *, restricted_only: bool) -> Iterator[Fault]:
    """What makes it another alert. Whoever was told by a channel must hear on it how it ends, so none is taken away."""
    if alert.kind != before.kind:
        yield Fault("/kind", f"The alert is of kind {before.kind}: write a new one.")
    if alert.status != before.status:
        yield Fault("/status", f"The alert is of status {before.status}: write a new one.")
    if alert.case.number != before.case.number:
        yield Fault("/case/number", "The alert is of another case: write a new one.")
    if alert.external_id not in {None, before.external_id}:
        yield Fault("/external_id", "The alert has another external id.")
    if alert.starts != before.starts:
        yield Fault("/starts", "An update is told once it is approved.")
    if missing := [channel for channel in before.channels if channel not in alert.channels]:
        yield Fault("/channels", f"People were told on {', '.join(missing)}: a channel is not taken away.")
    if restricted_only and restricted(alert).model_dump_json() != alert.model_dump_json():
        yield Fault("/case", "Its facts and photos were taken out for good: an update names none.")
