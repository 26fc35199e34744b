"""Where an organisation and a key may alert: a target outside is refused, and told."""

from __future__ import annotations

from typing import Any

import pytest
import shapely

from alertd.model.organisation import Jurisdiction
from alertd.service.access import Terms
from tests.integration.acts import CADIZ, SEVILLA, register
from tests.integration.authority.desks import ALL, AWAY, BOTH, CAP, HOME, POLICE, Desk


async def test_nobody_alerts_outside_the_jurisdiction(desk: Desk, alert: dict[str, Any]):
    """Wherever a target becomes binding. A preview shows what lies outside, and a draft is kept until it is submitted."""
    away = {**alert, "target": AWAY}
    cap = {
        name: CAP.format(lat=place[1], lon=place[0], expires=alert["expires"])
        for name, place in (("in", SEVILLA), ("out", CADIZ))
    }
    status, draft = await desk.ask("ana", "POST", "/v1/alerts", {**away, "state": "draft"})
    assert status == 202
    told = (await desk.ask("ana", "POST", "/v1/alerts", alert))[1]["id"]
    assert await desk.slug("bea", "POST", f"/v1/alerts/{told}/approve", {}) == "ok"
    kind = {"Content-Type": "application/cap+xml"}
    refused = {
        "submit": await desk.slug("ana", "POST", "/v1/alerts", away),
        "dry run": await desk.slug("ana", "POST", "/v1/alerts?dry_run=true", away),
        "in part": await desk.slug("ana", "POST", "/v1/alerts", {**alert, "target": BOTH}),
        "draft": await desk.slug("ana", "POST", f"/v1/alerts/{draft['id']}/submit"),
        "update": await desk.slug("ana", "POST", f"/v1/alerts/{told}/updates", {**away, "notify": "full"}),
        "cap": await desk.slug("ana", "POST", "/v1/cap", cap["out"], **kind),
        "test": await desk.slug("ana", "POST", "/v1/alerts", {**away, "status": "Test"}),
    }
    assert refused == dict.fromkeys(refused, "outside-jurisdiction")
    assert await desk.slug("ana", "POST", "/v1/cap", cap["in"], **kind) == "ok"


async def test_what_lies_outside_is_told(desk: Desk, alert: dict[str, Any]):
    """How much, and where, in a refusal as in a preview."""
    status, refusal = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "target": BOTH})
    assert status == 403
    assert refusal["outside"]["share"] == pytest.approx(7450 / (7450 + 14025), abs=0.01)
    assert refusal["outside"]["km2"] == pytest.approx(7450, rel=0.01)
    assert "ES-CA" in [region["code"] for region in refusal["outside"]["regions"]]
    assert "Cádiz" in refusal["detail"]
    _, seen = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": BOTH})
    assert seen["outside"] == refusal["outside"]
    _, seen = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": HOME})
    assert seen["outside"] is None


async def test_an_approval_is_measured_by_the_jurisdiction_of_its_day(desk: Desk, alert: dict[str, Any]):
    """What was withdrawn since the submission is not approved."""
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", alert)
    assert (
        await desk.slug("host", "PUT", "/v1/organisations/police", {**POLICE, "jurisdiction": {"regions": ["ES-CA"]}})
        == "ok"
    )
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "outside-jurisdiction"


async def test_a_border_that_was_drawn_twice_refuses_nobody(desk: Desk, alert: dict[str, Any]):
    """The province's outline as a map program has it, and a circle around a harbour, are told where they belong."""
    _, shown = await desk.ask("ana", "GET", "/v1/regions/ES-SE?geometry=simple")
    assert await desk.slug("ana", "POST", "/v1/alerts", {**alert, "target": {"polygons": [shown["geometry"]]}}) == "ok"
    cadiz = {**POLICE, "jurisdiction": {"regions": ["ES-CA"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/police", cadiz) == "ok"
    harbour = {"circles": [{"center": [CADIZ[0] - 0.1, CADIZ[1]], "radius_km": 25}]}
    assert await desk.slug("ana", "POST", "/v1/alerts", {**alert, "target": harbour}) == "ok"


async def test_a_region_that_can_be_redrawn_is_no_jurisdiction(desk: Desk):
    """Its organisation would widen it with the next drawing."""
    shape = {"type": "Polygon", "coordinates": [[[-6, 37.3], [-5.9, 37.3], [-5.9, 37.4], [-6, 37.3]]]}
    assert await desk.slug("ana", "PUT", "/v1/regions/PATROL-1", {"name": "Patrol", "geometry": shape}) == "ok"
    ours = {**POLICE, "jurisdiction": {"regions": ["PATROL-1"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/police", ours) == "invalid-request"


async def test_a_region_is_drawn_within_the_jurisdiction(desk: Desk):
    """Of the organisation and of the key: a drawing elsewhere would be of no use to either."""
    city = Terms(jurisdiction=Jurisdiction(regions=("41091",)))
    await desk.key("carl", scopes=(*ALL, "regions:write"), terms=city)

    async def draws(who: str, place: tuple[float, float]) -> str:
        shape = shapely.geometry.mapping(shapely.Point(place).buffer(0.02))
        return await desk.slug(who, "PUT", "/v1/regions/PATROL-1", {"name": "Patrol", "geometry": shape})

    body = {"name": "Patrol", "geometry": shapely.geometry.mapping(shapely.Point(CADIZ).buffer(0.02))}
    _, refusal = await desk.ask("ana", "PUT", "/v1/regions/PATROL-1", body)
    assert refusal["errors"][0]["pointer"] == "/geometry"
    huelva_road = (SEVILLA[0] - 0.3, SEVILLA[1])
    assert await draws("ana", CADIZ) == "outside-jurisdiction"
    assert await draws("carl", huelva_road) == "outside-jurisdiction"
    assert await desk.slug("ana", "GET", "/v1/regions/PATROL-1") == "not-found"
    assert await draws("carl", SEVILLA) == "ok"
    assert await draws("ana", huelva_road) == "ok"


async def test_a_keys_own_jurisdiction_is_the_narrower_one(desk: Desk, alert: dict[str, Any]):
    """Of whoever submits, and of whoever approves; and a test key sends nothing Actual."""
    for subject in ("carl", "dora"):
        await desk.key(subject, scopes=ALL, terms=Terms(jurisdiction=Jurisdiction(regions=("41091",))))
    await desk.key("tester", scopes=ALL, test=True)
    wide = {**alert, "target": {"regions": ["ES-SE"]}}
    assert await desk.slug("carl", "POST", "/v1/alerts", wide) == "outside-jurisdiction"
    assert await desk.slug("carl", "POST", "/v1/alerts", alert) == "ok"
    assert await desk.slug("tester", "POST", "/v1/alerts", alert) == "not-allowed"
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", wide)
    assert await desk.slug("dora", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "outside-jurisdiction"


async def test_what_an_organisation_drew_is_its_own(desk: Desk, alert: dict[str, Any]):
    """Its name may say where a child is looked for: to others there is no such region, to find, to look at or to target."""
    square = {"type": "Polygon", "coordinates": [[[-6.05, 37.34], [-5.9, 37.34], [-5.9, 37.44], [-6.05, 37.34]]]}
    drawn = {"name": "Search for Lucía", "geometry": square}
    assert await desk.slug("ana", "PUT", "/v1/regions/SEARCH-1", drawn) == "ok"
    for who, found in (("bea", "ok"), ("host", "unknown-region")):
        target = {"target": {"regions": ["SEARCH-1"]}}
        without = {"target": {**HOME, "exclude": target["target"]}}
        assert await desk.slug(who, "GET", "/v1/regions/SEARCH-1") == ("ok" if found == "ok" else "not-found")
        _, listed = await desk.ask(who, "GET", "/v1/regions?q=search&kind=drawn")
        assert [one["code"] for one in listed["regions"]] == (["SEARCH-1"] if found == "ok" else [])
        for asked in (target, without):
            assert await desk.slug(who, "POST", "/v1/targets/preview", asked) == found
            assert await desk.slug(who, "POST", "/v1/messages/preview", {**alert, **asked}) == found
            assert (
                await desk.slug(who, "POST", "/v1/alerts", {**alert, **asked, "status": "Test", "state": "draft"})
                == found
            )
    assert await desk.slug("host", "PUT", "/v1/regions/SEARCH-1", drawn) == "not-allowed"


async def test_a_code_that_is_mistyped_offers_nothing_that_was_drawn(desk: Desk):
    """Or whoever asks for SEARCH-2 is told what SEARCH-1 is called, and of whom it speaks."""
    square = {"type": "Polygon", "coordinates": [[[-6.05, 37.34], [-5.9, 37.34], [-5.9, 37.44], [-6.05, 37.34]]]}
    drawn = {"name": "Search for Lucía", "geometry": square}
    assert await desk.slug("ana", "PUT", "/v1/regions/SEARCH-1", drawn) == "ok"
    for method, path, body in (
        ("GET", "/v1/regions/SEARCH-2", None),
        ("GET", "/v1/regions?parent=SEARCH-2", None),
        ("POST", "/v1/targets/preview", {"target": {"regions": ["search for luc"]}}),
    ):
        status, told = await desk.ask("host", method, path, body)
        assert status >= 400
        assert "SEARCH-1" not in str(told)
        assert "Lucía" not in str(told)


async def test_no_metric_tells_what_a_preview_hides(desk: Desk):
    """Anybody reads and adds them up: whether somebody lives in one house would be the difference that a preview of it makes."""
    house = {"target": {"circles": [{"center": SEVILLA, "radius_km": 0.005}]}}
    _, seen = await desk.ask("ana", "POST", "/v1/targets/preview", house)
    assert seen["audience"]["people"] == "<100"
    metrics = [sample for one in desk.parts.metrics.registry.collect() for sample in one.samples]
    audience = {sample.name: sample.value for sample in metrics if sample.name.startswith("alertd_audience_people")}
    assert audience["alertd_audience_people_sum"] == audience["alertd_audience_people_count"] == 0


async def test_the_audit_counts_nobody_whom_the_answer_hides(desk: Desk, alert: dict[str, Any]):
    """A draft of a Test asks for no second person and for no least ground: its entry would say whether a tester lives in one house."""
    await register(desk.parts, 1, first=90, tester=True, places={"home": {"point": [-5.95, 37.41]}})
    house = {"circles": [{"center": [-5.95, 37.41], "radius_km": 0.005}]}
    draft = {**alert, "target": house, "status": "Test", "state": "draft"}
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", draft)
    assert taken["audience"]["people"] == "<100"
    _, audit = await desk.ask("ana", "GET", "/v1/audit?limit=1")
    assert audit["entries"][0]["facts"]["people"] == "<100"
