"""The sweeper: what moves leave behind is gone after a grace, never sooner, and nothing that counts goes with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from alertd.model.alert import MAX_AGE_H
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.people.audience import Audience, MatchFilter
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import GRACE_MS, TOO_OLD_H, People
from alertd.store.people.sweeper import Sweeper
from geofences import records
from geofences.tiles import locate
from tests.integration.movers import (
    CADIZ,
    SEVILLA,
    Clock,
    CrashError,
    Mortal,
    lease_ends,
    moved,
    numbers,
    person,
    place,
    records_in,
    settle,
    wanted,
)


async def test_forgetting_leaves_nothing(people: People, audience: Audience, store: Connection):
    """Someone forgotten is found nowhere at once, and after the grace no record names them."""
    await people.put([Change(None, person(1, place(SEVILLA), place(CADIZ, "work", 2)))])
    assert await people.put([Change(await people.get(1), None)]) == [True]
    assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == ([], [])
    await settle(store, people)
    assert (await records_in(store, SEVILLA), await records_in(store, CADIZ)) == (0, 0)


async def test_sweeper_leaves_young_marks_alone(people: People, store: Connection):
    """What was marked less than a grace ago stays, so that no query under way misses it."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    await people.put([moved(await people.get(1), CADIZ)])
    await sweeper.round()
    clock.seconds += GRACE_MS / 1000 - 1
    await sweeper.round()
    assert await records_in(store, SEVILLA) == 1
    clock.seconds += 2
    await sweeper.round()
    assert await records_in(store, SEVILLA) == 0


async def test_young_cell_is_not_read_again(people: People, store: Connection):
    """However many rounds a grace has, what is in a cell is read when it is first seen and when it is ripe: a hot one is megabytes."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    await people.put([moved(await people.get(1), CADIZ)])
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    reads = [await generations_read(store)]
    for _ in range(3):
        assert await sweeper.round() == 0
        reads.append(await generations_read(store))
        clock.seconds += 3
    assert np.diff(reads).tolist() == [2, 0, 0]
    clock.seconds += GRACE_MS / 1000
    assert await sweeper.round() == 2


async def generations_read(store: Connection) -> int:
    """How often, by the server's own count: the sweeper reads a cell's generation together with the cell."""
    found = await store.nodes.first.info("commandstats")
    return int(found.get("cmdstat_hget", {}).get("calls", 0))


async def test_one_sweeper_at_a_time(people: People, store: Connection):
    """While one sweeper has the lease another does nothing, however long it waits; when the lease ends it goes on."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    await people.put([moved(await people.get(1), CADIZ)])
    clock = Clock()
    holder, other = Sweeper(store, people, clock), Sweeper(store, people, clock)
    await holder.round()
    for _ in range(3):
        clock.seconds += GRACE_MS / 1000 + 1
        assert await other.round() == 0
    assert await records_in(store, SEVILLA) == 1
    await lease_ends(store)
    await other.round()
    clock.seconds += GRACE_MS / 1000 + 1
    assert await other.round() == 2
    assert await records_in(store, SEVILLA) == 0


@pytest.mark.parametrize("rounds_between", [0, 1])
async def test_what_a_sweeper_saw_before_another_swept_is_void(people: People, store: Connection, rounds_between: int):
    """A mark that looks as it did before another sweeper's work is a young one: it stays for a whole grace of its own."""
    clock = Clock()
    first, second = Sweeper(store, people, clock), Sweeper(store, people, clock)
    await people.put([Change(None, person(1, place(SEVILLA)))])
    await people.put([moved(await people.get(1), CADIZ)])
    await first.round()  # and sees the mark; then it is silent, and another takes over
    await lease_ends(store)
    await second.round()
    clock.seconds += GRACE_MS / 1000 + 1
    await second.round()
    assert await records_in(store, SEVILLA) == 0
    for _ in range(rounds_between):
        await first.round()
    store.skew_ms += 1
    for goal in (SEVILLA, CADIZ):  # the same mark in the same slot, a moment old
        await people.put([moved(await people.get(1), goal)])
    await lease_ends(store)
    await first.round()
    assert await records_in(store, SEVILLA) == 1
    clock.seconds += GRACE_MS / 1000 + 1
    await first.round()
    assert await records_in(store, SEVILLA) == 0


async def test_cell_that_never_rests_does_not_keep_others_from_the_sweeper(people: People, store: Connection):
    """What was swept and is dirty still waits behind what was not swept yet."""
    cell = keys.tile_cell(int(locate(*SEVILLA)[0]))
    await people.put([Change(None, person(1, place(SEVILLA)))])
    await people.put([moved(await people.get(1), CADIZ)])
    dirty_since = float(await store.execute("ZSCORE", cell.dirty, cell.member))
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    await sweeper.round()
    clock.seconds += GRACE_MS / 1000 + 1
    store.skew_ms += 1000
    await people.put([Change(None, person(2, place(SEVILLA)))])
    await people.put([moved(await people.get(2), CADIZ)])  # a young mark beside the old one
    await sweeper.round()
    assert await records_in(store, SEVILLA) == 1
    assert float(await store.execute("ZSCORE", cell.dirty, cell.member)) >= dirty_since + 1000


async def test_two_places_in_one_tile(people: People, audience: Audience, store: Connection):
    """Home and work at the same door are two records of one person; leaving one leaves the other."""
    both = person(1, place(SEVILLA), place(SEVILLA, "work", 2))
    await people.put([Change(None, both)])
    stored = await people.get(1)
    await people.put([Change(stored, replace(stored, version=2, places=stored.places[:1]))])
    assert await numbers(audience, SEVILLA) == [1]
    only_work = MatchFilter(area=wanted(SEVILLA).area, kind=1, places=frozenset({2}))
    assert (await audience.find(only_work)).numbers.tolist() == []
    await settle(store, people)
    assert await records_in(store, SEVILLA) == 1


class Later(Clock):
    """A clock that shows another time of day than the seconds it counts."""

    time_s = 0

    def now_ms(self) -> int:
        return self.time_s * 1000


@pytest.mark.parametrize("back_h", [500_000, 500_000 - MAX_AGE_H - 30 + records.HOURS])
async def test_places_too_old_for_any_alert_go_before_their_hour_wraps(
    audience: Audience, store: Connection, back_h: int
):
    """Where somebody was seen longer ago than any alert may ask for is swept, though nothing is marked; what may be asked for stays. Whoever is back
    at the same spot is found, also in the hour in which that of their record begins anew.
    """
    back_s = back_h * 3_600
    hour, limit = 3_600, MAX_AGE_H * 3_600
    clock = Later()
    people, now_s = People(store, clock), 500_000 * hour
    kinds = (("now", 0), ("now", 0), ("home", 1), ("now", 0))
    spots = [place((SEVILLA[0] + i / 1000, SEVILLA[1]), *kind) for i, kind in enumerate(kinds)]
    oldest_s = now_s - limit - 30 * hour
    clock.time_s = oldest_s + hour
    times = (oldest_s, now_s - limit, oldest_s, now_s + 3 * hour)  # one clock is ahead
    for n, (spot, at_s) in enumerate(zip(spots, times, strict=True), 1):
        await people.put([Change(None, person(n, replace(spot, at_s=at_s)))])
    clock.time_s = now_s
    await settle(store, people)
    assert await records_in(store, SEVILLA) == len(spots)
    sweeper = Sweeper(store, people, clock)
    for _ in range(3):
        await sweeper.round()
        clock.seconds += GRACE_MS / 1000 + 1
    assert await records_in(store, SEVILLA) == len(spots) - 1
    wrapped = dataclasses.replace(wanted(SEVILLA), max_age_h=MAX_AGE_H, now_h=500_000 - MAX_AGE_H - 30 + records.HOURS)
    assert 1 not in (await audience.find(wrapped)).numbers.tolist()
    asked = dataclasses.replace(wanted(SEVILLA), max_age_h=MAX_AGE_H, now_h=500_000)
    assert {2, 3} <= set((await audience.find(asked)).numbers.tolist())
    before = await people.get(1)
    assert before  # who it was is still there, and comes back with a new place
    clock.time_s = back_s
    fresh = replace(spots[0], at_s=back_s)
    assert await people.put([Change(before, replace(before, version=2, places=(fresh,)))]) == [True]
    later = dataclasses.replace(asked, now_h=back_s // hour)
    assert 1 in (await audience.find(later)).numbers.tolist()


async def test_where_somebody_was_seen_too_long_ago_is_not_written(audience: Audience, store: Connection):
    """The hour of such a record would wrap and look new, whoever writes it: what is known of them is all but that, and the record that
    they had there goes.
    """
    clock = Later()
    people, seen = People(store, clock), replace(place(SEVILLA, "now", 0), at_s=500_000 * 3_600)
    wrapped = dataclasses.replace(wanted(SEVILLA), max_age_h=24, now_h=500_000 + records.HOURS + 1)
    clock.time_s = seen.at_s + TOO_OLD_H * 3_600
    await people.put([Change(None, person(1, seen, place(CADIZ)))])
    clock.time_s = wrapped.now_h * 3_600
    await people.put([Change(None, person(2, seen, place(CADIZ)))])
    assert [len(one.places) for one in await people.get_many([1, 2]) if one] == [2, 1]
    before = await people.get(1)
    assert before
    await people.put([Change(before, replace(before, version=2, languages=("en",)))])
    assert [len(one.places) for one in await people.get_many([1, 2]) if one] == [1, 1]
    assert (await audience.find(wrapped)).numbers.tolist() == []
    assert await numbers(audience, CADIZ) == [1, 2]
    await settle(store, people)
    assert await records_in(store, SEVILLA) == 0


async def test_who_is_in_doubt_is_nowhere_by_where_they_were_long_ago(
    redis: Redis, codec: Codec, audience: Audience, store: Connection
):
    """Whoever moves is looked up in their own record: it says when they were seen, which the hour of a cell's does not."""
    clock = Later()
    clock.time_s = 500_000 * 3_600
    people, mover = People(store, clock), Mortal(redis, codec)
    await people.put([Change(None, person(1, replace(place(SEVILLA, "now", 0), at_s=clock.time_s)))])
    before = await people.get(1)
    assert before
    mover.trips_left = 3  # it dies before it writes the record
    with pytest.raises(CrashError):
        await People(mover, clock).put([Change(before, replace(before, version=2, places=(place(SEVILLA),)))])
    asked = dataclasses.replace(wanted(SEVILLA), max_age_h=24, now_h=500_000)
    assert (await audience.find(asked)).numbers.tolist() == [1]
    wrapped = dataclasses.replace(asked, now_h=500_000 + records.HOURS + 1)
    assert (await audience.find(wrapped)).numbers.tolist() == []
