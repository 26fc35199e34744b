"""Who is told of what follows an alert: everyone who may have been told what came before, on the channel they were told on.

Not those who are in the area now, and not at the address of then: by subscriber and channel, at the address they have when
it is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.kinds import ON_SCREEN, CancelReason, Occasion
from alertd.model.states import AlertState
from alertd.rendering import THE_ALERT, Telling
from alertd.service.alerts.delivered_to import Pairs, may_have_been_told
from alertd.service.small_counts import is_exact
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.frozen_audience import FrozenAudience
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work import Work

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
        record, id=record.version(nth), state=AlertState.APPROVED, occasion=occasion, follows=" ".join(follows),
        code=code or "", alerted=record.start, paused=False, reason="", external_id="", seen=0, people=0, changes="",
        expires=expires, loudness=loudness, sent_alone=int(not is_exact(record)), approver=by, by=by, approved_rev=0,
        broken=0, why="", reviewed=0, reviewer="", verdict="", note="",
        permissions="", permitted_by="", permission_why="", stand_down_asked="", grounds={},
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


async def frozen(alerts: Alerts, work: Work, record: AlertRecord, channels: Collection[str]) -> Pairs:
    """Whom a version tells of what it follows: found once, and then kept, so that a plan can be gone on with."""
    kept = await alerts.pairs(record.id)
    if kept is None:
        earlier = await alerts.chain(chain_of(record.id))
        told = [one.id for one in earlier if occasion_of(one) in record.follows.split()]
        pairs = await may_have_been_told(work, told, told_on(record, channels))
        found = FrozenAudience(numbers=pairs, rings=np.zeros(len(pairs), np.uint8))
        kept = await alerts.keep_pairs(record.id, found, len(np.unique(pairs >> np.uint64(3))))
    return kept.numbers


def told_on(record: AlertRecord, channels: Collection[str]) -> frozenset[str]:
    """The channels of an alert that a version of it goes out on."""
    only = CHANNELS_OF[occasion_of(record)]
    return frozenset(channels) if only is None else only & frozenset(channels)
