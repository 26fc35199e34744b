"""Who is a second person, and what goes out without one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from alertd.model.organisation import Jurisdiction
from alertd.service.access import Terms
from tests.integration.authority.desks import ALLOWED, Desk, state
from tests.unit.alertd.samples import changed


async def test_whoever_submits_it_is_no_second_person(desk: Desk, alert: dict[str, Any]):
    """Though another wrote it: not of a draft, nor of what a second person had returned."""
    await desk.key("cora", scopes=("alerts:approve", "alerts:read"))
    found = {}
    for kind in ("draft", "returned"):
        _, mine = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "state": "draft"})
        path = f"/v1/alerts/{mine['id']}"
        if kind == "returned":
            assert await desk.slug("ana", "POST", f"{path}/submit") == "ok"
            assert await desk.slug("cora", "POST", f"{path}/return", {"reason": "not hers"}) == "ok"
        assert await desk.slug("bea", "POST", f"{path}/submit") == "ok"
        found[kind] = [await desk.slug(who, "POST", f"{path}/approve", {}) for who in ("ana", "bea", "cora")]
    assert found == {kind: ["same-person", "same-person", "ok"] for kind in found}


async def test_told_again_or_for_longer_only_by_who_could_approve_it(desk: Desk, alert: dict[str, Any]):
    """Not by its author, by who may not protect a child under protection, nor by a key whose ground it lies outside."""
    await desk.key("cora", scopes=("alerts:approve", "alerts:read"))
    await desk.key("dora", terms=Terms(jurisdiction=Jurisdiction(regions=("ES-CA",))))
    bare = {"protection": ["threatened"], "children": [{"id": "c1", "age": {"years": 7}, "sex": "female"}]}
    body = {**alert, "case": {**alert["case"], **bare}, "info": {"es": {"source": "human"}}}
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", body)
    path = f"/v1/alerts/{mine['id']}"
    assert await desk.slug("bea", "POST", f"{path}/approve", {}) == "ok"
    wanted = {
        "ana": "same-person", "cora": "protection-review-required", "dora": "outside-jurisdiction", "bea": "ok",
    }  # fmt: skip
    later = {"expires": (datetime.now(UTC) + timedelta(days=20)).isoformat(), "reason": "x"}
    assert {who: await desk.slug(who, "POST", f"{path}/extend", later) for who in wanted} == wanted
    assert await desk.slug("bea", "POST", f"{path}/stand-down", {"reason": "found"}) == "ok"
    assert {who: await desk.slug(who, "POST", f"{path}/reopen", {"reason": "x"}) for who in wanted} == wanted


async def allow(desk: Desk, who: str, **changes: Any) -> None:
    """Somebody of the police lets alerts go out without a second person."""
    _, shown = await desk.ask("ana", "GET", "/v1/organisations/police")
    body = {**shown["organisation"], "unattended": {**ALLOWED, **changes}}
    assert await desk.slug(who, "PUT", "/v1/organisations/police", body) == "ok"


async def test_nothing_goes_out_unattended_unless_that_was_allowed(desk: Desk, alert: dict[str, Any]):
    """By its level, to so many people, so many an hour; the rest waits for a second person, and a stop holds it."""
    assert await state(desk, "ana", alert) == "pending"
    await allow(desk, "bea")
    plate = changed(alert, "case/vehicles", [{"plate": "1234 BCD", "country": "ES", "legal_basis": "court order"}])
    status, refusal = await desk.ask("ana", "POST", "/v1/alerts?dry_run=true", plate)
    assert status == 202, refusal
    found = {"allowed": await state(desk, "ana", alert)}
    for row, body in {"grave": {**alert, "level": "child-alert"}, "plate": plate}.items():
        found[row] = await state(desk, "ana", body)
    await allow(desk, "bea", people=100)
    found["many"] = await state(desk, "ana", alert)
    await allow(desk, "bea")
    assert await desk.slug("bea", "POST", "/v1/stop", {"reason": "x"}) == "ok"
    found["stopped"] = await state(desk, "ana", alert)
    assert found == {**dict.fromkeys(found, "pending"), "allowed": "approved"}


async def test_so_many_an_hour_go_out_unattended(desk: Desk, alert: dict[str, Any]):
    """The next waits; an hour after the first there is room again."""
    await allow(desk, "bea")
    assert [await state(desk, "ana", alert) for _ in range(3)] == ["approved", "approved", "pending"]
    desk.parts.db.skew_ms += 3_601_000
    late = changed(alert, "expires", (datetime.now(UTC) + timedelta(days=2)).isoformat())
    assert await state(desk, "ana", late) == "approved"


async def test_whoever_allowed_it_is_the_second_person(desk: Desk, alert: dict[str, Any]):
    """So it sends nothing of theirs, nor of a key that came through their hands; and what it sends is told to be its doing."""
    await allow(desk, "bea")
    _, made = await desk.ask("bea", "POST", "/v1/keys", {"subject": "cms", "scopes": ["alerts:write", "delegate"]})
    desk.tokens["cms"] = made["token"]
    assert await state(desk, "bea", alert) == "pending"
    assert await state(desk, "cms", alert) == "pending"
    assert await state(desk, "cms", {**alert, "author": {"subject": "ana"}}) == "pending"
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", alert)
    _, shown = await desk.ask("ana", "GET", f"/v1/alerts/{taken['id']}")
    assert (shown["author"], shown["approver"]) == ("ana", "policy: bea")
    _, audit = await desk.ask("ana", "GET", "/v1/audit")
    entry = next(one for one in audit["entries"] if one["object"] == taken["id"] and one["outcome"] == "done")
    assert entry["facts"]["approved_by_policy"] is True
    _, shown = await desk.ask("ana", "GET", "/v1/organisations/police")
    assert shown["unattended_by"] == "bea"


async def test_whoever_allowed_it_still_administers(desk: Desk, alert: dict[str, Any]):
    """Once their key is stopped or gone nothing goes out by their word, until another administrator says the same."""
    found = {}
    for name, method, path, body in (
        ("stopped", "POST", "/v1/stop", {"what": "key", "reason": "lost"}),
        ("revoked", "DELETE", "/v1/keys/{}", None),
    ):
        await desk.key(name)
        await allow(desk, name, people=400 + len(found))
        found[f"before: {name}"] = await state(desk, "ana", alert)
        key = (await desk.ask(name, "GET", "/v1/me"))[1]["key"]
        assert await desk.slug("ana", method, path.format(key), body and {**body, "key": key}) == "ok"
        found[f"after: {name}"] = await state(desk, "ana", alert)
    assert found == {one: "approved" if one.startswith("before") else "pending" for one in found}
    desk.parts.db.skew_ms += 3_601_000
    late = changed(alert, "expires", (datetime.now(UTC) + timedelta(days=2)).isoformat())
    _, shown = await desk.ask("ana", "GET", "/v1/organisations/police")
    assert await desk.slug("bea", "PUT", "/v1/organisations/police", shown["organisation"]) == "ok"
    assert await state(desk, "ana", late) == "approved"
    assert (await desk.ask("ana", "GET", "/v1/organisations/police"))[1]["unattended_by"] == "bea"


async def test_a_draft_that_is_submitted_and_an_update_go_by_the_same_policy(desk: Desk, alert: dict[str, Any]):
    """An update tells those again who were told: they count among its people."""
    await allow(desk, "bea")
    _, draft = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "state": "draft"})
    assert (await desk.ask("ana", "POST", f"/v1/alerts/{draft['id']}/submit"))[1]["state"] == "approved"
    update = {**alert, "notify": "full"}
    assert (await desk.ask("ana", "POST", f"/v1/alerts/{draft['id']}/updates", update))[1]["state"] == "approved"
