"""Who is notified by a later version of an alert: by a follow-up or by an update.

By subscriber and channel, at the address that they have when it is sent. A follow-up notifies everyone who may have received what it
follows, and not those who are in the area now. An update notifies again those who may have received the alert before, as it says, and for
the first time those in its area who did not. It also notifies those whom a version before still had to notify of a change.

Intents are written before anything is sent, and none after the gate has closed, so the ledgers as they are after that name everyone. A
row in flight counts as received, and so does one that a carrier took and reported as failed, for its reports come in any order. A queued
row does not, since its gate is closed by then. For a person in the area of an update, two more do not: a row cut off in the middle on a
screen, where it would have been repeated, and one that a carrier reported as failed. An update notifies people outside its area of the
change.
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

#: Rows in these may have reached somebody; so may any that an earlier attempt left in doubt.
MAY_HAVE_TOLD = (State.IN_FLIGHT, State.ACCEPTED, State.DELIVERED, State.UNKNOWN)
#: Rows in these wait, or waited when the gate was closed.
WAITS = (State.QUEUED, State.CANCELLED)
#: Why nobody knows whether an attempt arrived that nobody went on with: its worker was lost, or an update took its alert's place.
_CUT_OFF = (LedgerReason.WORKER_LOST, LedgerReason.SUPERSEDED)
SCREENS = tuple(CHANNELS.index(channel) for channel in ON_SCREEN)

#: Subscribers and channels: the number of the one times 8 plus that of the other, sorted.
Pairs = NDArray[np.uint64]
NOBODY: Pairs = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredTo:
    """Who is in the ledger of a version. Whoever has two addresses on a channel may have been told and wait as well."""

    everyone: Pairs
    told: Pairs  # may have been
    waits: Pairs  # and those whose attempt was cut off
    unsure: Pairs  # of those told, by nothing but what was cut off where a message takes the place of its twin, or was reported as failed


async def may_have_been_told(work: Work, versions: Iterable[str], channels: Collection[str]) -> Pairs:
    """Everyone in the ledgers of some versions who may have been told by one of the channels."""
    found = [(await find_delivered(work, version, channels)).told for version in versions]
    return np.unique(np.concatenate([NOBODY, *found]))


async def find_delivered(work: Work, version: str, channels: Collection[str]) -> DeliveredTo:
    """Who is in a version's ledger by one of the channels."""
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
    """Which rows an attempt left in doubt that nobody goes on with, on a screen: there it would have been repeated."""
    in_doubt = (records["state"] == State.UNKNOWN) & np.isin(records["reason"], _CUT_OFF)
    in_doubt |= (records["state"] == State.QUEUED) & (records["tries"] & FLAG_DOUBT > 0)
    cut_off: NDArray[np.bool_] = in_doubt & np.isin(codes, SCREENS)
    return cut_off


def _is_reported_failed(records: Any) -> NDArray[np.bool_]:
    """Which rows a carrier took, and reported as failed after that: it may report yet that they arrived. What it refused has no receipt."""
    reported: NDArray[np.bool_] = (records["state"] == State.FAILED) & (records["receipt"] > 0)
    return reported


async def in_flight(work: Work, versions: Iterable[str]) -> bool:
    """Whether anything of these versions is on its way."""
    counts = await work.counts_of(list(versions))
    return any(by_state.get("in_flight") for by_channel in counts for by_state in by_channel.values())


#: A follow-up waits this long after the gate of the earlier versions closed. Messages in flight then arrive before it, and the ledger names
#: everyone who received them.
SETTLE_MS = 2_000
#: Versions of an alert before which it may be told again. A message's tag has a byte for its version (`ids`): what hides or ends it has the rest.
MOST_VERSIONS = 200
#: An update that does not notify everybody again waits this long for rows in flight. A row in flight counts as received, but a slow carrier
#: may not get the rest of its chunk; then only the update notifies those people. Most carriers answer sooner.
ANSWERED_MS = 20_000
#: If the store was away, rows in flight could not be settled, and that wait begins again, at most this many times. Once is mostly enough: no
#: row comes into flight any more, and the rows of a lost worker are settled when its lease ends.
MOST_GAPS = 5

#: The channels that an occasion goes out on; None for all. What can be reversed is told where it can be taken off the screen.
CHANNELS_OF: dict[Occasion, frozenset[str] | None] = {
    Occasion.STAND_DOWN: frozenset(ON_SCREEN),
    Occasion.UPDATE: frozenset(ON_SCREEN),
    Occasion.CLOSE: None,
    Occasion.CANCEL: None,
}


def telling_of(record: AlertRecord) -> Telling:
    """Why a version is told."""
    follow_up, code = record.follow_up, record.last_step.code
    if follow_up is None:
        return THE_ALERT
    return Telling(
        occasion=follow_up.occasion,
        reason=CancelReason(code) if code else None,
        alerted_at=time_of(follow_up.alerted),
    )


async def versions_of(alerts: Alerts, alert_id: str) -> list[AlertRecord]:
    """All versions of an alert's chain, without their documents. Raises Problem for an id that is not that of a first version."""
    if alert_id != chain_of(alert_id):
        raise Problem("precondition-failed", "This version only tells of another; decide about the alert itself.")
    return await alerts.chain(alert_id)


def check_room(nth: int) -> None:
    """Raises Problem where an alert has had as many versions as it may, and another would tell it again. What hides or ends it is always told."""
    if nth > MOST_VERSIONS:
        raise Problem("precondition-failed", "This alert was changed too often. Close it, and submit another.")


def later_version(
    record: AlertRecord, nth: int, occasion: Occasion, follows: Iterable[Occasion], *, by: str, expires: int,
    loudness: str, code: CancelReason | None = None,
) -> AlertRecord:  # fmt: skip
    """A version of an alert that is told with no second person but whoever decides it."""
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
    """Returns the version if it has anybody to notify: an alert that was sent before, on a channel that the version goes out on. Else None."""
    if not version.document or not version.times.start or not told_on(version, version.alert.channels):
        return None
    return version


def replaces(record: AlertRecord) -> bool:
    """Whether a version takes the place of an alert that goes on: for a moment its old words may still be sent to somebody."""
    follow_up = record.follow_up
    return follow_up is not None and follow_up.occasion is Occasion.UPDATE and Occasion.ALERT in follow_up.follows


def hides(record: AlertRecord) -> bool:
    """Whether a version takes off the screen what is not to be known any more: the alert is over, or was restricted."""
    return telling_of(record).is_end or (bool(record.times.restricted) and replaces(record) and not record.update)


async def frozen(alerts: Alerts, work: Work, record: AlertRecord, channels: Collection[str]) -> Pairs:
    """Whom a version tells of what it follows: found once, and then kept, so that a plan can be gone on with."""
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
    """The channels of an alert that a version of it goes out on."""
    only = CHANNELS_OF[record.occasion]
    return frozenset(channels) if only is None else only & frozenset(channels)


#: What tells the alert, so that whoever got it may be told of its change.
TELLS = (Occasion.ALERT, Occasion.UPDATE)
#: A version of these is being told, or was when another took its place.
_CUT_SHORT = OPEN_STATES | {AlertState.SUPERSEDED}
_BITS = np.uint64(3)


def again_on(notify: Notify, channels: Collection[str]) -> frozenset[str]:
    """The channels on which whoever was told is told again: in silence only where words can be replaced."""
    only = {Notify.FULL: frozenset(channels), Notify.SILENT: CHANNELS_OF[Occasion.UPDATE]}
    return frozenset(channels) & (only.get(notify) or frozenset())


def few(record: AlertRecord, channels: Iterable[str], counts: Mapping[str, int], *, reads_ledger: bool) -> list[str]:
    """The channels whose count is so small that it could reveal a home; 0 counts as small. All of them where counts are not exact. A caller
    who `reads_ledger` sees the counts of an alert, but not the small ones of the people whom an update notifies for the first time.
    """
    again = again_on(record.update.notify, CHANNELS) if record.update else CHANNELS
    least = SMALL_COUNT if reads_ledger or is_exact(record) else math.inf
    return [one for one in channels if counts.get(one, 0) < least and not (reads_ledger and one in again)]


async def told_before(
    alerts: Alerts, work: Work, chain: str, channels: Collection[str], inside: NDArray[np.uint64], *, but: str = ""
) -> FrozenAudience:
    """Everyone who may have been told the alert by any version of it, `but` one, on one of the channels: pairs, with 1 as the ring
    of those whom a version is still to tell of a change. `inside` are the people in the area.
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
    """Whom a version is still to tell, of those who are in its ledger or are to be planned."""
    if version.state not in _CUT_SHORT:
        return NOBODY
    return found.waits if version.plan.is_complete else np.union1d(found.waits, np.setdiff1d(meant, found.everyone))


def on(pairs: Pairs, channels: Collection[str]) -> Pairs:
    """Those on some channels."""
    return pairs[np.isin(pairs & np.uint64(7), [CHANNELS.index(channel) for channel in channels])]


def told_again(told: FrozenAudience, notify: Notify, channels: Collection[str]) -> Pairs:
    """Of those who were told before, those whom an update tells again."""
    return np.union1d(told.numbers[told.rings > 0], on(told.numbers, again_on(notify, channels)))


async def audience(alerts: Alerts, update_id: str, notify: Notify, inside: FrozenAudience) -> FrozenAudience:
    """Whom an update may tell for the first time, of those `inside` its area: without notice only those for whom a version that is
    being told was meant.
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
    """Who was told before an update: found once, when nothing of before is on its way any more, and then kept."""
    kept = await alerts.pairs(update_id)
    if kept is None:
        found = await told_before(alerts, work, chain_of(update_id), channels, inside.numbers, but=update_id)
        people = everyone(told_again(found, notify, channels), inside)
        kept = await alerts.keep_pairs(update_id, found, len(people.numbers))
    return kept


def everyone(again: Pairs, inside: FrozenAudience) -> FrozenAudience:
    """Those to plan for, and the ring of each; whoever is outside now is in none."""
    outside = np.setdiff1d(again >> _BITS, inside.numbers)
    numbers = np.concatenate([inside.numbers, outside])
    rings = np.concatenate([inside.rings, np.full(len(outside), REST, np.uint8)])
    order = np.argsort(numbers, kind="stable")
    return FrozenAudience(numbers=numbers[order], rings=rings[order])
