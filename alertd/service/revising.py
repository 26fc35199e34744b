"""What an alert says while it is told, changed in place: its facts taken out, or its end put off. Neither rings again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from alertd.alerts import SHOWN, AlertState
from alertd.clock import Clock
from alertd.documents import Alert
from alertd.errors import Problem
from alertd.kinds import Kind, Occasion
from alertd.restriction import restricted
from alertd.service.access import Credential
from alertd.service.approval import Approval, check_key
from alertd.service.following import Followed
from alertd.service.notices import notice, occasion_of, versions_of
from alertd.service.revisions import changed_since, check_revision
from alertd.store.alerts import AlertRecord, Alerts, Footing
from channels.base import Loudness

TRIES = 5
#: While people know of it, or may again.
SOURCES = SHOWN | {AlertState.STOOD_DOWN}
#: Who was told what the alert said is told what it says now.
FOLLOWS = (Occasion.ALERT, Occasion.UPDATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What a version of an alert says from now on, and the version that tells of it."""

    anew: list[AlertRecord]  # the alert first
    told_by: AlertRecord | None


class Revising:
    """Changes alerts that people know of. Whoever says the same twice gets the same answer."""

    def __init__(self, alerts: Alerts, approval: Approval, clock: Clock) -> None:
        self._alerts = alerts
        self._approval = approval
        self._clock = clock

    async def restrict(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> Followed:
        """Take the facts and the photos out of it, for good: of a child nothing is left but age and sex. What is still to be sent
        says no more than that, and whoever has it on a phone gets it so in its place, without a sound. Raises Problem.
        """
        for _ in range(TRIES):
            record = await self._approval.get(alert_id, who)
            check_key(record, who)
            check_revision(record, rev)
            versions = await versions_of(self._alerts, alert_id)
            if record.restricted:
                told = [one for one in versions if one.restricted and occasion_of(one) is Occasion.UPDATE]
                return Followed(record=record, told_by=told[0].id if told else None)
            change = await self._restriction(record, len(versions), who)
            if await self._change(record, change, len(versions), who, reason):
                told_by = change.told_by.id if change.told_by else None
                return Followed(record=await self._approval.get(alert_id, who), told_by=told_by)
        raise changed_since()

    async def _restriction(self, record: AlertRecord, last: int, who: Credential) -> _Change:
        if record.kind != Kind.MISSING_CHILD:
            raise Problem("precondition-failed", "Only the alert of a missing child has facts that can be taken out.")
        now = self._clock.now_ms()
        fresh = replace(self._anew(record, now, restricted), restricted=now)
        later = [await self._alerts.get(f"{record.id}-{n}") for n in range(2, last + 1)]
        told_by = None
        if record.state in SHOWN:  # else no phone shows it: it comes back without what was taken out
            told_by = notice(
                fresh, last + 1, Occasion.UPDATE, FOLLOWS,
                by=who.subject, expires=record.expires, loudness=Loudness.SILENT,
            )  # fmt: skip
        return _Change(anew=[fresh, *(self._anew(one, now, restricted) for one in later if one)], told_by=told_by)

    def _anew(self, record: AlertRecord, now_ms: int, change: Callable[[Alert], Alert]) -> AlertRecord:
        """The version as it is after a change of its document."""
        alert = change(Alert.model_validate_json(record.document))
        document = alert.model_dump_json(by_alias=True).encode()
        return replace(record, document=document, changes=f"{record.changes} {now_ms}".strip())

    async def _change(self, record: AlertRecord, change: _Change, last: int, who: Credential, reason: str) -> bool:
        """Whether it was done; no where somebody else was first, and it is to be looked at again. Raises Problem."""
        footing = Footing(sources=SOURCES, last=last, rev=record.rev, alive=True)
        fields = {"by": who.subject, "reason": reason}
        done, old = await self._alerts.follow(record, footing, None, change.told_by, fields=fields, anew=change.anew)
        if done or old in {"again", "changed"}:
            return done
        if old == "expired":
            raise Problem("expired", "The alert's end has passed.")
        raise Problem("precondition-failed", f"An alert that is {old} is not changed any more.")
