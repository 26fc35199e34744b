"""Who may have heard what a version of an alert tells, as its ledger has it.

Intents are written before anything is sent, and none after the gate has closed, so the ledgers as they are after that name everyone; a
row that is still in flight counts as told, and so does one that a carrier took and reported as failed, for its reports come in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertd.model.kinds import ON_SCREEN
from alertd.model.states import CHANNELS, FLAG_DOUBT, LedgerReason, State
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
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


async def find_delivered(work: Work, version: str, channels: Collection[str]) -> DeliveredTo:
    """Who is in a version's ledger by one of the channels."""
    nobody = np.empty(0, np.uint64)
    wanted = [CHANNELS.index(channel) for channel in channels]
    pairs, told, waits, cut, failed = [nobody], [nobody], [nobody], [nobody], [nobody]
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
