"""Which places count for a target of regions: off a coast, along a border, seen too long ago; the preview says what will be."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely

from alertd.common.errors import Problem
from alertd.model.alert import Target
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import (
    BEA,
    CADIZ,
    SEVILLA,
    alert_of,
    is_about,
    reached,
    register,
    registration,
    send,
    submitted,
    told,
)

#: Cádiz, A Coruña, Palma, Las Palmas and Lanzarote's Arrecife.
TOWNS = ("11012", "15030", "07040", "35016", "35004")
EACH = 25  # of fewer people there is no alert


def afloat(library: Library, code: str) -> list[list[float]]:
    """Spots off the outline of a town, a hundred metres to five kilometres, that are labelled with it."""
    town = library.geometry(code)
    west, south, east, north = shapely.buffer(town, 0.05).bounds
    xy = np.random.default_rng(3).uniform((west, south), (east, north), (4_000, 2))
    off = shapely.distance(town, shapely.points(xy))
    theirs = library.leaf_numbers(*xy.T) == library.get(code).number
    spots: list[list[float]] = xy[theirs & (off > 0.001) & (off < 0.045)][:EACH].tolist()
    return spots


@pytest.mark.parametrize(
    ("target", "towns"),
    [
        ({"regions": ["07040"]}, ("07040",)),
        ({"regions": ["ES-GC"]}, ("35016", "35004")),
        ({"regions": ["ES"], "exclude": {"regions": ["15030", "ES-GC"]}}, ("11012", "07040")),
    ],
)
async def test_whoever_lives_off_a_coarse_coast_is_told_once(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], target: dict[str, Any], towns: tuple[str, ...]
):
    """An alert for a town on the coast, its province or its country reaches its people in the water and no other town's; who is
    left out is not told; the people in the area, the frozen audience and those who are told are the same.
    """
    people = {}
    for i, code in enumerate(TOWNS):
        people[code] = set(range(i * EACH, (i + 1) * EACH))
        for person, spot in zip(people[code], afloat(parts.regions.library, code), strict=True):
            await register(parts, 1, first=person, places={"home": {"point": spot}})
    taken = await submitted(parts, sample, target=target)
    found = await reached(parts, taken.record)
    approved = await parts.approval.approve(taken.record.id, BEA)
    frozen = await parts.alerts.audience(approved.id)
    assert found.numbers.tolist() == frozen.numbers.tolist()
    assert await worker_of(parts).plans.planner.plan(approved)
    await send(parts, approved)
    assert told(sandbox) == sorted(set().union(*(people[code] for code in towns)))


async def test_a_municipality_drawn_along_its_border_alerts_no_neighbouring_province(
    parts: Container, sample: dict[str, Any]
):
    """Lebrija lies along the border to Cádiz. Whoever named Lebrija as their place is told; whoever named either province, the
    neighbour's municipality or a point across is not.
    """
    places: tuple[dict[str, Any], ...] = (
        {"region": "41053"}, {"region": "ES-CA"}, {"region": "ES-SE"}, {"region": "11020"}, {"point": list(CADIZ)},
    )  # fmt: skip
    for i, place in enumerate(places):
        await register(parts, EACH, first=i * EACH, places={"home": place})
    outline = shapely.geometry.mapping(parts.regions.library.geometry("41053"))
    taken = await submitted(parts, sample, target={"polygons": [outline]})
    shares = {share.code: share.share for share in taken.shares}
    assert shares["41053"] == pytest.approx(1, abs=1e-3)
    assert shares.get("ES-CA", 0) < 1e-3
    found = await reached(parts, taken.record)
    assert len(found) == EACH
    assert {parts.regions.library.get("41053").number} == set(found.regions.tolist())


async def test_a_place_of_now_counts_for_as_long_as_the_alert_says_and_home_always(
    parts: Container, sample: dict[str, Any]
):
    """Seen in Sevilla two or thirty hours ago, at home in Cádiz, as was noted in January: whom an alert reaches goes by its age limit and
    its places, and an accuracy of kilometres moves nobody.
    """
    home = {"point": list(CADIZ), "at": "2026-01-10T12:00:00Z"}
    for first, hours, accuracy_m in ((0, 2, 20_000), (EACH, 30, 50)):
        at = datetime.fromtimestamp(parts.clock.now_ms() / 1000 - hours * 3600, UTC).isoformat()
        now = {"point": list(SEVILLA), "at": at, "accuracy_m": accuracy_m}
        await register(parts, EACH, first=first, places={"now": now, "home": home})
    found = {}
    for name, region, policy in (
        ("today", "41091", {}), ("two days", "41091", {"max_age_h": 48}), ("by home", "11012", {}),
        ("not by home", "11012", {"places": ["now", "work"]}),
    ):  # fmt: skip
        alert = alert_of(sample, target={"regions": [region]}, policy=policy)
        area = await parts.targeting.area(alert.target)
        shares = await parts.targeting.shares(area.geometry)
        found[name] = len(await parts.targeting.people(area.geometry, alert, parts.targeting.notified_regions(shares)))
    assert found == {"today": EACH, "two days": 2 * EACH, "by home": 2 * EACH, "not by home": 0}


@pytest.mark.parametrize("hours", [24 * 31 + 1, 4_100, 2 * 4_100])
async def test_who_was_seen_months_ago_is_neither_found_nor_kept_there(
    parts: Container, sample: dict[str, Any], hours: int
):
    """Also where the hour of a record begins anew."""
    at = datetime.fromtimestamp(parts.clock.now_ms() / 1000 - hours * 3600, UTC).isoformat()
    await register(parts, EACH)
    seen = registration(EACH, places={"now": {"point": list(SEVILLA), "at": at}, "home": {"point": list(CADIZ)}})
    person, _ = await parts.registry.put("p", seen)
    assert [place.name for place in person.places] == ["home"]
    taken = await submitted(parts, sample, policy={"max_age_h": 720})
    assert len(await reached(parts, taken.record)) == EACH


async def test_whoever_was_frozen_has_not_grown_too_old_when_they_are_told(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """The age of a place counts in whole hours, for the approval and for the plan alike: who was frozen with 24 hours is told."""
    at = datetime.fromtimestamp((parts.clock.now_ms() // 3_600_000 - 24) * 3600, UTC).isoformat()
    await register(parts, EACH, places={"now": {"point": list(SEVILLA), "at": at}, "home": {"point": list(CADIZ)}})
    taken = await submitted(parts, sample, target={"regions": ["41091"]})
    approved = await parts.approval.approve(taken.record.id, BEA)
    assert await worker_of(parts).plans.planner.plan(approved)
    await send(parts, approved)
    frozen = await parts.alerts.audience(approved.id)
    assert told(sandbox) == [number - 1 for number in frozen.numbers.tolist()] == [*range(EACH)]


async def test_who_moves_in_while_an_alert_lives_is_not_told_by_it(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """The audience is frozen at the approval; another alert to the same target finds the new people."""
    await register(parts, EACH)
    taken = await submitted(parts, sample, target={"regions": ["41091"]})
    approved = await parts.approval.approve(taken.record.id, BEA)
    await register(parts, EACH, first=EACH)
    assert await worker_of(parts).plans.planner.plan(approved)
    await send(parts, approved)
    assert told(sandbox) == list(range(EACH))
    again = await submitted(parts, sample, target={"regions": ["41091"]})
    assert len(await reached(parts, again.record)) == 2 * EACH


async def test_an_area_that_would_take_too_long_is_refused(parts: Container):
    """A comb of 9,000 teeth across a hundred towns has a clear answer at once."""
    comb = [[-5 + i * 1e-4, 37 + i % 2] for i in range(9_000)]
    drawn = {"polygons": [{"type": "Polygon", "coordinates": [[*comb, comb[0]]]}]}
    target = Target.model_validate_json(json.dumps(drawn))
    with pytest.raises(Problem) as caught:
        await parts.targeting.area(target)
    assert caught.value.slug == "invalid-geometry"
    assert "simpler" in str(caught.value.faults[0])


async def test_a_registration_that_waits_for_a_search_holds_up_nobody_else(parts: Container):
    """While a million places are looked up, one more registers and the event loop goes on."""
    xy = np.random.default_rng(5).uniform((-7, 37), (-4, 38), (1_000_000, 2))
    loop = asyncio.get_running_loop()
    started, longest = loop.time(), 0.0
    search = asyncio.create_task(asyncio.to_thread(parts.regions.library.leaf_numbers, *xy.T))
    await asyncio.sleep(0)
    registering = asyncio.create_task(register(parts, 1))
    while not (search.done() and registering.done()):
        before = loop.time()
        await asyncio.sleep(0.001)
        longest = max(longest, loop.time() - before)
    await registering
    assert longest < (loop.time() - started) / 3


async def test_an_estimate_says_who_named_a_wide_region_and_is_not_notified(parts: Container, sample: dict[str, Any]):
    """A small target in Sevilla reaches nobody who gave only the province as their place. Who has a school in it is reached there, and
    counted at home.
    """
    named = {"home": {"region": "ES-SE"}}
    await register(parts, 200)
    await register(parts, 300, first=200, places=named)
    await register(parts, 5, first=500, places={**named, "school": {"point": SEVILLA}})
    target = {"circles": [{"center": SEVILLA, "radius_km": 1}]}
    taken = await submitted(parts, sample, target=target)
    assert taken.reach is not None
    number = parts.regions.library.get("ES-SE").number
    assert taken.reach.unnotified.keys() == {number}
    assert is_about(taken.reach.unnotified[number], 305)
    assert is_about(taken.reach.whole.people, 200)
    assert len(await reached(parts, taken.record)) == 205


@pytest.mark.parametrize("target", [{"radius_km": 0.1}, {"radius_km": 1}, {"radius_km": 30}])
async def test_who_named_a_smallest_region_is_reached_by_any_area_in_it(
    parts: Container, sample: dict[str, Any], target: dict[str, Any]
):
    """However small the area. Who gave the town as a second place is reached too, and people at points are those in the area."""
    await register(parts, EACH, places={"home": {"region": "41091"}})
    await register(parts, EACH, first=EACH, places={"home": {"point": CADIZ}, "school": {"region": "41091"}})
    await register(parts, EACH, first=2 * EACH, places={"home": {"region": "11012"}})
    await register(parts, EACH, first=3 * EACH)
    await register(parts, EACH, first=4 * EACH, places={"home": {"point": CADIZ}})
    alert = alert_of(sample, target={"circles": [{"center": SEVILLA, **target}]})
    area = await parts.targeting.area(alert.target)
    told = parts.targeting.notified_regions(await parts.targeting.shares(area.geometry))
    found = await parts.targeting.people(area.geometry, alert, told)
    assert {number - 1 for number in found.numbers.tolist()} == {*range(2 * EACH), *range(3 * EACH, 4 * EACH)}
    points = await parts.targeting.people(area.geometry, alert, [])
    assert {number - 1 for number in points.numbers.tolist()} == {*range(3 * EACH, 4 * EACH)}


async def test_a_sliver_along_a_border_alerts_no_neighbouring_town(parts: Container):
    """The outline of another source may cross a border by two hundred metres. An area that goes a kilometre across is meant for both."""
    library = parts.regions.library
    town = library.geometry("41053")
    neighbours = {
        region.code
        for region, _ in library.overlapping(shapely.buffer(town, 0.002))
        if not library.children(region.code)
    }
    for km, reached_codes in ((0.2, {"41053"}), (1.0, neighbours)):
        area = shapely.MultiPolygon([shapely.buffer(town, km / 111.2)])
        shares = await parts.targeting.shares(area)
        told = set(parts.targeting.notified_regions(shares))
        assert {share.code for share in shares if share.number in told} == reached_codes
