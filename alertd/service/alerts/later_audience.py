"""Finds the recipients of a later version of an alert: of a follow-up or of an update.

Recipients are pairs of a subscriber and a channel. The worker uses the address that the subscriber has when it sends.
A follow-up notifies everyone who may have received what it follows, and not the people who are in the area now. An
update notifies earlier recipients again if its `notify` says so, and the other people in its area for the first time.
It also notifies people that an earlier version had yet to notify of a change.

The worker writes intents before it sends, and none after the gate has closed. Therefore the ledgers name every
recipient from then on. A row in flight counts as received. So does a row that a carrier accepted and later reported as
failed, because its reports come in any order. A queued row does not count, since its gate is closed by then.

For a person in the area of an update, two more kinds of row do not count as received. One is a row on a screen channel
that was cut off in the middle and would have been repeated. The other is a row that a carrier reported as failed. An
update notifies people outside its area of the change.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.kinds import ON_SCREEN, CancelReason, Notify, Occasion
from alertd.model.states import CHANNELS, FLAG_DOUBT, OPEN_STATES, AlertState, LedgerReason, State
from alertd.rendering import THE_ALERT, Telling
from alertd.service.areas.targeting import REST
from alertd.service.reach import SMALL_COUNT, is_exact
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import FrozenAudience
from alertd.store.alerts.records import AlertRecord, ApprovalFacts, FollowUp, LastStep, Neighbours
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import subscribers_in

#: States of rows whose message may have reached a person. A row in another state may have too, if an earlier attempt
#: left it in doubt.
MAY_HAVE_TOLD = (State.IN_FLIGHT, State.ACCEPTED, State.DELIVERED, State.UNKNOWN)
#: States of rows that wait, or waited when the gate was closed.
WAITS = (State.QUEUED, State.CANCELLED)
#: Reasons of an attempt that was cut off with an unknown outcome: its worker was lost, or an update replaced its alert.
_CUT_OFF = (LedgerReason.WORKER_LOST, LedgerReason.SUPERSEDED)
SCREENS = tuple(CHANNELS.index(channel) for channel in ON_SCREEN)

#: Pairs of subscriber and channel, sorted: 8 times the subscriber's number, plus the channel's number.
Pairs = NDArray[np.uint64]
NOBODY: Pairs = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredTo:
    """The pairs in the ledger of a version. A person with two addresses on one channel may be both in `told` and in
    `waits`.
    """

    everyone: Pairs
    told: Pairs  # may have received it
    waits: Pairs  # not sent yet, or cut off
    # The pairs of `told` all of whose rows were cut off on a screen, where a repeated message replaces the first, or
    # were reported as failed.
    unsure: Pairs


async def may_have_been_told(work: Work, versions: Iterable[str], channels: Collection[str]) -> Pairs:
    """Returns the pairs in the ledgers of these versions that may have received a message on one of the channels."""
    found = [(await find_delivered(work, version, channels)).told for version in versions]
    return np.unique(np.concatenate([NOBODY, *found]))


async def find_delivered(work: Work, version: str, channels: Collection[str]) -> DeliveredTo:
    """Returns the pairs in a version's ledger on the given channels."""
    wanted = [CHANNELS.index(channel) for channel in channels]
    pairs, told, waits, cut, failed = [NOBODY], [NOBODY], [NOBODY], [NOBODY], [NOBODY]
    async for row, records, refs in work.windows(version):
        doubt = records["tries"] & FLAG_DOUBT > 0
        codes = await work.channels_of(version, row, len(records))
        numbers, meant = subscribers_in(refs) * np.uint64(8), np.isin(codes, wanted)
        numbers += codes.astype(np.uint64)
        may_have, is_cut = np.isin(records["state"], MAY_HAVE_TOLD) | doubt, _is_cut_off(records, codes)
        pairs.append(numbers[meant])
        told.append(numbers[meant & may_have & ~is_cut])
        waits.append(numbers[meant & np.isin(records["state"], WAITS) & ~doubt])
        cut.append(numbers[meant & is_cut])
        failed.append(numbers[meant & _is_reported_failed(records)])
    everyone, told_, waits_, cut_, failed_ = (
        np.unique(np.concatenate(parts)) for parts in (pairs, told, waits, cut, failed)
    )
    cut_off, failed_ = np.setdiff1d(cut_, told_), np.setdiff1d(failed_, told_)
    unsure = np.union1d(cut_off, failed_)
    return DeliveredTo(
        everyone=everyone, told=np.union1d(told_, unsure), waits=np.union1d(waits_, cut_off), unsure=unsure
    )


def _is_cut_off(records: Any, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which rows on a screen channel may or may not have arrived because an attempt was cut off. The worker
    would have repeated that attempt: on a screen, the second message replaces the first. `codes` are the rows'
    channels.
    """
    in_doubt = (records["state"] == State.UNKNOWN) & np.isin(records["reason"], _CUT_OFF)
    in_doubt |= (records["state"] == State.QUEUED) & (records["tries"] & FLAG_DOUBT > 0)
    cut_off: NDArray[np.bool_] = in_doubt & np.isin(codes, SCREENS)
    return cut_off


def _is_reported_failed(records: Any) -> NDArray[np.bool_]:
    """Returns which rows a carrier accepted and later reported as failed. The carrier may still report that they
    arrived. (A row that the carrier refused has no receipt.)
    """
    reported: NDArray[np.bool_] = (records["state"] == State.FAILED) & (records["receipt"] > 0)
    return reported


async def in_flight(work: Work, versions: Iterable[str]) -> bool:
    """Returns whether any row of these versions is in flight: a worker is sending its message, and no outcome is
    stored.
    """
    counts = await work.counts_of(list(versions))
    return any(by_state.get("in_flight") for by_channel in counts for by_state in by_channel.values())


#: Time in ms that a follow-up waits after the gate of the earlier versions closed. Messages in flight then arrive
#: before it, and the ledger names everyone who received them.
SETTLE_MS = 2_000
#: Maximum number of a version that sends an alert again. A message's tag has one byte for the version (`ids`); the
#: remaining numbers are for stand-downs and ends.
MOST_VERSIONS = 200
#: Time in ms that an update waits for rows in flight, unless it notifies everybody again. A row in flight counts as
#: received, but a slow carrier may not get the rest of its chunk. Then only the update notifies those people. Most
#: carriers answer sooner.
ANSWERED_MS = 20_000
#: After an outage of the store, the wait for rows in flight begins again, at most this many times. Once is mostly
#: enough: no further row comes into flight, and the rows of a lost worker are settled when its lease ends.
MOST_GAPS = 5

#: The channels that an occasion is sent on; None for all. Occasions that can be reversed use only channels on which a
#: message can be removed from the screen.
CHANNELS_OF: dict[Occasion, frozenset[str] | None] = {
    Occasion.STAND_DOWN: frozenset(ON_SCREEN),
    Occasion.UPDATE: frozenset(ON_SCREEN),
    Occasion.CLOSE: None,
    Occasion.CANCEL: None,
}


def telling_of(record: AlertRecord) -> Telling:
    """Returns the occasion of a version for its message texts: the occasion, the reason, and when the alert was sent."""
    follow_up, code = record.follow_up, record.last_step.code
    if follow_up is None:
        return THE_ALERT
    return Telling(
        occasion=follow_up.occasion,
        reason=CancelReason(code) if code else None,
        alerted_at=time_of(follow_up.alerted),
    )


async def versions_of(alerts: Alerts, alert_id: str) -> list[AlertRecord]:
    """Returns all versions of an alert, without their documents. Raises Problem for an id that is not the alert's own
    (that of its first version).
    """
    if alert_id != chain_of(alert_id):
        raise Problem("precondition-failed", "This is a later version of an alert. Decide about the alert itself.")
    return await alerts.chain(alert_id)


def check_room(nth: int) -> None:
    """Raises Problem if version number `nth` would be above `MOST_VERSIONS`. Call it before a version that sends the
    alert again. A version that hides or ends the alert is always possible.
    """
    if nth > MOST_VERSIONS:
        raise Problem("precondition-failed", "This alert was changed too often. Close it, and submit a new one.")


def later_version(
    record: AlertRecord, nth: int, occasion: Occasion, follows: Iterable[Occasion], *, by: str, expires: int,
    loudness: str, code: CancelReason | None = None,
) -> AlertRecord:  # fmt: skip
    """Returns version number `nth` of an alert. It needs no second person: the person `by` decides it. `expires` is
    UNIX ms.
    """
    return replace(
        record, id=record.version(nth), state=AlertState.APPROVED, external_id="", people=0, expires=expires,
        loudness=loudness,
        last_step=LastStep(by=by, code=code or ""),
        approval=ApprovalFacts(by=by, is_alone=not is_exact(record)),
        follow_up=FollowUp(occasion=occasion, follows=tuple(follows), alerted=record.times.start),
        times=replace(record.times, changes=""),
        target=replace(record.target, seen=0),
        neighbours=Neighbours(),
        chain=replace(record.chain, paused=False),
    )  # fmt: skip


def if_told(version: AlertRecord) -> AlertRecord | None:
    """Returns the version if it has recipients: its alert was sent before, on a channel that the version is sent on.
    Returns None otherwise.
    """
    if not version.document or not version.times.start or not told_on(version, version.alert.channels):
        return None
    return version


def replaces(record: AlertRecord) -> bool:
    """Returns whether a version replaces the message of an alert that stays active. For a moment, the earlier content
    may still be sent.
    """
    follow_up = record.follow_up
    return follow_up is not None and follow_up.occasion is Occasion.UPDATE and Occasion.ALERT in follow_up.follows


def hides(record: AlertRecord) -> bool:
    """Returns whether a version removes from screens the content that must no longer be shown, because the alert is
    over or was restricted.
    """
    return telling_of(record).is_end or (bool(record.times.restricted) and replaces(record) and not record.update)


async def frozen(alerts: Alerts, work: Work, record: AlertRecord, channels: Collection[str]) -> Pairs:
    """Returns the pairs that a follow-up notifies. The first call finds and stores them, so that an interrupted plan
    can continue with the same pairs.
    """
    kept = await alerts.pairs(record.id)
    if kept is None:
        earlier = await alerts.chain(chain_of(record.id))
        follows = record.follow_up.follows if record.follow_up else ()
        told = [one.id for one in earlier if one.occasion in follows]
        pairs = await may_have_been_told(work, told, told_on(record, channels))
        found = FrozenAudience(numbers=pairs, rings=np.zeros(len(pairs), np.uint8))
        kept = await alerts.keep_pairs(record.id, found, len(np.unique(pairs >> np.uint64(3))))
    return kept.numbers


def told_on(record: AlertRecord, channels: Collection[str]) -> frozenset[str]:
    """Returns those of an alert's `channels` that its later version `record` is sent on: only screen channels for a
    stand-down or an update, all for a close or a cancellation.
    """
    only = CHANNELS_OF[record.occasion]
    return frozenset(channels) if only is None else only & frozenset(channels)


#: Occasions that send the alert itself. Their recipients may need to be notified of a change.
TELLS = (Occasion.ALERT, Occasion.UPDATE)
#: States of a version that is being sent, or was when another version replaced it.
_CUT_SHORT = OPEN_STATES | {AlertState.SUPERSEDED}
_BITS = np.uint64(3)


def again_on(notify: Notify, channels: Collection[str]) -> frozenset[str]:
    """Returns the channels on which earlier recipients are notified again. A silent update uses only channels on which
    content can be replaced.
    """
    only = {Notify.FULL: frozenset(channels), Notify.SILENT: CHANNELS_OF[Occasion.UPDATE]}
    return frozenset(channels) & (only.get(notify) or frozenset())


def few(record: AlertRecord, channels: Iterable[str], counts: Mapping[str, int], *, reads_ledger: bool) -> list[str]:
    """Returns the channels whose count is so small that it could reveal a home; 0 counts as small. If counts are not
    exact, all channels count as small.

    A caller who `reads_ledger` sees the small counts of an alert. That caller does not see the small counts of people
    that an update notifies for the first time.
    """
    again = again_on(record.update.notify, CHANNELS) if record.update else CHANNELS
    least = SMALL_COUNT if reads_ledger or is_exact(record) else math.inf
    return [one for one in channels if counts.get(one, 0) < least and not (reads_ledger and one in again)]


async def earlier_recipients(
    alerts: Alerts, work: Work, chain: str, channels: Collection[str], inside: NDArray[np.uint64], *, but: str = ""
) -> FrozenAudience:
    """Returns all pairs on the given channels that may have received any version of the alert, except the version
    `but`. A pair is 8 x the subscriber's number + the channel's number. Its ring is 1 if a version has still to notify
    it of a change, otherwise 0. `inside` are the numbers of the people in the area: a pair with an unknown outcome
    counts as notified unless its person is among them.
    """
    told = owed = NOBODY
    for one in await alerts.chain(chain):
        if one.id != but and one.occasion in TELLS:
            found = await find_delivered(work, one.id, channels)
            notify = one.update.notify if one.update else Notify.SILENT
            waits = np.intersect1d(_waits(one, found, on(told, again_on(notify, channels))), told)
            owed = np.union1d(np.setdiff1d(owed, np.setdiff1d(found.everyone, found.waits)), waits)
            told = np.union1d(told, np.setdiff1d(found.told, found.unsure[np.isin(found.unsure >> _BITS, inside)]))
    return FrozenAudience(numbers=told, rings=np.isin(told, owed).astype(np.uint8))


def _waits(version: AlertRecord, found: DeliveredTo, meant: Pairs) -> Pairs:
    """Returns the pairs (person, channel) that a version has not notified yet: the queued rows of its ledger, and those
    of its audience `meant` that are not planned yet. Returns none for a version that is not sent any more.
    """
    if version.state not in _CUT_SHORT:
        return NOBODY
    return found.waits if version.plan.is_complete else np.union1d(found.waits, np.setdiff1d(meant, found.everyone))


def on(pairs: Pairs, channels: Collection[str]) -> Pairs:
    """Returns the pairs on the given channels."""
    return pairs[np.isin(pairs & np.uint64(7), [CHANNELS.index(channel) for channel in channels])]


def renotified(told: FrozenAudience, notify: Notify, channels: Collection[str]) -> Pairs:
    """Returns the earlier recipients that an update notifies again."""
    return np.union1d(told.numbers[told.rings > 0], on(told.numbers, again_on(notify, channels)))


async def audience(alerts: Alerts, update_id: str, notify: Notify, inside: FrozenAudience) -> FrozenAudience:
    """Returns the people that an update may notify for the first time: all people `inside` its area. With
    `Notify.NONE`, only those in the audience of a version that is being sent.
    """
    if notify is not Notify.NONE:
        return inside
    versions = await alerts.chain(chain_of(update_id))
    open_ = [(await alerts.audience(one.id)).numbers for one in versions if one.state in OPEN_STATES]
    meant = np.isin(inside.numbers, np.concatenate([NOBODY, *open_]))
    return FrozenAudience(numbers=inside.numbers[meant], rings=inside.rings[meant])


async def find_notified(
    alerts: Alerts, work: Work, update_id: str, notify: Notify, channels: Collection[str], inside: FrozenAudience
) -> FrozenAudience:
    """Returns the pairs that were notified before an update. The first call finds and stores them. Make it only when no
    message of the earlier versions is in flight any more.
    """
    kept = await alerts.pairs(update_id)
    if kept is None:
        found = await earlier_recipients(alerts, work, chain_of(update_id), channels, inside.numbers, but=update_id)
        people = everyone(renotified(found, notify, channels), inside)
        kept = await alerts.keep_pairs(update_id, found, len(people.numbers))
    return kept


def everyone(again: Pairs, inside: FrozenAudience) -> FrozenAudience:
    """Returns the numbers of the people to plan for, with the ring of each: the people `inside`, and those to be
    notified `again`. People outside the area get the ring `REST`.
    """
    outside = np.setdiff1d(again >> _BITS, inside.numbers)
    numbers = np.concatenate([inside.numbers, outside])
    rings = np.concatenate([inside.rings, np.full(len(outside), REST, np.uint8)])
    order = np.argsort(numbers, kind="stable")
    return FrozenAudience(numbers=numbers[order], rings=rings[order])
