"""Whoever cannot hear or speak can answer an alert about a missing child, by the alert's own contact or by a standing one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.model.organisation import Organisation
from alertd.service.container import Container
from tests.integration.acts import ANA, register
from tests.integration.authority.desks import Desk
from tests.unit.alertd.samples import changed

OWN = "/v1/organisations/police"
POLICE: dict[str, Any] = {"name": "Policía"}
STANDING = [{"text": "sms:+34600000000", "role": "deaf"}]
CALL = {"dial": "116000", "countries": ["ES"]}
PAGE = {"url": "https://centre.example/tell"}


@pytest.fixture
async def desk(parts: Container, client: Any) -> Desk:
    await register(parts, 40)
    await parts.organisations.put("police", Organisation.model_validate_json(json.dumps(POLICE)), ANA)
    found = Desk(parts, client)
    for subject in ("ana", "bea"):
        await found.key(subject)
    return found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """To the city of Sevilla, answered by a call alone."""
    document = changed(changed(sample, "author/subject", None), "external_id", None)
    document = {**document, "channels": ["push", "mail"], "target": {"regions": ["41091"]}}
    return dict(changed(document, "case/contact", [CALL]))


def contacts(told: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if value} for one in told["alert"]["case"]["contact"]]


async def test_an_alert_that_is_only_called_about_is_refused(desk: Desk, alert: dict[str, Any]):
    """Wherever it would become binding, at the contacts; a draft is kept until then, and a Test needs none."""
    for path in ("/v1/alerts", "/v1/alerts?dry_run=true", "/v1/messages/preview"):
        status, refusal = await desk.ask("ana", "POST", path, alert)
        assert (status, refusal["type"]) == (422, "/problems/contact-voice-only"), path
        assert [one["pointer"] for one in refusal["errors"]] == ["/case/contact"]
    assert await desk.slug("ana", "POST", "/v1/alerts", {**alert, "status": "Test"}) == "ok"
    draft = (await desk.ask("ana", "POST", "/v1/alerts", {**alert, "state": "draft"}))[1]["id"]
    assert await desk.slug("ana", "POST", f"/v1/alerts/{draft}/submit") == "contact-voice-only"
    assert await desk.slug("ana", "PATCH", f"/v1/alerts/{draft}", {"case": {"contact": [CALL, PAGE]}}) == "ok"
    assert await desk.slug("ana", "POST", f"/v1/alerts/{draft}/submit") == "ok"


async def test_a_standing_contact_fills_in(desk: Desk, alert: dict[str, Any]):
    """The alert has it as its author's own: the second person reads it, the mail tells it, an update keeps it and is the same when it is said
    again. An alert that has one itself is left as it is.
    """
    assert await desk.slug("ana", "PUT", OWN, {**POLICE, "contact": STANDING}) == "ok"
    taken = (await desk.ask("ana", "POST", "/v1/alerts", alert))[1]["id"]
    assert contacts((await desk.ask("bea", "GET", f"/v1/alerts/{taken}"))[1]) == [CALL, *STANDING]
    _, shown = await desk.ask("bea", "POST", "/v1/messages/preview?languages=es&channels=mail", alert)
    assert "+34600000000" in json.dumps(shown["messages"])
    own = (await desk.ask("ana", "POST", "/v1/alerts", changed(alert, "case/contact", [CALL, PAGE])))[1]["id"]
    assert contacts((await desk.ask("bea", "GET", f"/v1/alerts/{own}"))[1]) == [CALL, PAGE]
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken}/approve", {}) == "ok"
    update = {**alert, "notify": "none", "case": {**alert["case"], "vehicles": []}}
    first = (await desk.ask("ana", "POST", f"/v1/alerts/{taken}/updates", update))[1]["id"]
    assert (await desk.ask("ana", "POST", f"/v1/alerts/{taken}/updates", update))[1]["id"] == first
    assert contacts((await desk.ask("bea", "GET", f"/v1/alerts/{first}"))[1]) == [CALL, *STANDING]


async def test_a_standing_contact_works_where_people_are_told(desk: Desk, alert: dict[str, Any]):
    """A short number of one country is none for whoever is told in another."""
    short = [{"text": "sms:112", "countries": ["ES"], "role": "deaf"}]
    assert await desk.slug("ana", "PUT", OWN, {**POLICE, "contact": short}) == "ok"
    both = changed(alert, "case/contact", [{"dial": "112", "countries": ["ES", "FR"]}])
    assert await desk.slug("ana", "POST", "/v1/alerts", both) == "ok"
    abroad = {**both, "target": {"regions": ["41091"], "circles": [{"center": [2.35, 48.85], "radius_km": 5}]}}
    _, refusal = await desk.ask("ana", "POST", "/v1/alerts", abroad)
    assert refusal["type"] == "/problems/contact-unreachable-from-area"
    assert "FR" in refusal["errors"][0]["detail"]


async def test_a_standing_contact_needs_no_voice(desk: Desk):
    """A number to call is none, unless it is said to be for those who cannot."""
    _, refusal = await desk.ask("ana", "PUT", OWN, {**POLICE, "contact": [*STANDING, {"dial": "+34915000000"}]})
    assert [one["pointer"] for one in refusal["errors"]] == ["/contact/1"]
    assert await desk.slug("ana", "PUT", OWN, {**POLICE, "contact": [{"dial": "+34915000000", "role": "deaf"}]}) == "ok"
