"""Rings: each person is told as the innermost ring that they are in says, at its time and once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alertd.model.kinds import Notify
from alertd.runtime.worker import worker_of
from alertd.service.areas.targeting import ring_order
from alertd.service.container import Container
from alertd.service.delivery.planner import Planner
from alertd.store.delivery.work_records import BatchKey
from alertd.store.engine import keys
from channels.base import Loudness
from channels.sandbox import Sandbox
from tests.integration.acts import (
    BEA,
    SEVILLA,
    alert_of,
    counts,
    is_about,
    lease_of,
    over,
    planned,
    reached,
    register,
    send,
    silence,
    submitted,
    yes,
)
from tests.integration.alerts.updates import updated
from tests.unit.alertd.samples import changed

DELAY_MS = 15 * 60_000
INNER = {"center": list(SEVILLA), "radius_km": 5, "loudness": "loud"}
OUTER = {"center": list(SEVILLA), "radius_km": 30, "loudness": "silent", "delay_min": 15}
RINGS = {"rings": [OUTER, INNER]}
IN_INNER, IN_OUTER, OUTSIDE = range(30), range(30, 70), range(70, 100)


@pytest.fixture(autouse=True)
async def people(parts: Container) -> None:
    """30 in the city, 40 some 20 km north of it, 30 at 50 km; one of the inner has a school in the outer ring."""
    await register(parts, 29)
    await register(
        parts, 1, first=29, places={"home": {"point": [SEVILLA[0], 37.57]}, "school": {"point": list(SEVILLA)}}
    )
    await register(parts, 40, first=30, places={"home": {"point": [SEVILLA[0], 37.57]}})
    await register(parts, 30, first=70, places={"home": {"point": [SEVILLA[0], 37.85]}})


def told(sandbox: Sandbox) -> set[int]:
    return {int(address.removeprefix("token-")) for _, _, address, *_ in sandbox.push.recorded}


async def test_whoever_is_in_two_rings_is_in_the_inner_one(parts: Container, sample: dict[str, Any]):
    """The frozen audience keeps each person's ring."""
    taken = await submitted(parts, sample, target=RINGS)
    await parts.approval.approve(taken.record.id, BEA)
    frozen = await parts.alerts.audience(taken.record.id)
    assert np.bincount(frozen.rings).tolist() == [0, len(IN_OUTER), len(IN_INNER)]


async def test_the_estimate_of_a_ring_leaves_out_the_smaller_rings(parts: Container, sample: dict[str, Any]):
    """People and addresses of each ring, from the innermost; together they are those of the area."""
    await register(parts, 300, first=100)
    await register(parts, 500, first=400, places={"home": {"point": [SEVILLA[0], 37.57]}})
    taken = await submitted(parts, sample, target=RINGS)
    assert list(taken.rings) == [2, 1]
    for ring, people in ((2, 329), (1, 541)):
        assert is_about(taken.rings[ring].count.people, people)
        assert is_about(taken.rings[ring].count.addresses["push"], people)
    assert is_about(taken.people, 870)
    assert sum(ring.km2 for ring in taken.rings.values()) == pytest.approx(taken.area.km2)


async def test_the_inner_ring_is_told_at_once_and_the_outer_after_its_delay(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Nobody of the outer ring hears anything a second before their time; then everyone does, once."""
    record = await planned(parts, sample, target=RINGS)
    await send(parts, record)
    assert told(sandbox) == set(IN_INNER)
    assert await counts(parts, record) == {"queued": 40, "accepted": 30}
    parts.db.skew_ms += DELAY_MS - 5_000
    await send(parts, record)
    assert told(sandbox) == set(IN_INNER)
    assert not await over(parts, record)
    parts.db.skew_ms += 6_000
    await send(parts, record)
    assert told(sandbox) == {*IN_INNER, *IN_OUTER}
    assert sandbox.push.recorded.total == 70
    assert await counts(parts, record) == {"accepted": 70}
    assert await over(parts, record)


async def test_an_alert_that_ends_before_a_ring_is_told_leaves_nothing(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Cancelled meanwhile, nobody of the ring that waited is told, and no work is left behind."""
    record = await planned(parts, sample, target=RINGS)
    await send(parts, record)
    await parts.follow_ups.cancel(record.id, BEA, "Found", notify=False)
    parts.db.skew_ms += DELAY_MS + 1_000
    await send(parts, record)
    assert await over(parts, await parts.alerts.get(record.id))
    assert await counts(parts, record) == {"accepted": 30, "cancelled": 40}
    assert told(sandbox) == set(IN_INNER)
    assert await parts.db.execute("ZCARD", keys.of_chain(record.id, "delayed", "push")) == 0


@pytest.mark.parametrize(("radius_km", "told_then"), [(30, {*IN_INNER, *IN_OUTER}), (31, set(IN_INNER))])
async def test_an_update_keeps_no_ring_waiting_longer(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], radius_km: int, told_then: set[int]
):
    """However often something becomes known: the delay counts on, where the rings are left as they were."""
    record = await planned(parts, sample, target=RINGS)
    await send(parts, record)
    assert told(sandbox) == set(IN_INNER)
    target = {"rings": [{**OUTER, "radius_km": radius_km}, INNER]}
    for known in ("Lleva una mochila azul.", "Lleva una mochila verde."):
        parts.db.skew_ms += 6 * 60_000
        info = changed(sample, "info/es/instruction", known)["info"]
        await updated(parts, record, sample, Notify.NONE, target=target, info=info)
        await send(parts, record)
    parts.db.skew_ms += 4 * 60_000
    await send(parts, record)
    assert told(sandbox) == told_then


async def test_a_worker_that_dies_with_a_ring_loses_no_one(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Whoever leased a batch that had waited and went silent is followed, and everyone is told."""
    record = await planned(parts, sample, target=RINGS)
    parts.db.skew_ms += DELAY_MS + 1_000
    leases = [await lease_of(parts.work, record.id, "push") for _ in range(3)]
    assert sorted(len(lease.rows) for lease in leases if lease) == [30, 40]
    await silence(parts.db, record.id)
    await send(parts, record)
    assert told(sandbox) == {*IN_INNER, *IN_OUTER}
    assert await counts(parts, record) == {"accepted": 70}


async def test_a_planner_that_resumes_keeps_the_rings(parts: Container, sample: dict[str, Any]):
    """The inner ring is planned first, whatever the numbers of its people, and a planner that stops between is followed."""
    taken = await submitted(parts, sample, target=RINGS)
    record = await parts.approval.approve(taken.record.id, BEA)
    planner = Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock, chunks=(20, 20))
    while not await planner.plan(record, yes):
        record = await parts.alerts.get(record.id)
    batches = await parts.db.hash_of(keys.of_chain(record.id, "batches", record.id))
    rings = [header.split()[3:6:2] for _, header in sorted(batches.items(), key=lambda item: int(item[0]))]
    assert [(int(ring), int(rows)) for ring, rows in rings] == [(2, 20), (1, 10), (2, 10), (1, 20), (1, 10)]
    refs = [ref async for _, _, rows in parts.work.ledger(record.id) for ref in rows]
    assert len(refs) == len(set(refs)) == 70


async def test_the_rest_of_the_area_is_told_at_once_as_the_alert_says(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Whoever a target names besides its rings does not wait for them."""
    target = {"rings": [OUTER], "circles": [{"center": list(SEVILLA), "radius_km": 60}]}
    record = await planned(parts, sample, target=target)
    await send(parts, record)
    assert told(sandbox) == set(OUTSIDE)
    frozen = await parts.alerts.audience(record.id)
    assert np.bincount(frozen.rings).tolist() == [30, 70]


async def test_each_ring_is_as_loud_as_it_says(parts: Container, sample: dict[str, Any]):
    """The inner ring's phones sound, the outer's do not; the alert goes with the loud ones; what is loud is planned first."""
    alert = alert_of(sample, target={"rings": [OUTER, INNER], "regions": ["41091"]})
    record = (await submitted(parts, sample, target=RINGS)).record
    assert record.loudness == Loudness.LOUD
    (carrier,) = parts.carriers.of("push")
    loud = [
        (
            await worker_of(parts).feeder.dispatch.selection.messages.ready(
                record.id, BatchKey(channel="push", language="es", ring=ring), carrier
            )
        ).loud
        for ring in (1, 2)
    ]
    assert loud == [False, True]
    assert ring_order(alert, np.array([0, 1, 2, 0], np.uint8)).tolist() == [2, 0, 3, 1]


async def test_a_buffer_makes_everything_wider(parts: Container, sample: dict[str, Any]):
    """Rings grow by it as circles do: those 50 km away are reached by 45 and 10."""
    narrow = await submitted(parts, sample, target={"circles": [{"center": list(SEVILLA), "radius_km": 45}]})
    wide = await submitted(parts, sample, target={"rings": [{**INNER, "radius_km": 45}], "buffer_km": 10})
    assert [len(await reached(parts, taken.record)) for taken in (narrow, wide)] == [70, 100]
    await parts.approval.approve(wide.record.id, BEA)
    assert (await parts.alerts.audience(wide.record.id)).rings.tolist() == [1] * 100
    assert [repair.pointer for repair in wide.area.repairs] == ["/buffer_km"]


async def test_what_a_neighbour_permits_waits_as_the_update_before_it_did(parts: Container, sample: dict[str, Any]):
    """Rings wait from the approval of what began anew: of an update that is told an hour after its alert, too."""
    record = await planned(parts, sample, target={"rings": [INNER]})
    await send(parts, record)
    assert await over(parts, record)
    parts.db.skew_ms += 4 * DELAY_MS
    update = await updated(parts, record, sample, Notify.FULL, channels=["push"], target=RINGS)
    await send(parts, record)
    assert await counts(parts, update) == {"accepted": 30, "queued": 40}
    parts.db.skew_ms += DELAY_MS // 2
    permitted = await updated(parts, record, sample, Notify.NEWLY, channels=["push"], target=RINGS)
    await send(parts, record)
    assert await counts(parts, permitted) == {"queued": 40}
    parts.db.skew_ms += DELAY_MS // 2 + 5_000
    await send(parts, record)
    assert await counts(parts, permitted) == {"accepted": 40}
