"""Sending again, by an operator's word, what may not have arrived: the unknown, and those a carrier refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.states import TRUE_IN, State
from alertd.service.access import Credential
from alertd.service.alerts.stops import StopControl
from alertd.service.decision_checks import check_key
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord, listed
from alertd.store.delivery.work import Work

#: Batches a script call: 10,000 rows hold nobody up for longer than a planning chunk.
BATCHES = 20


@dataclass(slots=True)
class Resending:
    """Queues references of an alert again."""

    alerts: Alerts
    work: Work
    stop_control: StopControl

    async def resend(self, record: AlertRecord, who: Credential, states: Collection[State], channel: str | None) -> int:
        """Queue those of these states, of one channel or of all. Answers how many; none the second time, for they are queued by
        then. Raises Problem: precondition-failed where nothing more is sent of the alert, or what this version tells
        is not true of it any more; stop-active.
        """
        check_key(record, who)
        await self.stop_control.check(record.org, record.author.key, who.key_id)
        await self.alerts.enliven(record.id)  # before the step, so that no crash hides it
        resent, batch, last, true_in = 0, 0, False, listed(TRUE_IN[record.occasion])
        while not last:
            state, queued, last = await self.work.resend(record.id, true_in, batch, BATCHES, states, channel)
            if state is not None:
                raise Problem("precondition-failed", _why(record, state))
            resent, batch = resent + queued, batch + BATCHES
        await self.alerts.enliven(record.id)  # again: a worker may have found it over yet, and retired it
        await self.stop_control.put_on(chain_of(record.id))
        return resent


def _why(record: AlertRecord, state: str) -> str:
    """Why nothing of a version is sent again, by the state of it or of its alert."""
    if record.id == chain_of(record.id):
        return f"Nothing more is sent of an alert that is {state or 'gone'}."
    if state == "superseded":
        return "A later version tells this in its place."
    return f"What this version tells, {record.occasion}, does not hold of an alert that is {state or 'gone'}."
