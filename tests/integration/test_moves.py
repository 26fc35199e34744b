"""Moving while being looked for: at every step of a move, and after a crash at every step, one person is found at one place.

Steps are driven, not raced: the mover's client is stopped after a given number of round trips, a query runs, and so on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import shapely
from msgspec.structs import replace

from alertd.store import keys
from alertd.store.audience import Audience
from alertd.store.bulk import Bulk
from alertd.store.connection import Connection, StoreUnavailableError
from alertd.store.people import GRACE_MS, Change, People
from alertd.store.sweeper import Sweeper
from alertd.store.wanted import Wanted
from alertd.subscribers import Consent, Place, Subscriber
from geofences.tiles import locate

SEVILLA, CADIZ = (-5.99, 37.39), (-6.29, 36.53)
#: Trips of one move: announce the groups, append, mark, write, clear.
TRIPS = 5


class CrashError(Exception):
    """The mover dies here."""


class Mortal(Connection):
    """A client that dies before its n-th round trip."""

    trips_left = 10**9

    async def run_many(self, calls: Sequence[Any]) -> list[Any]:
        self._live()
        return await super().run_many(calls)

    async def execute_many(self, commands: Sequence[Any]) -> list[Any]:
        self._live()
        return await super().execute_many(commands)

    def _live(self) -> None:
        self.trips_left -= 1
        if self.trips_left < 0:
            raise CrashError


class Clock:
    """A clock that is set."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def place(lon_lat: tuple[float, float], name: str = "home", kind: int = 1) -> Place:
    tile, x, y = (int(part) for part in locate(*lon_lat))
    return Place(
        name=name, kind=kind, lon=lon_lat[0], lat=lon_lat[1], region=None, at_s=0, accuracy_m=None, tile=tile, x=x, y=y
    )


def person(number: int, *places: Place) -> Subscriber:
    return Subscriber(
        number=number, id=f"p{number}", version=1, languages=("es",), kinds=1, tester=False, time_zone=None, places=places,
        addresses=(), next_address=0,
        consent=Consent(at_s=0, source="t", version=None, purposes=(), withdrawn_at_s=None),
    )  # fmt: skip


def wanted(lon_lat: tuple[float, float], degrees: float = 0.05) -> Wanted:
    area = shapely.MultiPolygon([shapely.Point(lon_lat).buffer(degrees)])
    return Wanted(area=area, kind=1, places=frozenset(range(5)))


@pytest.fixture
def mover(redis, codec) -> Mortal:
    return Mortal(redis, codec)


@pytest.fixture
def people(store: Connection) -> People:
    return People(store)


@pytest.fixture
def audience(store: Connection, people: People) -> Audience:
    return Audience(Bulk(store.nodes, timeout_s=5), people.authority, deadline_s=5)


async def numbers(audience: Audience, lon_lat: tuple[float, float]) -> list[int]:
    return (await audience.find(wanted(lon_lat))).numbers.tolist()


def moved(before: Subscriber, lon_lat: tuple[float, float]) -> Change:
    return Change(before, replace(before, version=before.version + 1, places=(place(lon_lat),)))


async def settle(store: Connection, people: People, rounds: int = 2) -> Sweeper:
    """Run the sweeper over two graces."""
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    for _ in range(rounds):
        await sweeper.round()
        clock.seconds += GRACE_MS / 1000 + 1
    await sweeper.round()
    await lease_ends(store)
    return sweeper


async def lease_ends(store: Connection) -> None:
    """The sweeper was silent for longer than its lease lasts."""
    await store.execute("DEL", keys.SWEEPER)


async def records_in(store: Connection, lon_lat: tuple[float, float]) -> int:
    tile = int(locate(*lon_lat)[0])
    return int(await store.execute("STRLEN", f"{{g:{tile >> 8}}}:{tile}")) // 16


@pytest.mark.parametrize("trips", range(TRIPS + 1))
async def test_crash_at_every_step(mover: Mortal, people: People, audience: Audience, store: Connection, trips: int):
    """A mover that dies before any of its steps leaves its subscriber at exactly one place: the one its record says."""
    await people.put([Change(None, person(1, place(SEVILLA))), Change(None, person(2, place(SEVILLA)))])
    before = await people.get(1)
    mover.trips_left = trips
    with contextlib.suppress(CrashError):
        await People(mover).put([moved(before, CADIZ)])
    authority = (await people.get(1)).places[0].lon == CADIZ[0]
    assert authority == (trips >= TRIPS - 1)
    for _ in range(2):
        assert await numbers(audience, SEVILLA) == ([2] if authority else [1, 2])
        assert await numbers(audience, CADIZ) == ([1] if authority else [])
        await settle(store, people)
    assert await records_in(store, SEVILLA) == (1 if authority else 2)
    assert await records_in(store, CADIZ) == (1 if authority else 0)


@pytest.mark.parametrize("first", range(TRIPS + 1))
@pytest.mark.parametrize("second", range(TRIPS + 1))
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
            await People(client).put([moved(before, goal)])
    spots = (SEVILLA, CADIZ, (-5.90, 37.30))
    for _ in range(2):
        found = [await numbers(audience, spot) for spot in spots]
        assert sorted(found, key=len) == [[], [], [1]]
        await settle(store, people)
    assert sum([await records_in(store, spot) for spot in spots]) == 1


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
        async def _replace(self, how: str, wanted: Any) -> None:
            await super()._replace(how, wanted)
            mover.skew_ms += GRACE_MS

    assert await Sleepy(mover).put([moved(await people.get(1), CADIZ)]) == [False]
    mover.skew_ms = 0
    assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == ([1], [])


async def test_forgetting_leaves_nothing(people: People, audience: Audience, store: Connection):
    """Someone forgotten is found nowhere at once, and after the grace no record names them."""
    await people.put([Change(None, person(1, place(SEVILLA), place(CADIZ, "work", 2)))])
    assert await people.put([Change(await people.get(1), None)]) == [True]
    assert (await numbers(audience, SEVILLA), await numbers(audience, CADIZ)) == ([], [])
    await settle(store, people)
    assert (await records_in(store, SEVILLA), await records_in(store, CADIZ)) == (0, 0)


async def test_sweeper_leaves_young_marks_alone(mover: Mortal, people: People, store: Connection):
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


async def test_mark_of_a_second_mover_is_not_taken_for_one_that_failed(
    mover: Mortal, people: People, audience: Audience, store: Connection
):
    """What a dead mover left is not restored while another mover, who marked the same record, is under way."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    before = await people.get(1)
    mover.trips_left = TRIPS - 2  # dies between marking and writing
    with contextlib.suppress(CrashError):
        await People(mover).put([moved(before, CADIZ)])
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    await sweeper.round()
    clock.seconds += GRACE_MS / 1000 + 1

    class Overtaken(People):
        async def _replace(self, how: str, wanted: Any) -> None:
            await super()._replace(how, wanted)
            if how == "place":
                await sweeper.round()

    assert await Overtaken(store).put([moved(before, (-5.90, 37.30))]) == [True]
    assert (await numbers(audience, SEVILLA), await numbers(audience, (-5.90, 37.30))) == ([], [1])


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
    only_work = Wanted(area=wanted(SEVILLA).area, kind=1, places=frozenset({2}))
    assert (await audience.find(only_work)).numbers.tolist() == []
    await settle(store, people)
    assert await records_in(store, SEVILLA) == 1


async def test_region_places_are_found_by_region(people: People, audience: Audience):
    """Someone who named a region is found when the region counts, and not by the ground alone."""
    named = Place(name="home", kind=1, lon=0, lat=0, region="41091", at_s=0, accuracy_m=None, tile=0, x=0, y=0, leaf=77)
    await people.put([Change(None, person(1, named))])
    query = wanted(SEVILLA)
    assert (await audience.find(query)).numbers.tolist() == []
    by_region = Wanted(area=query.area, regions=[76, 77], kind=1, places=query.places)
    assert (await audience.find(by_region)).numbers.tolist() == [1]


async def test_consent_place_and_age_decide(people: People, audience: Audience):
    """Only who consented to the kind, at a place that counts, seen recently enough, is found."""
    fresh = replace(place(SEVILLA, "now", 0), at_s=100 * 3600)
    stale = replace(place(SEVILLA, "now", 0), at_s=50 * 3600)
    await people.put(
        [
            Change(None, person(1, fresh)),
            Change(None, person(2, stale)),
            Change(None, replace(person(3, place(SEVILLA)), kinds=2)),
            Change(None, replace(person(4, place(SEVILLA)), tester=True)),
        ]
    )
    query = Wanted(area=wanted(SEVILLA).area, kind=1, places=frozenset({0, 1}), max_age_h=24, now_h=101)
    assert (await audience.find(query)).numbers.tolist() == [1, 4]
    testers = Wanted(area=query.area, kind=1, places=query.places, testers_only=True)
    assert (await audience.find(testers)).numbers.tolist() == [4]


async def test_ten_thousand_against_brute_force(people: People, audience: Audience):
    """Everybody whom brute force finds is found, and nobody else."""
    chance = np.random.default_rng(7)
    lon, lat = chance.uniform(-6.2, -5.8, 10_000), chance.uniform(37.2, 37.6, 10_000)
    spots = list(zip(lon.tolist(), lat.tolist(), strict=True))
    await people.put([Change(None, person(i + 1, place(spot))) for i, spot in enumerate(spots)])
    query = wanted(SEVILLA, 0.1)
    found = await audience.find(query)
    near = (
        shapely.distance(
            query.area.exterior if hasattr(query.area, "exterior") else query.area.boundary, shapely.points(lon, lat)
        )
        < 1e-5
    )
    truth = shapely.intersects_xy(query.area, lon, lat)
    mine = np.isin(np.arange(1, 10_001), found.numbers)
    assert ((mine == truth) | near).all()
    assert len(found) > 1000


async def test_deadline_gives_nobody_rather_than_some(store: Connection, people: People):
    """A query that cannot end in time is refused: a partial audience would lose people silently."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    with pytest.raises(StoreUnavailableError):
        await Audience(Bulk(store.nodes, timeout_s=5), people.authority, deadline_s=0).find(wanted(SEVILLA))
