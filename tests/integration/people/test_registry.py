"""Subscribers over a real store: one person, one record, one owner of each address, whoever comes at the same time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from msgspec.structs import replace
from redis.asyncio import Redis

from alertd.api.application import create_app
from alertd.commands.base.people_files import csv_lines
from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.model.registration import PushAddress
from alertd.model.subscriber import AddressState, Subscriber, to_document
from alertd.service.container import Container
from alertd.service.people.address_claims import CLAIM_GRACE_S, give_up
from alertd.service.people.registration_intake import Entry
from alertd.service.people.registry import Registry
from alertd.store.embedded.space import DiskGuard, Space
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.people.audience import MatchFilter
from alertd.store.people.name_index import AddressClaim
from alertd.store.people.subscribers import People
from geofences.targets import Selection, Target, resolve
from tests.integration.acts import SEVILLA, register, registration
from tests.integration.people.held import Clock
from tests.unit.alertd.samples import SUBSCRIBER

PUSH = 0


async def found_in(parts: Container, code: str) -> list[int]:
    """Numbers of those who belong to a region."""
    area = resolve(Target(regions=(code,), exclude=Selection()), parts.regions.library).geometry
    regions = parts.targeting.notified_regions(await parts.targeting.shares(area))
    wanted = MatchFilter(area=area, regions=regions, kind=1, places=frozenset(range(5)))
    return (await parts.audience.find(wanted)).numbers.tolist()


async def test_put_get_forget(parts: Container):
    """What was written is read, and what was forgotten is nowhere: not by id, address or place."""
    person, is_new = await parts.registry.put("p1", registration(1))
    assert is_new
    kept = await parts.registry.get("p1")
    assert (kept.number, kept.addresses) == (person.number, person.addresses)
    assert await parts.registry.lookup(PUSH, "token-1") == kept
    assert await found_in(parts, "41091") == [person.number]
    await parts.registry.forget("p1")
    with pytest.raises(Problem, match="not-found"):
        await parts.registry.get("p1")
    assert await parts.registry.lookup(PUSH, "token-1") is None
    assert await found_in(parts, "41091") == []
    assert await parts.people.count() == 0
    with pytest.raises(Problem, match="not-found"):
        await parts.registry.forget("p1")


async def test_nothing_of_a_person_is_in_clear(parts: Container):
    """Neither address nor id can be read from the store without its keys."""
    await parts.registry.put("household-1", registration(1))
    secrets = (b"token-1", b"+34600000001", b"p1@people", b"household-1")
    for name in await parts.db.execute("KEYS", "*"):
        dump = await parts.db.execute("DUMP", name)
        assert not any(secret in name + dump for secret in secrets)


async def test_a_forgotten_number_is_not_given_again(parts: Container):
    """Old ledgers never point at somebody new."""
    old, _ = await parts.registry.put("p1", registration(1))
    await parts.registry.forget("p1")
    new, _ = await parts.registry.put("p1", registration(1))
    assert new.number != old.number


async def test_a_number_that_is_given_again_takes_nobodys_place(parts: Container):
    """A part of the store that went back to before it counted somebody offers their number once more: they stay who they are, and whoever is new
    has the next.
    """
    there, _ = await parts.registry.put("p1", registration(1))
    await parts.db.execute("HINCRBY", keys.COUNTERS, "subscribers", -1)
    new, _ = await parts.registry.put("p2", registration(2))
    assert new.number == there.number + 1
    kept = [await parts.registry.get(name) for name in ("p1", "p2")]
    assert [(one.number, one.addresses) for one in kept] == [(one.number, one.addresses) for one in (there, new)]
    assert await found_in(parts, "41091") == [there.number, new.number]


async def test_an_address_of_somebody_else_is_refused(parts: Container):
    """Without saying whose it is, and without leaving anything behind."""
    await parts.registry.put("secret-household", registration(1))
    with pytest.raises(Problem) as refused:
        await parts.registry.put("p2", registration(2, addresses=[{"channel": "push", "token": "token-1"}]))
    problem = refused.value
    assert (problem.slug, problem.status) == ("duplicate-address", 409)
    assert "secret-household" not in f"{problem}{problem.detail}{problem.faults}{problem.extra}{problem.headers}"
    with pytest.raises(Problem, match="not-found"):
        await parts.registry.get("p2")
    assert await parts.people.count() == 1


async def test_a_refused_registration_holds_nothing(parts: Container):
    """The id and the other addresses it asked for are free at once."""
    await parts.registry.put("p1", registration(1))
    taken, free = {"channel": "push", "token": "token-1"}, {"channel": "push", "token": "free"}
    with pytest.raises(Problem, match="duplicate-address"):
        await parts.registry.put("p2", registration(2, addresses=[free, taken]))
    assert await parts.people.names.number_of("p2") is None
    other, _ = await parts.registry.put("p3", registration(3, addresses=[free]))
    assert (await parts.registry.lookup(PUSH, "free")).number == other.number


async def test_a_refused_change_gives_up_only_what_is_new(parts: Container):
    """What the subscriber had stays theirs; what was asked for besides is free."""
    await parts.registry.put("p1", registration(1))
    mine, free, taken = ({"channel": "push", "token": token} for token in ("mine", "free", "token-1"))
    person, _ = await parts.registry.put("p2", registration(2, addresses=[mine]))
    with pytest.raises(Problem, match="duplicate-address"):
        await parts.registry.put("p2", registration(2, addresses=[mine, free, taken]))
    assert (await parts.registry.lookup(PUSH, "mine")).number == person.number
    with pytest.raises(Problem, match="duplicate-address"):
        await parts.registry.put("p3", registration(3, addresses=[mine]))
    await parts.registry.put("p3", registration(3, addresses=[free]))


async def test_a_refused_registration_takes_no_name_from_another_of_the_same_id(parts: Container):
    """Two come for one new id, one with an address of somebody else: whoever is written can be found by the id."""
    await parts.registry.put("p1", registration(1))
    taken = [{"channel": "push", "token": "token-1"}]
    for _ in range(10):
        outcomes = await asyncio.gather(
            parts.registry.put("p2", registration(2, addresses=taken)),
            parts.registry.put("p2", registration(2)),
            return_exceptions=True,
        )
        assert [getattr(outcome, "slug", None) for outcome in outcomes] == ["duplicate-address", None]
        assert (await parts.registry.get("p2")).number == outcomes[1][0].number
        await parts.registry.forget("p2")
    assert len(await found_in(parts, "41091")) == await parts.people.count() == 1


async def test_one_address_is_not_told_twice_under_two_numbers(parts: Container):
    """A subscriber's second address is another one."""
    await parts.registry.put("p1", registration(1))
    with pytest.raises(Problem, match="duplicate-address"):
        await parts.registry.put_address("p1", 3, PushAddress(channel="push", token="token-1"))


async def test_the_same_person_keeps_their_address_numbers(parts: Container):
    """Order, additions and removals do not matter."""
    first, _ = await parts.registry.put("p1", registration(1))
    numbers = {address.value: address.number for address in first.addresses}
    changed = [
        {"channel": "push", "token": "token-new"},
        {"channel": "mail", "mailbox": "p1@people.example"},
        {"channel": "push", "token": "token-1"},
    ]
    second, is_new = await parts.registry.put("p1", registration(1, addresses=changed))
    assert (is_new, second.number, second.version) == (False, first.number, 2)
    assert [a.number for a in second.addresses] == [3, numbers["p1@people.example"], numbers["token-1"]]
    third, _ = await parts.registry.put("p1", registration(1))
    assert third.addresses[1].number == 4  # the dropped number came back as another


async def test_a_dropped_address_is_free(parts: Container):
    """Whoever gave it up leaves it to the next."""
    await parts.registry.put("p1", registration(1))
    await parts.registry.put("p1", registration(1, addresses=[]))
    other, _ = await parts.registry.put("p2", registration(2, addresses=[{"channel": "push", "token": "token-1"}]))
    assert (await parts.registry.lookup(PUSH, "token-1")).number == other.number


async def test_a_claim_nobody_confirms_is_taken_over_after_the_grace(parts: Container):
    """Half a registration blocks an address for a minute, not for ever."""
    names, now_s = parts.people.names, parts.clock.now_ms() // 1000
    hashed, ghost = names.address_hash(PUSH, "token-1"), next(iter(await parts.people.numbers(1)))
    young, old = (AddressClaim(hashed, ghost, 0, since_s) for since_s in (now_s, now_s - CLAIM_GRACE_S))
    assert await names.claim_addresses([(young, False)]) == [young]
    with pytest.raises(Problem, match="duplicate-address"):
        await parts.registry.put("p1", registration(1))
    await names.withdraw([young])
    await names.claim_addresses([(old, False)])
    person, _ = await parts.registry.put("p1", registration(1))
    holder = await names.holder(hashed)
    assert (holder.number, holder.address) == (person.number, 0)


class Counted(Connection):
    """A client whose round trips are counted."""

    trips = 0

    async def run_many(self, calls: Sequence[Any], *, durable: bool = False) -> list[Any]:
        self.trips += 1
        return await super().run_many(calls, durable=durable)

    async def execute(self, *command: Any) -> Any:
        self.trips += 1
        return await super().execute(*command)

    async def execute_many(self, commands: Sequence[Any], *, durable: bool = False) -> list[Any]:
        self.trips += 1
        return await super().execute_many(commands, durable=durable)


async def test_an_import_of_what_is_taken_costs_no_more_trips_than_one_line_of_it(
    parts: Container, redis: Redis, codec: Codec
):
    """Where every address is another's by an old claim, holders are looked at together, and what was for nothing is given up so."""
    await register(parts, 40)
    later, trips = Clock(parts.clock.now_ms() / 1000 + 2 * CLAIM_GRACE_S), []
    for lines in (1, 40):
        client = Counted(redis, codec)
        entries = [Entry(f"other-{i}", registration(i)) for i in range(lines)]
        outcomes = await Registry(People(client, parts.clock), parts.regions, later).put_many(entries)
        assert all(isinstance(outcome, Problem) for outcome in outcomes)
        trips.append(client.trips)
    assert trips[0] == trips[1]
    assert await parts.people.names.numbers_of([f"other-{i}" for i in range(40)]) == [None] * 40


async def test_claims_for_a_number_where_nobody_is_yet_do_not_end_by_themselves(parts: Container):
    """Somebody may be about to write there, and would not look again; once the number is given up they do."""
    person, _ = await parts.registry.put("p1", registration(1))
    names, unborn = parts.people.names, next(iter(await parts.people.numbers(1)))
    free = replace(person.addresses[0], value="free")
    claim = AddressClaim.fresh(names.address_hash(PUSH, "free"), unborn, 0, parts.clock.now_ms() // 1000)
    await names.claim_addresses([(claim, True)])
    await give_up(parts.people, [(unborn, free)])
    assert await names.holder(claim.hashed) == claim
    assert await parts.people.give_up(unborn)
    await give_up(parts.people, [(unborn, free)])
    assert await names.holder(claim.hashed) is None


async def test_two_at_once_for_one_new_id_make_one_subscriber(parts: Container):
    """Both are answered, one wrote after the other."""
    outcomes = await asyncio.gather(*(parts.registry.put("p1", registration(1)) for _ in range(4)))
    assert len({person.number for person, _ in outcomes}) == 1
    assert sorted(person.version for person, _ in outcomes) == [1, 2, 3, 4]
    assert sum(is_new for _, is_new in outcomes) == 1
    assert await parts.people.count() == 1
    assert await found_in(parts, "41091") == [outcomes[0][0].number]


async def test_two_at_once_for_one_address_one_wins(parts: Container):
    """The other is refused, and nobody is told twice."""
    token = [{"channel": "push", "token": "shared"}]
    outcomes = await asyncio.gather(
        *(parts.registry.put(f"p{i}", registration(i, addresses=token)) for i in range(4)), return_exceptions=True
    )
    winners = [outcome[0] for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(winners) == 1
    assert {outcome.slug for outcome in outcomes if isinstance(outcome, Problem)} == {"duplicate-address"}
    assert (await parts.registry.lookup(PUSH, "shared")).number == winners[0].number


async def test_a_region_place_is_found_by_its_code(parts: Container):
    """Whoever named a city belongs to it, and not to the province's every alert."""
    person, _ = await parts.registry.put("p1", registration(1, places={"home": {"region": "41091"}}))
    assert await found_in(parts, "41091") == [person.number]
    assert await found_in(parts, "ES-SE") == [person.number]
    assert await found_in(parts, "ES-CA") == []


async def test_an_unknown_region_is_told_with_its_place(parts: Container):
    """Every fault with a pointer, and nothing written."""
    places = {"home": {"region": "41091"}, "work": {"region": "XX-1"}, "school": {"region": "99999"}}
    with pytest.raises(Problem) as refused:
        await parts.registry.put("p1", registration(1, places=places))
    assert [fault.pointer for fault in refused.value.faults] == ["/places/work/region", "/places/school/region"]
    assert await parts.people.names.number_of("p1") is None


async def test_importing_the_same_file_twice_changes_nothing(parts: Container):
    """The same people, numbers, addresses and cells."""
    entries = [Entry(f"p{i}", registration(i)) for i in range(50)]
    first = await parts.registry.put_many(entries)
    assert all(isinstance(outcome, Subscriber) for outcome in first)
    before = await parts.people.get_many([person.number for person in first])
    audience = await found_in(parts, "41091")
    assert all(isinstance(outcome, Subscriber) for outcome in await parts.registry.put_many(entries))
    after = await parts.people.get_many([person.number for person in first])
    assert [(p.addresses, p.places) for p in after] == [(p.addresses, p.places) for p in before]
    assert (await parts.people.count(), await found_in(parts, "41091")) == (50, audience)


async def test_one_bad_line_of_an_import_spoils_no_other(parts: Container):
    """Each by itself: two stand, and the refused one says why."""
    bad = registration(2, places={"home": {"region": "XX-1"}})
    outcomes = await parts.registry.put_many(
        [Entry("p1", registration(1)), Entry("p2", bad), Entry("p3", registration(3))]
    )
    assert [type(outcome) for outcome in outcomes] == [Subscriber, Problem, Subscriber]


async def test_two_lines_with_one_address_give_it_to_one(parts: Container):
    """In one import as in two."""
    token = [{"channel": "push", "token": "shared"}]
    outcomes = await parts.registry.put_many([Entry(f"p{i}", registration(i, addresses=token)) for i in range(2)])
    assert [type(outcome) for outcome in outcomes] == [Subscriber, Problem]


async def test_whoever_left_stays_out(parts: Container):
    """STOP outlives a new import and a new language of the same address: only another address is another wish."""
    await parts.registry.put("p1", registration(1))
    await parts.suppression.stop([(PUSH, "token-1")])
    await parts.registry.put("p1", registration(1))
    same = PushAddress(channel="push", token="token-1", language="en")
    kept = await parts.registry.put_address("p1", 0, same)
    assert [a.state for a in kept.addresses if a.number == 0] == [AddressState.STOPPED]
    other = await parts.registry.put_address("p1", 0, PushAddress(channel="push", token="token-other"))
    assert [a.state for a in other.addresses if a.number == 0] == [AddressState.ACTIVE]


async def test_put_during_forget_leaves_nobody_without_a_name(parts: Container):
    """Whoever is told can be found and forgotten, whatever comes at the same time."""
    for _ in range(15):
        await parts.registry.put("p1", registration(1))
        await asyncio.gather(
            parts.registry.forget("p1"), parts.registry.put("p1", registration(1)), return_exceptions=True
        )
        audience = await found_in(parts, "41091")
        try:
            assert audience == [(await parts.registry.get("p1")).number]
            await parts.registry.forget("p1")
        except Problem:
            assert audience == []
        assert await found_in(parts, "41091") == []


async def test_an_import_ends_where_there_is_no_more_room(parts: Container, aiohttp_client: Any, tmp_path: Path):
    """What was written until then is told; half an answer is broken off, and never looks whole."""
    disk = parts.disk = DiskGuard(tmp_path, probe=lambda _: 0)
    client = await aiohttp_client(create_app(parts))
    _, key = await parts.access.create(org="default", subject="eva@centre.example", scopes=frozenset({"admin"}))
    told = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        for i in range(2_000):
            if i == 1_001:
                await told.wait()
            addresses = [{"channel": "push", "token": f"token-{i}"}]
            yield json.dumps({**SUBSCRIBER, "id": f"p{i}", "addresses": addresses}).encode() + b"\n"

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    answer = await client.post("/v1/subscribers/import", data=lines(), headers=headers)
    assert json.loads(await answer.content.readline())["written"] == 1_000
    assert disk.check() is Space.LOW
    told.set()
    with pytest.raises(ClientPayloadError):
        await answer.read()
    with pytest.raises(Problem):
        await parts.registry.get("p1500")


async def test_a_spreadsheet_takes_nothing_that_it_has_no_column_for(parts: Container, client: Any):
    """Where somebody is now and when they sleep comes from their phone: the centre's list of each night leaves it, and what the list has an
    empty cell for goes.
    """
    _, key = await parts.access.create(org="default", subject="eva@centre.example", scopes=frozenset({"admin"}))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    at = time_of(parts.clock.now_ms()).isoformat()
    places = {name: {"point": list(SEVILLA), "at": at} for name in ("now", "home", "school")}
    quiet = {"from": "22:00", "to": "07:00"}
    await parts.registry.put("p0", registration(0, time_zone="Europe/Madrid", quiet=quiet, places=places))
    rows = (
        "id,languages,kinds,push,sms,home.lon,home.lat,school.region,consent.at,consent.source",
        "p0,fr,missing-child,,+34600000009,-6.29,36.53,,2026-01-01T00:00:00Z,app",
        "p1,fr,missing-child,token-1,,-6.29,36.53,,2026-01-01T00:00:00Z,app",
    )
    lines = b"\n".join(line for _, line in csv_lines(row.encode() + b"\n" for row in rows))
    answer = await client.post("/v1/subscribers/import", data=lines, headers=headers)
    assert (await answer.json(content_type=None))["written"] == 2
    found = to_document(await parts.registry.get("p0"))
    assert (found["languages"], found["quiet"]) == (["fr"], quiet)
    assert {name: place["point"] for name, place in found["places"].items()} == {
        "now": list(SEVILLA),
        "home": [-6.29, 36.53],
    }
    assert [address["channel"] for address in found["addresses"]] == ["mail", "sms"]
    assert await found_in(parts, "41091") == [1]
    assert [address.value for address in (await parts.registry.get("p1")).addresses] == ["token-1"]


async def test_what_one_of_a_batch_gives_up_another_of_it_has(parts: Container):
    """A household parts in one file: the number goes from one line's person to the other's, whichever comes first; that of somebody who is
    not in the file stays theirs.
    """
    await register(parts, 3)
    numbers = [{"channel": "sms", "number": f"+346{i:08d}"} for i in range(3)]
    for giving, taking in ((0, 1), (1, 0)):
        entries = [
            Entry(f"p{taking}", registration(taking, addresses=[numbers[0]], languages=["fr"])),
            Entry(f"p{giving}", registration(giving, addresses=[])),
            Entry("p3", registration(3, addresses=[numbers[2]])),
        ]
        taken, given, refused = await parts.registry.put_many(entries)
        assert isinstance(taken, Subscriber)
        assert isinstance(given, Subscriber)
        assert isinstance(refused, Problem)
        assert (taken.languages, [address.value for address in taken.addresses]) == (("fr",), [numbers[0]["number"]])
