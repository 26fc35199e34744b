"""When alerts start and end by themselves. One that was approved to start later is opened when its time has come, by whichever worker finds it first,
or waits for a person again. One ends as sent when nothing is left, expired when its time has come, settled when its gate is closed.

Between the approval and the start people move, words and regions change, cases take another turn and whoever approved may go: so all that an
approval asks is asked again, and what is another than was approved is told to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.metrics import Metrics
from alertd.model.states import OPEN_STATES, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.later_audience import telling_of
from alertd.service.areas.regions import Regions
from alertd.service.reach import had_nobody_to_notify
from alertd.service.records.audit import DONE, REFUSED, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work import Work
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
        if record.times.starts > self.clock.now_ms():
            await self.alerts.times.note_start(record)
            return
        who = Credential(key_id=record.approval.key, org=record.org, subject=record.approval.by, scopes=frozenset())
        try:
            await self.regions.ready()  # a worker has none until it needs them
            started = await self.approval.start(record)
        except LibraryError as error:  # another worker may have them, and finds it due
            structlog.get_logger().error("a scheduled alert waits for regions", alert=alert_id, why=str(error))
            if self.clock.now_ms() >= record.times.starts + PATIENCE_MS:
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


#: Batches a call: 4,000 rows at most, so that the server is held for a few milliseconds.
SWEEP_BATCHES = 8
#: An alert announced as live and not approved after this long was never approved: its approver died or was refused.
EARLY_S = 60.0
#: Nothing more goes: all was sent, or what no carrier took has expired with the alert.
_OVER = (AlertState.SENT, AlertState.EXPIRED)


class Expiry:
    """Brings alerts to their end."""

    def __init__(self, alerts: Alerts, work: Work, clock: Clock, metrics: Metrics) -> None:
        self._alerts = alerts
        self._work = work
        self._clock = clock
        self._metrics = metrics
        self._early: dict[str, tuple[float, float]] = {}  # when it was first and last found so

    async def follow(self, alert_id: str, word: str, seen: bytes) -> None:
        """Do what `Work.finish_each` says of an alert: let it go when it is over, settle what a closed gate left. `seen` is what
        `Alerts.live` said of its chain before that was asked: what was announced since stays.
        """
        if word != "early":
            self._early.pop(alert_id, None)
        match word:
            case "done":
                await self._done(alert_id, seen)
            case "sweep":
                await self._sweep(alert_id)
            case "early":
                now = self._clock.monotonic()
                since, last = self._early.get(alert_id, (now, now))
                if now - last > EARLY_S:
                    since = now  # it was away, and is announced anew
                self._early[alert_id] = since, now
                if now - since > EARLY_S:
                    del self._early[alert_id]  # announced again, it has the whole time again
                    await self._alerts.retire(chain_of(alert_id), seen)

    async def expire(self, alert_id: str) -> None:
        """Close the gate of an alert whose end has passed, unless that is put off at this moment, or was."""
        (head,) = await self._alerts.heads([alert_id])
        if head is not None and head.expires > self._clock.now_ms():
            await self._alerts.times.note_end(head)
            return
        done, old = await self._alerts.step(alert_id, AlertState.EXPIRED, rev=head.rev if head else None)
        if done and head is not None and head.state in OPEN_STATES and telling_of(head).is_end:
            structlog.get_logger().error("an end was not told to everybody", alert=alert_id, occasion=head.occasion)
        if old != "changed":
            await self._alerts.times.end_done(alert_id)

    async def _done(self, alert_id: str, seen: bytes) -> None:
        await self._alerts.retire(chain_of(alert_id), seen)
        record = await self._alerts.get(alert_id)
        if record is None or record.state not in _OVER:
            return
        nobody = had_nobody_to_notify(record) and not record.people
        if not (record.people or nobody) or not await self._alerts.sum_up(alert_id):
            return  # its chain had more to tell since, or another worker was first
        if nobody:
            structlog.get_logger().warning("alert had nobody to notify", alert=alert_id, status=record.status)
            return
        if not record.times.last_send:  # no carrier took any
            structlog.get_logger().error("alert reached nobody", alert=alert_id, people=record.people)
            return
        first_s, last_s = ((at - record.times.start) / 1000 for at in (record.times.first_send, record.times.last_send))
        self._metrics.first_send_seconds.observe(first_s)
        self._metrics.last_send_seconds.observe(last_s)
        structlog.get_logger().info(
            f"alert {record.state}", alert=alert_id, people=record.people, first_s=first_s, last_s=last_s
        )

    async def _sweep(self, alert_id: str) -> None:
        record = await self._alerts.get(alert_id)
        for batch in range(0, record.plan.batches if record else 0, SWEEP_BATCHES):
            await self._work.sweep(alert_id, batch, SWEEP_BATCHES)
