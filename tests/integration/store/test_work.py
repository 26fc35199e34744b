"""Leases, the gate and the ledger, against a real store: nobody is lost, and whoever may be told twice is marked."""

from __future__ import annotations

import numpy as np
import pytest

from alertd.common.ids import new_id
from alertd.model.states import AlertState, LedgerReason, State
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import BatchKey, Gate, Settlement, pack_ref
from alertd.store.engine.connection import Connection
from tests.integration.acts import finish, lease_of, silence
from tests.integration.batches import (
    CARRIER,
    FOREVER_MS,
    PUSH,
    accepted,
    balanced,
    planned,
    states,
)


async def test_audience_is_kept_as_it_was_frozen(alerts: Alerts, alert_id: str):
    """What approve froze is what comes back, to the number."""
    assert (await alerts.audience(alert_id)).numbers.tolist() == list(range(1, 1201))


async def test_batches_hold_at_most_500_and_every_reference_once(work: Work, alert_id: str):
    """A plan of 1,200 is leased as 500, 500 and 200, and nothing twice."""
    await planned(work, alert_id)
    leases = [await lease_of(work, alert_id, "push") for _ in range(4)]
    assert [len(lease.rows) for lease in leases if lease] == [500, 500, 200]
    assert leases[3] is None
    assert [ref for lease in leases[:3] for ref in lease.refs] == [(n, 0) for n in range(1, 1201)]


async def test_several_chains_are_asked_at_once(work: Work, alerts: Alerts, alert_id: str, store: Connection):
    """One round trip takes a lease of each chain that has work; one that is damaged answers for itself alone."""
    await planned(work, alert_id, 5)
    idle, damaged = new_id(1), new_id(2)
    await store.execute("SET", f"{{a:{damaged}}}:ready:push", "no list")
    nothing, fault, lease = await work.leases([idle, damaged, alert_id], "push", b"")
    assert (nothing, isinstance(fault, Exception), lease.rows) == (None, True, [0, 1, 2, 3, 4])
    await store.execute("SET", f"{{a:{damaged}}}:v:{damaged}", "no hash")
    words = await work.finish_each([alert_id, damaged, idle])
    assert (words[0], isinstance(words[1], Exception), words[2]) == ("busy", True, "done")


async def test_planning_twice_appends_once(work: Work, alert_id: str):
    """A second planner, or one that resumes from an old cursor, is told so and changes nothing."""
    await planned(work, alert_id)
    assert await work.plan(alert_id, 0, 1200, [(PUSH, pack_ref(1, 0))], last=True) == "behind"
    assert (await work.counts(alert_id))["push"] == {"targeted": 1200, "queued": 1200}


async def test_gate_moves_counters_with_rows(work: Work, alert_id: str):
    """After every call the identity holds, and what was accepted is accepted."""
    await planned(work, alert_id)
    lease = await lease_of(work, alert_id, "push")
    status, leave = await work.gate(lease, [], lease.rows[:100], CARRIER)
    assert (status, sum(leave)) == (Gate.GO, 100)
    counts = (await work.counts(alert_id))["push"]
    assert (counts["in_flight"], balanced(counts)) == (100, True)
    status, _ = await work.gate(lease, accepted(lease.rows[:100]), lease.rows[100:200], CARRIER)
    counts = (await work.counts(alert_id))["push"]
    assert (counts["accepted"], counts["in_flight"], balanced(counts)) == (100, 100, True)


async def test_the_last_hand_over_is_one(work: Work, alerts: Alerts, alert_id: str):
    """What a carrier surely did not take, or refused, is no hand-over; what it took, or may have taken, is."""
    await planned(work, alert_id)
    lease = await lease_of(work, alert_id, "push")
    row, other = lease.rows[:2]
    for settlement, is_one in (
        (Settlement(row, State.QUEUED, 0, CARRIER), False),
        (Settlement(other, State.FAILED, 0, CARRIER), False),
        (Settlement(row, State.QUEUED, 0, CARRIER, doubt=True), True),
    ):
        await work.gate(lease, [], [settlement.row], CARRIER)
        await work.gate(lease, [settlement], [], CARRIER)
        record = await alerts.get(alert_id)
        assert bool(record and record.times.last_send) == is_one


async def test_no_row_passes_the_gate_twice(work: Work, alert_id: str):
    """Asking again for rows that are in flight or settled gets no leave."""
    await planned(work, alert_id)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], lease.rows[:2], CARRIER)
    _, leave = await work.gate(lease, accepted(lease.rows[:1]), lease.rows[:3], CARRIER)
    assert leave == [False, False, True]


async def test_cancel_closes_the_gate_and_ends_the_queue(work: Work, alerts: Alerts, alert_id: str):
    """After cancel nothing gets leave, outcomes still count, and the queued become cancelled."""
    await planned(work, alert_id)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], lease.rows[:100], CARRIER)
    done, _ = await alerts.step(alert_id, AlertState.CANCELLED)
    assert done
    status, leave = await work.gate(lease, accepted(lease.rows[:100]), lease.rows[100:200], CARRIER)
    assert (status, any(leave)) == (Gate.CLOSED, False)
    assert await finish(work, alert_id) == "sweep"
    for batch in range(3):
        await work.sweep(alert_id, batch, 1)
    counts = (await work.counts(alert_id))["push"]
    assert (counts["accepted"], counts["cancelled"], counts["queued"]) == (100, 1100, 0)
    assert await finish(work, alert_id) == "done"


async def test_expiry_closes_the_gate_by_itself(work: Work, alert_id: str, store: Connection):
    """Nothing passes after the end, before anybody has noticed that it came."""
    await planned(work, alert_id)
    lease = await lease_of(work, alert_id, "push")
    store.skew_ms = FOREVER_MS
    status, leave = await work.gate(lease, [], lease.rows[:1], CARRIER)
    assert (status, leave) == (Gate.CLOSED, [False])


async def test_retry_waits_its_time(work: Work, alert_id: str, store: Connection):
    """A row to be tried again is in no lease before its time, and then in one of its own."""
    await planned(work, alert_id, 3)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], lease.rows, CARRIER)
    again = Settlement(1, State.QUEUED, 5, CARRIER, delay_ms=20_000)
    await work.end(lease, [*accepted([0, 2]), again], [])
    assert await lease_of(work, alert_id, "push") is None
    assert await finish(work, alert_id) == "busy"
    store.skew_ms += 20_001
    retry = await lease_of(work, alert_id, "push")
    assert (retry.rows, retry.refs, retry.tries, retry.doubted) == ([1], [(2, 0)], [1], [False])
    _, leave = await work.gate(retry, [], [1], CARRIER)
    assert leave == [True]
    await work.end(retry, accepted([1]), [])
    assert await finish(work, alert_id) == "done"


async def test_halt_holds_everything(work: Work, alert_id: str, store: Connection):
    """A halted chain gives no lease and no leave, and goes on where it was."""
    await planned(work, alert_id, 5)
    lease = await lease_of(work, alert_id, "push")
    await store.execute("HSET", f"{{a:{alert_id}}}", "halt", "1")
    assert (await work.gate(lease, [], [0], CARRIER))[0] is Gate.HELD
    await work.end(lease, [], lease.rows)
    assert await lease_of(work, alert_id, "push") is None
    await store.execute("HDEL", f"{{a:{alert_id}}}", "halt")
    assert (await lease_of(work, alert_id, "push")).rows == [0, 1, 2, 3, 4]


async def test_receipts_come_in_any_order(work: Work, alert_id: str):
    """Delivered stays delivered, whatever comes later; a failed one may still turn out delivered."""
    await planned(work, alert_id, 2)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], [0, 1], CARRIER)
    await work.end(lease, accepted([0, 1]), [])
    open_states = (State.ACCEPTED, State.UNKNOWN)
    await work.receipt(alert_id, 0, "push", State.DELIVERED, 0, (*open_states, State.FAILED))
    await work.receipt(alert_id, 0, "push", State.FAILED, 1, open_states)
    await work.receipt(alert_id, 1, "push", State.FAILED, 1, open_states)
    await work.receipt(alert_id, 1, "push", State.DELIVERED, 0, (*open_states, State.FAILED))
    assert await states(work, alert_id) == [State.DELIVERED] * 2
    assert balanced((await work.counts(alert_id))["push"])
    assert (await work.receipt(alert_id, 99, "push", State.DELIVERED, 0, open_states)).old == 0


async def test_a_receipt_tells_how_long_its_message_took(work: Work, alert_id: str, store: Connection):
    """From the hand-over, once: a second report, a failure, and what was still queued tell nothing of it."""
    await planned(work, alert_id, 3)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], [0, 1], CARRIER)
    await work.end(lease, accepted([0, 1]), [])
    store.skew_ms += 5_000
    delivered, failed = (State.DELIVERED, 0, [State.ACCEPTED, State.QUEUED]), (State.FAILED, 1, [State.ACCEPTED])
    reports = [(0, *delivered), (0, *delivered), (1, *failed), (2, *delivered)]
    took = [(await work.receipt(alert_id, row, "push", *said)).took_ms for row, *said in reports]
    assert took == [pytest.approx(5_000, abs=1_000), -1, -1, -1]


async def test_channels_of_rows_are_asked_for_once(work: Work, alert_id: str, store: Connection):
    """While planning goes on every row has its channel; when all is planned a receipt costs no look at the batches."""
    sms = BatchKey(channel="sms", language="es")
    refs = b"".join(pack_ref(number, 0) for number in range(1, 601))
    assert await work.plan(alert_id, 0, 600, [(PUSH, refs)], last=False) == "ok"
    assert [await work.channel_of(alert_id, row) for row in (0, 599)] == ["push", "push"]
    batches = f"{{a:{alert_id}}}:batches:{alert_id}"
    await store.execute("RENAME", batches, f"{batches}:aside")
    assert await work.channel_of(alert_id, 599) == "push", "what is planned stays so, and is not asked again"
    await store.execute("RENAME", f"{batches}:aside", batches)
    assert await work.plan(alert_id, 600, 1200, [(PUSH, refs), (sms, refs)], last=True) == "ok"
    assert await work.spans(alert_id) == [(0, "push"), (1200, "sms")]
    await store.execute("DEL", batches)
    assert [await work.channel_of(alert_id, row) for row in (0, 1199, 1200, 1799)] == ["push", "push", "sms", "sms"]
    assert await work.channel_of(new_id(1), 0) is None


async def test_clock_never_goes_back(work: Work, alert_id: str, store: Connection):
    """A store whose clock steps back does not bring a lease back to life."""
    await planned(work, alert_id, 2)
    store.skew_ms = 60_000
    await lease_of(work, alert_id, "push")
    store.skew_ms = 0
    assert await lease_of(work, alert_id, "push") is None
    store.skew_ms = 60_000
    await silence(store, alert_id)
    assert (await lease_of(work, alert_id, "push")).doubted == [False, False]


async def test_steps_follow_the_table(alerts: Alerts, alert_id: str):
    """What the table of states does not allow is refused, with the state that stood in the way."""
    assert await alerts.step(alert_id, AlertState.REJECTED) == (False, "approved")
    assert await alerts.step(alert_id, AlertState.CANCELLED) == (True, "approved")
    assert await alerts.approve(alert_id, np.arange(3, dtype=np.uint64), "b") == (False, "cancelled")
    assert LedgerReason.GATE_CLOSED == 35
