"""Starts and ends alerts at their time.

The first worker that finds a scheduled alert due starts it, or returns it to its approver. An alert ends as sent when
nothing is left to send, and as expired when its time has come. A worker then settles the rows behind the closed gate.

Between approval and start, people move, texts and regions change, cases develop, and the approver may leave. So all
checks of the approval are repeated, and alertd sends nothing that differs from the approved alert.
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
#: Time in ms after the start during which workers keep trying to read the regions. Then the alert is returned to its
#: approver.
PATIENCE_MS = 120_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Starts alerts. Two workers on one alert do no harm: the second finds it started."""

    alerts: Alerts
    approval: Approval
    audit: Audit
    regions: Regions
    clock: Clock

    async def due(self) -> list[str]:
        """Returns the ids of the alerts that are due to start."""
        return await self.alerts.times.to_start(self.clock.now_ms())

    async def start(self, alert_id: str) -> None:
        """Starts sending a scheduled alert if its start has come. During a stop the alert waits until two people lift
        the stop, or until the alert ends. If a check fails, the alert is returned to its approver.
        """
        record = await self.alerts.get(alert_id)
        if record is None or record.state is not AlertState.SCHEDULED:
            await self.alerts.times.start_done(alert_id)
            return
        if record.times.starts > self.clock.now_ms():
            await self.alerts.times.note_start(record)
            return
        who = Credential(key_id=record.approval.key, org=record.org, subject=record.approval.by, scopes=frozenset())
        try:
            await self.regions.ready()  # a worker reads the regions when it first needs them
            started = await self.approval.start(record)
        except LibraryError as error:  # another worker may have the regions, and finds the alert due
            structlog.get_logger().error("alert.start_deferred", alert=alert_id, why=str(error))
            if self.clock.now_ms() >= record.times.starts + PATIENCE_MS:
                unread = Problem("precondition-failed", "The region library could not be read.")
                await self._stopped(record, who, unread)
            return
        except Problem as problem:
            if problem.slug != "stop-active":
                await self._stopped(record, who, problem)
            return
        await self.alerts.times.start_done(alert_id)
        await self.audit.end(who, ACT, DONE, Noted(record=started), of=0)

    async def _stopped(self, record: AlertRecord, who: Credential, problem: Problem) -> None:
        """Makes the alert wait for its approver again, with the reason why it did not start."""
        waits = await self.approval.unschedule(record, f"It did not start. {problem.detail}")
        await self.alerts.times.start_done(record.id)
        if waits:
            structlog.get_logger().error("alert.start_failed", alert=record.id, problem=problem.slug)
            await self.audit.end(who, ACT, REFUSED, Noted(record=waits, facts={"problem": problem.slug}), of=0)


#: Number of batches settled in one call: at most 4,000 rows, so that it blocks the store for only a few milliseconds.
SWEEP_BATCHES = 8
#: Seconds for which an alert may be announced as live and not be approved. After that, its approval was interrupted or
#: refused, and the alert is retired.
EARLY_S = 60.0
#: States in which nothing more is sent: all messages were sent, or the rest expired with the alert.
_OVER = (AlertState.SENT, AlertState.EXPIRED)


class Expiry:
    """Ends alerts that are sent completely or have expired."""

    def __init__(self, alerts: Alerts, work: Work, clock: Clock, metrics: Metrics) -> None:
        self._alerts = alerts
        self._work = work
        self._clock = clock
        self._metrics = metrics
        # By alert: when it was first and last found early (monotonic s).
        self._early: dict[str, tuple[float, float]] = {}

    async def follow(self, alert_id: str, word: str, seen: bytes) -> None:
        """Acts on the answer `word` of `Work.finish_each`: retires an alert that is over or was never approved, or
        stores final states of the rows behind a closed gate. `seen` is the value from `Alerts.live`, read before
        `finish_each`: an alert that was announced since then stays live.
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
                    since = now  # it was not live for a while, and is announced anew
                self._early[alert_id] = since, now
                if now - since > EARLY_S:
                    del self._early[alert_id]  # if it is announced again, it gets the full time again
                    await self._alerts.retire(chain_of(alert_id), seen)

    async def expire(self, alert_id: str) -> None:
        """Ends an alert as expired, which closes its gate. Changes nothing if the end was extended or is being extended
        now.
        """
        (head,) = await self._alerts.heads([alert_id])
        if head is not None and head.expires > self._clock.now_ms():
            await self._alerts.times.note_end(head)
            return
        done, old = await self._alerts.step(alert_id, AlertState.EXPIRED, rev=head.rev if head else None)
        if done and head is not None and head.state in OPEN_STATES and telling_of(head).is_end:
            structlog.get_logger().error("follow_up.expired_unfinished", alert=alert_id, occasion=head.occasion)
        if old != "changed":
            await self._alerts.times.end_done(alert_id)

    async def _done(self, alert_id: str, seen: bytes) -> None:
        """Retires an alert that is over, so that workers no longer look at it. Reports once how many people it had and
        how long the sending took, or that no message was sent or accepted.
        """
        await self._alerts.retire(chain_of(alert_id), seen)
        record = await self._alerts.get(alert_id)
        if record is None or record.state not in _OVER:
            return
        nobody = had_nobody_to_notify(record) and not record.people
        if not (record.people or nobody) or not await self._alerts.sum_up(alert_id):
            return  # its chain got more to send since, or another worker was first
        if nobody:
            structlog.get_logger().warning("alert.sent_to_nobody", alert=alert_id, status=record.status)
            return
        if not record.times.last_send:  # no carrier accepted a message
            structlog.get_logger().error("alert.reached_nobody", alert=alert_id, people=record.people)
            return
        first_s, last_s = ((at - record.times.start) / 1000 for at in (record.times.first_send, record.times.last_send))
        self._metrics.first_send_seconds.observe(first_s)
        self._metrics.last_send_seconds.observe(last_s)
        structlog.get_logger().info(
            "alert.sent" if record.state is AlertState.SENT else "alert.expired",
            alert=alert_id, people=record.people, first_s=first_s, last_s=last_s,
        )  # fmt: skip

    async def _sweep(self, alert_id: str) -> None:
        """Stores final states of the unsent rows of an alert with a closed gate, in steps of `SWEEP_BATCHES` batches."""
        record = await self._alerts.get(alert_id)
        for batch in range(0, record.plan.batches if record else 0, SWEEP_BATCHES):
            await self._work.sweep(alert_id, batch, SWEEP_BATCHES)
