"""Who is told of what follows an alert: everyone who may have been told what came before, on the channel they were told on.

Not those who are in the area now, and not at the address of then: by subscriber and channel, at the address they have when
it is sent. Intents are written before anything is sent, and none after the gate has closed, so the ledgers as they are after
that name everyone; a row that is still in flight counts as told, and so does one that a carrier took and reported as failed, for
its reports come in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertd.alerts import CHANNELS, FLAG_DOUBT, AlertState, LedgerReason, State
from alertd.clock import time_of
from alertd.errors import Problem
from alertd.ids import chain_of
from alertd.kinds import ON_SCREEN, CancelReason, Occasion
from alertd.rendering import THE_ALERT, Telling, choose_language
from alertd.store.alerts import AlertRecord, Alerts
from alertd.store.frozen import Frozen
from alertd.store.people import Absence
from alertd.store.work import Work
from alertd.store.work_records import Alike, pack_ref
from alertd.subscribers import AddressState, Subscriber, wants_kind

#: Rows in these may have reached somebody; so may any that an earlier attempt left in doubt.
MAY_HAVE_TOLD = (State.IN_FLIGHT, State.ACCEPTED, State.DELIVERED, State.UNKNOWN)
#: Rows in these wait, or waited when the gate was closed.
WAITS = (State.QUEUED, State.CANCELLED)
#: Why nobody knows whether an attempt arrived that nobody went on with: its worker was lost, or an update took its alert's place.
_CUT_OFF = (LedgerReason.WORKER_LOST, LedgerReason.SUPERSEDED)
SCREENS = tuple(CHANNELS.index(channel) for channel in ON_SCREEN)
#: What was in flight when the gate of what came before closed is waited for so long, so that nobody is told the end first; and what
#: may still be sent with the words of before, so that everybody who got them is found.
SETTLE_MS = 2_000
#: Versions of an alert before which it may be told again. A message's tag has a byte for its version (`ids`): what hides or ends it has the rest.
MOST_VERSIONS = 200
#: An update that does not tell everybody again waits so long for what is in flight: what a slow carrier does not get any more of a chunk is
#: told by the update alone, and while it is in flight it looks as if it had been told. Longer than most carriers are waited for.
ANSWERED_MS = 20_000
#: That wait begins anew after a gap in which nobody could settle what is in flight, so often at most. Mostly once is enough: nothing comes into
#: flight any more, and what a lost worker had is settled when nothing was heard of it for as long as a lease lasts.
MOST_GAPS = 5

#: The channels that an occasion goes out on; None for all. What can be reversed is told where it can be taken off the screen.
CHANNELS_OF: dict[Occasion, frozenset[str] | None] = {
    Occasion.STAND_DOWN: frozenset(ON_SCREEN),
    Occasion.UPDATE: frozenset(ON_SCREEN),
    Occasion.CLOSE: None,
    Occasion.CANCEL: None,
}

#: Subscribers and channels: the number of the one times 8 plus that of the other, sorted.
Pairs = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Who is in the ledger of a version. Whoever has two addresses on a channel may have been told and wait as well."""

    everyone: Pairs
    told: Pairs  # may have been
    waits: Pairs  # and those whose attempt was cut off
    unsure: Pairs  # of those told, by nothing but what was cut off where a message takes the place of its twin, or was reported as failed


def occasion_of(record: AlertRecord) -> Occasion:
    return Occasion(record.occasion) if record.occasion else Occasion.ALERT


def telling_of(record: AlertRecord) -> Telling:
    """Why a version is told."""
    occasion = occasion_of(record)
    if occasion is Occasion.ALERT:
        return THE_ALERT
    return Telling(
        occasion=occasion,
        reason=CancelReason(record.code) if record.code else None,
        alerted_at=time_of(record.alerted),
    )


async def may_have_been_told(work: Work, versions: Iterable[str], channels: Collection[str]) -> Pairs:
    """Everyone in the ledgers of some versions who may have been told by one of the channels."""
    found = [(await heard(work, version, channels)).told for version in versions]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


async def heard(work: Work, version: str, channels: Collection[str]) -> Heard:
    """Who is in a version's ledger by one of the channels."""
    nobody = np.empty(0, np.uint64)
    wanted = [CHANNELS.index(channel) for channel in channels]
    pairs, told, waits, cut, failed = [nobody], [nobody], [nobody], [nobody], [nobody]
    async for row, records, refs in work.ledger(version):
        doubt = records["tries"] & FLAG_DOUBT > 0
        codes = await work.channels_of(version, row, len(records))
        numbers, meant = np.array([number for number, _ in refs], np.uint64) * np.uint64(8), np.isin(codes, wanted)
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
    return Heard(everyone=everyone, told=np.union1d(told_, unsure), waits=np.union1d(waits_, cut_off), unsure=unsure)


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


def references(
    kind: str, people: Sequence[Subscriber | Absence], pairs: Pairs, languages: Sequence[str]
) -> list[tuple[Alike, bytes]]:
    """The references of pairs, given who has their numbers now: each person's active addresses on that channel. `kind` is that of the alert."""
    by_number = {person.number: person for person in people if isinstance(person, Subscriber)}
    groups: dict[tuple[int, str, bool], list[bytes]] = {}
    for pair in pairs.tolist():
        person, channel = by_number.get(pair >> 3), pair & 7
        if person is None:
            continue
        muted = not wants_kind(person, kind)
        for address in person.addresses:
            if address.channel == channel and address.state == AddressState.ACTIVE:
                reads = (address.language, *person.languages) if address.language else person.languages
                group = groups.setdefault((channel, choose_language(reads, languages), muted), [])
                group.append(pack_ref(person.number, address.number))
    return [
        (Alike(channel=CHANNELS[channel], language=language, muted=muted), b"".join(refs))
        for (channel, language, muted), refs in sorted(groups.items())
    ]


async def versions_of(alerts: Alerts, alert_id: str) -> list[AlertRecord]:
    """All versions of an alert's chain, without their documents. Raises Problem for an id that is not that of a first version."""
    if alert_id != chain_of(alert_id):
        raise Problem("precondition-failed", "This version only tells of another; decide about the alert itself.")
    return await alerts.chain(alert_id)


def check_room(sequence: int) -> None:
    """Raises Problem where an alert has had as many versions as it may, and another would tell it again. What hides or ends it is always told."""
    if sequence > MOST_VERSIONS:
        raise Problem("precondition-failed", "This alert was changed too often. Close it, and submit another.")


def later_version(
    record: AlertRecord, sequence: int, occasion: Occasion, follows: Iterable[Occasion], *, by: str, expires: int,
    loudness: str, code: CancelReason | None = None,
) -> AlertRecord:  # fmt: skip
    """A version of an alert that is told with no second person but whoever decides it."""
    return replace(
        record, id=f"{record.id}-{sequence}", state=AlertState.APPROVED, occasion=occasion, follows=" ".join(follows),
        code=code or "", alerted=record.start, paused=False, reason="", external_id="", seen=0, people=0, changes="",
        expires=expires, loudness=loudness, approver=by, by=by, approved_rev=0,
        broken=0, why="", reviewed=0, reviewer="", verdict="", note="",
        permissions="", permitted_by="", permission_why="", grounds={},
    )  # fmt: skip


def if_told(version: AlertRecord) -> AlertRecord | None:
    """A version that tells whoever was told of what it follows; None where nobody can have been told, or no channel tells it."""
    if not version.document or not version.start or not told_on(version, version.alert.channels):
        return None
    return version


def replaces(record: AlertRecord) -> bool:
    """Whether a version takes the place of an alert that goes on: for a moment its old words may still be sent to somebody."""
    return occasion_of(record) is Occasion.UPDATE and Occasion.ALERT in record.follows.split()


def hides(record: AlertRecord) -> bool:
    """Whether a version takes off the screen what is not to be known any more: the alert is over, or was restricted."""
    return telling_of(record).is_end or (bool(record.restricted) and replaces(record) and not record.notify)


async def in_flight(work: Work, versions: Iterable[str]) -> bool:
    """Whether anything of these versions is on its way."""
    counts = await work.counts_of(list(versions))
    return any(by_state.get("in_flight") for by_channel in counts for by_state in by_channel.values())


async def frozen(alerts: Alerts, work: Work, record: AlertRecord, channels: Collection[str]) -> Pairs:
    """Whom a version tells of what it follows: found once, and then kept, so that a plan can be gone on with."""
    kept = await alerts.pairs(record.id)
    if kept is None:
        earlier = await alerts.chain(chain_of(record.id))
        told = [one.id for one in earlier if occasion_of(one) in record.follows.split()]
        pairs = await may_have_been_told(work, told, told_on(record, channels))
        found = Frozen(numbers=pairs, rings=np.zeros(len(pairs), np.uint8))
        kept = await alerts.keep_pairs(record.id, found, len(np.unique(pairs >> np.uint64(3))))
    return kept.numbers


def told_on(record: AlertRecord, channels: Collection[str]) -> frozenset[str]:
    """The channels of an alert that a version of it goes out on."""
    only = CHANNELS_OF[occasion_of(record)]
    return frozenset(channels) if only is None else only & frozenset(channels)
