"""What an organisation asks for before a child is named: refused with each thing that is missing, wherever an alert becomes binding."""

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
RULE = {
    "all_of": ["minor", "registered"],
    "any_of": ["abduction", "high-risk", "consent"],
    "at_least": 2,
    "authorities": ["Policía Nacional"],
}
POLICE = {"name": "Policía", "verification": {"endangered": RULE}}
MET = ["minor", "registered", "abduction", "high-risk"]


@pytest.fixture
async def desk(parts: Container, client: Any) -> Desk:
    """Of an organisation that asks for more than the service does, at one level."""
    await register(parts, 40)
    await parts.organisations.put("police", Organisation.model_validate_json(json.dumps(POLICE)), ANA)
    found = Desk(parts, client)
    for subject in ("ana", "bea"):
        await found.key(subject)
    return found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """As the service asks for, and not as the organisation does."""
    document = changed(changed(sample, "author/subject", None), "external_id", None)
    return {**document, "channels": ["push"], "target": {"regions": ["41091"]}}


def verified(alert: dict[str, Any], **changes: Any) -> dict[str, Any]:
    for name, value in {"criteria": MET, **changes}.items():
        alert = changed(alert, f"case/verification/{name}", value)
    return alert


async def test_a_case_is_what_its_organisation_asks_for(desk: Desk, alert: dict[str, Any]):
    """Each criterion that is missing is named at its place, and so is an authority that verifies no cases of this organisation; however
    it writes the name of its own. Nothing is kept, as a dry run and a preview show beforehand.
    """
    other = verified(alert, criteria=["useful-information", "consent"], authority="Somebody")
    for path in ("/v1/alerts", "/v1/alerts?dry_run=true", "/v1/messages/preview"):
        status, refusal = await desk.ask("ana", "POST", path, other)
        assert (status, refusal["type"]) == (422, "/problems/case-not-verified"), path
        told = [(one["pointer"], one["detail"]) for one in refusal["errors"]]
        assert [pointer for pointer, _ in told] == ["/case/verification/criteria"] * 3 + [
            "/case/verification/authority"
        ]
        assert all(word in detail for word, (_, detail) in zip(("minor", "registered", "2 of"), told, strict=False))
    assert (await desk.ask("ana", "GET", "/v1/alerts"))[1]["alerts"] == []
    assert await desk.slug("ana", "POST", "/v1/alerts", verified(alert, authority="policía  nacional")) == "ok"


@pytest.mark.parametrize("missing", MET)
async def test_each_criterion_counts(desk: Desk, alert: dict[str, Any], missing: str):
    """Whichever of those that are needed is left out, and however many there are besides."""
    criteria = [one for one in MET if one != missing] + ["useful-information", "of-our-own"]
    assert await desk.slug("ana", "POST", "/v1/alerts", verified(alert, criteria=criteria)) == "case-not-verified"


async def test_another_level_and_another_organisation_are_as_they_were(desk: Desk, alert: dict[str, Any]):
    """A rule is for its level and its own alerts; what is no Actual alert needs none."""
    assert await desk.slug("ana", "POST", "/v1/alerts", {**alert, "level": "appeal"}) == "ok"
    assert await desk.slug("ana", "POST", "/v1/alerts", {**alert, "status": "Test"}) == "ok"
    await desk.key("host", org="default")
    assert await desk.slug("host", "POST", "/v1/alerts", alert) == "ok"


async def test_a_draft_is_verified_when_it_is_submitted(desk: Desk, alert: dict[str, Any]):
    """What is still being found out is kept, and changed; nobody is asked to approve it before."""
    bare = {**changed(alert, "case/verification", None), "state": "draft"}
    status, draft = await desk.ask("ana", "POST", "/v1/alerts", bare)
    assert status == 202
    path = f"/v1/alerts/{draft['id']}"
    assert await desk.slug("ana", "POST", f"{path}/submit") == "case-not-verified"
    patch = {"case": {"verification": verified(alert)["case"]["verification"] | {"criteria": MET[1:]}}}
    assert await desk.slug("ana", "PATCH", path, patch) == "ok"
    _, refusal = await desk.ask("ana", "POST", f"{path}/submit")
    assert [one["detail"] for one in refusal["errors"]] == ["Your organisation asks for minor at this level."]
    assert (await desk.ask("ana", "GET", path))[1]["state"] == "draft"
    assert await desk.slug("ana", "PATCH", path, {"case": {"verification": {"criteria": MET}}}) == "ok"
    assert await desk.slug("ana", "POST", f"{path}/submit") == "ok"


async def test_an_approval_is_measured_by_the_rule_of_its_day(desk: Desk, alert: dict[str, Any]):
    """What was asked for since the submission is not passed over."""
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", verified(alert))
    stricter = {**POLICE, "verification": {"endangered": {"all_of": [*MET, "consent"]}}}
    assert await desk.slug("ana", "PUT", OWN, stricter) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "case-not-verified"
    assert await desk.slug("ana", "PUT", OWN, POLICE) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"


async def test_custody_may_be_spared_but_never_where_everybody_is_woken(desk: Desk, alert: dict[str, Any]):
    """An organisation says at which level; at a child-alert its rule comes on top of the service's own."""
    unchecked = verified(alert, custody_checked=False)
    _, refusal = await desk.ask("ana", "POST", "/v1/alerts", unchecked)
    assert [one["pointer"] for one in refusal["errors"]] == ["/case/verification/custody_checked"]
    spared = {**POLICE, "verification": {"endangered": {"all_of": ["minor"], "custody_checked": False}}}
    assert await desk.slug("ana", "PUT", OWN, spared) == "ok"
    assert await desk.slug("ana", "POST", "/v1/alerts", unchecked) == "ok"
    loud = {**POLICE, "verification": {"child-alert": {"all_of": ["minor"], "custody_checked": False}}}
    assert await desk.slug("ana", "PUT", OWN, loud) == "invalid-request"
    loud["verification"]["child-alert"] = {"all_of": ["registered"]}
    assert await desk.slug("ana", "PUT", OWN, loud) == "ok"
    woken = {**verified(alert, criteria=["registered", "minor"]), "level": "child-alert"}
    _, refusal = await desk.ask("ana", "POST", "/v1/alerts", woken)
    assert ["high-risk, useful-information" in one["detail"] for one in refusal["errors"]] == [True]


@pytest.mark.parametrize(
    ("rules", "pointer"),
    [
        ({"endangered": {}}, "/verification/endangered"),
        ({"endangered": {"all_of": ["of-our-own"]}}, "/verification/endangered/all_of/0"),
        ({"endangered": {"any_of": ["minor"], "at_least": 2}}, "/verification/endangered/at_least"),
        ({"warning": {"all_of": ["minor"]}}, "/verification/warning"),
    ],
)
async def test_a_rule_that_means_nothing_is_refused(desk: Desk, rules: dict[str, Any], pointer: str):
    """One that nobody could meet, that asks for nothing, for what has no words, or for an alert without a case."""
    _, refusal = await desk.ask("ana", "PUT", OWN, {**POLICE, "verification": rules})
    assert [one["pointer"] for one in refusal["errors"]] == [pointer]


async def test_a_rule_is_shown_and_in_the_audit(desk: Desk, alert: dict[str, Any]):
    """Whoever fills in the form reads it, and who changed it is written down; the codes have their words."""
    _, listed = await desk.ask("bea", "GET", "/v1/organisations")
    own = next(one for one in listed["organisations"] if one["id"] == "police")["organisation"]
    assert own["verification"] == {"endangered": {**RULE, "custody_checked": True}}
    assert await desk.slug("ana", "PUT", OWN, {**own, "verification": {"appeal": {"any_of": ["consent"]}}}) == "ok"
    _, audit = await desk.ask("ana", "GET", "/v1/audit")
    [entry] = [one for one in audit["entries"] if one["act"] == "organisation.write" and one["outcome"] == "done"]
    assert (entry["by"], entry["facts"]["verification"]) == ("ana", "appeal")
    _, kind = await desk.ask("ana", "GET", "/v1/kinds/missing-child")
    assert set(RULE["all_of"]) | set(RULE["any_of"]) <= set(kind["codes"]["criterion"]["fr"])
