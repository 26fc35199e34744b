"""Leases, the gate and the ledger, against a real store: nobody is lost, and whoever may be told twice is marked."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from alertd.alerts import FLAG_DOUBT, AlertState, LedgerReason, State
from alertd.ids import new_id
from alertd.store.alerts import AlertRecord, Alerts
from alertd.store.connection import Connection
from alertd.store.scripts import LOST_MS
from alertd.store.work import Alike, Gate, Lease, Settlement, Work, pack_ref
from tests.integration.acts import silence

PUSH = Alike(channel="push", language="es")
CARRIER = 7
AREA = shapely.MultiPolygon([shapely.box(-6, 37, -5, 38)])
FOREVER_MS = 10**15


def record(alert_id: str, **changes: object) -> AlertRecord:
    """A pending alert that never expires."""
    values = {
        "id": alert_id, "state": AlertState.PENDING, "org": "default", "kind": "missing-child", "level": "endangered",
        "status": "Actual", "loudness": "loud", "author": "a", "external_id": "", "case": alert_id, "created": 1,
        "expires": FOREVER_MS, "rev": 1, "seen": 3, "document": b"{}",
    }  # fmt: skip
    return AlertRecord(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def work(store: Connection) -> Work:
    return Work(store)


@pytest.fixture
def alerts(store: Connection) -> Alerts:
    return Alerts(store)


@pytest.fixture
async def alert_id(alerts: Alerts) -> str:
    """An approved alert to people 1 to 1,200, not planned yet."""
    name = new_id(1_700_000_000_000)
    assert await alerts.create(record(name), AREA)
    done, _ = await alerts.approve(name, np.arange(1, 1201, dtype=np.uint64), "b")
    assert done
    return name


async def planned(work: Work, alert_id: str, people: int = 1200) -> None:
    refs = b"".join(pack_ref(number, 0) for number in range(1, people + 1))
    assert await work.plan(alert_id, 0, people, [(PUSH, refs)], last=True) == "ok"


def accepted(rows: list[int]) -> list[Settlement]:
    return [Settlement(row, State.ACCEPTED, 0, CARRIER) for row in rows]


def unsent(rows: list[int], *, doubt: bool = False) -> list[Settlement]:
    return [Settlement(row, State.QUEUED, 0, CARRIER, doubt=doubt, unsent=True) for row in rows]


def balanced(counts: dict[str, int]) -> bool:
    """The identity of design.md, section 6."""
    return counts["targeted"] == sum(counts.get(state.word, 0) for state in State)


async def states(work: Work, alert_id: str) -> list[State]:
    return [State(row["state"]) async for _, rows, _ in work.ledger(alert_id) for row in rows]


async def test_audience_is_kept_as_it_was_frozen(alerts: Alerts, alert_id: str):
    """What approve froze is what comes back, to the number."""
    assert (await alerts.audience(alert_id)).tolist() == list(range(1, 1201))


async def test_batches_hold_at_most_500_and_every_reference_once(work: Work, alert_id: str):
    """A plan of 1,200 is leased as 500, 500 and 200, and nothing twice."""
    await planned(work, alert_id)
    leases = [await work.lease(alert_id, "push", b"") for _ in range(4)]
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
    lease = await work.lease(alert_id, "push", b"")
    status, leave = await work.gate(lease, [], lease.rows[:100], CARRIER)
    assert (status, sum(leave)) == (Gate.GO, 100)
    counts = (await work.counts(alert_id))["push"]
    assert (counts["in_flight"], balanced(counts)) == (100, True)
    status, _ = await work.gate(lease, accepted(lease.rows[:100]), lease.rows[100:200], CARRIER)
    counts = (await work.counts(alert_id))["push"]
    assert (counts["accepted"], counts["in_flight"], balanced(counts)) == (100, 100, True)


async def test_no_row_passes_the_gate_twice(work: Work, alert_id: str):
    """Asking again for rows that are in flight or settled gets no leave."""
    await planned(work, alert_id)
    lease = await work.lease(alert_id, "push", b"")
    await work.gate(lease, [], lease.rows[:2], CARRIER)
    _, leave = await work.gate(lease, accepted(lease.rows[:1]), lease.rows[:3], CARRIER)
    assert leave == [False, False, True]


async def test_cancel_closes_the_gate_and_ends_the_queue(work: Work, alerts: Alerts, alert_id: str):
    """After cancel nothing gets leave, outcomes still count, and the queued become cancelled."""
    await planned(work, alert_id)
    lease = await work.lease(alert_id, "push", b"")
    await work.gate(lease, [], lease.rows[:100], CARRIER)
    done, _ = await alerts.step(alert_id, AlertState.CANCELLED)
    assert done
    status, leave = await work.gate(lease, accepted(lease.rows[:100]), lease.rows[100:200], CARRIER)
    assert (status, any(leave)) == (Gate.CLOSED, False)
    assert await work.finish(alert_id) == "sweep"
    for batch in range(3):
        await work.sweep(alert_id, batch, 1)
    counts = (await work.counts(alert_id))["push"]
    assert (counts["accepted"], counts["cancelled"], counts["queued"]) == (100, 1100, 0)
    assert await work.finish(alert_id) == "done"


async def test_expiry_closes_the_gate_by_itself(work: Work, alert_id: str, store: Connection):
    """Nothing passes after the end, before anybody has noticed that it came."""
    await planned(work, alert_id)
    lease = await work.lease(alert_id, "push", b"")
    store.skew_ms = FOREVER_MS
    status, leave = await work.gate(lease, [], lease.rows[:1], CARRIER)
    assert (status, leave) == (Gate.CLOSED, [False])


async def test_lost_lease_is_taken_over_and_marked(work: Work, alert_id: str, store: Connection):
    """A silent worker's rows go to another; those that were in flight are tried again and marked as in doubt."""
    await planned(work, alert_id, 10)
    first = await work.lease(alert_id, "push", b"")
    await work.gate(first, [], first.rows[:4], CARRIER)
    assert await work.lease(alert_id, "push", b"") is None
    await silence(store, alert_id)
    second = await work.lease(alert_id, "push", b"")
    assert (second.rows, second.lost, second.tries[:5]) == (list(range(10)), 4, [1, 1, 1, 1, 0])
    counts = (await work.counts(alert_id))["push"]
    assert (counts["queued"], counts["doubled"]) == (10, 4)
    assert (await work.gate(first, [], [5], CARRIER))[0] is Gate.LOST
    _, leave = await work.gate(second, [], second.rows, CARRIER)
    assert all(leave)
    tries = [int(row["tries"]) async for _, rows, _ in work.ledger(alert_id) for row in rows]
    assert tries == [2 | FLAG_DOUBT] * 4 + [1] * 6


async def test_held_carrier_is_not_asked_twice(work: Work, alert_id: str, store: Connection):
    """Where the carrier's policy is to hold, an attempt without an answer becomes unknown and is not repeated."""
    await planned(work, alert_id, 3)
    first = await work.lease(alert_id, "push", b"")
    await work.gate(first, [], first.rows[:1], CARRIER)
    await silence(store, alert_id)
    second = await work.lease(alert_id, "push", bytes([CARRIER]))
    assert second.rows == [1, 2]
    assert (await states(work, alert_id))[0] is State.UNKNOWN


async def test_late_answer_is_the_truth(work: Work, alert_id: str, store: Connection):
    """The answer to the very attempt counts although its lease is gone, and then the successor does not send."""
    await planned(work, alert_id, 2)
    first = await work.lease(alert_id, "push", b"")
    await work.gate(first, [], first.rows, CARRIER)
    await silence(store, alert_id)
    second = await work.lease(alert_id, "push", b"")
    await work.end(first, accepted([0]), [])
    _, leave = await work.gate(second, [], second.rows, CARRIER)
    assert leave == [False, True]
    await work.end(first, [Settlement(1, State.FAILED, 1, CARRIER)], [])  # it was not the last to ask
    assert await states(work, alert_id) == [State.ACCEPTED, State.IN_FLIGHT]


async def test_retry_waits_its_time(work: Work, alert_id: str, store: Connection):
    """A row to be tried again is in no lease before its time, and then in one of its own."""
    await planned(work, alert_id, 3)
    lease = await work.lease(alert_id, "push", b"")
    await work.gate(lease, [], lease.rows, CARRIER)
    again = Settlement(1, State.QUEUED, 5, CARRIER, delay_ms=20_000)
    await work.end(lease, [*accepted([0, 2]), again], [])
    assert await work.lease(alert_id, "push", b"") is None
    assert await work.finish(alert_id) == "busy"
    store.skew_ms += 20_001
    retry = await work.lease(alert_id, "push", b"")
    assert (retry.rows, retry.refs, retry.tries, retry.lost) == ([1], [(2, 0)], [1], 0)
    _, leave = await work.gate(retry, [], [1], CARRIER)
    assert leave == [True]
    await work.end(retry, accepted([1]), [])
    assert await work.finish(alert_id) == "done"


async def test_rows_given_back_are_sent_by_another(work: Work, alert_id: str):
    """A worker that stops gives back what it did not try, at once and without doubt."""
    await planned(work, alert_id, 4)
    lease = await work.lease(alert_id, "push", b"")
    await work.gate(lease, [], [0], CARRIER)
    await work.end(lease, accepted([0]), [1, 2, 3])
    other = await work.lease(alert_id, "push", b"")
    assert (other.rows, other.tries, other.lost) == ([1, 2, 3], [0, 0, 0], 0)


async def test_orphans_of_a_closed_gate_become_unknown(work: Work, alerts: Alerts, alert_id: str, store: Connection):
    """In flight at a cancel with its worker dead: unknown, never lost, and the alert still ends."""
    await planned(work, alert_id, 5)
    lease = await work.lease(alert_id, "push", b"")
    await work.gate(lease, [], [0, 1], CARRIER)
    await alerts.step(alert_id, AlertState.CANCELLED)
    assert await work.sweep(alert_id, 0, 1) == (3, 2)
    await silence(store, alert_id)
    assert await work.sweep(alert_id, 0, 1) == (2, 0)
    assert await states(work, alert_id) == [State.UNKNOWN] * 2 + [State.CANCELLED] * 3


async def test_halt_holds_everything(work: Work, alert_id: str, store: Connection):
    """A halted chain gives no lease and no leave, and goes on where it was."""
    await planned(work, alert_id, 5)
    lease = await work.lease(alert_id, "push", b"")
    await store.execute("HSET", f"{{a:{alert_id}}}", "halt", "1")
    assert (await work.gate(lease, [], [0], CARRIER))[0] is Gate.HELD
    await work.end(lease, [], lease.rows)
    assert await work.lease(alert_id, "push", b"") is None
    await store.execute("HDEL", f"{{a:{alert_id}}}", "halt")
    assert (await work.lease(alert_id, "push", b"")).rows == [0, 1, 2, 3, 4]


async def test_receipts_come_in_any_order(work: Work, alert_id: str):
    """Delivered stays delivered, whatever comes later; a failed one may still turn out delivered."""
    await planned(work, alert_id, 2)
    lease = await work.lease(alert_id, "push", b"")
    await work.gate(lease, [], [0, 1], CARRIER)
    await work.end(lease, accepted([0, 1]), [])
    open_states = (State.ACCEPTED, State.UNKNOWN)
    await work.receipt(alert_id, 0, "push", State.DELIVERED, 0, (*open_states, State.FAILED))
    await work.receipt(alert_id, 0, "push", State.FAILED, 1, open_states)
    await work.receipt(alert_id, 1, "push", State.FAILED, 1, open_states)
    await work.receipt(alert_id, 1, "push", State.DELIVERED, 0, (*open_states, State.FAILED))
    assert await states(work, alert_id) == [State.DELIVERED] * 2
    assert balanced((await work.counts(alert_id))["push"])
    assert await work.receipt(alert_id, 99, "push", State.DELIVERED, 0, open_states) == 0


async def test_channels_of_rows_are_asked_for_once(work: Work, alert_id: str, store: Connection):
    """While planning goes on every row has its channel; when all is planned a receipt costs no look at the batches."""
    sms = Alike(channel="sms", language="es")
    refs = b"".join(pack_ref(number, 0) for number in range(1, 601))
    assert await work.plan(alert_id, 0, 600, [(PUSH, refs)], last=False) == "ok"
    assert [await work.channel_of(alert_id, row) for row in (0, 599)] == ["push", "push"]
    assert await work.plan(alert_id, 600, 1200, [(PUSH, refs), (sms, refs)], last=True) == "ok"
    assert await work.spans(alert_id) == [(0, "push"), (1200, "sms")]
    await store.execute("DEL", f"{{a:{alert_id}}}:batches:{alert_id}")
    assert [await work.channel_of(alert_id, row) for row in (0, 1199, 1200, 1799)] == ["push", "push", "sms", "sms"]
    assert await work.channel_of(new_id(1), 0) is None


async def test_clock_never_goes_back(work: Work, alert_id: str, store: Connection):
    """A store whose clock steps back does not bring a lease back to life."""
    await planned(work, alert_id, 2)
    store.skew_ms = 60_000
    await work.lease(alert_id, "push", b"")
    store.skew_ms = 0
    assert await work.lease(alert_id, "push", b"") is None
    store.skew_ms = 60_000
    await silence(store, alert_id)
    assert (await work.lease(alert_id, "push", b"")).lost == 0


async def test_steps_follow_the_table(alerts: Alerts, alert_id: str):
    """What the table of states does not allow is refused, with the state that stood in the way."""
    assert await alerts.step(alert_id, AlertState.REJECTED) == (False, "approved")
    assert await alerts.step(alert_id, AlertState.CANCELLED) == (True, "approved")
    assert await alerts.approve(alert_id, np.arange(3, dtype=np.uint64), "b") == (False, "cancelled")
    assert LedgerReason.GATE_CLOSED == 35


async def lost(work: Work, store: Connection, alert_id: str, hold: bytes) -> tuple[Lease, Lease]:
    """Two rows, asked for by a worker that then goes silent, and who takes over the rest: the first lease and the second."""
    await planned(work, alert_id, 3)
    first = await work.lease(alert_id, "push", b"")
    await work.gate(first, [], [0, 1], CARRIER)
    await silence(store, alert_id)
    return first, await work.lease(alert_id, "push", hold)


async def test_what_was_never_written_is_sent_although_its_worker_slept(work: Work, alert_id: str, store: Connection):
    """Given up as unknown, it goes back to the queue without a doubt, as soon as its worker says that nothing was written."""
    first, second = await lost(work, store, alert_id, bytes([CARRIER]))
    assert await states(work, alert_id) == [State.UNKNOWN, State.UNKNOWN, State.QUEUED]
    await work.end(first, unsent([0, 1]), [])
    await work.end(second, [], second.rows)
    again = await work.lease(alert_id, "push", b"")
    assert (again.rows, again.tries, again.doubted) == ([0, 1, 2], [0, 0, 0], [False] * 3)
    assert balanced((await work.counts(alert_id))["push"])


async def test_a_doubt_is_lifted_where_nothing_was_written(work: Work, alert_id: str, store: Connection):
    """Of what a successor has, only that worker's own doubt goes: where an earlier attempt may have arrived it stays."""
    first, second = await lost(work, store, alert_id, b"")
    assert second.doubted == [True, True, False]
    await work.end(first, [*unsent([0]), *unsent([1], doubt=True)], [])
    assert (await work.counts(alert_id))["push"]["doubled"] == 1
    _, leave = await work.gate(second, [], second.rows, CARRIER)
    assert leave == [True] * 3
    tries = [int(row["tries"]) async for _, rows, _ in work.ledger(alert_id) for row in rows]
    assert tries == [1, 1 | FLAG_DOUBT, 1]


@pytest.mark.parametrize("swept", [False, True])
async def test_what_was_never_written_of_a_closed_gate_is_cancelled(
    work: Work, alerts: Alerts, alert_id: str, store: Connection, swept: bool
):
    """Whether the sweeper has been there or not: nothing was sent, so nobody has to be told of it."""
    first, second = await lost(work, store, alert_id, b"")
    await work.end(second, [], second.rows)
    await alerts.step(alert_id, AlertState.CANCELLED)
    if swept:
        await work.sweep(alert_id, 0, 1)
        assert await states(work, alert_id) == [State.UNKNOWN, State.UNKNOWN, State.CANCELLED]
    await work.end(first, unsent([0, 1]), [])
    await work.sweep(alert_id, 0, 1)
    assert await states(work, alert_id) == [State.CANCELLED] * 3
    counts = (await work.counts(alert_id))["push"]
    assert (counts["doubled"], balanced(counts)) == (0, True)


async def test_an_old_answer_is_not_of_a_later_attempt(work: Work, alert_id: str, store: Connection):
    """However often an answer is repeated, and whatever number an attempt has: whoever asked last answers, once."""
    await planned(work, alert_id, 1)
    for _ in range(40):  # more than a row counts
        lease = await work.lease(alert_id, "push", b"")
        await work.gate(lease, [], [0], CARRIER)
        old = [Settlement(0, State.QUEUED, 5, CARRIER)]
        await work.gate(lease, old, [], CARRIER)
    never = await work.lease(alert_id, "push", b"")
    await work.gate(never, [], [0], CARRIER)
    await work.gate(never, unsent([0]), [], CARRIER)
    last = await work.lease(alert_id, "push", b"")
    await work.gate(last, [], [0], CARRIER)
    await work.gate(never, unsent([0]), [], CARRIER)  # said twice: the store did not confirm the first
    await work.gate(lease, accepted([0]), [], CARRIER)
    assert await states(work, alert_id) == [State.IN_FLIGHT]
    await work.end(last, accepted([0]), [])
    assert await states(work, alert_id) == [State.ACCEPTED]


async def test_a_row_that_waited_in_between_is_another_lease_s(work: Work, alert_id: str, store: Connection):
    """A worker that dies is followed in what it had in flight itself, not in what others retry for it."""
    await planned(work, alert_id, 2)
    first = await work.lease(alert_id, "push", b"")
    await work.gate(first, [], [0, 1], CARRIER)
    await work.gate(first, unsent([1]), [], CARRIER)
    other = await work.lease(alert_id, "push", b"")
    await work.gate(other, [], [1], CARRIER)
    for _ in range(4):
        store.skew_ms += 1000
        await work.renew([other])
    assert (await work.lease(alert_id, "push", b"")).rows == [0]
    assert await states(work, alert_id) == [State.QUEUED, State.IN_FLIGHT]


async def test_an_alert_is_not_sent_while_someone_may_only_sleep(work: Work, alert_id: str, store: Connection):
    """What its worker knows to be unsent still finds an open alert; after a while it is too late, and stays listed."""
    first, second = await lost(work, store, alert_id, bytes([CARRIER]))
    await work.gate(second, [], [2], CARRIER)
    await work.end(second, accepted([2]), [])
    assert await work.finish(alert_id) == "busy"
    await work.gate(first, unsent([0]), [], CARRIER)
    again = await work.lease(alert_id, "push", b"")
    await work.gate(again, [], again.rows, CARRIER)
    await work.end(again, accepted(again.rows), [])
    store.skew_ms += LOST_MS
    assert await work.finish(alert_id) == "done"
    await work.gate(first, unsent([1]), [], CARRIER)
    assert await states(work, alert_id) == [State.ACCEPTED, State.UNKNOWN, State.ACCEPTED]


async def test_a_store_that_stood_still_says_nothing_about_who_lives(work: Work, alert_id: str, store: Connection):
    """After a gap every lease has the time of a lease to show a sign of life; whoever asks for work is alive, too."""
    await planned(work, alert_id, 4)
    first = await work.lease(alert_id, "push", b"")
    await work.gate(first, [], [0, 1], CARRIER)
    store.skew_ms += 8_000
    assert await work.lease(alert_id, "push", b"") is None
    for _ in range(4):
        store.skew_ms += 1_000
        assert await work.lease(alert_id, "push", b"", [first.name]) is None
    await silence(store, alert_id)
    assert (await work.lease(alert_id, "push", b"")).lost == 2
