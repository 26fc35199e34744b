"""What is an organisation's own, who writes it, and what it promises."""

from __future__ import annotations

import re
from typing import Any

from alertd.api.application import OPERATIONS
from tests.integration.authority.desks import POLICE, Desk, state


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
    assert await desk.slug("host", "PUT", path, POLICE, **{"If-None-Match": "*"}) == "version-changed"


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


async def test_cap_goes_out_under_the_organisations_own_name(desk: Desk, alert: dict[str, Any]):
    """Its sender, where it has one."""
    body = {**POLICE, "cap_sender": "alerts@police.example"}
    assert await desk.slug("host", "PUT", "/v1/organisations/police", body) == "ok"
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", alert)
    record = await desk.parts.alerts.get(taken["id"])
    assert b"<sender>alerts@police.example</sender>" in await desk.parts.cap_out.document(record)


async def test_subscribers_are_of_whoever_runs_the_service(desk: Desk):
    """No other organisation's administrator reads, finds, changes or forgets one, whatever scopes their key has; nor is one told to be theirs."""
    await desk.key("clerk", scopes=("subscribers:read", "subscribers:write"))
    ids = {"id": "p0", "name": "home", "n": "0"}
    asked = [one for one in OPERATIONS if str(one.scope).startswith("subscribers:")]
    refused = {}
    for one in asked:
        path = re.sub(r"\{(\w+)[^/]*\}", lambda found: ids[found[1]], one.path)
        for who in ("ana", "clerk"):
            refused[one.id, who] = await desk.slug(who, one.method, path, {} if one.method in {"PUT", "POST"} else None)
    assert len(refused) == 28
    assert refused == dict.fromkeys(refused, "not-allowed")
    assert await desk.slug("host", "GET", "/v1/subscribers/p0") == "ok"
    assert [(await desk.ask(who, "GET", "/v1/me"))[1]["host"] for who in ("ana", "host")] == [False, True]


async def test_an_organisation_stops_itself_and_whoever_runs_the_service_all(desk: Desk, alert: dict[str, Any]):
    """Two of another's administrators could otherwise lift a stop of the whole; and what an organisation has is measured, too."""
    assert await state(desk, "ana", alert) == "pending"
    assert b'alertd_alerts{state="pending"} 1.0' in (await desk.parts.fleet.metrics()).whole
    whole = {"what": "service", "reason": "x"}
    assert await desk.slug("ana", "POST", "/v1/stop", whole) == "not-allowed"
    assert await desk.slug("host", "POST", "/v1/stop", whole) == "ok"
    assert await desk.slug("ana", "POST", "/v1/resume", {"what": "service"}) == "not-allowed"


async def test_an_alert_has_the_languages_that_its_organisation_promises(desk: Desk, alert: dict[str, Any]):
    """A draft, too; a missing child is told in every language of the catalogue, and what is written in another by its own words alone."""
    assert await desk.slug("ana", "PUT", "/v1/organisations/police", {**POLICE, "languages": ["es", "ja"]}) == "ok"
    for body in (alert, {**alert, "state": "draft"}):
        assert await desk.slug("ana", "POST", "/v1/alerts", body) == "language-missing"
    assert await desk.slug("ana", "PUT", "/v1/organisations/police", {**POLICE, "languages": ["es", "ar"]}) == "ok"
    assert await desk.slug("ana", "POST", "/v1/alerts", alert) == "ok"
