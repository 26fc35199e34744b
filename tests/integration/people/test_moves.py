"""Moving while being looked for: at every step of a move, and after a crash at every step, one person is found at one place.

Steps are driven, not raced: the mover's client is stopped after a given number of round trips, a query runs, and so on.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest

from alertd.common.clock import SystemClock
from alertd.store.engine.connection import Connection
from alertd.store.engine.keys import Cell
from alertd.store.people.audience import Audience
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import GRACE_MS, People
from alertd.store.people.sweeper import Sweeper
from tests.integration.movers import (
    CADIZ,
    SEVILLA,
    Clock,
    CrashError,
    Mortal,
    moved,
    numbers,
    person,
    place,
    records_in,
    settle,
)
from tests.sampling import sampled

pytestmark = pytest.mark.once

#: Trips of one move: announce the groups, append, mark, write, clear.
TRIPS = 5


@pytest.fixture
def mover(redis, codec) -> Mortal:
    return Mortal(redis, codec)


@pytest.mark.parametrize("trips", range(TRIPS + 1))
async def test_crash_at_every_step(mover: Mortal, people: People, audience: Audience, store: Connection, trips: int):
    """A mover that dies before any of its steps leaves its subscriber at exactly one place: the one its record says."""
    await people.put([Change(None, person(1, place(SEVILLA))), Change(None, person(2, place(SEVILLA)))])
    before = await people.get(1)
    mover.trips_left = trips
    with contextlib.suppress(CrashError):
        await People(mover, SystemClock()).put([moved(before, CADIZ)])
    authority = (await people.get(1)).places[0].lon == CADIZ[0]
    assert authority == (trips >= TRIPS - 1)
    for _ in range(2):
        assert await numbers(audience, SEVILLA) == ([2] if authority else [1, 2])
        assert await numbers(audience, CADIZ) == ([1] if authority else [])
        await settle(store, people)
    assert await records_in(store, SEVILLA) == (1 if authority else 2)
    assert await records_in(store, CADIZ) == (1 if authority else 0)


def takes_turns(second: int, first: int) -> bool:
    """Each step of either with two steps of the other."""
    return (first + second) % 3 == 0


@pytest.mark.parametrize(
    ("second", "first"), sampled(itertools.product(range(TRIPS + 1), range(TRIPS + 1)), takes_turns)
)
async def test_two_movers_of_one_person(
    mover: Mortal, redis, codec, people: People, audience: Audience, store: Connection, first: int, second: int
):
    """Two moves of one subscriber, both from the same state, each dying anywhere: one of them counts, never both."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    before = await people.get(1)
    other = Mortal(redis, codec)
    mover.trips_left, other.trips_left = first, second
    for client, goal in ((mover, CADIZ), (other, (-5.90, 37.30))):
        with contextlib.suppress(CrashError):
            await People(client, SystemClock()).put([moved(before, goal)])
    spots = (SEVILLA, CADIZ, (-5.90, 37.30))
    for _ in range(2):
        found = [await numbers(audience, spot) for spot in spots]
        assert sorted(found, key=len) == [[], [], [1]]
        await settle(store, people)
    assert sum([await records_in(store, spot) for spot in spots]) == 1


async def test_mark_of_a_second_mover_is_not_taken_for_one_that_failed(
    mover: Mortal, people: People, audience: Audience, store: Connection
):
    """What a dead mover left is not restored while another mover, who marked the same record, is under way."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    before = await people.get(1)
    mover.trips_left = TRIPS - 2  # dies between marking and writing
    with contextlib.suppress(CrashError):
        await People(mover, SystemClock()).put([moved(before, CADIZ)])
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    await sweeper.round()
    clock.seconds += GRACE_MS / 1000 + 1

    class Overtaken(People):
        async def _replace(self, how: str, swaps: Any) -> list[Cell]:
            missed = await super()._replace(how, swaps)
            if how == "left":
                await sweeper.round()
            return missed

    assert await Overtaken(store, SystemClock()).put([moved(before, (-5.90, 37.30))]) == [True]
    assert (await numbers(audience, SEVILLA), await numbers(audience, (-5.90, 37.30))) == ([], [1])


async def test_there_and_back_again(people: People, audience: Audience, store: Connection):
    """A subscriber who leaves and returns at once is found once, before and after the sweeper."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    for goal in (CADIZ, SEVILLA, CADIZ, SEVILLA):
        assert await people.put([moved(await people.get(1), goal)]) == [True]
        assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == (
            ([1], []) if goal == SEVILLA else ([], [1])
        )
    await settle(store, people)
    assert (await records_in(store, SEVILLA), await records_in(store, CADIZ)) == (1, 0)


async def test_stale_change_is_refused_whole(people: People, audience: Audience):
    """A change of what somebody else has changed since is refused, and nothing of it is seen."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    before = await people.get(1)
    assert await people.put([moved(before, CADIZ)]) == [True]
    assert await people.put([moved(before, (-5.90, 37.30))]) == [False]
    assert (await numbers(audience, CADIZ), await numbers(audience, (-5.90, 37.30))) == ([1], [])


async def test_slow_mover_is_refused(mover: Mortal, people: People, audience: Audience):
    """A mover that sleeps longer than the sweeper waits cannot write: its new record might be gone."""
    await people.put([Change(None, person(1, place(SEVILLA)))])

    class Sleepy(People):
        async def _replace(self, how: str, swaps: Any) -> list[Cell]:
            missed = await super()._replace(how, swaps)
            mover.skew_ms += GRACE_MS
            return missed

    assert await Sleepy(mover, SystemClock()).put([moved(await people.get(1), CADIZ)]) == [False]
    mover.skew_ms = 0
    assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == ([1], [])
