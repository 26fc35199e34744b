"""Reports the results of an alert: how many people it reached, how fast, its corrections, and who decided.

The report is counted from the present ledgers, in one pass each. It names only the people who decided, and the outcome
that they recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.states import CHANNELS, HANDED_OVER, AlertState, LedgerReason, State
from alertd.service.alerts.later_audience import TELLS
from alertd.service.alerts.progress import ProgressReports
from alertd.service.alerts.timeline import History, Timeline
from alertd.service.areas.reach_preview import ReachPreview, population_of
from alertd.service.areas.targeting import Targeting
from alertd.service.reach import Estimate, by_code
from alertd.service.records.published_history import PublishedHistory
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.published_history import Published
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work import Work

#: Reasons of rows that the report counts.
_COUNTED = (LedgerReason.SEEN, LedgerReason.OPTED_OUT, LedgerReason.LEFT)
#: If the alert is in one of these states, the reason of its last step is its outcome.
_ENDED = frozenset({AlertState.CLOSED, AlertState.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The seconds that messages took: the time within which 50 % of them, 95 %, and all were handled."""

    messages: int
    p50_s: float
    p95_s: float
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionResults:
    """Results of one version, by channel."""

    record: AlertRecord
    counts: Mapping[str, Mapping[str, int]]  # by targeted, each state, and doubled
    handed_over: Mapping[str, Speed]  # from the start to the carrier
    delivered: Mapping[str, Speed]  # from the carrier to the receipt
    seen: Mapping[str, int]  # number of receipts that report an opened message
    opted_out: Mapping[str, int]  # not sent, because the address had opted out by then
    left: Mapping[str, int]  # number of receipts by which the reader opted out at that address


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Results of an alert with all its versions."""

    record: AlertRecord
    people: int  # in the audience of any version that sent the alert
    regions: Mapping[str, Estimate]  # people in its area, by the smallest region they are in
    versions: Sequence[VersionResults]
    history: History
    outcome: str  # as recorded by the person who ended the alert; '' while it goes on


@dataclass(slots=True)
class Results:
    """Makes reports."""

    alerts: Alerts
    work: Work
    reports: ProgressReports
    timeline: Timeline
    targeting: Targeting
    reach_previews: ReachPreview
    published_history: PublishedHistory

    async def report(self, record: AlertRecord) -> Report:
        """Returns the report of an alert. `record` may be any of its versions. Raises Problem gone if it was purged."""
        head = await self.alerts.get(chain_of(record.id))
        if head is None or not head.document:
            raise gone()
        records = [one for one in await self.alerts.chain(head.id) if one.times.start]
        audiences = [(await self.alerts.audience(one.id)).numbers for one in records if one.occasion in TELLS]
        people = np.unique(np.concatenate(audiences)) if audiences else np.empty(0, np.uint64)
        return Report(
            record=head,
            people=len(people),
            regions=await self._regions(head) if len(people) else {},
            versions=[await self._version_results(one) for one in records],
            history=await self.timeline.history(head),
            outcome=head.last_step.reason if head.state in _ENDED else "",
        )

    async def published(self, record: AlertRecord) -> list[Published]:
        """Returns the public content of an alert at each time, in order."""
        return await self.published_history.words.of(record)

    async def area(self, record: AlertRecord) -> shapely.MultiPolygon:
        """Returns the area in which the alert is sent."""
        return await self.alerts.area(record.id)

    async def _regions(self, head: AlertRecord) -> Mapping[str, Estimate]:
        """Returns the estimated people of the area by region code. Exact counts would reveal at each report which
        people registered or opted out since.
        """
        area = await self.alerts.area(head.id)
        shares = await self.targeting.shares(area)
        reach = await self.reach_previews.reach(area, shares, population_of(head.alert))
        return by_code(reach.regions, {share.number: share.code for share in shares})

    async def _version_results(self, record: AlertRecord) -> VersionResults:
        """Counts the ledger of a version, by channel."""
        sent: list[list[np.ndarray]] = [[] for _ in CHANNELS]
        came: list[list[np.ndarray]] = [[] for _ in CHANNELS]
        why = {reason: np.zeros(len(CHANNELS), np.int64) for reason in _COUNTED}
        async for start, rows, _ in self.work.windows(record.id):
            of = await self.work.channels_of(record.id, start, len(rows))
            arrived = rows["state"] == State.DELIVERED
            for code in np.unique(of).tolist():
                its = of == code
                sent[code].append(rows["last"][its & np.isin(rows["state"], HANDED_OVER)])
                times = rows[its & arrived]
                came[code].append(np.maximum(times["receipt"], times["last"]) - times["last"])
                for reason, counts in why.items():
                    counts[code] += np.count_nonzero(its & (rows["reason"] == reason))
        return VersionResults(
            record=record,
            counts=await self.reports.counts(record.id),
            handed_over=_speeds(sent),
            delivered=_speeds(came),
            seen=_named(why[LedgerReason.SEEN]),
            opted_out=_named(why[LedgerReason.OPTED_OUT]),
            left=_named(why[LedgerReason.LEFT]),
        )


def gone() -> Problem:
    """Returns the Problem for a purged alert."""
    return Problem("gone", "The alert was purged.")


def _speeds(of: Sequence[Sequence[np.ndarray]]) -> dict[str, Speed]:
    """Returns the speed of each channel that has messages, from their times in ms, listed by channel number."""
    found = {channel: np.concatenate(parts) for channel, parts in zip(CHANNELS, of, strict=True) if parts}
    return {channel: _speed(ms) for channel, ms in found.items() if ms.size}


def _speed(ms: np.ndarray) -> Speed:
    """Returns the speed of messages that took these times (ms). A percentile is the time of a message, never a mean of
    two.
    """
    p50, p95, last = (round(float(np.percentile(ms, share, method="higher")) / 1000, 3) for share in (50, 95, 100))
    return Speed(messages=int(ms.size), p50_s=p50, p95_s=p95, last_s=last)


def _named(counts: np.ndarray) -> dict[str, int]:
    """Returns the counts above 0 by the channel's name, from an array by channel number."""
    return {CHANNELS[code]: int(counts[code]) for code in np.flatnonzero(counts).tolist()}
