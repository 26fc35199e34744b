"""The course of an alert: who did what with it, from the audit, and when its messages left and arrived, from its ledger."""

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

#: What an act on an alert is called begins so; what only reads it is called otherwise.
_ACTS = "alert."
#: Entries of the audit that are read at once, and how often: 100,000 are looked through in about a second, in pieces of 10 ms.
LOOK = 1_000
LOOKS = 100
#: The store's clock, which times entries, and that of whoever took the alert in may differ by so much.
SLACK_MS = 60_000

#: Points of a curve, a power of two, and the least time between two, which doubles until all of them are enough.
POINTS = 128
STEP_MS = 125


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    acts: Sequence[Entry]  # oldest first
    whole: bool  # False: what is older than the first was not looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How many messages had been handed over, and how many were delivered, at each step after the start; by channel."""

    step_ms: int
    handed_over: Mapping[str, Sequence[int]]
    delivered: Mapping[str, Sequence[int]]


@dataclass(slots=True)
class Timeline:
    """Reads what became of alerts, and by whom."""

    audit: Audit
    work: Work
    _: KW_ONLY
    look: int = LOOK
    looks: int = LOOKS

    async def history(self, record: AlertRecord) -> History:
        """The acts on an alert and its chain that were done, or may have been: of one without an outcome nobody knows. What was
        refused changed nothing and is left out.
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
        """From the ledger as it is now, in one reading and constant memory."""
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
    """With so many more messages of a kind, each with its channel's code and its time; two points become one until all are on it."""
    while ms.size and int(ms.max()) >= POINTS * step:
        folded = counts.reshape(*counts.shape[:-1], POINTS // 2, 2).sum(axis=-1)
        counts, step = np.concatenate((folded, np.zeros_like(folded)), axis=-1), step * 2
    np.add.at(counts[kind], (codes, ms // step), 1)
    return counts, step
