"""A record that cannot be read, or is not what a reference was made for, costs nobody else anything."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from alertd.common.errors import Problem
from alertd.model.states import CHANNELS, LedgerReason, State
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.people.address_claims import CLAIM_GRACE_S
from alertd.service.people.registry import Registry
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.people.spots import Change, marked
from alertd.store.people.subscribers import GRACE_MS
from channels.sandbox import Sandbox
from geofences import records
from tests.integration.acts import counts, planned, register, registration, send, silence
from tests.integration.movers import opened
from tests.unit.alertd.samples import changed


@dataclass
class Later:
    """A clock that is ahead."""

    ahead_s: float
    base: Any

    def monotonic(self) -> float:
        return self.base.monotonic() + self.ahead_s

    def now_ms(self) -> int:
        return self.base.now_ms() + int(self.ahead_s * 1000)

    async def sleep(self, seconds: float) -> None:
        await self.base.sleep(seconds)


@pytest.fixture
def newest_zones(tmp_path: Path) -> Iterator[Callable[[bool], None]]:
    """Whether this machine has a time zone, Europe/Newtown, that others do not have yet."""
    before, own = zoneinfo.TZPATH, tmp_path / "zones"
    (own / "Europe").mkdir(parents=True)
    (own / "Europe/Newtown").write_bytes((resources.files("tzdata") / "zoneinfo/Europe/Madrid").read_bytes())

    def has(there: bool) -> None:
        zoneinfo.ZoneInfo.clear_cache()
        zoneinfo.reset_tzpath((str(own), *before) if there else before)

    yield has
    has(False)


async def damaged(parts: Container, name: str) -> int:
    """Four bytes of the record are overwritten. Answers its number."""
    number = await parts.people.names.number_of(name)
    await parts.db.execute("SETRANGE", keys.subscriber(number), 40, b"\xff\xff\xff\xff")
    return number


async def reasons(parts: Container, record: AlertRecord) -> list[int]:
    """Of the suppressed references."""
    rows = [row async for _, found, _ in parts.work.ledger(record.id) for row in found]
    return [int(row["reason"]) for row in rows if row["state"] == State.SUPPRESSED]


@pytest.mark.parametrize("before_planning", [True, False])
async def test_one_unreadable_record_keeps_nobody_else_from_being_told(
    parts: Container, sample: dict[str, Any], before_planning: bool
):
    """Its own reference is suppressed, for all to see, and the log tells once whose it is, by number."""
    await register(parts, 25)
    with capture_logs() as logs:
        if before_planning:
            number = await damaged(parts, "p2")
        record = await planned(parts, sample)
        if not before_planning:
            number = await damaged(parts, "p2")
        await send(parts, record)
    assert await counts(parts, record) == {"accepted": 24, "suppressed": 1}
    assert await reasons(parts, record) == [LedgerReason.UNREADABLE]
    told = [entry["subscriber"] for entry in logs if entry["event"] == "subscriber.read_failed"]
    assert told == [number]


async def test_a_doubtful_place_of_an_unreadable_record_stops_neither_alert_nor_sweeper(
    parts: Container, sample: dict[str, Any]
):
    """Where only the record could tell, nobody is found; the cell is settled all the same."""
    await register(parts, 25)
    person = await parts.registry.get("p2")
    await parts.people.put([Change(person, replace(person, version=2, places=(replace(person.places[0], x=9),)))])
    cell = keys.tile_cell(person.places[0].tile)
    blob = await opened(parts.db, cell)
    own = [
        at for at in range(0, len(blob), records.SIZE) if int.from_bytes(blob[at : at + 5], "little") == person.number
    ]
    assert own
    for at in own:
        in_doubt = parts.db.codec.cells.seal(cell, marked(blob[at : at + records.SIZE]))
        await parts.db.execute("SETRANGE", cell.key, at, in_doubt)
    await damaged(parts, "p2")
    record = await planned(parts, sample)
    assert await send(parts, record)
    assert await counts(parts, record) == {"accepted": 24}
    sweeper = worker_of(parts).sweeper
    await sweeper.round()
    sweeper.clock = Later(GRACE_MS / 1000 + 1, parts.clock)
    assert await sweeper.round() == 1


async def test_an_unreadable_record_is_said_to_be_one_and_can_be_forgotten(parts: Container):
    """Nothing is written over what nobody has seen: it is deleted on purpose, and the addresses are free a grace later."""
    await register(parts, 1)
    await damaged(parts, "p0")
    for act in (
        parts.registry.get("p0"),
        parts.registry.put("p0", registration(0)),
        parts.registry.drop_address("p0", 0),
    ):
        with pytest.raises(Problem, match="cannot be read"):
            await act
    await parts.registry.forget("p0")
    assert await parts.people.count() == 0
    with pytest.raises(Problem, match="not-found"):
        await parts.registry.get("p0")
    later = Registry(parts.people, parts.regions, Later(CLAIM_GRACE_S, parts.clock))
    assert (await later.put("p0", registration(0)))[1]


async def test_a_reference_is_not_sent_to_an_address_of_another_channel(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Whatever a record came to have under the number: a telephone number is no token."""
    await register(parts, 25)
    record = await planned(parts, sample)
    person = await parts.registry.get("p0")
    (sms,) = (address for address in person.addresses if CHANNELS[address.channel] == "sms")
    swapped = replace(person, version=person.version + 1, addresses=(replace(sms, number=0),))
    assert await parts.people.put([Change(person, swapped)]) == [True]
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 24, "suppressed": 1}
    assert await reasons(parts, record) == [LedgerReason.ADDRESS_REMOVED]
    assert [address for _, _, address, *_ in sandbox.push.recorded].count("+34600000000") == 0


async def test_a_number_that_was_given_up_is_never_written_again(parts: Container):
    """Whoever read that nobody is there comes too late, however they try."""
    await register(parts, 1)
    person = await parts.registry.get("p0")
    await parts.registry.forget("p0")
    assert await parts.people.put([Change(None, replace(person, version=1))]) == [False]
    assert await parts.people.put([Change(person, replace(person, version=2))]) == [False]
    assert not await parts.people.give_up(person.number)
    assert 0 < await parts.db.execute("PTTL", keys.subscriber(person.number)) <= 600_000


async def test_an_alert_that_one_process_cannot_read_is_sent_by_another(
    parts: Container, sample: dict[str, Any], newest_zones: Callable[[bool], None]
):
    """Its machine has older time zones, or it is of an earlier version: it does not know what the alert says, and fails nobody for that."""
    await register(parts, 25)
    newest_zones(True)
    record = await planned(parts, changed(sample, "case/last_seen/time_zone", "Europe/Newtown"))
    newest_zones(False)
    with pytest.raises(ValueError, match="time zone"):
        await send(parts, record)
    assert await counts(parts, record) == {"queued": 25}
    newest_zones(True)
    await silence(parts.db, record.id)
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 25}
