"""Who is told across a border: everybody whom the neighbour permits, once, as if it were one ground."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.model.organisation import Jurisdiction, Organisation
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.store.engine import keys
from tests.integration.acts import ANA, CADIZ, SEVILLA, is_about, photo, register, working
from tests.integration.authority.desks import BOTH, HOME, Desk
from tests.integration.media.conftest import showing
from tests.integration.neighbours.asks import (
    ASK,
    approved,
    grant,
    people_told,
    seen,
    state,
    until,
    updated,
)
from tests.unit.alertd.samples import changed

ACROSS = {"regions": ["ES-SE", "ES-CO", "ES-BA", "ES-CA"], "beyond": "ask"}


async def test_what_is_permitted_is_told_once(desk: Desk, alert: dict[str, Any], parts: Container):
    """Whoever has a place in both was told with the first part, and is not told again."""
    alert_id = await approved(desk, alert)
    async with working(parts):
        await until(desk, alert_id, accepted=41)
        assert await grant(desk, alert_id) == "ok"
        told_by = (await seen(desk, alert_id))["permission"]["told_by"]
        assert told_by == f"{alert_id}-2"
        await until(desk, told_by, accepted=40)
    assert await state(desk, alert_id) == "granted"
    told = [*await people_told(parts, alert_id), *await people_told(parts, told_by)]
    assert len(told) == len(set(told)) == 81


async def test_a_grant_in_the_middle_leaves_nobody_out_and_tells_nobody_twice(
    desk: Desk, alert: dict[str, Any], parts: Container
):
    """What was queued of the first part when the neighbour answers is told by the version that tells the second."""
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    async with working(parts):
        await until(desk, f"{alert_id}-2", accepted=81)
    assert await people_told(parts, alert_id) == []
    assert len(set(await people_told(parts, f"{alert_id}-2"))) == 81


@pytest.mark.parametrize("is_restricted", [False, True])
async def test_whoever_was_there_when_it_was_approved_is_told_however_late_a_neighbour_permits(
    desk: Desk, alert: dict[str, Any], parts: Container, is_restricted: bool
):
    """Where somebody is now grows old; of who was counted, and waits for a ring's time or sleeps, it was new enough on the day of the approval.
    Also where the permission tells in silence what people are still to hear of.
    """
    at = (datetime.now(UTC) - timedelta(hours=23, minutes=30)).isoformat()
    await register(parts, 10, first=200, places={"now": {"point": SEVILLA, "at": at}})
    alert_id = await approved(desk, alert)
    parts.db.skew_ms += 3 * 3_600_000
    if is_restricted:
        assert await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/restrict", {"reason": "x"}) == "ok"
    assert await grant(desk, alert_id) == "ok"
    told_by = (await seen(desk, alert_id))["permission"]["told_by"]
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(told_by))
    assert (await parts.work.counts(told_by))["push"]["targeted"] == 91


@pytest.mark.parametrize(("radius_km", "told_min"), [(10, 60), (11, 70)])
async def test_a_permission_begins_no_ring_anew_and_hastens_none(
    desk: Desk, alert: dict[str, Any], parts: Container, radius_km: int, told_min: int
):
    """It goes on where the alert was, also after an update: an hour from the approval, or from that of an update of the target."""
    ring = {"center": CADIZ, "radius_km": 10, "delay_min": 60}
    alert_id = await approved(desk, alert, target={**ASK, "rings": [ring]})
    began = (await parts.alerts.get(alert_id)).times.start
    parts.db.skew_ms += 10 * 60_000
    said = changed(alert, "info/es/instruction", "Lleva una mochila azul.")
    await updated(desk, said, alert_id, {**ASK, "rings": [{**ring, "radius_km": radius_km}]})
    parts.db.skew_ms += 20 * 60_000
    assert await grant(desk, alert_id) == "ok"
    told_by = (await seen(desk, alert_id))["permission"]["told_by"]
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(told_by))
    waiting = await parts.db.execute("ZRANGE", keys.of_chain(alert_id, "delayed", "push"), 0, -1, "WITHSCORES")
    told = [round((at - began) / 60_000) for name, at in waiting if name.startswith(told_by.encode())]
    assert told == [told_min]


async def test_the_end_reaches_those_beyond_the_border(desk: Desk, alert: dict[str, Any], parts: Container):
    """Whoever was told there is told that it is over, as all others are."""
    alert_id = await approved(desk, alert)
    async with working(parts):
        await until(desk, alert_id, accepted=41)
        assert await grant(desk, alert_id) == "ok"
        await until(desk, f"{alert_id}-2", accepted=40)
        _, closed = await desk.ask("bea", "POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found"})
        await until(desk, closed["told_by"], accepted=81)


async def test_a_preview_counts_the_people_of_ones_own_part(desk: Desk):
    """And says who could be asked, where nobody said that they are to be."""
    await register(desk.parts, 300, first=100)
    await register(desk.parts, 600, first=400, places={"home": {"point": CADIZ}})
    _, plain = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": BOTH})
    assert is_about(plain["audience"]["people"], 341)
    assert plain["outside"]["whose"] == "your organisation"
    _, asks = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": ASK})
    assert (asks["audience"], asks["outside"]) == (plain["audience"], None)
    assert plain["neighbours"] == asks["neighbours"]
    assert [(one["organisation"], one["people"]) for one in asks["neighbours"]] == [("guard", None)]
    _, home = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": HOME})
    assert home["neighbours"] == []


async def _dividing(desk: Desk, **jurisdictions: tuple[str, ...]) -> None:
    """300 people named a country; of its ground these organisations divide a ninth."""
    await register(desk.parts, 300, first=500, places={"home": {"region": "ES"}})
    for org, regions in jurisdictions.items():
        name = (await desk.parts.organisations.get(org)).organisation.name
        made = Organisation(name=name, jurisdiction=Jurisdiction(regions=regions))
        await desk.parts.organisations.put(org, made, ANA)


async def test_who_named_a_region_across_the_border_is_told_with_the_neighbours_part(
    desk: Desk, alert: dict[str, Any], parts: Container
):
    """Enough of it lies in the whole target, and in neither part: they are counted for the neighbour, who sees so, and told when it permits."""
    await _dividing(desk, police=("ES-SE", "ES-CO"), guard=("ES-BA", "ES-CA"))
    _, preview = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": ACROSS})
    assert preview["audience"]["people"] == "<100"
    alert_id = await approved(desk, alert, target=ACROSS)
    shown = await seen(desk, alert_id)
    assert is_about(shown["permission"]["people"], 341)
    assert shown["people_now"] == shown["permission"]["people"]
    assert await grant(desk, alert_id) == "ok"
    assert (await parts.alerts.audience(f"{alert_id}-2")).numbers.size == 381
    assert (await seen(desk, alert_id))["people_now"] == shown["people_now"]


async def test_who_named_a_region_across_several_borders_is_told_with_the_last_part(
    desk: Desk, alert: dict[str, Any], parts: Container
):
    """Enough of it is told only when all have permitted; whoever does so last sees how many they are by then."""
    await _dividing(desk, police=("ES-SE", "ES-CO"), guard=("ES-CA",), fire=("ES-BA",))
    await desk.key("fay", org="fire")
    alert_id = await approved(desk, alert, target=ACROSS)
    ground = (await seen(desk, alert_id, "fay"))["ground"]
    assert await desk.slug("fay", "POST", f"/v1/permissions/{alert_id}/grant", {"ground": ground}) == "ok"
    assert (await parts.alerts.audience(f"{alert_id}-2")).numbers.size == 41
    shown = await seen(desk, alert_id)
    assert shown["permission"]["people"] == "<100"
    assert is_about(shown["people_now"], 341)
    assert await grant(desk, alert_id) == "audience-changed"
    assert await grant(desk, alert_id, people=shown["people_now"]) == "ok"
    assert (await parts.alerts.audience(f"{alert_id}-3")).numbers.size == 381


async def test_the_photo_is_shown_on_both_sides_of_the_border(desk: Desk, alert: dict[str, Any], parts: Container):
    """What tells the alert on the neighbour's ground shows what the alert shows, and nothing shows it when it is stood down."""
    media = await photo(parts, replace(ANA, org="police"))
    alert_id = await approved(desk, alert, case=showing(alert, media))
    assert await parts.photos.show(media, "push")
    assert await grant(desk, alert_id) == "ok"
    assert await parts.photos.show(media, "push")
    assert await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "x"}) == "ok"
    with pytest.raises(Problem, match="no longer shown"):
        await parts.photos.show(media, "push")


async def test_a_wrong_count_is_not_answered_with_a_small_one(desk: Desk, alert: dict[str, Any], parts: Container):
    """Who lives in one hamlet of the neighbour's would be told by whoever asks for it and whoever permits it, and nobody would notice."""
    hamlet = {"center": [-5.9, 36.5], "radius_km": 8}
    await register(parts, 1, first=90, places={"home": {"point": hamlet["center"]}})
    alert_id = await approved(desk, alert, target={**HOME, "circles": [hamlet], "beyond": "ask"})
    ground = (await seen(desk, alert_id))["ground"]
    body = {"ground": ground, "people": 400}
    _, told = await desk.ask("eva", "POST", f"/v1/permissions/{alert_id}/grant", body)
    assert (told["seen"], told["now"]) == (400, "<100")
