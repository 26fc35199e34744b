"""Moves and queries step by step: who is inside before and after is found, once, whatever happens between two reads.

Nothing here is left to luck: before each of its reads the query lets movers take steps, as many and whose a seed says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import shapely
from msgspec.structs import replace
from numpy.typing import NDArray

from alertd.common.clock import SystemClock
from alertd.model.subscriber import Place
from alertd.store.engine.bulk_reads import BulkReads, Command
from alertd.store.engine.connection import Connection
from alertd.store.engine.nodes import Nodes
from alertd.store.people.audience import Audience, MatchFilter
from alertd.store.people.spots import Change, Spot, cell_of
from alertd.store.people.subscribers import GRACE_MS, People
from alertd.store.people.sweeper import Sweeper
from geofences import records
from geofences.scan import BORDER, INSIDE, Outline
from geofences.tiles import ZOOM, deinterleave, locate, position
from tests.integration.movers import CADIZ, Clock, opened, person, place, settle

pytestmark = pytest.mark.once

MIDDLE, RADIUS = (-5.99, 37.39), 0.15  # degrees: tiles wholly inside, and tiles on the border
LEAF = 77  # of those who named a region
AREA = shapely.MultiPolygon([shapely.Point(MIDDLE).buffer(RADIUS)])
PEOPLE = 4
SETTLED_EVERY = 50  # interleavings: what movers leave behind is swept then


class Patient(People):
    """Movers have as long as the machine takes between two of their steps: that one who is slow is refused is shown elsewhere."""

    async def _append(self, arriving: Sequence[Spot]) -> tuple[list[Spot], int]:
        arrived, _ = await super()._append(arriving)
        return arrived, 0  # no limit


class Driven(Connection):
    """A mover's client that waits for its turn before each round trip."""

    def __init__(self, store: Connection) -> None:
        super().__init__(store.nodes.first, store.codec)
        self.nodes = store.nodes
        self._turns, self._waits = asyncio.Semaphore(0), asyncio.Event()
        self.task: asyncio.Task[Any] | None = None

    async def start(self, change: Change) -> None:
        """Until before its first round trip."""
        self.task = asyncio.ensure_future(Patient(self, SystemClock()).put([change]))
        await self._rests()

    async def step(self) -> None:
        """One round trip."""
        self._waits.clear()
        self._turns.release()
        await self._rests()

    async def _rests(self) -> None:
        assert self.task
        waiting = asyncio.ensure_future(self._waits.wait())
        await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def run_many(self, calls: Sequence[Any], *, durable: bool = False) -> list[Any]:
        await self._turn()
        return await super().run_many(calls, durable=durable)

    async def execute_many(self, commands: Sequence[Any], *, durable: bool = False) -> list[Any]:
        await self._turn()
        return await super().execute_many(commands, durable=durable)

    async def _turn(self) -> None:
        self._waits.set()
        await self._turns.acquire()


class Stepped(BulkReads):
    """Reading that lets others go first, each time."""

    def __init__(self, nodes: Nodes, first: Callable[[], Awaitable[None]]) -> None:
        super().__init__(nodes, timeout_s=10)
        self._first, self._loop = first, asyncio.get_running_loop()

    def _let(self) -> None:
        async def others() -> None:
            await self._first()

        asyncio.run_coroutine_threadsafe(others(), self._loop).result(10)

    def turns(self, lists: Iterable[Sequence[Command]]) -> Iterator[list[Any]]:
        def in_turn() -> Iterator[Sequence[Command]]:
            for commands in lists:
                self._let()
                yield commands

        return super().turns(in_turn())


def named() -> Place:
    """Someone who named a region, not a point."""
    return Place(
        name="home", kind=1, lon=0, lat=0, region="41091", at_s=0, accuracy_m=None, tile=0, x=0, y=0, leaf=LEAF
    )


def spots() -> tuple[list[Place], list[Place]]:
    """Places inside: in a whole tile, in a tile on the border, two of each, and in the region; and outside: in that same tile, and far."""
    border = [int(locate(MIDDLE[0] + side * RADIUS * 0.99, MIDDLE[1])[0]) for side in (1, -1)]
    inside, outside = [place(MIDDLE), place((MIDDLE[0] + 0.02, MIDDLE[1] + 0.02)), named()], [place(CADIZ)]
    for tile in border:
        lon, lat = position([tile] * 400, [(i % 20) * 3200 for i in range(400)], [(i // 20) * 3200 for i in range(400)])
        held = shapely.intersects_xy(AREA, lon, lat)
        assert held.any()
        assert not held.all()
        inside.append(place((float(lon[held][0]), float(lat[held][0]))))
        outside.append(place((float(lon[~held][0]), float(lat[~held][0]))))
    return inside, outside


class Interleaving:
    """One query, and movers that take their steps between its reads."""

    def __init__(self, store: Connection, seed: int) -> None:
        self._store, self._chance = store, random.Random(seed)
        self._people = People(store, SystemClock())
        self._movers: list[Driven] = []
        self.inside, self.outside = spots()

    async def find(self, people: Sequence[int]) -> None:
        """Everybody moves somewhere or stays, and the query's answer fits."""
        before = await self._people.get_many(people)
        after = []
        for one in before:
            assert one
            goal = self._chance.choice(self.inside + self.outside)
            after.append(replace(one, version=one.version + 1, places=(goal,)))
            if self._chance.random() < 0.8:  # the others stay
                self._movers.append(Driven(self._store))
                await self._movers[-1].start(Change(one, after[-1]))
            else:
                after[-1] = one
        found = await self._ask()
        assert sorted(set(found)) == found
        for old, new in zip(before, after, strict=True):
            assert old
            ends = [self._is_inside(old.places[0]), self._is_inside(new.places[0])]
            if ends[0] == ends[1]:
                assert (old.number in found) == ends[0], (old.places[0].name, ends)
        await self._die_or_end()
        words = await self._people.get_many(people)
        truth = [one.number for one in words if one and self._is_inside(one.places[0])]
        answer = await self._ask()
        assert answer == truth, (before, words, answer)

    def _is_inside(self, spot: Place) -> bool:
        return any(self._same(spot, known) for known in self.inside)

    def _same(self, one: Place, other: Place) -> bool:
        return (one.tile, one.x, one.y, one.region) == (other.tile, other.x, other.y, other.region)

    async def _ask(self) -> list[int]:
        bulk = Stepped(self._store.nodes, self._let)

        async def authority(numbers: NDArray[Any], wanted: MatchFilter) -> records.Records:
            await self._let()
            return await self._people.authority(numbers, wanted)

        audience = Audience(bulk, self._store.codec.cells, authority, deadline_s=10, threads=1)
        try:
            wanted = MatchFilter(area=AREA, regions=[LEAF], kind=1, places=frozenset({1}))
            return (await audience.find(wanted)).numbers.tolist()
        finally:
            audience.close()

    async def _let(self) -> None:
        """Movers take steps: none, some, or one all of its own."""
        for _ in range(self._chance.choice((0, 0, 1, 1, 2, 5))):
            moving = [mover for mover in self._movers if mover.task and not mover.task.done()]
            if moving:
                await self._chance.choice(moving).step()

    async def _die_or_end(self) -> None:
        for mover in self._movers:
            assert mover.task
            if self._chance.random() < 0.2:
                mover.task.cancel()
            while not mover.task.done():
                await mover.step()
        results = await asyncio.gather(*(mover.task for mover in self._movers if mover.task), return_exceptions=True)
        assert all(result == [True] or isinstance(result, asyncio.CancelledError) for result in results), results
        self._movers.clear()


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--interleavings"))


async def test_moves_between_the_reads_of_a_query(store: Connection, count: int):
    """Whoever is inside before and after a move is found once at every interleaving; whoever is outside both times never is."""
    await drive(store, count)


async def test_moves_between_the_reads_of_a_query_on_a_cluster(cluster: Connection, count: int):
    """The same where the places lie on three servers, and no two of them change at once."""
    await drive(cluster, count)


async def drive(store: Connection, count: int) -> None:
    people = People(store, SystemClock())
    numbers = list(await people.numbers(PEOPLE))
    inside, outside = spots()
    homes = (inside + outside)[:PEOPLE]
    await people.put([Change(None, person(n, home)) for n, home in zip(numbers, homes, strict=True)])
    for seed in range(count):
        await Interleaving(store, seed).find(numbers)
        if seed % SETTLED_EVERY == SETTLED_EVERY - 1:
            await settle(store, people)


def test_the_area_has_tiles_of_both_kinds():
    """The area of these tests has whole tiles and border tiles, or they would show half of it."""
    inside, outside = spots()
    codes = np.array([place.tile for place in inside + outside], np.uint32)
    assert {INSIDE, BORDER} <= set(Outline(AREA).at(ZOOM).verdicts(*deinterleave(codes)).tolist())


async def test_a_lost_hint_marks_the_record_that_counts(store: Connection):
    """Who was here before, came back and leaves again is not found here, though what they left first still stands before the rest."""
    people, audience = People(store, SystemClock()), ordinary(store)
    first = person(1, place(MIDDLE))
    await people.put([Change(None, first)])
    for goal in (CADIZ, MIDDLE, CADIZ):
        before = await people.get(1)
        assert before
        lost = replace(before, places=tuple(replace(spot, slot=0) for spot in before.places))  # as compaction would
        after = replace(before, version=before.version + 1, places=(place(goal),))
        assert await people.put([Change(lost, after)]) == [True]
    query = MatchFilter(area=AREA, kind=1, places=frozenset({1}))
    assert (await audience.find(query)).numbers.tolist() == []
    audience.close()


async def test_who_leaves_before_their_arrival_is_unmarked_stays_away(store: Connection):
    """A mover writes the subscriber's record, and before it unmarks its new record in the cell, another mover takes the subscriber away. The
    first mover unmarks nothing then.
    """
    people, audience, slow = People(store, SystemClock()), ordinary(store), Driven(store)
    await people.put([Change(None, person(1, place(CADIZ)))])
    before = await people.get(1)
    assert before
    await slow.start(Change(before, replace(before, version=2, places=(place(MIDDLE),))))
    for _ in range(4):  # announced, appended, marked, written
        await slow.step()
    arrived = await people.get(1)
    assert arrived
    assert await people.put([Change(arrived, replace(arrived, version=3, places=(place(CADIZ),)))]) == [True]
    await slow.step()
    assert slow.task
    assert await slow.task == [True]
    query = MatchFilter(area=AREA, kind=1, places=frozenset({1}))
    assert (await audience.find(query)).numbers.tolist() == []
    audience.close()


async def test_no_twin_is_restored_beside_one_that_is_about_to_count(store: Connection):
    """What a dead mover appended stays in doubt while another mover's record of the same place does: one of them is unmarked at most."""
    people, clock, dead, alive = People(store, SystemClock()), Clock(), Driven(store), Driven(store)
    sweeper = Sweeper(store, people, clock)
    await people.put([Change(None, person(1, place(CADIZ)))])
    before = await people.get(1)
    assert before
    arrival = Change(before, replace(before, version=2, places=(place(MIDDLE),)))
    await dead.start(arrival)
    for _ in range(2):  # announced, appended
        await dead.step()
    assert dead.task
    dead.task.cancel()
    await sweeper.round()
    clock.seconds += GRACE_MS / 1000 + 1
    await alive.start(arrival)
    for _ in range(4):  # announced, appended, marked, written
        await alive.step()
    for _ in range(2):
        await sweeper.round()
    await alive.step()
    assert alive.task
    assert await alive.task == [True]
    stored = await opened(store, cell_of(place(MIDDLE), 1))
    assert (~records.moved(records.unpack(stored).flags)).sum() == 1


def ordinary(store: Connection) -> Audience:
    """An audience that nobody holds up."""
    return Audience(
        BulkReads(store.nodes, timeout_s=5), store.codec.cells, People(store, SystemClock()).authority, deadline_s=5
    )
