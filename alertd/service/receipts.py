"""Late reports: what a carrier says of a message after it took it, what an app acknowledges, and who leaves."""

from __future__ import annotations

from alertd.alerts import STEPS, State
from alertd.ids import Door, Reference, Tags
from alertd.metrics import Metrics
from alertd.service.removal import Removal
from alertd.store.work import Work

#: From which states a report may move a row: delivered outranks failed, whichever comes first. Reports overtake answers, and
#: one that comes while the next try waits makes that try needless; the failure of an earlier try does not.
SOURCES = {
    State.DELIVERED: tuple(old for old, steps in STEPS.items() if State.DELIVERED in steps),
    State.FAILED: tuple(old for old, steps in STEPS.items() if State.FAILED in steps and old is not State.QUEUED),
}


class Receipts:
    """Takes reports in any order, any number of times."""

    def __init__(self, work: Work, removal: Removal, tags: Tags, metrics: Metrics) -> None:
        self._work = work
        self._removal = removal
        self._tags = tags
        self._metrics = metrics

    def reference(self, tag: str, door: Door) -> Reference | None:
        """The reference a signed tag names, or None if it was not made here for this door."""
        return self._tags.read(tag, door)

    async def report(
        self, reference: Reference, state: State, reason: int, carrier: str, *, of: str | None = None
    ) -> bool:
        """A report for one reference; `of` is the carrier's channel. False when there is no such row on that channel."""
        channel = await self._work.channel_of(reference.alert_id, reference.row)
        if channel is None or of not in {None, channel}:
            return False
        await self._work.receipt(reference.alert_id, reference.row, channel, state, reason, SOURCES[state])
        self._metrics.receipts.labels(channel, carrier, state.word).inc()
        return True

    async def leave(self, reference: Reference) -> bool:
        """Whoever got this message wants no more at that address. False when another or none is there by now."""
        ref = await self._work.ref(reference.alert_id, reference.row)
        channel = await self._work.channel_of(reference.alert_id, reference.row)
        if ref is None or channel is None:
            return False
        if not await self._removal.stop(*ref, lambda address: self._tags.is_for(reference, address)):
            return False
        self._metrics.optouts.labels(channel).inc()
        return True
