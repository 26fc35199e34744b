"""Places of one kind at one spot: whatever somebody called them, who belongs by their own record is found, and nobody else."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from alertd.common.clock import SystemClock
from alertd.model.subscriber import Subscriber, from_document
from alertd.service.people.registration_intake import parse_registration
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.people.audience import Audience, MatchFilter
from alertd.store.people.spots import Change, spots_of
from alertd.store.people.subscribers import People
from tests.integration.movers import CrashError, Mortal, opened, settle

DOOR, NEXT_DOOR = (-5.9845, 37.3891), (-5.9847, 37.3891)  # in one tile
LEAVES = {"41091": 77, "28079": 88}
NOW_S = int(time.time())
NEVER = 9  # trips that no move needs
TIMED = {"not timed": None, "old": NOW_S - 3 * 86_400, "new": NOW_S - 1_800}

#: Three names that are all of the kind `other`, each at one of four spots or nowhere, timed or not.
SPOT = st.sampled_from([{"point": DOOR}, {"point": NEXT_DOOR}, {"region": "41091"}, {"region": "28079"}])
PLACES = st.dictionaries(
    st.sampled_from(["phone", "tablet", "car"]), st.tuples(SPOT, st.sampled_from(sorted(TIMED))), max_size=3
)
#: What is registered, by a mover that lives or dies before that trip, in which language; and whether the cells are swept then.
STEPS = st.lists(
    st.tuples(PLACES, st.sampled_from([*range(6), NEVER, NEVER]), st.sampled_from(["es", "en"]), st.booleans()),
    min_size=1,
    max_size=6,
)


def registered(number: int, places: dict[str, Any], language: str, previous: Subscriber | None) -> Subscriber:
    """The record of somebody with these places: name, spot, and a name of a time."""
    document = parse_registration(
        {
            "languages": [language],
            "kinds": ["missing-child"],
            "places": {
                name: spot | ({"at": datetime.fromtimestamp(TIMED[when], UTC).isoformat()} if TIMED[when] else {})
                for name, (spot, when) in places.items()
            },
            "addresses": [{"channel": "sms", "number": "+34612345678"}],
            "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "web"},
        }
    )
    person = from_document(document, number=number, subscriber_id=f"id{number}", previous=previous)
    return replace(person, places=tuple(replace(p, leaf=LEAVES.get(p.region or "", 5)) for p in person.places))


def around(spot: tuple[float, float]) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.Point(spot).buffer(0.0001)])


QUERIES = [((spot, None), MatchFilter(area=around(spot), kind=1, places=frozenset({4}), max_age_h=24, now_h=NOW_S // 3_600))
           for spot in (DOOR, NEXT_DOOR)] + [
    ((None, code), MatchFilter(area=around((0, 0)), regions=(leaf,), kind=1, places=frozenset({4}), max_age_h=24, now_h=NOW_S // 3_600))
    for code, leaf in LEAVES.items()
]  # fmt: skip


def truth(person: Subscriber | None) -> list[bool]:
    """By their own record, whether somebody belongs to each of the queries."""

    places = person.places if person else ()
    return [
        any(p.region == code if code else p.region is None and (p.lon, p.lat) == spot for p in places)
        for (spot, code), _ in QUERIES
    ]


async def answers(audience: Audience, number: int) -> list[bool]:
    return [number in (await audience.find(wanted)).numbers.tolist() for _, wanted in QUERIES]


async def write(people: People, number: int, places: dict[str, Any], language: str = "es") -> None:
    before = await people.get(number)
    await people.put([Change(before, registered(number, places, language, before))])


@given(history=STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_after_any_history_the_audience_is_what_the_records_say(
    redis: Redis, codec: Codec, store: Connection, people: People, audience: Audience, history: list[Any]
):
    """Whatever is registered one after the other, whichever mover dies, and whenever the cells are swept: found is who belongs."""
    await redis.flushall()
    mover = Mortal(redis, codec)
    for places, trips, language, is_swept in history:
        mover.trips_left = trips
        with contextlib.suppress(CrashError):
            await write(People(mover, SystemClock()), 1, places, language)
        if is_swept:
            await settle(store, people)
        assert await answers(audience, 1) == truth(await people.get(1))
    await settle(store, people, rounds=3)
    person = await people.get(1)
    assert await answers(audience, 1) == truth(person)
    assert await everything(store) == sorted(spot.record for spot in (spots_of(person) if person else ()))


async def everything(store: Connection) -> list[bytes]:
    """All records of all cells."""
    names = [name for name in await store.execute("KEYS", "{[gr]:*}:*") if name.rpartition(b":")[2].isdigit()]
    parts = [name.decode().strip("{").split("}:") for name in names]
    blobs = [await opened(store, keys.Cell(group, int(member))) for group, member in parts]
    return sorted(blob[i : i + 16] for blob in blobs for i in range(0, len(blob), 16))


@pytest.mark.parametrize("spot", [{"point": DOOR}, {"region": "41091"}], ids=["point", "region"])
@pytest.mark.parametrize("order", [("phone", "tablet"), ("tablet", "phone")])
async def test_one_of_two_names_of_a_spot_goes(
    store: Connection, people: People, audience: Audience, spot: dict[str, Any], order: tuple[str, ...]
):
    """Whoever gave one spot two names is found there as long as either stands, however long ago it was noted."""
    both = {name: (spot, "old" if name == "phone" else "not timed") for name in order}
    for places, language in ((both, "es"), (both, "en"), *(({name: both[name]}, "en") for name in order)):
        await write(people, 1, places, language)
        assert any(await answers(audience, 1))
        await settle(store, people)
        assert any(await answers(audience, 1))
    await write(people, 1, {})
    assert not any(await answers(audience, 1))


def test_places_that_share_a_spot_share_a_record_and_its_slot():
    """One record for all places of one kind at one spot, whenever each was noted: they belong there."""
    person = registered(1, {name: ({"point": DOOR}, when) for name, when in zip("abc", TIMED, strict=True)}, "es", None)
    (spot,) = spots_of(person)
    assert spot.places == (0, 1, 2)
    (alone,) = spots_of(registered(1, {"a": ({"point": DOOR}, "not timed")}, "es", None))
    assert (spot.cell, spot.record) == (keys.tile_cell(person.places[0].tile), alone.record)
