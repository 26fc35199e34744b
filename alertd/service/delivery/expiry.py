"""How alerts end: sent when nothing is left, expired when their time has come, settled when their gate is closed."""

from __future__ import annotations

import structlog

from alertd.common.clock import Clock
from alertd.common.ids import chain_of
from alertd.metrics import Metrics
from alertd.model.states import OPEN_STATES, AlertState
from alertd.service.alerts.follow_up_audience import telling_of
from alertd.service.small_counts import had_nobody_to_notify
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work

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
        if not record.last_send:  # no carrier took any
            structlog.get_logger().error("alert reached nobody", alert=alert_id, people=record.people)
            return
        first_s, last_s = ((at - record.start) / 1000 for at in (record.first_send, record.last_send))
        self._metrics.first_send_seconds.observe(first_s)
        self._metrics.last_send_seconds.observe(last_s)
        structlog.get_logger().info(
            f"alert {record.state}", alert=alert_id, people=record.people, first_s=first_s, last_s=last_s
        )

    async def _sweep(self, alert_id: str) -> None:
        record = await self._alerts.get(alert_id)
        for batch in range(0, record.batches if record else 0, SWEEP_BATCHES):
            await self._work.sweep(alert_id, batch, SWEEP_BATCHES)
