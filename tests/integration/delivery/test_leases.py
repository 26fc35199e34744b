"""Workers that go silent, sleep or answer late: nobody is lost, and whoever may be told twice is marked."""

from __future__ import annotations

import pytest

from alertd.model.states import ATTEMPTS_MASK, FLAG_DOUBT, AlertState, State
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import Gate, Settlement
from alertd.store.engine.connection import Connection
from alertd.store.engine.scripts import LOST_MS
from tests.integration.acts import finish, lease_of, silence
from tests.integration.batches import (
    CARRIER,
    accepted,
    balanced,
    lost,
    planned,
    states,
    unsent,
)


async def test_lost_lease_is_taken_over_and_marked(work: Work, alert_id: str, store: Connection):
    """A silent worker's rows go to another; those that were in flight are tried again and marked as in doubt."""
    await planned(work, alert_id, 10)
    first = await lease_of(work, alert_id, "push")
    await work.gate(first, [], first.rows[:4], CARRIER)
    assert await lease_of(work, alert_id, "push") is None
    await silence(store, alert_id)
    second = await lease_of(work, alert_id, "push")
    assert (second.rows, sum(second.doubted), second.tries[:5]) == (list(range(10)), 4, [1, 1, 1, 1, 0])
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
    first = await lease_of(work, alert_id, "push")
    await work.gate(first, [], first.rows[:1], CARRIER)
    await silence(store, alert_id)
    second = await lease_of(work, alert_id, "push", bytes([CARRIER]))
    assert second.rows == [1, 2]
    assert (await states(work, alert_id))[0] is State.UNKNOWN


async def test_a_message_that_kills_its_workers_is_given_up(work: Work, alert_id: str, store: Connection):
    """Lost with its worker as often as can be counted, it becomes unknown, where anybody can see it and send it again."""
    await planned(work, alert_id, 1)
    for attempt in range(1, ATTEMPTS_MASK + 1):
        lease = await lease_of(work, alert_id, "push")
        assert lease.tries == [attempt - 1]
        assert (await work.gate(lease, [], [0], CARRIER))[1] == [True]
        await silence(store, alert_id)
    assert await lease_of(work, alert_id, "push") is None
    assert await states(work, alert_id) == [State.UNKNOWN]
    assert balanced((await work.counts(alert_id))["push"])


async def test_what_is_to_wait_is_neither_sent_nor_hastened_by_its_lease(work: Work, alert_id: str, store: Connection):
    """A row that was told to wait stays where it waits, though the same lease asks for it again, or gives it back."""
    await planned(work, alert_id, 2)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], [0, 1], CARRIER)
    later = Settlement(0, State.QUEUED, 0, CARRIER, delay_ms=60_000)
    assert (await work.gate(lease, [later], [0], CARRIER))[1] == [False]
    await work.end(lease, accepted([1]), [0])
    store.skew_ms += 30_000
    assert await lease_of(work, alert_id, "push") is None
    store.skew_ms += 31_000
    assert (await lease_of(work, alert_id, "push")).rows == [0]


async def test_late_answer_is_the_truth(work: Work, alert_id: str, store: Connection):
    """The answer to the very attempt counts although its lease is gone, and then the successor does not send."""
    await planned(work, alert_id, 2)
    first = await lease_of(work, alert_id, "push")
    await work.gate(first, [], first.rows, CARRIER)
    await silence(store, alert_id)
    second = await lease_of(work, alert_id, "push")
    await work.end(first, accepted([0]), [])
    _, leave = await work.gate(second, [], second.rows, CARRIER)
    assert leave == [False, True]
    await work.end(first, [Settlement(1, State.FAILED, 1, CARRIER)], [])  # it was not the last to ask
    assert await states(work, alert_id) == [State.ACCEPTED, State.IN_FLIGHT]


async def test_rows_given_back_are_sent_by_another(work: Work, alert_id: str):
    """A worker that stops gives back what it did not try, at once and without doubt."""
    await planned(work, alert_id, 4)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], [0], CARRIER)
    await work.end(lease, accepted([0]), [1, 2, 3])
    other = await lease_of(work, alert_id, "push")
    assert (other.rows, other.tries, other.doubted) == ([1, 2, 3], [0] * 3, [False] * 3)


async def test_orphans_of_a_closed_gate_become_unknown(work: Work, alerts: Alerts, alert_id: str, store: Connection):
    """In flight at a cancel with its worker dead: unknown, never lost, and the alert still ends."""
    await planned(work, alert_id, 5)
    lease = await lease_of(work, alert_id, "push")
    await work.gate(lease, [], [0, 1], CARRIER)
    await alerts.step(alert_id, AlertState.CANCELLED)
    assert await work.sweep(alert_id, 0, 1) == (3, 2)
    await silence(store, alert_id)
    assert await work.sweep(alert_id, 0, 1) == (2, 0)
    assert await states(work, alert_id) == [State.UNKNOWN] * 2 + [State.CANCELLED] * 3


async def test_what_was_never_written_is_sent_although_its_worker_slept(work: Work, alert_id: str, store: Connection):
    """Given up as unknown, it goes back to the queue without a doubt, as soon as its worker says that nothing was written."""
    first, second = await lost(work, store, alert_id, bytes([CARRIER]))
    assert await states(work, alert_id) == [State.UNKNOWN, State.UNKNOWN, State.QUEUED]
    await work.end(first, unsent([0, 1]), [])
    await work.end(second, [], second.rows)
    again = await lease_of(work, alert_id, "push")
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
        lease = await lease_of(work, alert_id, "push")
        await work.gate(lease, [], [0], CARRIER)
        old = [Settlement(0, State.QUEUED, 5, CARRIER)]
        await work.gate(lease, old, [], CARRIER)
    never = await lease_of(work, alert_id, "push")
    await work.gate(never, [], [0], CARRIER)
    await work.gate(never, unsent([0]), [], CARRIER)
    last = await lease_of(work, alert_id, "push")
    await work.gate(last, [], [0], CARRIER)
    await work.gate(never, unsent([0]), [], CARRIER)  # said twice: the store did not confirm the first
    await work.gate(lease, accepted([0]), [], CARRIER)
    assert await states(work, alert_id) == [State.IN_FLIGHT]
    await work.end(last, accepted([0]), [])
    assert await states(work, alert_id) == [State.ACCEPTED]


async def test_a_row_that_waited_in_between_is_another_lease_s(work: Work, alert_id: str, store: Connection):
    """A worker that dies is followed in what it had in flight itself, not in what others retry for it."""
    await planned(work, alert_id, 2)
    first = await lease_of(work, alert_id, "push")
    await work.gate(first, [], [0, 1], CARRIER)
    await work.gate(first, unsent([1]), [], CARRIER)
    other = await lease_of(work, alert_id, "push")
    await work.gate(other, [], [1], CARRIER)
    for _ in range(4):
        store.skew_ms += 1000
        await work.renew([other])
    assert (await lease_of(work, alert_id, "push")).rows == [0]
    assert await states(work, alert_id) == [State.QUEUED, State.IN_FLIGHT]


async def test_an_alert_is_not_sent_while_someone_may_only_sleep(work: Work, alert_id: str, store: Connection):
    """What its worker knows to be unsent still finds an open alert; after a while it is too late, and stays listed."""
    first, second = await lost(work, store, alert_id, bytes([CARRIER]))
    await work.gate(second, [], [2], CARRIER)
    await work.end(second, accepted([2]), [])
    assert await finish(work, alert_id) == "busy"
    await work.gate(first, unsent([0]), [], CARRIER)
    again = await lease_of(work, alert_id, "push")
    await work.gate(again, [], again.rows, CARRIER)
    await work.end(again, accepted(again.rows), [])
    store.skew_ms += LOST_MS
    assert await finish(work, alert_id) == "done"
    await work.gate(first, unsent([1]), [], CARRIER)
    assert await states(work, alert_id) == [State.ACCEPTED, State.UNKNOWN, State.ACCEPTED]


async def test_a_store_that_stood_still_says_nothing_about_who_lives(work: Work, alert_id: str, store: Connection):
    """After a gap every lease has the time of a lease to show a sign of life; whoever asks for work is alive, too."""
    await planned(work, alert_id, 4)
    first = await lease_of(work, alert_id, "push")
    await work.gate(first, [], [0, 1], CARRIER)
    store.skew_ms += 8_000
    assert await lease_of(work, alert_id, "push") is None
    for _ in range(4):
        store.skew_ms += 1_000
        assert await lease_of(work, alert_id, "push", held=[first]) is None
    await silence(store, alert_id)
    assert sum((await lease_of(work, alert_id, "push")).doubted) == 2
