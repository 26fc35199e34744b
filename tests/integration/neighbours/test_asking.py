"""An alert that reaches into a neighbour's jurisdiction: its own part goes, and the rest waits for the neighbour's answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from alertd.model.kinds import PermissionState
from alertd.model.organisation import Organisation
from alertd.service.access import Credential, Terms
from alertd.service.container import Container
from alertd.service.records.events import Events
from alertd.store.engine import keys
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.records.events import Events as StoredEvents
from tests.integration.acts import ANA, CADIZ, is_about, register
from tests.integration.authority.desks import AWAY, BOTH, HOME, POLICE, Desk
from tests.integration.neighbours.asks import (
    ASK,
    GUARD,
    NO,
    approved,
    asked,
    grant,
    seen,
    state,
    submitted,
)


async def test_the_own_part_goes_and_the_rest_waits_visibly(desk: Desk, alert: dict[str, Any]):
    """From the submission on everybody sees whom it waits for; the neighbour hears of it when it is approved."""
    taken = await submitted(desk, alert)
    (one,) = taken["permissions"]
    assert (one["organisation"], one["state"], one["people"]) == ("guard", "unasked", None)
    assert taken["audience"]["people"] == "<100"
    assert taken["area"]["km2"] == pytest.approx(14025, rel=0.01)
    assert (await desk.ask("eva", "GET", "/v1/permissions"))[1] == {"requests": []}
    assert await desk.slug("eva", "GET", f"/v1/permissions/{taken['id']}") == "not-found"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    assert await state(desk, taken["id"]) == "asked"
    _, progress = await desk.ask("ana", "GET", f"/v1/alerts/{taken['id']}/progress")
    assert progress["people"] == 41
    assert progress["permissions"] == [{"organisation": "guard", "name": GUARD["name"], "state": "asked"}]
    _, listed = await desk.ask("eva", "GET", "/v1/permissions?state=asked")
    assert [one["id"] for one in listed["requests"]] == [taken["id"]]


async def test_the_neighbour_sees_what_people_would_read_and_nothing_else_of_the_case(
    desk: Desk, alert: dict[str, Any]
):
    """The ground, about how many people are in it, the messages; no number of the case, no author, and not the alert itself."""
    await register(desk.parts, 300, first=100, places={"home": {"point": CADIZ}})
    alert_id = await approved(desk, alert)
    shown = await seen(desk, alert_id)
    assert shown["asked_by_name"] == POLICE["name"]
    assert shown["area"]["name"] == "Cádiz province"
    assert is_about(shown["permission"]["people"], 340)
    assert shown["people_now"] == shown["permission"]["people"]
    (push,) = [one for one in shown["messages"]["messages"] if one["language"] == "es"]
    assert alert["case"]["children"][0]["name"]["public"] in push["title"] + push["body"]
    text = json.dumps(shown, ensure_ascii=False)
    assert alert["case"]["number"] not in text
    assert "ana" not in text.lower().split('"')
    assert await desk.slug("eva", "GET", f"/v1/alerts/{alert_id}") == "not-found"
    assert await desk.slug("host", "GET", f"/v1/permissions/{alert_id}") == "not-found"


async def test_what_is_refused_is_told_nobody(desk: Desk, alert: dict[str, Any]):
    """Its author sees why, may ask again, and not before there is an answer; the neighbour may think better of it."""
    alert_id = await approved(desk, alert)
    again = (f"/v1/alerts/{alert_id}/permissions", {"organisation": "guard"})
    assert await desk.slug("ana", "POST", *again) == "permission-pending"
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert await desk.slug("gil", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "precondition-failed"
    (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
    assert (one["state"], one["reason"], one["by"]) == ("refused", NO["reason"], "eva")
    assert await desk.slug("ana", "POST", again[0], {"organisation": "fire"}) == "not-found"
    assert await desk.slug("ana", "POST", *again) == "ok"
    (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
    assert (one["state"], one["reason"], one["by"]) == ("asked", None, None)
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert await grant(desk, alert_id, "gil") == "ok"
    assert await state(desk, alert_id) == "granted"


@pytest.mark.parametrize("end", ["stand-down", "close", "cancel"])
async def test_what_is_over_is_permitted_no_more(desk: Desk, alert: dict[str, Any], end: str):
    """Neither before the neighbour looks nor while they do."""
    alert_id = await approved(desk, alert)
    shown = await seen(desk, alert_id)
    words = {"outcome": "Found"} if end == "close" else {"reason": "Found"}
    assert await desk.slug("bea", "POST", f"/v1/alerts/{alert_id}/{end}", words) == "ok"
    assert await state(desk, alert_id) == "lapsed"
    late = await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/grant", {"ground": shown["ground"]})
    assert late == "precondition-failed"
    assert (await seen(desk, alert_id))["messages"] is None
    assert (await desk.ask("eva", "GET", "/v1/permissions?state=asked"))[1] == {"requests": []}


async def test_nobody_permits_after_the_end(desk: Desk, alert: dict[str, Any], parts: Container):
    """Whether or not the service has noticed that it has come."""
    alert_id = await approved(desk, alert)
    shown = await seen(desk, alert_id)
    parts.db.skew_ms = 40 * 86_400_000
    late = await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/grant", {"ground": shown["ground"]})
    assert late == "expired"
    parts.db.skew_ms = 0


async def test_who_may_permit(desk: Desk, alert: dict[str, Any]):
    """A person of the neighbour who may approve, for a ground that is theirs still, and not the one who wrote the alert."""
    await desk.key("reader", org="guard", scopes=("alerts:read", "alerts:write"))
    await desk.key("approver", org="guard", scopes=("alerts:read", "alerts:approve"))
    await desk.key("tester", org="guard", test=True)
    narrow = Terms(
        jurisdiction=Organisation.model_validate_json(
            json.dumps({**GUARD, "jurisdiction": {"regions": ["11012"]}})
        ).jurisdiction
    )
    await desk.key("city", org="guard", terms=narrow)
    token = (await desk.parts.access.create(org="guard", subject="ana", scopes=frozenset({"admin"})))[1]
    desk.tokens["ana of the guard"] = token
    alert_id = await approved(desk, alert)
    table = {
        "reader": "not-allowed",
        "tester": "not-allowed",
        "city": "outside-jurisdiction",
        "ana of the guard": "same-person",
        "bea": "not-found",
        "host": "not-found",
    }
    assert {who: await grant(desk, alert_id, who) for who in table} == table
    assert await grant(desk, alert_id, "approver", people=400) == "audience-changed"
    body = {"ground": "0" * 64}
    assert await desk.slug("approver", "POST", f"/v1/permissions/{alert_id}/grant", body) == "approval-stale"
    assert await state(desk, alert_id) == "asked"
    assert await grant(desk, alert_id, "approver", people=41) == "ok"
    assert await grant(desk, alert_id, "approver", people=41) == "ok"  # said again
    assert await grant(desk, alert_id, "gil") == "precondition-failed"


async def test_neither_of_the_two_that_sent_it_permits_it(desk: Desk, alert: dict[str, Any]):
    """Whoever wrote or approved the alert, or an update that asks for more, has a key of the neighbour in vain."""
    for subject in ("carl", "dana"):
        await desk.key(subject)
    tokens = {}
    for subject in ("ana", "bea", "carl", "dana"):
        made = await desk.parts.access.create(org="guard", subject=subject.upper(), scopes=frozenset({"admin"}))
        tokens[f"{subject} of the guard"] = made[1]
    desk.tokens |= tokens
    alert_id = await approved(desk, alert, target={**HOME, "beyond": "ask"})
    body = {**alert, "notify": "none", "target": ASK}
    status, update = await desk.ask("carl", "POST", f"/v1/alerts/{alert_id}/updates", body)
    assert status == 202, update
    assert await desk.slug("dana", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "ok"
    assert {who: await grant(desk, alert_id, who) for who in tokens} == dict.fromkeys(tokens, "same-person")
    assert await grant(desk, alert_id) == "ok"


async def test_whoever_allowed_that_nobody_looks_permits_nothing(desk: Desk, alert: dict[str, Any]):
    """They are the second person of what goes out unattended: neither they, nor whoever made their key or has one that they made, is the neighbour's."""

    async def key(name: str, org: str, subject: str, maker: Credential | None = None) -> Credential:
        who, desk.tokens[name] = await desk.parts.access.create(
            org=org, subject=subject, scopes=frozenset({"admin"}), maker=maker
        )
        return who

    tom = await key("tom", "police", "tom")
    sara = await key("sara", "police", "sara", tom)
    await register(desk.parts, 150, first=1_000)
    allowed = {**POLICE, "unattended": {"levels": [alert["level"]], "people": 400, "alerts_per_hour": 2}}
    assert await desk.slug("sara", "PUT", "/v1/organisations/police", allowed) == "ok"
    taken = await submitted(desk, alert)
    assert (await desk.ask("ana", "GET", f"/v1/alerts/{taken['id']}"))[1]["approver"] == "policy: sara"
    await key("sara of the guard", "guard", "SARA")
    await key("tom of the guard", "guard", "tom")
    await key("una", "guard", "una", sara)
    found = {
        who: await grant(desk, taken["id"], who) for who in ("sara of the guard", "tom of the guard", "una", "eva")
    }
    assert found == {**dict.fromkeys(found, "same-person"), "eva": "ok"}


async def test_a_neighbour_answers_no_more_for_ground_that_it_lost(desk: Desk, alert: dict[str, Any]):
    """What its jurisdiction is on the day of the answer counts."""
    alert_id = await approved(desk, alert)
    elsewhere = {**GUARD, "jurisdiction": {"regions": ["ES-MA"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/guard", elsewhere) == "ok"
    assert await grant(desk, alert_id) == "outside-jurisdiction"


async def test_nobody_is_asked_for_ground_that_is_anothers_by_now(desk: Desk, alert: dict[str, Any], parts: Container):
    """What waits for its second person when a neighbour's ground goes to another organisation is submitted again, and that one is asked."""
    waits = f"/v1/alerts/{(await submitted(desk, alert))['id']}"
    await parts.organisations.put(
        "coast", Organisation.model_validate_json(json.dumps({**GUARD, "name": "Coast"})), ANA
    )
    elsewhere = {**GUARD, "jurisdiction": {"regions": ["ES-MA"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/guard", elsewhere) == "ok"
    assert await desk.slug("bea", "POST", f"{waits}/approve", {}) == "approval-stale"
    assert await desk.slug("bea", "POST", f"{waits}/return", {"reason": "Another is to be asked"}) == "ok"
    assert await desk.slug("ana", "POST", f"{waits}/submit") == "ok"
    assert await desk.slug("bea", "POST", f"{waits}/approve", {}) == "ok"
    asked = (await desk.ask("ana", "GET", waits))[1]["permissions"]
    assert [(one["organisation"], one["state"]) for one in asked] == [("coast", "asked")]


async def test_a_neighbour_whose_regions_are_gone_keeps_nobody_from_asking_another(
    desk: Desk, alert: dict[str, Any], parts: Container
):
    """An edition of the library, or an import that is taken away, may leave a jurisdiction with a code that nobody knows."""
    kept = OrganisationStore(parts.db)
    await parts.organisations.put(
        "coast", Organisation.model_validate_json(json.dumps({**GUARD, "name": "Coast"})), ANA
    )
    stored, sealed = await kept.get("coast")
    assert stored is not None
    gone = msgspec.structs.replace(stored, document=stored.document.replace("ES-CA", "ES-GONE"))
    assert await kept.put("coast", gone, seen=sealed)
    alert_id = await approved(desk, alert)
    assert await state(desk, alert_id) == "asked"  # of the only one that can be


async def test_what_nobody_may_permit_is_refused_as_ever(desk: Desk, alert: dict[str, Any]):
    """Ground of nobody, a target with nothing of one's own, and what a key itself may not reach. Without the word nothing is asked."""
    far = {"regions": ["ES-SE", "ES-CA", "ES-MA"], "beyond": "ask"}
    narrow = Terms(jurisdiction=Organisation.model_validate_json(json.dumps(POLICE)).jurisdiction)
    await desk.key("narrow", terms=narrow)
    refused = {
        "nobody's": await desk.slug("ana", "POST", "/v1/alerts", {**alert, "target": far}),
        "nothing own": await desk.slug("ana", "POST", "/v1/alerts", {**alert, "target": {**AWAY, "beyond": "ask"}}),
        "the key's": await desk.slug("narrow", "POST", "/v1/alerts", alert),
        "not asked for": await desk.slug("ana", "POST", "/v1/alerts", {**alert, "target": BOTH}),
    }
    assert refused == dict.fromkeys(refused, "outside-jurisdiction")
    _, refusal = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "target": far})
    assert "ES-MA" in [one["code"] for one in refusal["outside"]["regions"]]
    assert refusal["outside"]["km2"] == pytest.approx(7306, rel=0.01)
    assert (await submitted(desk, alert, target={**HOME, "beyond": "ask"}))["permissions"] == []


async def test_a_draft_is_divided_when_it_is_submitted(desk: Desk, alert: dict[str, Any]):
    """By the jurisdictions of that day; returned and submitted again it is divided anew."""
    status, draft = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "state": "draft"})
    assert (status, draft["permissions"]) == (202, [])
    path = f"/v1/alerts/{draft['id']}"
    assert await desk.slug("ana", "POST", f"{path}/submit") == "ok"
    assert await state(desk, draft["id"]) == "unasked"
    assert await desk.slug("bea", "POST", f"{path}/return", {"reason": "Look again"}) == "ok"
    both = {**POLICE, "jurisdiction": BOTH}
    assert await desk.slug("host", "PUT", "/v1/organisations/police", both) == "ok"
    assert await desk.slug("ana", "POST", f"{path}/submit") == "ok"
    assert (await desk.ask("ana", "GET", path))[1]["permissions"] == []
    assert await desk.slug("bea", "POST", f"{path}/approve", {}) == "ok"
    assert (await desk.ask("ana", "GET", path))[1]["people"] == 81


async def test_both_organisations_hear_of_it_and_have_it_in_their_audit(
    desk: Desk, alert: dict[str, Any], parts: Container
):
    """The neighbour's events tell that it is asked, the alert's own what was answered."""
    alert_id = await approved(desk, alert)
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert await grant(desk, alert_id) == "ok"
    while await parts.events.bring():
        pass
    own, theirs = [
        [(one["type"], one["data"].get("organisation")) for one in (await desk.ask(who, "GET", "/v1/events"))[1]["events"]]
        for who in ("ana", "eva")
    ]  # fmt: skip
    words = ["alert.permission_asked", "alert.permission_refused", "alert.permission_granted"]
    assert [one for one in own if one[1]] == [(word, "guard") for word in words]
    assert theirs == [(words[0], "guard")]
    audits = {
        who: [
            (one["act"], one["outcome"], one["by"])
            for one in (await desk.ask(who, "GET", "/v1/audit"))[1]["entries"]
            if "permission" in one["act"]
        ]
        for who in ("ana", "eva")
    }
    assert audits["ana"] == [
        (act, outcome, "eva")
        for act in ("alert.permission-granted", "alert.permission-refused")
        for outcome in ("done", "begun")
    ]
    assert audits["eva"] == [
        (act, outcome, "eva") for act in ("permission.grant", "permission.refuse") for outcome in ("done", "begun")
    ]
    _, history = await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}/history")
    assert "alert.permission-granted" in [one["act"] for one in history["acts"]]


async def test_no_mark_of_it_stays_with_the_neighbour(desk: Desk, alert: dict[str, Any], parts: Container):
    """How far a chain's events got is forgotten once it has nothing left to tell, also by a process that did not bring them."""
    alert_id = await approved(desk, alert)
    while await parts.events.bring():  # until the chain has forgotten that it asked
        pass
    assert set(await parts.db.hash_of("{v:guard}:marks")) == {b"last", alert_id.encode()}
    other = Events(
        StoredEvents(parts.db, keep=1000, keep_days=30),
        parts.alerts,
        parts.clock,
        parts.organisations.names,
        parts.waiting,
    )
    await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "sent-in-error"})
    while await parts.db.execute("ZSCORE", keys.told_key(keys.shard_of(alert_id)), alert_id) is not None:
        await other.bring()
        parts.db.skew_ms += 10_000
    assert set(await parts.db.hash_of("{v:guard}:marks")) == {b"last"}
    assert set(await parts.db.hash_of("{v:police}:marks")) == {b"last"}


async def test_one_that_is_damaged_hides_no_other_from_the_neighbour(
    desk: Desk, alert: dict[str, Any], parts: Container
):
    """Nor is it forgotten: it may be put back."""
    damaged, other = await approved(desk, alert), await approved(desk, {**alert, "external_id": "other"})
    name = keys.of_chain(damaged, "version", damaged)
    whole = await parts.db.execute("HGET", name, "reason")
    await parts.db.execute("HSET", name, "reason", b"\1damaged")
    assert await asked(desk) == [other]
    await parts.db.execute("HSET", name, "reason", whole or b"")
    assert await asked(desk) == [other, damaged]


async def test_nothing_is_left_of_it_after_a_purge(desk: Desk, alert: dict[str, Any], parts: Container):
    """Neither the ground nor the words, and the neighbour's list has it no more."""
    alert_id = await approved(desk, alert)
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert (
        await desk.slug("bea", "POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found", "notify": "none"}) == "ok"
    )
    assert await desk.slug("bea", "POST", f"/v1/alerts/{alert_id}/purge", {"reason": "request"}) == "ok"
    fields = await parts.db.hash_of(f"{{a:{alert_id}}}:v:{alert_id}")
    assert not [name for name in fields if name.startswith(b"ground") or name == b"permission_why"]
    assert (await desk.ask("eva", "GET", "/v1/permissions"))[1] == {"requests": []}
    assert PermissionState.REFUSED in await state(desk, alert_id)
