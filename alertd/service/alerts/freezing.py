"""The last step of an approval: stores the audience and opens the gate. For an update, also replaces the alert by it.

Each method returns whether it succeeded, and the state of the alert or update that prevented it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.alert import Alert
from alertd.model.permission import permitting
from alertd.model.states import AlertState
from alertd.service.access import Credential, is_sent_alone
from alertd.service.alerts.jurisdiction_split import newly_asked, taken_over
from alertd.service.alerts.later_audience import audience
from alertd.service.decision_checks import TRIES
from alertd.service.records.photos import Photos
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import FrozenAudience
from alertd.store.alerts.records import AlertRecord
from alertd.store.approvals.later_versions import PermissionStore, Updates


@dataclass(slots=True)
class Freezing:
    """Freezes an audience, all or nothing."""

    alerts: Alerts
    updates: Updates
    photos: Photos
    permissions: PermissionStore
    clock: Clock

    async def freeze(self, record: AlertRecord, frozen: FrozenAudience, who: Credential) -> tuple[bool, str]:
        """Freezes the audience of an alert and opens its gate. Returns whether it succeeded, and the state that
        prevented it. Notes the requests to neighbours first, before the alert is sent.
        """
        glass = record.approval.glass
        alone = {"why": glass.why, "hands": record.author.hands} if glass else {}
        if is_sent_alone(who):
            alone["sent_alone"] = "1"
        if asked := newly_asked(record):
            await self.permissions.note(asked, record.id, self.clock.now_ms())
        return await self.alerts.approve(
            record.id, frozen.numbers, who.signature, rings=frozen.rings, rev=record.rev,
            approved_rev=record.approval.rev if record.state is AlertState.SCHEDULED else record.rev,
            sent_by=(record.author.key, who.sender), asked=asked, **alone,
        )  # fmt: skip

    async def replace(
        self, update: AlertRecord, alert: Alert, inside: FrozenAudience, who: Credential
    ) -> tuple[bool, str]:
        """Freezes the audience of an update, and replaces the alert by the update. Tries again if the alert's state
        changed at the same moment, for instance when its sending began or finished. Raises Problem if the alert is no
        longer shown.
        """
        await self.photos.attach(alert, update)
        for _ in range(TRIES):
            done, state, whose = await self._take_place(update, alert, inside, who)
            if (state, whose) != ("changed", "alert"):
                break
        if not done and whose == "alert" and state not in {"changed", "expired"}:
            raise Problem("precondition-failed", f"The alert is {state or 'gone'}, so it cannot be updated.")
        return done, state

    async def _take_place(
        self, update: AlertRecord, alert: Alert, inside: FrozenAudience, who: Credential
    ) -> tuple[bool, str, str]:
        """Reads the alert again and replaces it by the update. Returns three values: whether it succeeded, a state, and
        whose state that is ("alert" or "update").

        The state is 'revised' if the alert was changed after the update was submitted: the author of the update has not
        seen the change, and the update would undo it.
        """
        old, facts = await self.alerts.get(chain_of(update.id)), update.update
        if old is None or facts is None:
            return False, "", "alert"
        # The Lua script compares both with their revisions as they were read.
        if update.state is AlertState.PENDING and old.times.changes != facts.based_on:
            return False, "revised", "update"
        frozen = await audience(self.alerts, update.id, facts.notify, inside)
        now_ms = self.clock.now_ms()
        changes = f"{old.times.changes} {now_ms}".strip()
        document = alert.model_copy(update={"external_id": old.external_id or None}).model_dump_json(by_alias=True)
        new = replace(
            taken_over(old, update),
            document=document.encode(),
            expires=update.expires,
            texts=update.texts,
            level=update.level,
            loudness=update.loudness,
            last_step=replace(old.last_step, by=who.signature),
            times=replace(old.times, changes=changes, rings_from=update.times.rings_from or now_ms + old.chain.ahead),
            target=replace(old.target, regions=update.target.regions, countries=update.target.countries),
        )
        if asked := newly_asked(new, old):
            await self.permissions.note(asked, old.id, now_ms)
        await self.updates.published.keep(old)
        sent_by = (update.author.key, who.sender, *permitting(new.neighbours.permissions))
        return await self.updates.approve(
            new, update, frozen, who.signature, sent_by=sent_by, asked=asked, sent_alone=is_sent_alone(who)
        )
