"""Updates of an alert, and what its recipients got."""

from __future__ import annotations

from typing import Any

from alertd.model.kinds import Notify
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.alerts.intake import Taken
from alertd.service.alerts.later_audience import SETTLE_MS
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from alertd.store.delivery.work_records import BatchKey
from channels.sandbox import Sandbox
from tests.integration.acts import (
    ANA,
    BEA,
    CADIZ,
    alert_of,
    register,
    started_before,
)


async def is_in_state(parts: Container, alert_id: str, state: AlertState) -> bool:
    return await parts.alerts.state(alert_id) is state


async def is_retired(parts: Container) -> bool:
    return not await parts.alerts.live()


CITY, WIDER = {"regions": ["41091"]}, {"regions": ["41091", "ES-CA"]}


async def proposed(
    parts: Container, record: AlertRecord, sample: dict[str, Any], notify: Notify = Notify.FULL, **changes: Any
) -> Taken:
    """An update by Ana, wider than the alert was, on the same channels."""
    return await parts.update_proposals.submit(record.id, alert_of(sample, **{"target": WIDER, **changes}), notify, ANA)


async def updated(
    parts: Container, record: AlertRecord, sample: dict[str, Any], notify: Notify = Notify.FULL, **changes: Any
) -> AlertRecord:
    """The same, approved by Bea and planned, as if what was in flight had the time to arrive."""
    taken = await proposed(parts, record, sample, notify, **changes)
    update = await parts.approval.approve(taken.record.id, BEA)
    await plan(parts, update)
    return await parts.alerts.get(update.id)


async def plan(parts: Container, update: AlertRecord) -> None:
    assert await worker_of(parts).plans.planner.plan(started_before(update, SETTLE_MS))


async def in_cadiz(parts: Container, count: int, first: int = 100) -> None:
    await register(parts, count, first=first, places={"home": {"point": list(CADIZ)}})


def got(sandbox: Sandbox, version: str) -> list[str]:
    """The tokens that a version went to."""
    return sorted(address for _, told, address, *_ in sandbox.push.recorded if told == version)


async def again(parts: Container, alert_id: str, channel: str = "push", *, was_told: bool = True) -> str:
    """A message as its carrier takes it, for whoever was told before or was not."""
    alike = BatchKey(channel=channel, language="es", again=was_told)
    ready = await worker_of(parts).feeder.dispatch.selection.messages.ready(
        alert_id, alike, parts.carriers.of(channel)[0]
    )
    return repr(ready.prepared.payload).replace(" ", "")


async def reasons(parts: Container, alert_id: str) -> set[int]:
    return {int(row["reason"]) async for _, rows, _ in parts.work.ledger(alert_id) for row in rows}
