"""One organisation against another that uses the same case number: what it may do, what it may only ask, and who is named for it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from alertd.model.case import Protection
from alertd.model.kinds import Level
from alertd.model.organisation import Organisation
from alertd.model.redaction import restricted
from tests.integration.acts import ANA, alert_of
from tests.integration.authority.desks import ALLOWED, HOME, Desk

CASE = "SE-2026-117"
STAND_DOWN = f"/v1/cases/{CASE}/stand-down"
WHY = {"reason": "she is at her aunt's"}
WRITER = ("alerts:read", "alerts:write")


@pytest.fixture
async def fire(desk: Desk) -> Desk:
    """The fire brigade beside the police, in the same city: Fred may write, Flora and Fran administer."""
    known = {"name": "Bomberos", "jurisdiction": HOME}
    await desk.parts.organisations.put("fire", Organisation.model_validate_json(json.dumps(known)), ANA)
    await desk.key("fred", org="fire", scopes=WRITER)
    for who in ("flora", "fran"):
        await desk.key(who, org="fire")
    return desk


async def sending(desk: Desk, alert: dict[str, Any], author: str = "ana", approver: str = "bea") -> str:
    """An alert that is being sent, by its id."""
    status, taken = await desk.ask(author, "POST", "/v1/alerts", alert)
    assert status == 202, taken
    assert await desk.slug(approver, "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    return str(taken["id"])


async def shown(desk: Desk, alert_id: str, who: str = "ana") -> dict[str, Any]:
    return dict((await desk.ask(who, "GET", f"/v1/alerts/{alert_id}"))[1])


async def test_a_stranger_with_the_case_number_only_asks(fire: Desk, alert: dict[str, Any]):
    """The alert goes on. Its people see who asks and why, once, until they stand it down; their audit and its history have it."""
    mine = await sending(fire, alert)
    for _ in range(2):
        assert await fire.ask("fred", "POST", STAND_DOWN, WHY) == (202, {"alerts": [], "others": None, "asked": True})
    found = await shown(fire, mine)
    assert found["state"] in {"approved", "sending"}
    (asked,) = found["stand_down_asked"]
    assert (asked["organisation"], asked["name"], asked["by"], asked["reason"]) == (
        "fire",
        "Bomberos",
        "fred",
        WHY["reason"],
    )
    await fire.parts.events.leads()
    while await fire.parts.events.bring():
        pass
    events = [one for one in (await fire.ask("ana", "GET", "/v1/events"))[1]["events"] if "asked" in one["type"]]
    assert [(one["type"], one["data"]["organisation"]) for one in events] == [("alert.stand_down_asked", "fire")]
    assert "fred" not in str(events)
    acts = [
        one for one in (await fire.ask("ana", "GET", f"/v1/alerts/{mine}/history"))[1]["acts"] if "asked" in one["act"]
    ]
    assert [(one["act"], one["by"], one["by_org"]) for one in acts] == [("alert.stand-down-asked", "fred", "fire")]
    assert await fire.slug("bea", "POST", f"/v1/alerts/{mine}/stand-down", {"reason": "so it is"}) == "ok"
    assert (await shown(fire, mine))["stand_down_asked"] == []


async def test_a_stranger_learns_no_case_number_by_guessing(fire: Desk, alert: dict[str, Any]):
    """A number that exists is answered as one that does not, in the caller's audit too; after thirty requests an hour an organisation hears no more of either."""
    await sending(fire, alert)
    numbers = [f"SE-2026-{n}" for n in range(95, 125)]
    answers = [await fire.ask("fred", "POST", f"/v1/cases/{one}/stand-down", WHY) for one in numbers]
    assert answers == [(202, {"alerts": [], "others": None, "asked": True})] * 30
    assert [await fire.slug("fred", "POST", STAND_DOWN, WHY) for _ in range(3)] == ["rate-limited"] * 3
    headers = {"Authorization": f"Bearer {fire.tokens['fred']}"}
    async with fire.client.post("/v1/cases/SE-2026-0/stand-down", json=WHY, headers=headers) as answer:
        assert (answer.status, int(answer.headers["Retry-After"]) > 60) == (429, True)
    _, audit = await fire.ask("flora", "GET", "/v1/audit")
    done = [one["facts"] for one in audit["entries"] if one["act"] == "case.stand-down" and one["outcome"] == "done"]
    assert done == [{"alerts": "0", "asked": True}] * 30
    assert [one["facts"].get("problem") for one in audit["entries"]].count("rate-limited") == 4


async def test_no_alert_of_its_own_lets_an_organisation_stand_down_anothers(fire: Desk, alert: dict[str, Any]):
    """Not a draft, nor one that waits, that a policy sent or that two people approved, nor a Test: one administrator can make the keys for all of
    them. Its own alerts it stands down in any case.
    """
    mine = await sending(fire, alert)
    allowed = {"name": "Bomberos", "jurisdiction": HOME, "unattended": {**ALLOWED, "levels": [Level.APPEAL]}}
    assert await fire.slug("flora", "PUT", "/v1/organisations/fire", allowed) == "ok"
    _, draft = await fire.ask("fred", "POST", "/v1/alerts", {**alert, "state": "draft"})
    _, waits = await fire.ask("fred", "POST", "/v1/alerts", alert)
    _, alone = await fire.ask("fred", "POST", "/v1/alerts", {**alert, "level": Level.APPEAL})
    _, drill = await fire.ask("fred", "POST", "/v1/alerts", {**alert, "status": "Test"})
    assert [one["state"] for one in (draft, waits)] == ["draft", "pending"]
    assert (await shown(fire, alone["id"], "fred"))["approver"] == "policy: flora"
    status, answer = await fire.ask("fred", "POST", STAND_DOWN, WHY)
    assert (status, answer["others"], answer["asked"]) == (202, None, True)
    assert {one["id"]: one["state"] for one in answer["alerts"]} == {
        draft["id"]: "draft", waits["id"]: "returned", alone["id"]: "stood_down", drill["id"]: "stood_down",
    }  # fmt: skip
    assert (await shown(fire, mine))["state"] in {"approved", "sending"}
    await sending(fire, alert, "fred", "flora")
    status, answer = await fire.ask("fred", "POST", STAND_DOWN, WHY)
    assert (status, answer["others"], answer["asked"], len(answer["alerts"])) == (202, None, True, 5)
    assert (await shown(fire, mine))["state"] in {"approved", "sending"}


async def test_the_administrator_of_the_service_stands_down_any_case(fire: Desk, alert: dict[str, Any]):
    """Nobody else of that organisation does: they ask as any other. Of an empty case the administrator hears that it is empty."""
    await fire.key("hugo", org="default", scopes=WRITER)
    mine = await sending(fire, alert)
    assert (await fire.ask("hugo", "POST", STAND_DOWN, WHY))[0] == 202
    assert (await shown(fire, mine))["state"] in {"approved", "sending"}
    status, answer = await fire.ask("host", "POST", STAND_DOWN, WHY)
    assert (status, answer["alerts"], answer["others"]) == (200, [], 1)
    assert (await shown(fire, mine))["state"] == "stood_down"
    assert await fire.slug("host", "POST", "/v1/cases/SE-2026-0/stand-down", WHY) == "not-found"


async def test_a_strangers_draft_and_legal_hold_block_no_purge_and_no_release(fire: Desk, alert: dict[str, Any]):
    """Each organisation has a case of its own under the number: with its key, its hold, and nobody else's."""
    mine = await sending(fire, alert)
    _, draft = await fire.ask("fred", "POST", "/v1/alerts", {**alert, "state": "draft"})
    theirs = f"/v1/alerts/{draft['id']}"
    assert await fire.slug("flora", "POST", f"{theirs}/hold", {"reason": "ours"}) == "ok"
    assert not (await fire.ask("ana", "GET", f"/v1/alerts/{mine}/hold"))[1]["held"]
    assert await fire.slug("ana", "POST", f"/v1/alerts/{mine}/hold", {"reason": "court"}) == "ok"
    _, released = await fire.ask("bea", "POST", f"/v1/alerts/{mine}/release")
    assert (released["held"], released["by"]) == (False, None)
    assert await fire.slug("ana", "POST", f"/v1/alerts/{mine}/close", {"outcome": "found", "notify": "none"}) == "ok"
    assert await fire.slug("bea", "POST", f"/v1/alerts/{mine}/purge", {"reason": "request"}) == "ok"
    assert (await shown(fire, mine))["state"] == "purged"
    _, held = await fire.ask("fred", "GET", f"{theirs}/hold")
    assert (held["held"], held["by"], held["by_org"]) == (True, "flora", "fire")
    assert (await shown(fire, draft["id"], "fred"))["alert"]["case"]["number"] == CASE


async def test_a_strangers_protection_flag_blocks_no_approval(fire: Desk, sample: dict[str, Any]):
    """It forces a protection officer upon its own organisation's alerts of the case alone."""
    scopes = ("alerts:read", "alerts:write", "alerts:approve")
    for who, org in (("clerk", "police"), ("chief", "fire")):
        await fire.key(who, org=org, scopes=scopes)
    bare = restricted(alert_of(sample, author={}))
    case = bare.case.model_copy(update={"protection": (Protection.THREATENED,)})
    flagged = json.loads(bare.model_copy(update={"case": case}).model_dump_json(by_alias=True, exclude_none=True))
    plain = json.loads(bare.model_dump_json(by_alias=True, exclude_none=True))
    taken = {}
    for who, document in (("fred", flagged), ("ana", plain), ("flora", plain)):
        status, answer = await fire.ask(who, "POST", "/v1/alerts", document)
        assert status == 202, answer
        taken[who] = f"/v1/alerts/{answer['id']}/approve"
    assert await fire.slug("chief", "POST", taken["flora"], {}) == "protection-review-required"
    assert await fire.slug("clerk", "POST", taken["ana"], {}) == "ok"


async def test_the_administrator_of_the_service_releases_any_hold(fire: Desk, alert: dict[str, Any]):
    """Its organisation finds that in its audit, in the alert's history and among its events. No other organisation releases it."""
    mine = f"/v1/alerts/{await sending(fire, alert)}"
    await fire.key("hugo", org="default", scopes=("alerts:read", "alerts:approve"))
    assert await fire.slug("ana", "POST", f"{mine}/hold", {"reason": "court"}) == "ok"
    assert await fire.slug("flora", "POST", f"{mine}/release") == "not-found"
    assert await fire.slug("hugo", "GET", f"{mine}/hold") == "not-found"
    _, held = await fire.ask("host", "GET", f"{mine}/hold")
    assert (held["by"], held["by_org"]) == ("ana", "police")
    assert (await fire.ask("host", "POST", f"{mine}/release"))[1]["held"] is False
    assert not (await fire.ask("ana", "GET", f"{mine}/hold"))[1]["held"]
    acts = (await fire.ask("ana", "GET", f"{mine}/history"))[1]["acts"]
    assert [(one["act"], one["by"], one["by_org"]) for one in acts][-1] == ("alert.release", "host", "default")
    await fire.parts.events.leads()
    while await fire.parts.events.bring():
        pass
    events = (await fire.ask("ana", "GET", "/v1/events"))[1]["events"]
    assert [one["data"]["organisation"] for one in events if one["type"] == "alert.hold_released"] == ["default"]


async def test_a_person_of_another_organisation_is_never_taken_for_ones_own(fire: Desk, alert: dict[str, Any]):
    """The host gives a key to a "bea", as the police's approver is called. Whatever that key does to the police's alert is shown with its
    organisation, in the history, the audit, the report, the evidence and the version that tells of it.
    """
    made = await fire.parts.access.create(org="default", subject="bea", scopes=frozenset({"admin"}))
    fire.tokens["their bea"] = made[1]
    mine = await sending(fire, alert)
    assert (await fire.ask("their bea", "POST", STAND_DOWN, WHY))[1]["others"] == 1
    pairs = {
        "history": (await fire.ask("ana", "GET", f"/v1/alerts/{mine}/history"))[1]["acts"][-1],
        "audit": next(
            one for one in (await fire.ask("ana", "GET", "/v1/audit"))[1]["entries"] if one["act"] == "alert.stand-down"
        ),
        "report": (await fire.ask("ana", "GET", f"/v1/alerts/{mine}/report"))[1]["versions"][-1],
    }
    assert {name: (one["by"], one["by_org"]) for name, one in pairs.items()} == dict.fromkeys(pairs, ("bea", "default"))
    assert (pairs["report"]["approver"], pairs["report"]["approver_org"]) == ("bea", "default")
    found = await shown(fire, mine)
    assert (found["author_org"], found["approver"], found["approver_org"]) == ("police", "bea", "police")
    _, evidence = await fire.ask("ana", "GET", f"/v1/alerts/{mine}/evidence")
    said = json.loads(base64.urlsafe_b64decode(evidence["payload"] + "=="))
    assert (said["by"], said["by_org"], said["versions"][-1]["approver_org"]) == ("ana", "police", "default")
    # It is not the police's Bea who did that: what she says is no repetition of it.
    assert await fire.slug("bea", "POST", f"/v1/alerts/{mine}/stand-down", {"reason": "again"}) == "precondition-failed"


async def test_a_stop_and_a_policy_of_the_service_name_its_organisation(fire: Desk, alert: dict[str, Any]):
    """The administrator of the service stops everything, and allowed what goes out without a second person: others see of which organisation that
    person is.
    """
    _, known = await fire.ask("host", "GET", "/v1/organisations/fire")
    new = {"name": "Army", "jurisdiction": HOME, "unattended": ALLOWED}
    assert await fire.slug("host", "PUT", "/v1/organisations/army", new) == "ok"
    await fire.key("adam", org="army")
    _, sent = await fire.ask("adam", "POST", "/v1/alerts", alert)
    found = await shown(fire, sent["id"], "adam")
    assert (found["state"], found["approver"], found["approver_org"]) == ("approved", "policy: host", "default")
    _, army = await fire.ask("adam", "GET", "/v1/organisations/army")
    assert (army["unattended_by"], army["unattended_by_org"]) == ("host", "default")
    assert known["unattended_by_org"] is None
    assert await fire.slug("host", "POST", "/v1/stop", {"what": "service", "reason": "a fault"}) == "ok"
    _, stops = await fire.ask("adam", "GET", "/v1/stop")
    assert [(one["by"], one["by_org"]) for one in stops["stops"]] == [("host", "default")]
    (held,) = [one for one in (await fire.ask("ana", "GET", "/v1/keys"))[1]["keys"] if one["subject"] == "ana"]
    assert held["made_by_org"] is None
    _, made = await fire.ask(
        "host", "POST", "/v1/keys", {"subject": "ann", "scopes": ["admin"], "organisation": "fire"}
    )
    assert (made["organisation"], made["made_by"], made["made_by_org"]) == ("fire", ["host"], "default")
