"""Reach: every count before an approval is an estimate from one noisy map of people, metered for each key and kept in the audit."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.config.sections import ApiSection, AudienceSection
from alertd.config.settings import Settings
from alertd.model.alert import Target
from alertd.model.organisation import Jurisdiction, Organisation
from alertd.runtime.assembly import opened
from alertd.service.areas.reach_audit import ACT
from alertd.service.areas.reach_preview import ReachPreview
from alertd.service.container import Container
from alertd.service.reach import FEW_RECORDS, MOST_AGE_S, Reach, Reaches
from alertd.store.engine.codec import Codec, Keys, SealError
from alertd.store.engine.keys import Cell
from alertd.store.people.people_map import build, load, write
from channels.sandbox import Sandbox
from geofences.regions import Library
from geofences.tiles import locate_one
from tests.clocks import Later
from tests.integration.acts import (
    ANA,
    BEA,
    CADIZ,
    SEVILLA,
    api_of,
    is_about,
    reached,
    register,
    registration,
    slug,
    submitted,
)
from tests.integration.authority.desks import AWAY, CAP, HOME, POLICE, Desk
from tests.integration.conftest import settings_for

MADRID = (-3.70, 40.42)
HERE = {"home": {"point": SEVILLA}}
PREVIEW = ("POST", "/v1/targets/preview", {"target": HOME})


def near(place: Sequence[float], km: float = 3) -> dict[str, Any]:
    return {"circles": [{"center": list(place), "radius_km": km}]}


async def reach_of(
    parts: Container, target: dict[str, Any], *, testers: bool = False, reaches: Reaches | None = None
) -> Reach:
    """The estimate for a target."""
    area = await parts.targeting.area(Target.model_validate(target, strict=False))
    shares = await parts.targeting.shares(area.geometry)
    return await ReachPreview(parts.targeting, reaches or parts.reaches).reach(
        area.geometry, shares, ("missing-child", testers)
    )


async def people_at(parts: Container, *places: Sequence[float], **how: Any) -> list[float]:
    """The estimates of the people around each of these places."""
    return [(await reach_of(parts, near(place), **how)).whole.people for place in places]


def are_about(estimates: Sequence[float], *people: int) -> bool:
    return len(estimates) == len(people) and all(map(is_about, estimates, people))


async def test_the_map_follows_who_registers_moves_and_is_forgotten(parts: Container):
    assert are_about(await people_at(parts, SEVILLA, CADIZ), 0, 0)
    await register(parts, 500, places=HERE)
    assert are_about(await people_at(parts, SEVILLA, CADIZ), 500, 0)
    await register(parts, 300, places={"home": {"point": CADIZ}})
    assert are_about(await people_at(parts, SEVILLA, CADIZ), 200, 300)
    for i in range(300):
        await parts.registry.forget(f"p{i}")
    assert are_about(await people_at(parts, SEVILLA, CADIZ), 200, 0)


async def test_the_addresses_of_each_channel_are_estimated(parts: Container):
    """Also of a channel that nobody uses there."""
    await register(parts, 300, places=HERE)
    for i in range(300, 500):
        push = registration(i, places=HERE, addresses=[{"channel": "push", "token": f"token-{i}"}])
        await parts.registry.put(f"p{i}", push)
    addresses = (await reach_of(parts, near(SEVILLA))).whole.addresses
    assert are_about([addresses[name] for name in ("push", "sms", "mail", "webpush")], 500, 300, 300, 0)


async def test_each_person_is_counted_once_at_home(parts: Container):
    """Though they are somewhere else now and have a school: two estimates that both had them would show that they move between."""
    now = {"point": CADIZ, "at": datetime.now(UTC).isoformat()}
    await register(parts, 400, places={"home": {"point": SEVILLA}, "now": now, "school": {"point": MADRID}})
    assert are_about(await people_at(parts, SEVILLA, CADIZ, MADRID), 400, 0, 0)


async def test_a_person_without_a_home_is_counted_once_elsewhere(parts: Container):
    """At work rather than at school, and where they are now only if they gave no other place. An alert reaches all of these places."""
    now = {"point": CADIZ, "at": datetime.now(UTC).isoformat()}
    await register(parts, 300, places={"now": now})
    await register(parts, 400, first=300, places={"now": now, "school": {"point": SEVILLA}})
    await register(parts, 500, first=700, places={"school": {"point": SEVILLA}, "work": {"point": MADRID}})
    assert are_about(await people_at(parts, SEVILLA, CADIZ, MADRID), 400, 300, 500)


async def test_who_named_a_region_is_counted_where_that_region_is_notified(parts: Container):
    """A city in an alert to it, to its province or to any part of it, and in none to the next town. A province in an alert to it, and
    in none to a small part of it.
    """
    targets = ({"regions": ["41091"]}, {"regions": ["ES-SE"]}, near(SEVILLA, 1), {"regions": ["11012"]})
    await register(parts, 400, places={"home": {"region": "41091"}})
    found = [await reach_of(parts, target) for target in targets]
    assert are_about([reach.whole.people for reach in found], 400, 400, 400, 0)
    assert not any(reach.unnotified for reach in found)
    await register(parts, 400, places={"home": {"region": "ES-SE"}})
    found = [await reach_of(parts, target) for target in targets]
    assert are_about([reach.whole.people for reach in found], 0, 400, 0, 0)
    number = parts.regions.library.get("ES-SE").number
    assert [number in reach.unnotified for reach in found] == [True, False, True, False]


async def test_a_test_and_an_exercise_count_testers_alone(parts: Container, sample: dict[str, Any]):
    await register(parts, 300, tester=True, places=HERE)
    await register(parts, 300, first=300, places=HERE)
    assert are_about(await people_at(parts, SEVILLA, testers=True), 300)
    shown = [(await submitted(parts, sample, status=status)).people for status in ("Actual", "Test", "Exercise")]
    assert are_about(shown, 600, 300, 300)


async def test_an_alert_to_surely_too_few_people_is_refused(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """Nobody is left without an alert because the map is not exact: the least is compared with the most that may be there."""
    settings = settings_for(sandbox).model_copy(update={"audience": AudienceSection(least_people=500)})
    async with opened(settings, redis, codec, library=library) as parts:
        await register(parts, 200, places=HERE)
        await register(parts, 600, first=1_000, places={"home": {"region": "ES"}})  # no alert to a city reaches them
        assert await slug(submitted(parts, sample)) == "audience-too-small"
        await register(parts, 350, first=200, places=HERE)
        taken = await submitted(parts, sample)
        assert len(await reached(parts, taken.record)) == 550
        assert (await parts.approval.approve(taken.record.id, BEA)).people == 550


@dataclass
class Shelf:
    """A cache file of the map, and who opens it with which clock."""

    parts: Container
    path: Path
    clock: Later

    def reaches(self) -> Reaches:
        """As in a process that has just started."""
        return Reaches(self.parts.audience, self.parts.people, self.parts.db.codec, self.path, self.clock)

    async def keep_large(self, codec: Codec) -> None:
        """Keeps the map of now, as one that is too large to be built before an answer."""
        made = build(self.parts.audience, self.parts.regions.library, codec, await self.parts.people.last())
        write(self.path, replace(made, records=FEW_RECORDS + 1), codec)

    async def around(self, reaches: Reaches, *places: Sequence[float]) -> list[float]:
        return await people_at(self.parts, *places, reaches=reaches)


@pytest.fixture
def shelf(parts: Container, tmp_path: Path) -> Shelf:
    return Shelf(parts, tmp_path / "people-map", Later())


async def test_a_kept_map_is_sealed(shelf: Shelf, codec: Codec):
    """Whoever copies the file reads no place and no count in it, and another installation's key does not open it."""
    parts = shelf.parts
    await register(parts, 400, places=HERE)
    made = build(parts.audience, parts.regions.library, codec, await parts.people.last())
    write(shelf.path, made, codec)
    again = load(shelf.path, codec)
    part, kept = made.parts["missing-child", False], again.parts["missing-child", False]
    assert (kept.leaves.codes.tolist(), kept.leaves.counts.tolist()) == (
        part.leaves.codes.tolist(),
        part.leaves.counts.tolist(),
    )
    assert shelf.path.stat().st_mode & 0o077 == 0
    raw = shelf.path.read_bytes()
    for clear in (
        b"PK\x03\x04",
        b"counts",
        b"codes",
        part.leaves.codes.tobytes()[-8:],
        part.leaves.counts.tobytes()[-8:],
    ):
        assert clear not in raw
    with pytest.raises(SealError):
        load(shelf.path, Codec(Keys(master=b"n" * 32, hashing=b"h" * 32)))


async def test_the_map_of_the_last_start_answers_until_there_is_a_new_one(shelf: Shelf, codec: Codec):
    """A large installation takes a minute to make its map, and is asked at once."""
    parts = shelf.parts
    await register(parts, 400, places=HERE)
    await shelf.keep_large(codec)
    await register(parts, 400, places={"home": {"point": CADIZ}})
    reaches = shelf.reaches()
    async with reaches.run(lambda: parts.regions.library):
        first = await reaches.current(parts.regions.library)
        assert first.records == FEW_RECORDS + 1
    assert are_about(await shelf.around(reaches, SEVILLA, CADIZ), 0, 400)


async def test_nobody_is_answered_from_a_map_older_than_an_hour(shelf: Shelf, codec: Codec):
    """A worker makes estimates only when a scheduled alert starts: an old map would say that the audience changed, and stop it."""
    parts = shelf.parts
    await register(parts, 400, places=HERE)
    await shelf.keep_large(codec)
    await register(parts, 400, first=400, places={"home": {"point": CADIZ}})
    shelf.clock.pass_by(MOST_AGE_S - 60)
    assert (await shelf.reaches().current(parts.regions.library)).records == FEW_RECORDS + 1
    shelf.clock.pass_by(120)
    assert are_about(await shelf.around(shelf.reaches(), SEVILLA, CADIZ), 400, 400)


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
async def test_a_kept_map_that_cannot_be_read_is_made_anew(shelf: Shelf, codec: Codec, damage: bytes | None):
    """A damaged file, and that of another key, cost no start and no answer."""
    await register(shelf.parts, 400, places=HERE)
    if damage is None:
        other = Codec(Keys(master=b"n" * 32, hashing=b"h" * 32))
        write(shelf.path, build(shelf.parts.audience, shelf.parts.regions.library, codec, 400), other)
    else:
        shelf.path.write_bytes(damage)
    reaches = shelf.reaches()
    async with reaches.run(lambda: shelf.parts.regions.library):
        assert are_about(await shelf.around(reaches, SEVILLA), 400)


async def test_people_who_register_at_another_process_are_in_the_map_a_minute_later(
    shelf: Shelf, redis: Redis, codec: Codec, library: Library
):
    reaches, parts = shelf.reaches(), shelf.parts
    await register(parts, 200, places=HERE)
    assert are_about(await shelf.around(reaches, SEVILLA), 200)
    async with opened(parts.settings, redis, codec, library=library, renderer=parts.renderer) as others:
        await register(others, 300, first=200, places=HERE)
    assert are_about(await shelf.around(reaches, SEVILLA), 200)
    shelf.clock.pass_by(61)
    assert are_about(await shelf.around(reaches, SEVILLA), 500)


async def test_a_cell_that_was_cut_off_hides_nobody_else(parts: Container, redis: Redis):
    await register(parts, 400, places=HERE)
    await register(parts, 100, first=400, places={"home": {"point": CADIZ}})
    tile, _, _ = locate_one(*CADIZ)
    await redis.append(Cell(f"g:{tile >> 8}", tile).key, b"damage")
    assert are_about(await people_at(parts, SEVILLA, CADIZ), 400, 0)


@asynccontextmanager
async def desk_of(parts: Container, aiohttp_client: Any) -> AsyncIterator[Desk]:
    """Ana and Bea of the police of Sevilla."""
    police = Organisation(name=POLICE["name"], jurisdiction=Jurisdiction(regions=("ES-SE",)))
    await parts.organisations.put("police", police, ANA)
    found = Desk(parts, await aiohttp_client(api_of(parts)))
    for subject in ("ana", "bea"):
        await found.key(subject)
    yield found


@pytest.fixture
async def desk(parts: Container, aiohttp_client: Any) -> AsyncIterator[Desk]:
    async with desk_of(parts, aiohttp_client) as found:
        yield found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """By whoever sends it, by push alone, to the city of Sevilla."""
    return {**sample, "author": {}, "external_id": None, "channels": ["push"], "target": HOME}


async def test_a_preview_outside_the_jurisdiction_shows_no_counts(desk: Desk):
    """It says what lies outside, and is the same with people there and without."""
    rings = {"rings": [{"center": CADIZ, "radius_km": km} for km in (2, 9)]}
    asked = [{"target": target} for target in (AWAY, rings)]
    empty = [(await desk.ask("ana", "POST", "/v1/targets/preview", body))[1] for body in asked]
    await register(desk.parts, 400, places={"home": {"point": CADIZ}})
    await register(desk.parts, 400, first=400, places={"home": {"region": "11012"}})
    full = [(await desk.ask("ana", "POST", "/v1/targets/preview", body))[1] for body in asked]
    assert full == empty
    for shown in full:
        assert (shown["audience"]["people"], shown["audience"]["regions"], shown["untold"]) == ("<100", {}, {})
        assert set(shown["audience"]["addresses"].values()) == {0}
        assert shown["outside"]["share"] == 1
    assert await entered(desk) == []


async def entered(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    """Who asked, with the facts, as the audit has it, the latest first."""
    entries = await desk.parts.audit.page("police", before=None, limit=100)
    return [(one.by, dict(one.facts)) for one in entries if one.act == ACT]


async def test_an_organisation_has_two_questions_worked_out_at_once(parts: Container):
    """A third waits. Another organisation does not: a large target may take many seconds."""
    turns, guest = parts.reach_audit.turn, dataclasses.replace(ANA, org="guest")
    async with turns(ANA), turns(BEA):
        third = asyncio.create_task(turns(ANA).__aenter__())
        async with turns(guest):
            assert not third.done()
    await third


async def test_a_question_is_entered_in_the_audit_once_a_day(desk: Desk):
    """For each key and target; where it was asked, and never how many people were counted."""
    await register(desk.parts, 300, places=HERE)
    for _ in range(3):
        assert await desk.slug("ana", *PREVIEW) == "ok"
    ((by, facts),) = await entered(desk)
    assert (by, facts["kind"], len(facts["digest"])) == ("ana", "missing-child", 32)
    west, south, east, north = map(float, facts["bounds"].split())
    assert west < SEVILLA[0] < east
    assert south < SEVILLA[1] < north
    assert facts.keys() == {"digest", "bounds", "kind"}
    assert await desk.slug("bea", *PREVIEW) == "ok"
    assert await desk.slug("ana", "POST", "/v1/targets/preview", {"target": near(SEVILLA)}) == "ok"
    assert await desk.slug("ana", "POST", "/v1/targets/preview", {"target": HOME, "kind": "general"}) == "ok"
    assert [by for by, _ in await entered(desk)] == ["ana", "ana", "bea", "ana"]
    desk.parts.db.skew_ms += 24 * 3_600_000 + 1_000
    assert await desk.slug("ana", *PREVIEW) == "ok"
    assert [by for by, _ in await entered(desk)] == ["ana", "ana", "ana", "bea", "ana"]


async def test_a_dry_run_is_entered_in_the_audit(desk: Desk, alert: dict[str, Any]):
    """With where it asked, as a preview is."""
    assert await desk.slug("ana", *PREVIEW) == "ok"
    ((_, facts),) = await entered(desk)
    assert await desk.slug("ana", "POST", "/v1/alerts?dry_run=true", alert) == "ok"
    entries = await desk.parts.audit.page("police", before=None, limit=5)
    (done,) = [one.facts for one in entries if one.act == "alert.create" and one.outcome == "done"]
    assert {name: done[name] for name in facts} == facts


async def test_a_key_asks_sixty_times_a_minute(parts: Container):
    """Permits come back one a second, so that a slow machine grants one more for each second that this takes."""
    assert Settings().api.reach_per_min == 60
    began, granted = parts.clock.monotonic(), list[int]()

    async def ask() -> None:
        for number in range(600):
            async with parts.reach_audit.turn(ANA):
                pass
            granted.append(number)

    with pytest.raises(Problem) as refused:
        await ask()
    assert 60 <= len(granted) <= 61 + parts.clock.monotonic() - began
    assert (refused.value.slug, refused.value.status, refused.value.headers["Retry-After"]) == (
        "rate-limited",
        429,
        "1",
    )
    async with parts.reach_audit.turn(BEA):
        pass


@pytest.fixture
async def strict(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, aiohttp_client: Any
) -> AsyncIterator[Desk]:
    """A desk at which each key may ask once a minute."""
    settings = settings_for(sandbox).model_copy(update={"api": ApiSection(reach_per_min=1)})
    async with opened(settings, redis, codec, library=library) as parts, desk_of(parts, aiohttp_client) as found:
        yield found


async def test_whatever_shows_a_count_before_a_second_person_sees_it_is_metered(strict: Desk, alert: dict[str, Any]):
    """Previews, dry runs, drafts and changes of drafts share the permits of a key; an alert that asks for its second person needs none."""
    draft = {**alert, "state": "draft"}
    _, taken = await strict.ask("ana", "POST", "/v1/alerts", draft)
    cap = CAP.format(lat=SEVILLA[1], lon=SEVILLA[0], expires=alert["expires"])
    refused = {
        "preview": await strict.slug("ana", *PREVIEW),
        "dry run": await strict.slug("ana", "POST", "/v1/alerts?dry_run=true", alert),
        "draft": await strict.slug("ana", "POST", "/v1/alerts", draft),
        "change": await strict.slug("ana", "PATCH", f"/v1/alerts/{taken['id']}", {"target": near(SEVILLA)}),
        "cap": await strict.slug("ana", "POST", "/v1/cap?dry_run=true", cap, **{"Content-Type": "application/cap+xml"}),
        "update": await strict.slug(
            "ana", "POST", f"/v1/alerts/{taken['id']}/updates?dry_run=true", {**alert, "notify": "full"}
        ),
    }
    assert refused == dict.fromkeys(refused, "rate-limited")
    assert await strict.slug("ana", "POST", f"/v1/alerts/{taken['id']}/submit") == "ok"
    assert await strict.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    assert await strict.slug("ana", "POST", "/v1/alerts", alert) == "ok"
    assert await strict.slug("bea", *PREVIEW) == "ok"


async def test_a_key_that_asks_too_often_hears_when_it_may_ask_again(strict: Desk):
    headers = {"Authorization": f"Bearer {strict.tokens['ana']}"}
    assert await strict.slug("ana", *PREVIEW) == "ok"
    async with strict.client.post(PREVIEW[1], json=PREVIEW[2], headers=headers) as answer:
        assert answer.status == 429
        wait_s = int(answer.headers["Retry-After"])
    assert 1 <= wait_s <= 60
    strict.parts.db.skew_ms += wait_s * 1000
    assert await strict.slug("ana", *PREVIEW) == "ok"


async def test_zero_lets_a_key_ask_as_often_as_it_likes(redis: Redis, codec: Codec, sandbox: Sandbox, library: Library):
    settings = settings_for(sandbox).model_copy(update={"api": ApiSection(reach_per_min=0)})
    async with opened(settings, redis, codec, library=library) as parts:
        for _ in range(100):
            async with parts.reach_audit.turn(ANA):
                pass


async def test_who_only_reads_alerts_gets_no_count_of_a_target(desk: Desk):
    """Many programs hold such a key: with counts it would follow a phone."""
    await desk.key("eva", scopes=("alerts:read",))
    await register(desk.parts, 300, places=HERE)
    assert await desk.slug("eva", *PREVIEW) == "not-allowed"
