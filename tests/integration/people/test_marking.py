"""Marking what is left: the store compares sealed bytes, so a record that has others than its subscriber's is found by reading its cell."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from alertd.common.clock import SystemClock
from alertd.model.subscriber import Subscriber
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.engine.keys import Cell
from alertd.store.people.audience import Audience
from alertd.store.people.spots import Change, Swap, cell_of, record_of
from alertd.store.people.subscribers import GRACE_MS, People
from alertd.store.people.sweeper import Sweeper
from geofences import records
from tests.integration.movers import (
    CADIZ,
    SEVILLA,
    Clock,
    CrashError,
    Mortal,
    moved,
    numbers,
    opened,
    person,
    place,
    records_in,
    settle,
)

HOME = cell_of(place(SEVILLA), 1)


def labelled(before: Subscriber, leaf: int) -> Change:
    """The same place in another region."""
    places = tuple(replace(spot, leaf=leaf) for spot in before.places)
    return Change(before, replace(before, version=before.version + 1, places=places))


async def lives(people: People, number: int) -> Subscriber:
    found = await people.get(number)
    assert found
    return found


@pytest.fixture
async def relabelled(redis: Redis, codec: Codec, store: Connection, people: People) -> Subscriber:
    """Person 1, whose record in the cell has a label that their own record lacks: whoever wrote it died before step 3."""
    await people.put([Change(None, person(n, place(SEVILLA))) for n in (2, 1)])
    before, mover = await lives(people, 1), Mortal(redis, codec)
    mover.trips_left = 3  # append and mark nothing, replace the label
    with contextlib.suppress(CrashError):
        await People(mover, SystemClock()).put([labelled(before, 41)])
    assert 41 in records.unpack(await opened(store, HOME)).regions
    return before


class Overtaken(People):
    """Others act after the first time that this mover has read a cell, and before it writes."""

    def __init__(self, store: Connection, others: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store, SystemClock())
        self._others, self.reads = others, 0

    async def _not_left(self, cell: Cell, gone: set[bytes]) -> list[Swap]:
        found = await super()._not_left(cell, gone)
        self.reads += 1
        if self.reads == 1:
            await self._others()
        return found


async def gone(store: Connection, people: People, audience: Audience) -> None:
    """Person 1 is in Cadiz and nowhere else, and person 2 where they were."""
    for _ in range(2):
        assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == ([2], [1])
        await settle(store, people)
    assert (await records_in(store, SEVILLA), await records_in(store, CADIZ)) == (1, 1)


async def test_who_has_a_label_in_the_cell_alone_is_not_found_where_they_left(
    store: Connection, people: People, audience: Audience, relabelled: Subscriber
):
    """A record that a crash left with another label is marked all the same."""
    assert await people.put([moved(relabelled, CADIZ)]) == [True]
    await gone(store, people, audience)


async def test_a_compaction_while_the_cell_is_read_loses_no_mark(
    store: Connection, people: People, audience: Audience, relabelled: Subscriber
):
    """Between reading the cell and marking the record, the sweeper moves the record to another slot."""
    await people.put([Change(None, person(3, place(SEVILLA)))])
    await settle(store, people)
    before = await opened(store, HOME)
    third = await lives(people, 3)
    await people.put([moved(third, CADIZ), moved(await lives(people, 2), CADIZ)])
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    await sweeper.round()
    clock.seconds += GRACE_MS / 1000 + 1
    mover = Overtaken(store, sweeper.round)
    assert await mover.put([moved(relabelled, CADIZ)]) == [True]
    assert await records_in(store, SEVILLA) < len(before) // records.SIZE  # it was compacted
    assert mover.reads == 2
    assert await numbers(audience, SEVILLA) == []


async def test_a_record_that_changes_while_the_cell_is_read_is_marked(
    store: Connection, people: People, audience: Audience, relabelled: Subscriber
):
    """Between reading the cell and marking the record, somebody else gives the record a third label: the mover reads the cell again."""

    async def another_label() -> None:
        known = replace(relabelled.places[0], leaf=41)
        swap = Swap(HOME, 1, record_of(relabelled, known), record_of(relabelled, replace(known, leaf=42)))
        assert not await people._replace("label", [swap])

    mover = Overtaken(store, another_label)
    assert await mover.put([moved(relabelled, CADIZ)]) == [True]
    assert mover.reads == 3
    await gone(store, people, audience)
