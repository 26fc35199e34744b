"""An alert that reaches into a neighbour's jurisdiction: its own part goes, the rest waits for the neighbour, and nobody is told twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alertd.app import Parts
from alertd.errors import Problem
from alertd.kinds import PermissionState
from alertd.organisations import Jurisdiction, Organisation
from alertd.service.access import Credential, Terms
from alertd.service.events import Events
from alertd.store import keys
from alertd.store.events import Events as StoredEvents
from alertd.store.organisations import OrganisationStore
from alertd.store.permissions import Permits
from alertd.working import worker_of
from tests.integration.acts import ANA, CADIZ, SEVILLA, photo, register, working
from tests.integration.authority.desks import AWAY, BOTH, HOME, POLICE, Desk
from tests.integration.media.conftest import showing
from tests.unit.alertd.samples import changed

GUARD = {"name": "Guardia de Cádiz", "jurisdiction": {"regions": ["ES-CA"]}}
ASK = {**BOTH, "beyond": "ask"}
ASK_HOME = {**HOME, "beyond": "ask"}
FURTHER = {"regions": ["ES-SE", "ES-CA", "ES-MA"], "beyond": "ask"}
NO = {"reason": "We have an alert of our own"}


@pytest.fixture
async def desk(parts: Parts, client: Any) -> Desk:
    """Ana and Bea of the police of Sevilla, Eva and Gil of the guard of Cádiz; 40 people in each, and one with a place in both."""
    await register(parts, 40)
    await register(parts, 40, first=40, places={"home": {"point": CADIZ}})
    both = {"home": {"point": SEVILLA}, "school": {"point": CADIZ}}
    await register(parts, 1, first=80, places=both)
    for org, written in (("police", POLICE), ("guard", GUARD)):
        await parts.organisations.put(org, Organisation.model_validate_json(json.dumps(written)), ANA)
    found = Desk(parts, client)
    for subject, org in (("ana", "police"), ("bea", "police"), ("eva", "guard"), ("gil", "guard"), ("host", "default")):
        await found.key(subject, org=org)
    return found


@pytest.fixture
def alert(sample: dict[str, Any]) -> dict[str, Any]:
    """By whoever sends it, by push alone, to both provinces."""
    document = changed(changed(sample, "author/subject", None), "external_id", None)
    return {**document, "channels": ["push"], "target": ASK}


async def submitted(desk: Desk, alert: dict[str, Any], **more: Any) -> dict[str, Any]:
    status, taken = await desk.ask("ana", "POST", "/v1/alerts", {**alert, **more})
    assert status == 202, taken
    return dict(taken)


async def approved(desk: Desk, alert: dict[str, Any], **more: Any) -> str:
    """Submitted by Ana, approved by Bea."""
    taken = await submitted(desk, alert, **more)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"
    return str(taken["id"])


async def state(desk: Desk, alert_id: str) -> str:
    """Of the only permission of an alert, as its own organisation sees it."""
    (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
    return str(one["state"])


async def seen(desk: Desk, alert_id: str, who: str = "eva") -> dict[str, Any]:
    """The request, as the neighbour sees it."""
    status, shown = await desk.ask(who, "GET", f"/v1/permissions/{alert_id}")
    assert status == 200, shown
    return dict(shown)


async def grant(desk: Desk, alert_id: str, who: str = "eva", **more: Any) -> str:
    ground = (await seen(desk, alert_id))["ground"]
    return await desk.slug(who, "POST", f"/v1/permissions/{alert_id}/grant", {"ground": ground, **more})


async def test_the_own_part_goes_and_the_rest_waits_visibly(desk: Desk, alert: dict[str, Any]):
    """From the submission on everybody sees whom it waits for; the neighbour hears of it when it is approved."""
    taken = await submitted(desk, alert)
    (one,) = taken["permissions"]
    assert (one["organisation"], one["state"], one["people"]) == ("guard", "unasked", 41)
    assert taken["audience"]["people"] == 41
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
    """The ground, the people in it, the messages; no number of the case, no author, and not the alert itself."""
    alert_id = await approved(desk, alert)
    shown = await seen(desk, alert_id)
    assert shown["asked_by_name"] == POLICE["name"]
    assert shown["area"]["name"] == "Cádiz province"
    assert shown["permission"]["people"] == 41
    (push,) = [one for one in shown["messages"]["messages"] if one["language"] == "es"]
    assert alert["case"]["children"][0]["name"]["public"] in push["title"] + push["body"]
    text = json.dumps(shown, ensure_ascii=False)
    assert alert["case"]["number"] not in text
    assert "ana" not in text.lower().split('"')
    assert await desk.slug("eva", "GET", f"/v1/alerts/{alert_id}") == "not-found"
    assert await desk.slug("host", "GET", f"/v1/permissions/{alert_id}") == "not-found"


async def test_what_is_permitted_is_told_once(desk: Desk, alert: dict[str, Any], parts: Parts):
    """Whoever has a place in both was told with the first part, and is not told again."""
    alert_id = await approved(desk, alert)
    async with working(parts):
        await _until(desk, alert_id, accepted=41)
        assert await grant(desk, alert_id) == "ok"
        told_by = (await seen(desk, alert_id))["permission"]["told_by"]
        assert told_by == f"{alert_id}-2"
        await _until(desk, told_by, accepted=40)
    assert await state(desk, alert_id) == "granted"
    told = [*await _told(parts, alert_id), *await _told(parts, told_by)]
    assert len(told) == len(set(told)) == 81


async def test_a_grant_in_the_middle_leaves_nobody_out_and_tells_nobody_twice(
    desk: Desk, alert: dict[str, Any], parts: Parts
):
    """What was queued of the first part when the neighbour answers is told by the version that tells the second."""
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    async with working(parts):
        await _until(desk, f"{alert_id}-2", accepted=81)
    assert await _told(parts, alert_id) == []
    assert len(set(await _told(parts, f"{alert_id}-2"))) == 81


@pytest.mark.parametrize("is_restricted", [False, True])
async def test_whoever_was_there_when_it_was_approved_is_told_however_late_a_neighbour_permits(
    desk: Desk, alert: dict[str, Any], parts: Parts, is_restricted: bool
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
    desk: Desk, alert: dict[str, Any], parts: Parts, radius_km: int, told_min: int
):
    """It goes on where the alert was, also after an update: an hour from the approval, or from that of an update of the target."""
    ring = {"center": CADIZ, "radius_km": 10, "delay_min": 60}
    alert_id = await approved(desk, alert, target={**ASK, "rings": [ring]})
    began = (await parts.alerts.get(alert_id)).start
    parts.db.skew_ms += 10 * 60_000
    said = changed(alert, "info/es/instruction", "Lleva una mochila azul.")
    await _updated(desk, said, alert_id, {**ASK, "rings": [{**ring, "radius_km": radius_km}]})
    parts.db.skew_ms += 20 * 60_000
    assert await grant(desk, alert_id) == "ok"
    told_by = (await seen(desk, alert_id))["permission"]["told_by"]
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(told_by))
    waiting = await parts.db.execute("ZRANGE", keys.of_chain(alert_id, "delayed", "push"), 0, -1, "WITHSCORES")
    told = [round((at - began) / 60_000) for name, at in waiting if name.startswith(told_by.encode())]
    assert told == [told_min]


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


async def test_nobody_permits_after_the_end(desk: Desk, alert: dict[str, Any], parts: Parts):
    """Whether or not the service has noticed that it has come."""
    alert_id = await approved(desk, alert)
    shown = await seen(desk, alert_id)
    parts.db.skew_ms = 40 * 86_400_000
    late = await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/grant", {"ground": shown["ground"]})
    assert late == "expired"
    parts.db.skew_ms = 0


async def test_the_end_reaches_those_beyond_the_border(desk: Desk, alert: dict[str, Any], parts: Parts):
    """Whoever was told there is told that it is over, as all others are."""
    alert_id = await approved(desk, alert)
    async with working(parts):
        await _until(desk, alert_id, accepted=41)
        assert await grant(desk, alert_id) == "ok"
        await _until(desk, f"{alert_id}-2", accepted=40)
        _, closed = await desk.ask("bea", "POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found"})
        await _until(desk, closed["told_by"], accepted=81)


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
    allowed = {**POLICE, "unattended": {"levels": [alert["level"]], "people": 100, "alerts_per_hour": 2}}
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


async def test_nobody_is_asked_for_ground_that_is_anothers_by_now(desk: Desk, alert: dict[str, Any], parts: Parts):
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
    desk: Desk, alert: dict[str, Any], parts: Parts
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


async def test_a_permission_covers_the_ground_that_was_shown(desk: Desk, alert: dict[str, Any], parts: Parts):
    """An update within it asks nobody; one that reaches further asks anew, and what was permitted goes on being told."""
    await _reaching_malaga(desk)
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    narrower = {"regions": ["ES-SE", "11012"], "beyond": "ask"}
    assert await _updated(desk, alert, alert_id, narrower) == "granted"
    assert await _updated(desk, alert, alert_id, ASK) == "granted"
    assert await _updated(desk, alert, alert_id, FURTHER) == "asked"
    record = await parts.alerts.get(alert_id)
    assert record is not None
    assert (await parts.alerts.audience(f"{alert_id}-5")).numbers.size == 81
    assert await grant(desk, alert_id) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{alert_id}/updates", {**alert, "notify": "full", "target": BOTH}) == (
        "outside-jurisdiction"
    )  # fmt: skip


async def test_what_an_update_leaves_out_is_asked_no_more(desk: Desk, alert: dict[str, Any]):
    """What was asked for besides what was permitted: nobody permits it, nor asks for it, before an update has it again."""
    await _reaching_malaga(desk)
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    for target, stands in ((FURTHER, "asked"), (ASK_HOME, "lapsed"), (FURTHER, "asked"), (ASK_HOME, "lapsed")):
        assert await _updated(desk, alert, alert_id, target) == stands
    assert await grant(desk, alert_id) == "precondition-failed"
    again = await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/permissions", {"organisation": "guard"})
    assert again == "precondition-failed"


async def test_who_was_never_asked_has_permitted_nothing(desk: Desk, alert: dict[str, Any]):
    """The ground stays permitted, by who permitted it, whoever may alert there by now; and whoever was asked beside them has not answered."""
    other = Organisation.model_validate_json(json.dumps({**GUARD, "name": "Coast"}))
    await desk.parts.organisations.put("fire", other, ANA)
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    await desk.parts.organisations.put("coast", other, ANA)
    elsewhere = {**GUARD, "jurisdiction": {"regions": ["ES-MA"]}}
    assert await desk.slug("host", "PUT", "/v1/organisations/guard", elsewhere) == "ok"
    body = {**alert, "notify": "none", "target": ASK}
    for _ in "ab":
        _, update = await desk.ask("ana", "POST", f"/v1/alerts/{alert_id}/updates", body)
        assert update["permissions"] == []  # it asks nobody
        assert update["audience"]["people"] == 81
        assert await desk.slug("bea", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "ok"
        (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
        assert (one["organisation"], one["state"], one["by"]) == ("guard", "granted", "eva")


async def test_an_update_that_waits_is_stale_once_a_neighbour_has_permitted(desk: Desk, alert: dict[str, Any]):
    """Its author has not seen what it would undo."""
    alert_id = await approved(desk, alert)
    status, update = await desk.ask("ana", "POST", f"/v1/alerts/{alert_id}/updates", {**alert, "notify": "full"})
    assert status == 202
    assert await grant(desk, alert_id) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "approval-stale"


async def test_an_answer_stands_where_an_update_asks_the_same(desk: Desk, alert: dict[str, Any]):
    """Whoever has refused a ground is not asked for it again by the way."""
    alert_id = await approved(desk, alert)
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    assert await _updated(desk, alert, alert_id, ASK) == "refused"


async def test_both_organisations_hear_of_it_and_have_it_in_their_audit(
    desk: Desk, alert: dict[str, Any], parts: Parts
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


async def test_no_mark_of_it_stays_with_the_neighbour(desk: Desk, alert: dict[str, Any], parts: Parts):
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
    while await parts.db.execute("ZSCORE", keys.told(keys.shard_of(alert_id)), alert_id) is not None:
        await other.bring()
        parts.db.skew_ms += 10_000
    assert set(await parts.db.hash_of("{v:guard}:marks")) == {b"last"}
    assert set(await parts.db.hash_of("{v:police}:marks")) == {b"last"}


async def test_what_is_asked_again_is_the_latest_again(desk: Desk, alert: dict[str, Any], parts: Parts):
    """An organisation is shown the latest that it is asked; what it refused long ago and is asked again was not among them."""
    permits = Permits(parts.db, parts.alerts)
    alert_id = await approved(desk, alert)
    await permits.note(["guard"], "later", parts.clock.now_ms() + 1)
    assert await permits.of("guard", 1) == ["later"]
    assert await desk.slug("eva", "POST", f"/v1/permissions/{alert_id}/refuse", NO) == "ok"
    await permits.note(["guard"], alert_id, parts.clock.now_ms() + 2)
    assert await permits.of("guard", 9) == [alert_id, "later"]
    await permits.drop("guard", [alert_id, "later"])
    assert await permits.of("guard", 9) == []


async def test_a_preview_counts_people_by_part(desk: Desk):
    """And says who could be asked, where nobody said that they are to be."""
    _, plain = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": BOTH})
    assert (plain["audience"]["people"], plain["outside"]["whose"]) == (81, "your organisation")
    _, asks = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": ASK})
    assert (asks["audience"]["people"], asks["outside"]) == (41, None)
    assert plain["neighbours"] == asks["neighbours"]
    assert [(one["organisation"], one["people"]) for one in asks["neighbours"]] == [("guard", 41)]
    _, home = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": HOME})
    assert home["neighbours"] == []


ACROSS = {"regions": ["ES-SE", "ES-CO", "ES-BA", "ES-CA"], "beyond": "ask"}


async def _dividing(desk: Desk, **jurisdictions: tuple[str, ...]) -> None:
    """25 people named a country; of its ground these organisations divide a ninth."""
    await register(desk.parts, 25, first=500, places={"home": {"region": "ES"}})
    for org, regions in jurisdictions.items():
        name = (await desk.parts.organisations.get(org)).organisation.name
        made = Organisation(name=name, jurisdiction=Jurisdiction(regions=regions))
        await desk.parts.organisations.put(org, made, ANA)


async def test_who_named_a_region_across_the_border_is_told_with_the_neighbours_part(
    desk: Desk, alert: dict[str, Any], parts: Parts
):
    """Enough of it lies in the whole target, and in neither part: they are counted for the neighbour, who sees so, and told when it permits."""
    await _dividing(desk, police=("ES-SE", "ES-CO"), guard=("ES-BA", "ES-CA"))
    _, preview = await desk.ask("ana", "POST", "/v1/targets/preview", {"target": ACROSS})
    assert (preview["audience"]["people"], preview["neighbours"][0]["people"]) == (41, 66)
    alert_id = await approved(desk, alert, target=ACROSS)
    shown = await seen(desk, alert_id)
    assert (shown["permission"]["people"], shown["people_now"]) == (66, 66)
    assert await grant(desk, alert_id) == "ok"
    assert (await parts.alerts.audience(f"{alert_id}-2")).numbers.size == 106
    assert (await seen(desk, alert_id))["people_now"] == 66


async def test_who_named_a_region_across_several_borders_is_told_with_the_last_part(
    desk: Desk, alert: dict[str, Any], parts: Parts
):
    """Enough of it is told only when all have permitted; whoever does so last sees how many they are by then."""
    await _dividing(desk, police=("ES-SE", "ES-CO"), guard=("ES-CA",), fire=("ES-BA",))
    await desk.key("fay", org="fire")
    alert_id = await approved(desk, alert, target=ACROSS)
    ground = (await seen(desk, alert_id, "fay"))["ground"]
    assert await desk.slug("fay", "POST", f"/v1/permissions/{alert_id}/grant", {"ground": ground}) == "ok"
    assert (await parts.alerts.audience(f"{alert_id}-2")).numbers.size == 41
    shown = await seen(desk, alert_id)
    assert (shown["permission"]["people"], shown["people_now"]) == (41, 66)
    assert await grant(desk, alert_id) == "audience-changed"
    assert await grant(desk, alert_id, people=66) == "ok"
    assert (await parts.alerts.audience(f"{alert_id}-3")).numbers.size == 106


async def _changed_within(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    assert await _updated(desk, alert, alert_id, ASK) == "granted"


async def _changed_beyond(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    await _reaching_malaga(desk)
    assert await _updated(desk, alert, alert_id, FURTHER) == "asked"


async def _left_out_for_once(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    for target in (ASK_HOME, ASK):
        assert await _updated(desk, alert, alert_id, target) == "granted"
    (one,) = (await desk.ask("ana", "GET", f"/v1/alerts/{alert_id}"))[1]["permissions"]
    assert (one["by"], one["told_by"]) == ("eva", f"{alert_id}-2")


async def _permitted_by_another_for_more(desk: Desk, alert: dict[str, Any], alert_id: str) -> None:
    await _reaching_malaga(desk)
    assert await _updated(desk, alert, alert_id, {"regions": ["ES-SE", "ES-MA"], "beyond": "ask"}) == "asked"
    assert await grant(desk, alert_id, "gil") == "ok"
    assert await _updated(desk, alert, alert_id, ASK) == "granted"


async def _brought_back(desk: Desk, _alert: dict[str, Any], alert_id: str) -> None:
    for who, act in (("ana", "stand-down"), ("bea", "reopen")):
        assert await desk.slug(who, "POST", f"/v1/alerts/{alert_id}/{act}", {"reason": "x"}) == "ok"


async def _left(_desk: Desk, _alert: dict[str, Any], _alert_id: str) -> None:
    """As it was told first."""


async def _stopped_down(desk: Desk, _alert: dict[str, Any], alert_id: str) -> None:
    assert await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "x"}) == "ok"


@pytest.mark.parametrize(
    ("meanwhile", "halt"),
    [
        (_left, b"1"),
        (_changed_within, b"1"),
        (_changed_beyond, b"1"),
        (_left_out_for_once, b"1"),
        (_permitted_by_another_for_more, b"1"),
        (_brought_back, b"1"),
        (_stopped_down, None),
    ],
)
async def test_a_stop_of_the_key_that_permitted_holds_the_alert(
    desk: Desk, alert: dict[str, Any], parts: Parts, meanwhile: Any, halt: bytes | None
):
    """It had a hand in what is sent, whatever became of the alert since; it holds up no end."""
    alert_id = await approved(desk, alert)
    assert await grant(desk, alert_id) == "ok"
    await meanwhile(desk, alert, alert_id)
    key = (await desk.ask("eva", "GET", "/v1/me"))[1]["key"]
    assert await desk.slug("gil", "POST", "/v1/stop", {"what": "key", "key": key, "reason": "Lost"}) == "ok"
    assert await parts.db.execute("HGET", f"{{a:{alert_id}}}", "halt") == halt


async def test_one_that_is_damaged_hides_no_other_from_the_neighbour(desk: Desk, alert: dict[str, Any], parts: Parts):
    """Nor is it forgotten: it may be put back."""
    damaged, other = await approved(desk, alert), await approved(desk, {**alert, "external_id": "other"})
    name = keys.of_chain(damaged, "version", damaged)
    whole = await parts.db.execute("HGET", name, "reason")
    await parts.db.execute("HSET", name, "reason", b"\1damaged")
    assert await _asked(desk) == [other]
    await parts.db.execute("HSET", name, "reason", whole or b"")
    assert await _asked(desk) == [other, damaged]


async def test_nothing_is_left_of_it_after_a_purge(desk: Desk, alert: dict[str, Any], parts: Parts):
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


async def _reaching_malaga(desk: Desk) -> None:
    """The neighbour's jurisdiction has another province from now on."""
    reach = {**GUARD, "jurisdiction": {"regions": ["ES-CA", "ES-MA"]}}
    await desk.parts.organisations.put("guard", Organisation.model_validate_json(json.dumps(reach)), ANA)


async def _asked(desk: Desk) -> list[str]:
    """The alerts that Eva's organisation is asked for, the latest first."""
    return [one["id"] for one in (await desk.ask("eva", "GET", "/v1/permissions"))[1]["requests"]]


async def _updated(desk: Desk, alert: dict[str, Any], alert_id: str, target: dict[str, Any]) -> str:
    """What becomes of the permission with an update of the target."""
    body = {**alert, "notify": "none", "target": target}
    status, update = await desk.ask("ana", "POST", f"/v1/alerts/{alert_id}/updates", body)
    assert status == 202, update
    assert await desk.slug("bea", "POST", f"/v1/alerts/{update['id']}/approve", {}) == "ok"
    return await state(desk, alert_id)


async def _until(desk: Desk, version: str, **wanted: int) -> None:
    """Until so many references of a version are in a state."""
    async for progress in _progress(desk, version):
        push = progress["channels"].get("push", {})
        if all(push.get(name) == count for name, count in wanted.items()):
            return


async def _progress(desk: Desk, version: str) -> Any:
    headers = {"Authorization": f"Bearer {desk.tokens['ana']}", "Accept": "text/event-stream"}
    while True:
        async with desk.client.get(f"/v1/alerts/{version}/progress", headers=headers) as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


async def _told(parts: Parts, version: str) -> list[int]:
    """The numbers of those who were told by a version."""
    return [
        number
        async for _, rows, refs in parts.work.ledger(version)
        for row, (number, _) in zip(rows, refs, strict=True)
        if row["state"] == 3
    ]


async def test_the_photo_is_shown_on_both_sides_of_the_border(desk: Desk, alert: dict[str, Any], parts: Parts):
    """What tells the alert on the neighbour's ground shows what the alert shows, and nothing shows it when it is stood down."""
    media = await photo(parts, replace(ANA, org="police"))
    alert_id = await approved(desk, alert, case=showing(alert, media))
    assert await parts.photos.show(media, "push")
    assert await grant(desk, alert_id) == "ok"
    assert await parts.photos.show(media, "push")
    assert await desk.slug("ana", "POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "x"}) == "ok"
    with pytest.raises(Problem, match="no longer shown"):
        await parts.photos.show(media, "push")


async def test_a_wrong_count_is_not_answered_with_a_small_one(desk: Desk, alert: dict[str, Any], parts: Parts):
    """Who lives in one hamlet of the neighbour's would be told by whoever asks for it and whoever permits it, and nobody would notice."""
    hamlet = {"center": [-5.9, 36.5], "radius_km": 8}
    await register(parts, 1, first=90, places={"home": {"point": hamlet["center"]}})
    alert_id = await approved(desk, alert, target={**HOME, "circles": [hamlet], "beyond": "ask"})
    ground = (await seen(desk, alert_id))["ground"]
    body = {"ground": ground, "people": 400}
    _, told = await desk.ask("eva", "POST", f"/v1/permissions/{alert_id}/grant", body)
    assert (told["seen"], told["now"]) == (400, "<20")
