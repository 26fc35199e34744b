"""The history of an alert: the acts on it, from the audit, and the times at which its messages were handed over and
arrived, from its ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from alertd.common.ids import chain_of
from alertd.model.states import CHANNELS, HANDED_OVER, State
from alertd.service.alerts.later_audience import few
from alertd.service.records.audit import BEGUN, REFUSED, Audit, Entry
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work import Work

#: Prefix of the names of acts on an alert. Acts that only read have other names.
_ACTS = "alert."
#: Number of audit entries read at once, and of such reads: 100,000 entries take about 1 s, in steps of 10 ms.
LOOK = 1_000
LOOKS = 100
#: Maximum difference in ms between the store's clock, which times entries, and the clock of the process that took the
#: alert in.
SLACK_MS = 60_000

#: Number of points of a curve, a power of two, and the least time between two points in ms. That time doubles until the
#: curve fits.
POINTS = 128
STEP_MS = 125


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The acts on an alert."""

    acts: Sequence[Entry]  # oldest first
    whole: bool  # False: acts older than the first were not searched for


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Totals of messages handed over, and of messages delivered, up to each step after the start; by channel."""

    step_ms: int
    handed_over: Mapping[str, Sequence[int]]
    delivered: Mapping[str, Sequence[int]]


@dataclass(slots=True)
class Timeline:
    """Reads the history of alerts."""

    audit: Audit
    work: Work
    _: KW_ONLY
    look: int = LOOK
    looks: int = LOOKS

    async def history(self, record: AlertRecord) -> History:
        """Returns the acts on an alert and its chain that were done, or may have been done. The latter are acts
        without a recorded outcome. Leaves refused acts out, because they changed nothing.
        """
        chain, ended, before = chain_of(record.id), set[int](), None
        acts: list[Entry] = []
        for _ in range(self.looks):
            page = await self.audit.page(record.org, before=before, limit=self.look)
            for entry in page:
                ended.add(entry.of)
                is_act = entry.act.startswith(_ACTS) and chain_of(entry.object) == chain
                if is_act and entry.outcome != REFUSED and (entry.outcome != BEGUN or entry.number not in ended):
                    acts.append(entry)
            if len(page) < self.look or page[-1].at < record.times.created - SLACK_MS:
                return History(acts=acts[::-1], whole=True)
            before = page[-1].number
        return History(acts=acts[::-1], whole=False)

    async def curve(self, record: AlertRecord, *, reads_ledger: bool) -> Curve:
        """Returns the curve of a version, counted from its ledger in one pass and constant memory. Leaves out channels
        with small counts.
        """
        counts, step, seen = np.zeros((2, len(CHANNELS), POINTS), np.int64), STEP_MS, set[int]()
        async for start, rows, _ in self.work.windows(record.id):
            codes = await self.work.channels_of(record.id, start, len(rows))
            seen.update(np.unique(codes).tolist())
            handed, arrived = np.isin(rows["state"], HANDED_OVER), rows["state"] == State.DELIVERED
            for kind, (which, when) in enumerate(((handed, rows["last"]), (arrived, rows["receipt"]))):
                counts, step = added(counts, step, kind, codes[which], when[which])
        last = int(np.flatnonzero(counts.any(axis=(0, 1)))[-1]) if counts.any() else -1
        handed_over, delivered = (
            {CHANNELS[code]: counts[kind, code, : last + 1].cumsum().tolist() for code in sorted(seen)}
            for kind in (0, 1)
        )
        ends = {name: points[-1] for name, points in handed_over.items() if points}
        for channel in few(record, list(handed_over), ends, reads_ledger=reads_ledger):
            del handed_over[channel], delivered[channel]
        return Curve(step_ms=step, handed_over=handed_over, delivered=delivered)


def added(counts: np.ndarray, step: int, kind: int, codes: np.ndarray, ms: np.ndarray) -> tuple[np.ndarray, int]:
    """Adds messages to a curve, and returns its counts and its step in ms. `kind` is 0 for messages handed over and 1
    for delivered ones; `codes` are the messages' channels and `ms` their times after the start. While a time does not
    fit, two points become one and the step doubles.
    """
    while ms.size and int(ms.max()) >= POINTS * step:
        folded = counts.reshape(*counts.shape[:-1], POINTS // 2, 2).sum(axis=-1)
        counts, step = np.concatenate((folded, np.zeros_like(folded)), axis=-1), step * 2
    np.add.at(counts[kind], (codes, ms // step), 1)
    return counts, step
