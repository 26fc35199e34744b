"""Records in doubt: many are asked for bit by bit beside the loop, and whoever only gets another label never becomes one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import shapely
from msgspec.structs import replace
from redis.asyncio import Redis

from alertd.common.clock import SystemClock
from alertd.model.subscriber import Subscriber
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, KeyRing
from alertd.store.engine.connection import Connection
from alertd.store.people.audience import Audience
from alertd.store.people.spots import Change, cell_of
from alertd.store.people.subscribers import IN_DOUBT_AT_ONCE, People
from geofences import records
from tests.integration.movers import (
    CADIZ,
    SEVILLA,
    CrashError,
    Mortal,
    moved,
    numbers,
    opened,
    person,
    place,
    records_in,
    settle,
    wanted,
)

#: Round trips of a change of labels: append and mark nothing, replace the labels, write, clear nothing.
TRIPS = 5


class Watched(KeyRing):
    """Knows which threads opened something."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = set[int]()

    def open(self, sealed: bytes, name: str) -> bytes:
        self.threads.add(threading.get_ident())
        return super().open(sealed, name)


class Measured(Connection):
    """Knows how much was asked for at once."""

    most = 0

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        self.most = max(self.most, len(names))
        return await super().mget(names)


async def test_many_in_doubt_are_looked_at_bit_by_bit_beside_the_loop(redis: Redis, codec: Codec, people: People):
    """However many are in doubt, the loop opens none of them, waits for no more than a few at a time, and all are found."""
    everybody = [person(n, place(SEVILLA if n % 3 else CADIZ)) for n in range(1, 2 * IN_DOUBT_AT_ONCE + 100)]
    await people.put([Change(None, one) for one in everybody])
    box = Watched()
    box.hold(codec.check_value, b"m" * 32)
    codec.master = box
    connection = Measured(redis, codec)
    query = wanted(SEVILLA)
    asked = np.array([one.number for one in everybody], np.uint64)
    found = await People(connection, SystemClock()).authority(asked, query)
    assert found.numbers.tolist() == [one.number for one in everybody if one.number % 3]
    assert connection.most == IN_DOUBT_AT_ONCE
    assert box.threads
    assert threading.get_ident() not in box.threads
    assert not shapely.is_prepared(query.area)  # which another query may have in its own threads


def labelled(before: Subscriber, leaf: int, accuracy_m: float | None = None) -> Change:
    places = tuple(replace(spot, leaf=leaf, accuracy_m=accuracy_m) for spot in before.places)
    return Change(before, replace(before, version=before.version + 1, places=places))


async def cell(store: Connection) -> records.Records:
    return records.unpack(await opened(store, cell_of(place(SEVILLA), 1)))


async def test_another_label_is_no_move(store: Connection, people: People, audience: Audience):
    """Whoever gets another leaf region or accuracy stays where they are in the cell, unmarked, and it has nothing to be swept."""
    await people.put([Change(None, person(n, place(SEVILLA))) for n in (1, 2)])
    await settle(store, people)  # what came has nothing to be swept any more
    found = [one for one in await people.get_many([1, 2]) if one]
    assert await people.put([labelled(one, 40 + one.number, 120) for one in found]) == [True, True]
    held = await cell(store)
    assert (held.numbers.tolist(), held.regions.tolist()) == ([1, 2], [41, 42])
    assert not records.moved(held.flags).any()
    assert (held.flags >> records.ACCURACY_SHIFT & 7).tolist() == [2, 2]
    tile = keys.tile_cell(place(SEVILLA).tile)
    assert await store.execute("ZSCORE", tile.dirty, tile.member) is None
    assert (await audience.find(wanted(SEVILLA))).regions.tolist() == [41, 42]


@pytest.mark.parametrize("trips", range(TRIPS + 1))
async def test_crash_while_a_label_changes(
    redis: Redis, codec: Codec, store: Connection, people: People, audience: Audience, trips: int
):
    """A change of labels that dies before any of its steps loses nobody and leaves nobody in doubt, and the next one goes through."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    before = await people.get(1)
    assert before
    mover = Mortal(redis, codec)
    mover.trips_left = trips
    with contextlib.suppress(CrashError):
        await People(mover, SystemClock()).put([labelled(before, 41)])
    assert await numbers(audience, SEVILLA) == [1]
    assert not records.moved((await cell(store)).flags).any()
    for leaf in (41, 42):
        now = await people.get(1)
        assert now
        assert await people.put([labelled(now, leaf)]) == [True]
    assert (await cell(store)).regions.tolist() == [42]
    await people.put([moved(await people.get(1), CADIZ)])
    assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == ([], [1])
    await settle(store, people)
    assert (await records_in(store, SEVILLA), await records_in(store, CADIZ)) == (0, 1)


async def test_a_compaction_does_not_undo_a_label(store: Connection, people: People):
    """A cell that gets another label between being read and being compacted is read again."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    tile = keys.tile_cell(place(SEVILLA).tile)
    generation = await store.execute("HGET", tile.gens, tile.member)
    blob = await store.execute("GET", tile.key)
    before = await people.get(1)
    assert before
    assert await people.put([labelled(before, 41)]) == [True]
    names = [tile.key, tile.cells, tile.dirty, tile.gens]
    assert not await store.run("cells_compact", names, tile.member, generation, blob, "1", 0, tile.count_at)
    assert (await cell(store)).regions.tolist() == [41]
