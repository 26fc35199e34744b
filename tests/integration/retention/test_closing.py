"""Ledgers of what has ended long ago: compressed, read as before, and deleted when their time has come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.config.sections import RetentionSection
from alertd.model.kinds import Notify
from alertd.model.states import AlertState, State
from alertd.service.alerts.progress import Delivery
from alertd.service.container import Container
from alertd.store.alerts import archive
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, counts, over, planned, register, send, sent
from tests.integration.alerts.updates import CITY, got, in_cadiz, plan, updated
from tests.integration.retention.closings import DAY_MS, closing

PEOPLE = 40


@pytest.fixture
async def ended(parts: Container, sandbox: Sandbox, sample: dict[str, Any]) -> AlertRecord:
    """An alert that was told to 40, closed, and told so."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample)
    await send(parts, record)
    assert await over(parts, record)
    await parts.follow_ups.close(record.id, ANA, "found")
    return await parts.alerts.get(record.id)


async def deliveries(parts: Container, record: AlertRecord) -> list[Delivery]:
    return [one async for one in parts.reports.deliveries(record)]


def pass_days(parts: Container, clock: Later, days: int) -> None:
    clock.ahead_ms += days * DAY_MS
    parts.db.skew_ms += days * DAY_MS


async def test_what_has_ended_long_ago_is_compressed_and_read_as_before(parts: Container, ended: AlertRecord):
    """Not a day too early; then its rows, its explanations and its identity are what they were, under one small key."""
    clock = Later()
    after = closing(parts, clock)
    before, notice = await deliveries(parts, ended), f"{ended.id}-2"
    parts.clock = clock
    pass_days(parts, clock, 30)
    assert await over(parts, await parts.alerts.get(notice))
    assert await after.round() == 0  # its end was put off by the week in which it may be told
    pass_days(parts, clock, 8)
    assert await after.round() == 1  # of what told of its end nothing was planned
    assert await parts.db.execute("EXISTS", keys.of_chain(ended.id, "ledger", ended.id)) == 0
    assert await deliveries(parts, ended) == before
    assert await counts(parts, ended) == {"accepted": PEOPLE}
    person = await parts.registry.get("p7")
    assert [one.state for one in (await parts.explanations.explain(person, ended)).messages] == ["accepted"]
    assert await parts.work.ref(ended.id, 3) is not None
    assert await after.round() == 0


async def test_a_late_receipt_changes_no_compressed_ledger(parts: Container, ended: AlertRecord):
    """It is answered as one for a row that is not there, and breaks nothing."""
    assert await archive.archive(parts.db, ended.id, 0)
    assert (await parts.work.receipt(ended.id, 0, "push", State.DELIVERED, 0, [State.ACCEPTED])).old == 0
    assert await counts(parts, ended) == {"accepted": PEOPLE}


async def test_what_may_still_be_told_is_not_compressed(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """An alert that is stood down may come back, and one with rows to settle is not over, however old it is."""
    await register(parts, PEOPLE)
    record = await planned(parts, sample)
    assert not await archive.archive(parts.db, record.id, 0)
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert not await archive.archive(parts.db, record.id, 0)
    await parts.alerts.step(record.id, AlertState.CANCELLED)
    assert not await archive.archive(parts.db, record.id, 0)  # nobody has swept its queued rows yet
    assert await over(parts, await parts.alerts.get(record.id))
    assert await archive.archive(parts.db, record.id, 0)
    assert await counts(parts, record) == {"cancelled": PEOPLE}


async def test_a_compressed_ledger_is_dated_where_that_is_set(parts: Container, ended: AlertRecord):
    """It goes so long after the end, by the store's own clock; by default it never does."""
    clock = Later()
    pass_days(parts, clock, 38)
    assert await closing(parts, clock, ledger_days=365).round() == 1
    name = keys.of_chain(ended.id, "closed", ended.id)
    at = await parts.db.execute("PEXPIRETIME", name)
    assert at == ended.expires + 365 * DAY_MS
    await parts.db.execute("PEXPIREAT", name, 1)
    with pytest.raises(Problem, match="deleted"):
        await deliveries(parts, ended)
    assert (await parts.alerts.get(ended.id)).state is AlertState.CLOSED


async def test_who_was_told_by_an_update_that_is_over_for_long_is_told_the_end(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], library: Library
):
    """Its alert went on: the end of that is what dates the ledger of all that told of it, and what compresses it."""
    clock = Later()
    parts = replace(parts, library=library, clock=clock)
    await register(parts, PEOPLE)
    await in_cadiz(parts, 20)
    record = await sent(parts, sample, channels=["push"])
    wider = await updated(parts, record, sample, Notify.FULL, channels=["push"])
    await send(parts, record)
    assert await counts(parts, wider) == {"accepted": PEOPLE + 20}
    await updated(parts, record, sample, Notify.NONE, channels=["push"], target=CITY)
    await parts.amendment.extend(record.id, BEA, time_of(record.expires + 20 * DAY_MS), "She is still missing")
    for version in await parts.alerts.versions([record.id]):
        assert await over(parts, await parts.alerts.get(version))
    pass_days(parts, clock, 15)
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    after = closing(parts, clock, compress_days=2, ledger_days=5)
    assert await after.round() == 0
    done = await parts.follow_ups.close(record.id, ANA, "found")
    await plan(parts, await parts.alerts.get(done.told_by))
    await send(parts, record)
    assert len(got(sandbox, done.told_by)) == PEOPLE + 20
    pass_days(parts, clock, 12)
    assert await after.round() > 0
    ends = [
        await parts.db.execute("PEXPIRETIME", keys.of_chain(record.id, "closed", one)) for one in (record.id, wider.id)
    ]
    assert ends == [record.expires + 25 * DAY_MS] * 2


async def test_one_that_is_damaged_keeps_no_other_ledger_beyond_its_time(
    parts: Container, ended: AlertRecord, sample: dict[str, Any]
):
    """It is looked at before the others, in each round anew."""
    damaged = await planned(parts, sample, case={**sample["case"], "number": "another"})
    await parts.db.execute("SETRANGE", keys.case(damaged.case), 20, b"\xff\xff\xff\xff")
    clock = Later()
    pass_days(parts, clock, 38)
    assert await closing(parts, clock, ledger_days=365).round() == 1
    assert await parts.db.execute("EXISTS", keys.of_chain(ended.id, "closed", ended.id))


async def test_a_damaged_version_keeps_its_own_alert_s_ledger(parts: Container, ended: AlertRecord):
    """Nobody can say that it was not told yesterday."""
    clock, last = Later(), (await parts.alerts.versions([ended.id]))[-1]
    pass_days(parts, clock, 38)
    await parts.db.execute("HSET", keys.of_chain(ended.id, "version", last), "reason", b"\1damaged")
    assert await closing(parts, clock, ledger_days=365).round() == 0
    assert not await parts.db.execute("EXISTS", keys.of_chain(ended.id, "closed", ended.id))


async def test_a_retention_that_is_set_later_holds_for_what_was_compressed_before(parts: Container, ended: AlertRecord):
    """Whoever sets it after a year means that year, too; and whoever makes it longer, what is still there."""
    clock, name = Later(), keys.of_chain(ended.id, "closed", ended.id)
    pass_days(parts, clock, 38)
    assert await closing(parts, clock).round() == 1
    for days in (365, 730, 0, 365):
        assert await closing(parts, clock, ledger_days=days).round() == 0
        wanted = ended.expires + days * DAY_MS if days else -1
        assert await parts.db.execute("PEXPIRETIME", name) == wanted, days


def test_a_copy_is_what_it_was_made_of():
    """Every byte of rows and references comes back, of none and of many."""
    for rows in (0, 1, 1_000):
        ledger, refs = bytes(i * 7 % 251 for i in range(16 * rows)), bytes(i * 3 % 241 for i in range(6 * rows))
        assert archive.unpacked(archive.packed(ledger, refs)) == (ledger, refs)
    assert RetentionSection().ledger_days == 0  # nothing is deleted unless somebody says so
