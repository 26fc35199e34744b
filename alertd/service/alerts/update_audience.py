"""Who is told by an update: whoever may have been told before as it says, and whoever is in its area and was not, of the alert. Whom a
version before was still to tell of a change is told by it, too, whatever it says of others.

By subscriber and channel: whoever heard by push alone and is in the area is told again there, and for the first time by SMS. What was
still queued counts as not told, since its gate is closed by then; so does, of whoever is in the area, what was cut off in the middle on a
screen, where it would have been repeated, and what a carrier reported as failed. Whoever is outside is told that it changed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from alertd.common.ids import chain_of
from alertd.model.kinds import Notify, Occasion
from alertd.model.states import CHANNELS, OPEN_STATES, AlertState
from alertd.service.alerts.delivered_to import DeliveredTo, Pairs, find_delivered
from alertd.service.alerts.follow_up_audience import CHANNELS_OF, occasion_of
from alertd.service.areas.rings import REST
from alertd.service.small_counts import SMALL_COUNT, is_exact
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.frozen_audience import FrozenAudience
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work import Work

#: What tells the alert, so that whoever got it may be told of its change.
TELLS = (Occasion.ALERT, Occasion.UPDATE)
#: A version of these is being told, or was when another took its place.
_CUT_SHORT = OPEN_STATES | {AlertState.SUPERSEDED}
_BITS = np.uint64(3)
#: As pairs.
NOBODY: Pairs = np.empty(0, np.uint64)


def again_on(notify: str, channels: Collection[str]) -> frozenset[str]:
    """The channels on which whoever was told is told again: in silence only where words can be replaced."""
    only = {Notify.FULL: frozenset(channels), Notify.SILENT: CHANNELS_OF[Occasion.UPDATE]}
    return frozenset(channels) & (only.get(Notify(notify)) or frozenset())


def few(record: AlertRecord, channels: Iterable[str], counts: Mapping[str, int], *, reads_ledger: bool) -> list[str]:
    """The channels whose count is so small that it could reveal a home; 0 counts as small. All of them where counts are not exact. A caller
    who `reads_ledger` sees the counts of an alert, but not the small ones of the people whom an update notifies for the first time.
    """
    again = again_on(record.notify, CHANNELS) if record.notify else CHANNELS
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
        if one.id != but and occasion_of(one) in TELLS:
            found = await find_delivered(work, one.id, channels)
            waits = np.intersect1d(_waits(one, found, on(told, again_on(one.notify or Notify.SILENT, channels))), told)
            owed = np.union1d(np.setdiff1d(owed, np.setdiff1d(found.everyone, found.waits)), waits)
            told = np.union1d(told, np.setdiff1d(found.told, found.unsure[np.isin(found.unsure >> _BITS, inside)]))
    return FrozenAudience(numbers=told, rings=np.isin(told, owed).astype(np.uint8))


def _waits(version: AlertRecord, found: DeliveredTo, meant: Pairs) -> Pairs:
    """Whom a version is still to tell, of those who are in its ledger or are to be planned."""
    if version.state not in _CUT_SHORT:
        return np.empty(0, np.uint64)
    return found.waits if version.planned else np.union1d(found.waits, np.setdiff1d(meant, found.everyone))


def on(pairs: Pairs, channels: Collection[str]) -> Pairs:
    """Those on some channels."""
    return pairs[np.isin(pairs & np.uint64(7), [CHANNELS.index(channel) for channel in channels])]


def told_again(told: FrozenAudience, notify: str, channels: Collection[str]) -> Pairs:
    """Of those who were told before, those whom an update tells again."""
    return np.union1d(told.numbers[told.rings > 0], on(told.numbers, again_on(notify, channels)))


async def audience(alerts: Alerts, record: AlertRecord, inside: FrozenAudience) -> FrozenAudience:
    """Whom an update may tell for the first time, of those `inside` its area: without notice only those for whom a version that is
    being told was meant.
    """
    if record.notify != Notify.NONE:
        return inside
    versions = await alerts.chain(chain_of(record.id))
    open_ = [(await alerts.audience(one.id)).numbers for one in versions if one.state in OPEN_STATES]
    meant = np.isin(inside.numbers, np.concatenate([np.empty(0, np.uint64), *open_]))
    return FrozenAudience(numbers=inside.numbers[meant], rings=inside.rings[meant])


async def find_notified(
    alerts: Alerts, work: Work, record: AlertRecord, channels: Collection[str], inside: FrozenAudience
) -> FrozenAudience:
    """Who was told before an update: found once, when nothing of before is on its way any more, and then kept."""
    kept = await alerts.pairs(record.id)
    if kept is None:
        found = await told_before(alerts, work, chain_of(record.id), channels, inside.numbers, but=record.id)
        people = everyone(told_again(found, record.notify, channels), inside)
        kept = await alerts.keep_pairs(record.id, found, len(people.numbers))
    return kept


def everyone(again: Pairs, inside: FrozenAudience) -> FrozenAudience:
    """Those to plan for, and the ring of each; whoever is outside now is in none."""
    outside = np.setdiff1d(again >> _BITS, inside.numbers)
    numbers = np.concatenate([inside.numbers, outside])
    rings = np.concatenate([inside.rings, np.full(len(outside), REST, np.uint8)])
    order = np.argsort(numbers, kind="stable")
    return FrozenAudience(numbers=numbers[order], rings=rings[order])
