"""Changes a shown alert in place: removes identity and photos, or extends its end. Neither change makes a phone ring
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import structlog

from alertd.common.clock import Clock, ms_of, time_of
from alertd.common.errors import Fault, Problem
from alertd.model import rules
from alertd.model.alert import Alert
from alertd.model.kinds import Kind, Occasion
from alertd.model.redaction import restricted
from alertd.model.states import KNOWN, SHOWN, WAITING, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.follow_up import Followed
from alertd.service.alerts.later_audience import TELLS, if_told, later_version, replaces, versions_of
from alertd.service.decision_checks import TRIES, changed_since, check_key, check_revision, has_ended
from alertd.service.records.photos import Photos
from alertd.service.records.published_history import PublishedHistory
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord, Footing, unless_damaged
from alertd.store.records.tombstones import Restriction, Tombstones
from channels.base import Loudness

#: Maximum time in ms from an alert's start to its end: the ledger counts ms since the start in 32 bits.
LONGEST_MS = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A change of an alert: the changed versions, and the version that announces it to phones."""

    word: str  # the name of the event; '' for none
    anew: list[AlertRecord]  # the changed versions, the alert among them
    told_by: AlertRecord | None = None


#: Makes a change from an alert and all its versions. Returns the result (`Followed`) instead if nothing is left to
#: change.
Change = Callable[[AlertRecord, list[AlertRecord]], Awaitable[_Change | Followed]]


@dataclass(slots=True)
class Amendment:
    """Changes shown and stood-down alerts. Idempotent: repeating a call returns the first result."""

    alerts: Alerts
    approval: Approval
    photos: Photos
    published_history: PublishedHistory
    tombstones: Tombstones
    clock: Clock

    async def restrict(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> Followed:
        """Removes the facts and the photos of a missing child from an alert for good, and returns the alert. Of the
        child, only age and sex remain.

        Unsent messages contain no more than that. A silent message replaces the alert on each phone that shows it.
        While a legal hold keeps the case, only the evidence has the earlier content. Raises Problem.
        """
        done = await self._revised(alert_id, who, reason, rev, partial(self._restriction, who))
        await self.published_history.settle(await self.approval.get(alert_id, who))
        try:  # a file outside the store, because a backup of the store may be older than the restriction
            await asyncio.to_thread(
                self.tombstones.add, Restriction(restricted=alert_id, at=done.record.times.restricted)
            )
        except OSError:
            raise Problem(
                "store-unavailable",
                "The alert is restricted, but that cannot be recorded for a backup that is put back. Fix store.tombstones, then restrict it again.",
            ) from None
        return done

    async def still_named(self, record: AlertRecord) -> list[str]:
        """Returns the ids of other alerts of the same case and organisation that may contain the removed facts, and are
        shown or may still be. Returns none if `record` is not restricted. Each alert belongs to its own author, and may
        be about another child of the case. Therefore alertd restricts none of them automatically.
        """
        if not record.times.restricted:
            return []
        now, found = self.clock.now_ms(), await self.alerts.listed(await self.alerts.ids_in_case(record.case))
        own = [one for one in found if one and one.state in KNOWN | WAITING and now < one.expires]
        return [one.id for one in own if not one.times.restricted and one.kind == Kind.MISSING_CHILD]

    async def restore(self) -> None:
        """Runs before a restored store is served: restricts each alert again that was restricted after the backup was
        made. Skips damaged alerts, which are shown nowhere. Raises OSError.
        """
        found = await asyncio.to_thread(self.tombstones.restrictions)
        facts = await self.alerts.fields(list(found), "state", "restricted")
        risen = [  # reads only unencrypted fields; a damaged alert shows no facts
            one
            for one, (state, since) in zip(found, facts, strict=True)
            if state and state.decode() != AlertState.PURGED and not int(since or 0)
        ]
        for record in [one for alert_id in risen if (one := await self._readable(alert_id))]:
            await self._restricted_anew(record, found[record.id].at)
            structlog.get_logger().warning("alert.restricted_again", alert=record.id)

    async def _restricted_anew(self, record: AlertRecord, at: int) -> None:
        """Removes the child's facts from all readable versions of an alert, as of the time `at` (UNIX ms), and settles
        its published history.
        """
        await self.published_history.words.keep(record)
        versions = await self.alerts.versions([record.id])
        known = [one for version in versions if (one := await self._readable(version)) and one.document]
        anew = [_restricted(one, at) for one in known]
        footing = Footing(sources=AlertState, last=len(versions), rev=None)
        await self.alerts.follow(record, footing, None, None, fields={}, anew=anew)
        await self.published_history.settle(replace(record, times=replace(record.times, restricted=at)))

    async def _readable(self, alert_id: str) -> AlertRecord | None:
        """Returns an alert, or None if it is damaged."""
        return await unless_damaged(alert_id, self.alerts.get(alert_id))

    async def extend(
        self, alert_id: str, who: Credential, expires: datetime, reason: str, *, rev: int | None = None
    ) -> Followed:
        """Moves the end of an alert to a later time, and returns the alert. A child's name is then shown for longer
        than the second person approved. Therefore the caller must be a person who could approve the alert. Queued
        messages live longer and photos are kept longer, but phones get no message about it. Raises Problem.
        """
        return await self._revised(alert_id, who, reason, rev, partial(self._extension, who, expires))

    async def _restriction(
        self, who: Credential, record: AlertRecord, versions: list[AlertRecord]
    ) -> _Change | Followed:
        """Returns the change that removes the child's facts from all versions, with the version that replaces the
        message on phones. Raises Problem if the alert's state or kind allows no restriction.
        """
        if record.times.restricted:
            return self._said_again(who, record, versions)
        _check_state(record.state)
        if record.kind != Kind.MISSING_CHILD:
            raise Problem("precondition-failed", "Only an alert for a missing child has facts that can be removed.")
        now = self.clock.now_ms()
        fresh = _restricted(record, now)
        later = await asyncio.gather(*(self.alerts.get(one.id) for one in versions if one.id != record.id))
        told_by = _replacement(fresh, len(versions) + 1, who)
        return _Change(
            word="restricted", anew=[fresh, *(_restricted(one, now) for one in later if one)], told_by=told_by
        )

    def _said_again(self, who: Credential, record: AlertRecord, versions: list[AlertRecord]) -> _Change | Followed:
        """Returns the answer to a repeated restriction. Announces the restriction again if a later version has
        replaced the one that announced it.
        """
        told = [one for one in versions if one.times.restricted and replaces(one) and one.state in SHOWN]
        told_by = _replacement(record, len(versions) + 1, who)
        if told_by is None or (told and not told[-1].update):
            return Followed(record=record, told_by=told[-1].id if told else None)
        return _Change(word="", anew=[], told_by=told_by)

    async def _extension(
        self, who: Credential, expires: datetime, record: AlertRecord, _versions: list[AlertRecord]
    ) -> _Change | Followed:
        """Returns the change that moves the alert's end, and keeps its photos until then. Returns the result instead if
        the caller made this change before. Raises Problem.
        """
        ends = ms_of(expires)
        if record.expires == ends and who.is_person(record.last_step.by):
            return Followed(record=record, told_by=None)
        _check_state(record.state)
        await self.approval.check_approver(record, who)
        now = self.clock.now_ms()
        # Keep the time zone that the first messages used.
        at = expires.astimezone(record.alert.expires.tzinfo)
        new = replace(_anew(record, now, lambda alert: alert.model_copy(update={"expires": at})), expires=ends)
        self._check_end(record, new, now)
        await self.photos.attach(new.alert, new)
        await self.alerts.external_ids.keep(new)
        return _Change(word="extended", anew=[new])

    def _check_end(self, record: AlertRecord, new: AlertRecord, now_ms: int) -> None:
        """Raises Problem if `new` has no valid end, an end no later than before, or an end more than 49 days after the
        start.
        """
        now = time_of(now_ms)
        faults = rules.expiry_faults(new.alert, now)
        if new.expires <= record.expires:
            faults.append(Fault("/expires", "The new end must be later than the present one."))
        if new.expires > record.times.start + LONGEST_MS:
            faults.append(Fault("/expires", "An alert can last at most 49 days. Submit a new alert."))
        if faults:
            raise Problem("invalid-request", "The alert cannot end at this time.", faults=tuple(faults))

    async def _revised(self, alert_id: str, who: Credential, reason: str, rev: int | None, change: Change) -> Followed:
        """Makes a change with `change` and stores it. Reads the alert again and repeats if another call changed it
        meanwhile. Returns the alert. Raises Problem.
        """
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            check_key(record, who)
            versions = await versions_of(self.alerts, alert_id)
            found = await change(record, versions)
            if isinstance(found, Followed):
                return found
            check_revision(record, rev)
            if found.anew:
                await self.published_history.words.keep(record)
            if await self._write(record, found, len(versions), {"by": who.signature, "reason": reason}):
                told_by = found.told_by.id if found.told_by else None
                return Followed(record=await self.approval.get(alert_id, who), told_by=told_by)
        raise changed_since()

    async def _write(self, record: AlertRecord, change: _Change, last: int, fields: dict[str, str]) -> bool:
        """Writes the change. Returns False if another change came first, and the alert must be read again. Raises
        Problem if the alert has expired or its state allows no change.

        `last`: the number of the latest version that the caller knows. `fields`: fields of the record to set.
        """
        footing = Footing(sources=KNOWN, last=last, rev=record.rev, alive=True, word=change.word)
        done, old = await self.alerts.follow(record, footing, None, change.told_by, fields=fields, anew=change.anew)
        if done or old in {"again", "changed"}:
            return done
        if old == "expired":
            raise has_ended()
        _check_state(old)
        return False


def _anew(record: AlertRecord, now_ms: int, change: Callable[[Alert], Alert]) -> AlertRecord:
    """Returns the version with its document changed by `change`, and `now_ms` (UNIX ms) added to the times of its
    changes.
    """
    alert = change(record.alert)
    document = alert.model_dump_json(by_alias=True).encode()
    changes = f"{record.times.changes} {now_ms}".strip()
    return replace(record, document=document, times=replace(record.times, changes=changes))


def _restricted(record: AlertRecord, now_ms: int) -> AlertRecord:
    """Returns the version without the child's facts and photos, marked as restricted at `now_ms`."""
    less = _anew(record, now_ms, restricted)
    return replace(less, times=replace(less.times, restricted=now_ms))


def _replacement(record: AlertRecord, nth: int, who: Credential) -> AlertRecord | None:
    """Returns the version that replaces a restricted alert on phones. Returns None if the alert is not shown now:
    after a reopening, phones get it without the removed facts.
    """
    if record.state not in SHOWN:
        return None
    version = later_version(
        record, nth, Occasion.UPDATE, TELLS, by=who.signature, expires=record.expires, loudness=Loudness.SILENT
    )
    return if_told(version)


def _check_state(state: str) -> None:
    """Raises Problem unless an alert in this state is shown or stood down."""
    if state not in KNOWN:
        raise Problem("precondition-failed", f"An alert that is {state} cannot be restricted or extended.")
