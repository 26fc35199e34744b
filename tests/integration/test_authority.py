"""Who may not do what: of each rule about organisations and keys, that it refuses, and that its neighbour goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.app import Parts
from alertd.organisations import Organisation
from tests.integration.acts import ANA, CADIZ, SEVILLA, register
from tests.unit.alertd.samples import changed

POLICE = {"name": "Policía de Sevilla", "jurisdiction": {"regions": ["ES-SE"]}}
HOME, AWAY, BOTH = ({"regions": codes} for codes in (["41091"], ["ES-CA"], ["ES-SE", "ES-CA"]))
CAP = """<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>1</identifier><sender>police.example</sender>
<sent>2026-01-10T12:00:00-00:00</sent><status>Actual</status><msgType>Alert</msgType><scope>Public</scope><info><language>es</language>
<category>Safety</category><event>Agua contaminada</event><urgency>Immediate</urgency><severity>Severe</severity>
<certainty>Observed</certainty><expires>{expires}</expires><headline>No beba agua</headline><description>No beba agua del grifo.</description>
<area><areaDesc>Costa</areaDesc><circle>{lat},{lon} 5</circle></area></info></alert>"""


class Desk:
    """Calls of the API, each with somebody's key."""

    def __init__(self, parts: Parts, client: Any) -> None:
        self.parts = parts
        self.client = client
        self.tokens: dict[str, str] = {}

    async def key(
        self, subject: str, *, org: str = "police", scopes: tuple[str, ...] = ("admin",), **more: Any
    ) -> None:
        """A person's key, made by nobody of this file."""
        made = await self.parts.access.create(org=org, subject=subject, scopes=frozenset(scopes), **more)
        self.tokens[subject] = made[1]

    async def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[who]}", **headers}
        given = {"data": body} if isinstance(body, str) else {"json": body} if body is not None else {}
        async with self.client.request(method, path, headers=headers, **given) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def slug(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> str:
        """What it is refused with, or `ok`."""
        status, answer = await self.ask(who, method, path, body, **headers)
        return "ok" if status < 400 else str(answer["type"]).removeprefix("/problems/")


@pytest.fixture
async def desk(parts: Parts, client: Any) -> Desk:
    """Of the police of one province: Ana and Bea, and 40 people in each of two cities."""
    await register(parts, 40)
    await register(parts, 40, first=40, places={"home": {"point": CADIZ}})
    await parts.organisations.put("police", Organisation.model_validate_json(json.dumps(POLICE)), ANA)
    found = Desk(parts, client)
    for subject in ("ana", "bea"):
        await found.key(subject)
    await found.key("host", org="default")
    return found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """By whoever sends it, by push alone, to the city of Sevilla."""
    document = changed(changed(sample, "author/subject", None), "external_id", None)
    return {**document, "channels": ["push"], "target": HOME}


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
    nobody_asked = "audience-too-small"  # for alerts of this kind
    assert await desk.slug("ana", "POST", "/v1/cap", cap["in"], **kind) == nobody_asked


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


async def test_who_may_write_an_organisation(desk: Desk):
    """Whoever runs the service makes it and grants its jurisdiction; its own administrators change the rest; others nothing."""
    await desk.key("writer", scopes=("alerts:write", "alerts:read"))
    await desk.key("tester", test=True)
    await desk.key("fire", org="fire")
    path, new = "/v1/organisations/police", {**POLICE, "name": "Policía"}
    wider = {**POLICE, "jurisdiction": {"regions": ["ES"]}}
    table = {
        ("ana", path, "name"): (new, "ok"),
        ("ana", path, "wider"): (wider, "not-allowed"),
        ("ana", path, "everywhere"): ({"name": "Policía"}, "not-allowed"),
        ("ana", path, "sender"): ({**POLICE, "cap_sender": "crown@palace.example"}, "not-allowed"),
        ("host", path, "wider"): ({**new, "jurisdiction": wider["jurisdiction"]}, "ok"),
        ("host", path, "name"): (new | {"name": "Ours"}, "not-allowed"),
        ("fire", path, "name"): (new, "not-found"),
        ("fire", "/v1/organisations/army", "new"): (new, "not-found"),
        ("writer", path, "name"): (new, "not-allowed"),
        ("tester", path, "name"): (new, "not-allowed"),
        ("host", "/v1/organisations/army", "nowhere"): (
            {**new, "jurisdiction": {"regions": ["ES-XX"]}},
            "unknown-region",
        ),
        ("host", "/v1/organisations/army", "empty"): ({**new, "jurisdiction": {}}, "invalid-request"),
        ("host", "/v1/organisations/army", "new"): (new, "ok"),
    }
    found = {row: await desk.slug(row[0], "PUT", row[1], body) for row, (body, _) in table.items()}
    assert found == {row: wanted for row, (_, wanted) in table.items()}


async def test_nobody_overwrites_what_they_have_not_seen(desk: Desk):
    """An organisation has an ETag; and the same said again is no change."""
    path = "/v1/organisations/police"
    assert await desk.slug("ana", "PUT", path, {**POLICE, "name": "A"}, **{"If-Match": '"1"'}) == "ok"
    status, _ = await desk.ask("ana", "PUT", path, {**POLICE, "name": "B"}, **{"If-Match": '"1"'})
    assert status == 412
    assert await desk.slug("host", "PUT", path, POLICE, **{"If-None-Match": "*"}) == "precondition-failed"


async def test_others_are_known_by_name_alone(desk: Desk):
    """Where they may alert and what they send alone is theirs to know, and whoever's who runs the service."""
    await desk.key("fire", org="fire")
    for who, told in (
        ("ana", {"default": False, "police": True}),
        ("fire", {"default": False, "police": False}),
        ("host", {"default": True, "police": True}),
    ):
        _, listed = await desk.ask(who, "GET", "/v1/organisations")
        assert {one["id"]: one["organisation"] is not None for one in listed["organisations"]} == told
    assert await desk.slug("ana", "GET", "/v1/organisations/army") == "not-found"


async def test_a_region_that_can_be_redrawn_is_no_jurisdiction(desk: Desk):
    """Its organisation would widen it with the next drawing."""
    shape = {"type": "Polygon", "coordinates": [[[-6, 37.3], [-5.9, 37.3], [-5.9, 37.4], [-6, 37.3]]]}
    assert await desk.slug("ana", "PUT", "/v1/regions/PATROL-1", {"name": "Patrol", "geometry": shape}) == "ok"
    ours = {**POLICE, "jurisdiction": {"regions": ["PATROL-1"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/police", ours) == "invalid-request"


async def test_cap_goes_out_under_the_organisations_own_name(desk: Desk, alert: dict[str, Any]):
    """Its sender, where it has one."""
    body = {**POLICE, "cap_sender": "alerts@police.example"}
    assert await desk.slug("host", "PUT", "/v1/organisations/police", body) == "ok"
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", alert)
    record = await desk.parts.alerts.get(taken["id"])
    assert b"<sender>alerts@police.example</sender>" in await desk.parts.cap_out.document(record)
