"""Prevents that one alert is submitted twice. Recognises it by its external id, which a CAP message always has, and
otherwise by its case.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.external_ids import UNDER_WAY
from alertd.store.alerts.records import AlertRecord

#: `LOOKS`: how often a request that lost the race for an external id looks for the winner's alert. `POLL_S`: seconds in
#: between. The winner writes the alert within milliseconds.
LOOKS, POLL_S = 40, 0.05
#: Members that may differ between two submissions of one alert: its author, and a start that has passed meanwhile.
_OF_ONE_SUBMISSION = ("author", "starts")


async def find_first(
    alerts: Alerts, clock: Clock, record: AlertRecord, *, dry_run: bool = False, known: str = ""
) -> AlertRecord | None:
    """Returns the alert of the organisation that this submission repeats, if that alert is still under way. Returns
    None if there is none, and then claims the external id for `record` unless this is a dry run. `known` is the id of
    an alert that the caller found already.

    Raises Problem: duplicate-case if the other alert has different content, or if the known alert has ended meanwhile;
    idempotency-in-progress if the request of the other alert does not finish.
    """
    ids = alerts.external_ids
    for _ in range(LOOKS):
        other = known or await (ids.twin(record) if dry_run else ids.claim(record))
        if not other:
            return None
        first = await alerts.get(other)
        if first is not None and first.state in UNDER_WAY:
            if _content(first) != _content(record):
                raise _duplicate(other)
            return first
        if known:
            raise _duplicate(known, "This alert repeats another one that has ended meanwhile; `alert` is its id.")
        await clock.sleep(POLL_S)
    raise Problem(
        "idempotency-in-progress",
        "Another request is submitting the alert with this external id.",
        headers={"Retry-After": "1"},
    )


async def claim_external_id(alerts: Alerts, record: AlertRecord) -> None:
    """Claims the external id for an alert that already has an alert id, such as a draft. Raises Problem if another
    alert has this external id.
    """
    if other := await alerts.external_ids.claim(record):
        raise _duplicate(other)


async def similar(alerts: Alerts, record: AlertRecord) -> Sequence[AlertRecord]:
    """Returns the other living alerts of the same case, kind and status, oldest first, without their documents. Skips
    damaged records, so that one bad record cannot hide the others.
    """
    if record.case == chain_of(record.id):  # it has no case number
        return []
    return [
        one
        for one in await alerts.listed(await alerts.ids_in_case(record.case))
        if one is not None
        and one.id != chain_of(record.id)
        and one.state in UNDER_WAY
        and (one.kind, one.status) == (record.kind, record.status)
    ]


def _content(record: AlertRecord) -> dict[str, Any]:
    """Returns the members of an alert's document that must be equal in two submissions of the same alert."""
    document: dict[str, Any] = json.loads(record.document or b"{}")
    return {name: value for name, value in document.items() if name not in _OF_ONE_SUBMISSION}


def _duplicate(
    other: str, says: str = "Another alert of your organisation has this external id; `alert` is its id."
) -> Problem:
    """Returns the Problem duplicate-case, which names the id of the other alert."""
    return Problem("duplicate-case", says, alert=other)
