"""Whose plan goes on in this process, and when it gives way to another's: whoever is told to few is not kept waiting by who is told to many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from alertd.common.clock import Clock
from alertd.metrics import Metrics
from alertd.model.states import OPEN_STATES
from alertd.service.delivery.active_alerts import ActiveAlerts
from alertd.service.delivery.planner import FIRST_CHUNK, Planner
from alertd.service.guard import ErrorGuard
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import PlanHead
from alertd.store.delivery.work import Work

#: Batches of a channel that are ready to be sent are enough for most of a second.
ENOUGH = 16


@dataclass(kw_only=True, slots=True)
class PlanScheduler:
    """Plans what is not planned, again and again."""

    alerts: Alerts
    work: Work
    planner: Planner
    agenda: ActiveAlerts
    steps: ErrorGuard
    clock: Clock
    metrics: Metrics

    async def round(self) -> None:
        """What is loud first, and of that what is told to fewest: they wait for a chunk of what is told to many, and no more. Those of one
        chunk go in another order in each process, for two that plan the same do half as much. Raises StoreUnavailableError.
        """
        unread, heads = self.agenda.unplanned(), list[PlanHead]()
        for alert_id, head in zip(unread, await self.alerts.plan_heads(unread), strict=True):
            if isinstance(head, Exception):
                self.steps.failed("plan", head, alert_id)
            elif head:
                heads.append(head)
        self.agenda.note_heads(unread, heads)
        todo = [head for head in heads if not head.planned and head.state in OPEN_STATES]
        todo.sort(key=lambda head: (not self.agenda.is_loud(head.id), max(head.people, FIRST_CHUNK), hash(head.id)))
        begun = [head for head in todo if head.cursor]
        waits = self.agenda.elsewhere(begun) | await self._ahead(begun)
        await self.steps.each("plan", [head.id for head in todo if head.id not in waits], self._plan)

    async def _ahead(self, begun: Sequence[PlanHead]) -> set[str]:
        """Of alerts that are planned in part, those that have enough to send, where there are others to be told: their plan goes on
        step by step until those are.
        """
        resting, waits = self.agenda.resting(begun), set[str]()
        if resting and len(self.agenda.versions) > 1:
            ready = await self.work.ready([head.id for head in resting])
            waits = {head.id for head, batches in zip(resting, ready, strict=True) if batches >= ENOUGH}
        self.agenda.step([head for head in begun if head.id not in waits])
        return waits

    async def _plan(self, alert_id: str) -> None:
        record = await self.alerts.get(alert_id)
        if record is None or record.planned:
            return
        if await self.planner.plan(record, partial(self._gives_way, alert_id)):
            self.metrics.plan_seconds.observe((self.clock.now_ms() - record.start) / 1000)
            self.agenda.planned(alert_id)

    async def _gives_way(self, alert_id: str) -> bool:
        """Whether the plan of an alert is to be left for another's, or has gone far enough where there are others to be told."""
        self.agenda.begun(alert_id)
        if self.agenda.has_unread():
            return True
        return len(self.agenda.versions) > 1 and (await self.work.ready([alert_id]))[0] >= ENOUGH
