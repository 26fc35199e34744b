"""Alerts that were approved to start later: each is opened when its time has come, by whichever worker finds it first, or waits for a person again.

Between the approval and the start people move, words and regions change, cases take another turn and whoever approved may go: so all that an
approval asks is asked again, and what is another than was approved is told to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.states import AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.areas.regions import Regions
from alertd.service.records.audit import DONE, REFUSED, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from geofences.errors import LibraryError

ACT = "alert.start"
#: So long after its start nobody is asked yet about an alert that no worker could start.
PATIENCE_MS = 120_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Starts alerts. Two at it do no harm: the second finds it started."""

    alerts: Alerts
    approval: Approval
    audit: Audit
    regions: Regions
    clock: Clock

    async def due(self) -> list[str]:
        """The alerts whose time has come."""
        return await self.alerts.times.to_start(self.clock.now_ms())

    async def start(self, alert_id: str) -> None:
        """Open an alert whose time has come; while a stop is active it waits for two people to lift that, or for its end."""
        record = await self.alerts.get(alert_id)
        if record is None or record.state is not AlertState.SCHEDULED:
            await self.alerts.times.start_done(alert_id)
            return
        if record.starts > self.clock.now_ms():
            await self.alerts.times.note_start(record)
            return
        who = Credential(key_id=record.approver_key, org=record.org, subject=record.approver, scopes=frozenset())
        try:
            await self.regions.ready()  # a worker has none until it needs them
            started = await self.approval.start(record)
        except LibraryError as error:  # another worker may have them, and finds it due
            structlog.get_logger().error("a scheduled alert waits for regions", alert=alert_id, why=str(error))
            if self.clock.now_ms() >= record.starts + PATIENCE_MS:
                unread = Problem("precondition-failed", "The regions cannot be read where it was to start.")
                await self._stopped(record, who, unread)
            return
        except Problem as problem:
            if problem.slug != "stop-active":
                await self._stopped(record, who, problem)
            return
        await self.alerts.times.start_done(alert_id)
        await self.audit.end(who, ACT, DONE, Noted(record=started), of=0)

    async def _stopped(self, record: AlertRecord, who: Credential, problem: Problem) -> None:
        """It is not told, and says why: its approver looks at it again."""
        waits = await self.approval.unschedule(record, f"It did not start. {problem.detail}")
        await self.alerts.times.start_done(record.id)
        if waits:
            structlog.get_logger().error("a scheduled alert did not start", alert=record.id, problem=problem.slug)
            await self.audit.end(who, ACT, REFUSED, Noted(record=waits, facts={"problem": problem.slug}), of=0)
