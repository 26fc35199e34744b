"""Data of an earlier schema: whoever was registered by an earlier alertd is found by this one."""

from __future__ import annotations

import pytest

from alertd.store import keys
from alertd.store.audience import Audience
from alertd.store.connection import Connection, StoreRefusedError
from alertd.store.events import Events
from alertd.store.people import Change, People
from alertd.store.schema import OLDEST_SCHEMA, SCHEMA_VERSION, open_store, used_groups
from alertd.store.wanted import Wanted
from alertd.subscribers import Place
from tests.integration.movers import CADIZ, SEVILLA, person, place, wanted

VILLAGE = Place(name="home", kind=1, lon=0, lat=0, region="41091", at_s=0, accuracy_m=None, tile=0, x=0, y=0, leaf=77)


@pytest.mark.parametrize("groups", [1, 2, 3], ids=lambda n: f"{n} of 3 groups not taken over yet")
async def test_whoever_an_earlier_alertd_registered_is_found(
    store: Connection, people: People, audience: Audience, groups: int
):
    """Schema 2 counted cells in hashes; wherever the taking over was interrupted, nobody is lost, and it goes on."""
    await open_store(store)
    spots = [place(SEVILLA), place(SEVILLA), place(CADIZ), VILLAGE]
    assert all(await people.put([Change(None, person(i, spot)) for i, spot in enumerate(spots, 1)]))
    await _as_schema_2(store, (await used_groups(store))[:groups])
    await open_store(store)
    assert await store.execute("GET", keys.SCHEMA) == str(SCHEMA_VERSION).encode()
    assert (await audience.find(wanted(SEVILLA))).numbers.tolist() == [1, 2]
    assert (await audience.find(wanted(CADIZ))).numbers.tolist() == [3]
    named = Wanted(area=wanted((0, 0)).area, regions=[77], kind=1, places=frozenset({1}))
    assert (await audience.find(named)).numbers.tolist() == [4]
    assert await people.put([Change(None, person(5, place(SEVILLA)))]) == [True]
    assert (await audience.find(wanted(SEVILLA))).numbers.tolist() == [1, 2, 5]


@pytest.mark.parametrize("sandbox", [False, True])
async def test_a_store_is_for_trials_or_for_the_real_thing(store: Connection, sandbox: bool):
    """No carrier is asked to reach sample people, and no alert is handed to a sandbox, because somebody started in the wrong folder."""
    await store.execute("DEL", keys.SCHEMA, keys.KEY_CHECK, keys.SANDBOX)
    for _ in range(2):
        await open_store(store, sandbox=sandbox)
    with pytest.raises(StoreRefusedError, match="sandbox's"):
        await open_store(store, sandbox=not sandbox)


async def test_what_an_earlier_alertd_announced_is_looked_at(store: Connection):
    """Schema 2 had announced chains in a hash."""
    await open_store(store)
    await store.execute("HSET", keys.told(3), "chain", 7)
    await store.execute("SET", keys.SCHEMA, OLDEST_SCHEMA)
    await open_store(store)
    due = await Events(store, keep=1000, keep_days=30).due()
    assert {chain: one.is_announced for chain, one in due.items()} == {"chain": True}


async def test_an_earlier_alertd_that_still_runs_keeps_nobody_from_being_told(store: Connection):
    """What it announces as it knew is taken over within a round, and the other shards are looked at all the while."""
    await open_store(store)
    kept = Events(store, keep=1000, keep_days=30)
    await store.execute("HSET", keys.told(3), "theirs", 1)
    await store.execute("ZADD", keys.told(4), 0, "ours")
    assert [list(await kept.due()), list(await kept.due())] == [["ours"], ["theirs"]]


async def test_who_registered_at_an_earlier_alertd_that_still_ran_is_found_after_a_start(
    store: Connection, people: People, audience: Audience
):
    """It counted cells as it knew, in groups that were new."""
    await open_store(store)
    assert all(await people.put([Change(None, person(1, place(SEVILLA)))]))
    await _as_schema_2(store, await used_groups(store))
    await store.execute("SET", keys.SCHEMA, SCHEMA_VERSION)
    await open_store(store)
    assert (await audience.find(wanted(SEVILLA))).numbers.tolist() == [1]


@pytest.mark.parametrize(("schema", "words"), [(OLDEST_SCHEMA - 1, "any more"), (SCHEMA_VERSION + 1, "newer")])
async def test_data_of_another_schema_is_refused_at_the_start(store: Connection, schema: int, words: str):
    """What cannot be read is said in a sentence, before anything is asked of it."""
    await open_store(store)
    await store.execute("SET", keys.SCHEMA, schema)
    with pytest.raises(StoreRefusedError, match=words):
        await open_store(store)


async def _as_schema_2(store: Connection, groups: list[str]) -> None:
    """As schema 2 had it: of each cell of these groups, a field."""
    for group in groups:
        counts = await store.execute("GET", keys.cells(group))
        await store.execute("DEL", keys.cells(group))
        for at in range(0, len(counts), keys.COUNT_BYTES):
            if count := int.from_bytes(counts[at : at + keys.COUNT_BYTES], "little"):
                member = keys.first_member(group) + at // keys.COUNT_BYTES
                await store.execute("HSET", keys.cells(group), member, count)
    await store.execute("SET", keys.SCHEMA, OLDEST_SCHEMA)
