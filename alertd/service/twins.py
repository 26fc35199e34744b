"""A case that its author sends again, after an answer that was lost, tells nobody twice."""

from __future__ import annotations

from alertd.errors import Problem
from alertd.store.alerts import AlertRecord, Alerts


async def check_twin(alerts: Alerts, record: AlertRecord) -> None:
    """Raises Problem when another alert under the same external id is under way. Takes nothing."""
    _refuse(await alerts.external_ids.twin(record))


async def claim_external_id(alerts: Alerts, record: AlertRecord) -> None:
    """The same, and takes the external id for this alert, which is about to ask for its second person. Raises Problem."""
    _refuse(await alerts.external_ids.claim(record))


def _refuse(twin: str | None) -> None:
    if twin is not None:
        raise Problem("duplicate-case", "Your alert with this external id is under way; `alert` is its id.", alert=twin)
