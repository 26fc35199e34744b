"""Sends messages again that may not have arrived, on an operator's request: state unknown, or refused by a carrier."""

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

#: Number of batches in one call to the store: 10,000 rows block the store no longer than a planning chunk does.
BATCHES = 20


@dataclass(slots=True)
class Resending:
    """Queues references of an alert again, on an operator's request."""

    alerts: Alerts
    work: Work
    stop_control: StopControl

    async def resend(self, record: AlertRecord, who: Credential, states: Collection[State], channel: str | None) -> int:
        """Queues the references in these `states` again, on one channel or, if `channel` is None, on all.

        Returns the number of queued references. A repeated call returns 0, because they are queued already. Raises
        Problem: `precondition-failed` if nothing more is sent of the alert, or if the content of this version no longer
        holds; `stop-active`.
        """
        check_key(record, who)
        await self.stop_control.check(record.org, record.author.key, who.key_id)
        await self.alerts.mark_live(
            record.id
        )  # before the rows are queued: after a crash, workers still find the chain
        resent, batch, last, true_in = 0, 0, False, listed(TRUE_IN[record.occasion])
        while not last:
            state, queued, last = await self.work.resend(record.id, true_in, batch, BATCHES, states, channel)
            if state is not None:
                raise Problem("precondition-failed", _why(record, state))
            resent, batch = resent + queued, batch + BATCHES
        # Again: in the meantime a worker may have found the alert finished and retired it.
        await self.alerts.mark_live(record.id)
        await self.stop_control.apply_stops(chain_of(record.id))
        return resent


def _why(record: AlertRecord, state: str) -> str:
    """Returns why the version is not sent again, given the state of the version or of its alert."""
    if record.id == chain_of(record.id):
        return f"Nothing more is sent: the alert is {state or 'gone'}."
    if state == "superseded":
        return "A later version replaces this one."
    return f"The {record.occasion} message no longer holds: the alert is {state or 'gone'}."
