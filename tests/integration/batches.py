"""One approved alert to 1,200 people, planned in batches, and what tests of leases do with it again and again."""

from __future__ import annotations

import shapely

from alertd.model.states import AlertState, State
from alertd.store.alerts.records import AlertAuthor, AlertRecord, TargetFacts, Times
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import BatchKey, Lease, Settlement, pack_ref
from alertd.store.engine.connection import Connection
from tests.integration.acts import lease_of, silence

PUSH = BatchKey(channel="push", language="es")


CARRIER = 7


AREA = shapely.to_wkb(shapely.MultiPolygon([shapely.box(-6, 37, -5, 38)]))


FOREVER_MS = 10**15


def record(alert_id: str, **changes: object) -> AlertRecord:
    """A pending alert that never expires."""
    values = {
        "id": alert_id, "state": AlertState.PENDING, "org": "default", "kind": "missing-child", "level": "endangered",
        "status": "Actual", "loudness": "loud", "author": AlertAuthor(subject="a"), "external_id": "", "case": alert_id, "times": Times(created=1),
        "expires": FOREVER_MS, "rev": 1, "target": TargetFacts(seen=3), "document": b"{}",
    }  # fmt: skip
    return AlertRecord(**(values | changes))  # type: ignore[arg-type]


async def planned(work: Work, alert_id: str, people: int = 1200) -> None:
    refs = b"".join(pack_ref(number, 0) for number in range(1, people + 1))
    assert await work.plan(alert_id, 0, people, [(PUSH, refs)], last=True) == "ok"


def accepted(rows: list[int]) -> list[Settlement]:
    return [Settlement(row, State.ACCEPTED, 0, CARRIER) for row in rows]


def unsent(rows: list[int], *, doubt: bool = False) -> list[Settlement]:
    return [Settlement(row, State.QUEUED, 0, CARRIER, doubt=doubt, unsent=True) for row in rows]


def balanced(counts: dict[str, int]) -> bool:
    """The ledger's identity: what was targeted is the sum of all states."""
    return counts["targeted"] == sum(counts.get(state.word, 0) for state in State)


async def states(work: Work, alert_id: str) -> list[State]:
    return [State(row["state"]) async for _, rows, _ in work.ledger(alert_id) for row in rows]


async def lost(work: Work, store: Connection, alert_id: str, hold: bytes) -> tuple[Lease, Lease]:
    """Two rows, asked for by a worker that then goes silent, and who takes over the rest: the first lease and the second."""
    await planned(work, alert_id, 3)
    first = await lease_of(work, alert_id, "push")
    await work.gate(first, [], [0, 1], CARRIER)
    await silence(store, alert_id)
    return first, await lease_of(work, alert_id, "push", hold)
