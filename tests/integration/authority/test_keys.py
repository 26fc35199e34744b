"""What a key may do and what it may not, how long it is known, and who makes, rotates and revokes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from alertd.api.application import OPERATIONS
from alertd.model.organisation import Jurisdiction
from alertd.service.access import Terms
from tests.integration.authority.desks import ALL, POLICE, Desk


async def test_scopes_that_a_key_lacks_are_refused(desk: Desk):
    """Each operation asks for its own, and names it."""
    await desk.key("nobody", scopes=("ledger:explain",))
    found = {}
    for one in OPERATIONS:
        if one.scope and not {one.scope, one.or_scope} & {"ledger:explain"}:
            path = re.sub(r"\{(\w+)[^/]*\}", "x", one.path)
            found[one.id] = (await desk.ask("nobody", one.method, path))[1]["type"].rpartition("/")[2]
    assert len(found) > 60
    assert set(found.values()) == {"not-allowed"}


async def test_nobody_makes_a_key_that_is_more_than_their_own(desk: Desk):
    """In scope, person, time, rate, ground, organisation, or as a live key; what is not asked for is as their own."""
    now = desk.parts.clock.now_ms()
    ground = Jurisdiction(regions=("41091",))
    bounds = Terms(expires=now + 3_600_000, rate_per_min=600, jurisdiction=ground)
    await desk.key("carl", scopes=ALL, terms=bounds)
    await desk.key("tester", scopes=ALL, test=True)
    mine = {"subject": "carl", "scopes": ["alerts:write"]}
    soon, late = (datetime.fromtimestamp(now / 1000 + s, UTC).isoformat() for s in (60, 7200))
    delegate = {"subject": "cms", "scopes": ["alerts:write", "delegate"]}
    table = {
        "scope": ("carl", {**mine, "scopes": ["subscribers:read"]}, "not-allowed"),
        "person": ("carl", {**mine, "subject": "dora"}, "not-allowed"),
        "later": ("carl", {**mine, "expires": late}, "not-allowed"),
        "sooner": ("carl", {**mine, "expires": soon}, "ok"),
        "faster": ("carl", {**mine, "rate_per_min": 601}, "not-allowed"),
        "wider": ("carl", {**mine, "jurisdiction": {"regions": ["ES-SE"]}}, "not-allowed"),
        "organisation": ("carl", {**mine, "organisation": "default"}, "not-allowed"),
        "admin of another": ("ana", {**mine, "organisation": "default"}, "not-allowed"),
        "no organisation": ("host", {**mine, "organisation": "army"}, "invalid-request"),
        "of another": ("host", {**mine, "organisation": "police"}, "ok"),
        "delegate": ("carl", {**mine, "scopes": ["delegate"]}, "not-allowed"),
        "delegate that approves": ("ana", {**delegate, "scopes": ["delegate", "alerts:approve"]}, "invalid-request"),
        "delegate that administers": ("ana", {**delegate, "scopes": ["delegate", "admin"]}, "invalid-request"),
        "delegate by an administrator": ("ana", delegate, "ok"),
        "over": ("ana", {**mine, "expires": "2026-01-10T12:00:00Z"}, "invalid-request"),
        "nowhere": ("ana", {**mine, "jurisdiction": {"regions": ["ES-XX"]}}, "unknown-region"),
    }
    found = {row: await desk.slug(who, "POST", "/v1/keys", body) for row, (who, body, _) in table.items()}
    assert found == {row: wanted for row, (_, _, wanted) in table.items()}
    _, made = await desk.ask("carl", "POST", "/v1/keys", mine)
    assert (made["rate_per_min"], made["jurisdiction"]) == (600, {"regions": ["41091"], "polygons": []})
    assert datetime.fromisoformat(made["expires"]).timestamp() * 1000 == bounds.expires
    _, made = await desk.ask("tester", "POST", "/v1/keys", {**mine, "subject": "tester"})
    assert made["test"]


async def test_a_test_key_changes_nothing_that_actual_alerts_go_by(desk: Desk):
    """Nobody's distributor, rota, organisation, operator, stop or imported region: not even with every scope there is."""
    await desk.key("tester", scopes=ALL, test=True)
    tv = {"name": "TV", "url": "https://tv.example/cap"}
    _, made = await desk.ask("ana", "POST", "/v1/distributors", tv)
    _, key = await desk.ask("ana", "POST", "/v1/keys", {"subject": "ana", "scopes": ["alerts:read"]})
    one = f"/v1/distributors/{made['id']}"
    table = [
        ("POST", "/v1/distributors", tv), ("PUT", one, tv), ("POST", f"{one}/test", {}), ("DELETE", one, None),
        ("PUT", "/v1/oncall", {"steps": []}), ("PUT", "/v1/organisations/police", POLICE),
        ("POST", "/v1/operators", {"subject": "eve", "roles": ["author"]}), ("POST", "/v1/stop", {"reason": "x"}),
        ("DELETE", f"/v1/keys/{key['key']}", None),
    ]  # fmt: skip
    assert {(method, path): await desk.slug("tester", method, path, body) for method, path, body in table} == {
        (method, path): "not-allowed" for method, path, _ in table
    }
    assert await desk.slug("ana", "GET", one) == "ok"


async def test_a_delegate_speaks_for_others_and_approves_nothing(desk: Desk, alert: dict[str, Any]):
    """Nor does whoever is behind it, nor the author that it names."""
    await desk.key("cms", scopes=("alerts:read", "alerts:write", "delegate"))
    await desk.key("writer", scopes=("alerts:read", "alerts:write"))
    by_ana = {**alert, "author": {"subject": "ana"}}
    assert await desk.slug("writer", "POST", "/v1/alerts", by_ana) == "not-allowed"
    assert await desk.slug("host", "POST", "/v1/alerts", by_ana) == "not-allowed"  # an administrator is no delegate
    _, taken = await desk.ask("cms", "POST", "/v1/alerts", by_ana)
    path = f"/v1/alerts/{taken['id']}"
    _, shown = await desk.ask("bea", "GET", path)
    assert shown["author"] == "ana"
    await desk.key("cms", scopes=("alerts:read", "alerts:write", "alerts:approve"))  # the same person's other key
    assert await desk.slug("cms", "POST", f"{path}/approve", {}) == "same-person"
    assert await desk.slug("ana", "POST", f"{path}/approve", {}) == "same-person"
    await desk.key("all", scopes=("delegate", *ALL))  # none is made so; were there one, it would not do
    assert await desk.slug("all", "POST", f"{path}/approve", {}) == "not-allowed"
    assert await desk.slug("bea", "POST", f"{path}/approve", {}) == "ok"


async def test_a_delegate_changes_what_it_sent_and_nobody_elses(desk: Desk, alert: dict[str, Any]):
    """Whoever is named as the author may, too."""
    await desk.key("cms", scopes=("alerts:read", "alerts:write", "delegate"))
    _, own = await desk.ask("cms", "POST", "/v1/alerts", {**alert, "author": {"subject": "ana"}, "state": "draft"})
    _, other = await desk.ask("bea", "POST", "/v1/alerts", {**alert, "state": "draft"})
    patch = {"channels": ["push", "sms"]}
    assert await desk.slug("cms", "PATCH", f"/v1/alerts/{own['id']}", patch) == "ok"
    assert await desk.slug("ana", "PATCH", f"/v1/alerts/{own['id']}", patch) == "ok"
    assert await desk.slug("cms", "PATCH", f"/v1/alerts/{other['id']}", patch) == "not-allowed"


async def test_a_key_asks_as_often_as_it_may(desk: Desk):
    """Then it is told when to ask again; but to stop is never too often."""
    await desk.key("slow", scopes=("alerts:read", "alerts:write"), terms=Terms(rate_per_min=2))
    answers = [await desk.ask("slow", "GET", "/v1/me") for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[2][1]["type"] == "/problems/rate-limited"
    headers = {"Authorization": f"Bearer {desk.tokens['slow']}"}
    async with desk.client.get("/v1/me", headers=headers) as refused:
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert await desk.slug("slow", "POST", "/v1/stop", {"reason": "x"}) == "ok"


async def test_a_key_is_known_until_it_expires(desk: Desk):
    """From the very millisecond on it is nobody's; and when it was last used is told."""
    now = desk.parts.clock.now_ms()
    await desk.key("late", scopes=ALL, terms=Terms(expires=now - 1))
    await desk.key("soon", scopes=ALL, terms=Terms(expires=now + 3_600_000))
    assert (await desk.ask("late", "GET", "/v1/me"))[0] == 401
    assert (await desk.ask("soon", "GET", "/v1/me"))[0] == 200
    _, listed = await desk.ask("ana", "GET", "/v1/keys")
    used = {one["subject"]: one["last_used"] is not None for one in listed["keys"]}
    assert used == {"ana": True, "bea": False, "late": False, "soon": True}


async def test_whose_hands_a_key_came_through_is_listed(desk: Desk):
    """When somebody leaves, the keys that they made for others are found, and rotated or revoked."""
    await desk.ask("ana", "POST", "/v1/keys", {"subject": "carl", "scopes": ["alerts:read"]})
    _, listed = await desk.ask("ana", "GET", "/v1/keys")
    made_by = {one["subject"]: one["made_by"] for one in listed["keys"]}
    assert (made_by["ana"], made_by["carl"]) == ([], ["ana"])


async def test_a_rotated_key_has_two_secrets_for_a_while(desk: Desk):
    """The old one for as long as was asked, and only the last old one; a revoked key has none."""
    _, me = await desk.ask("ana", "GET", "/v1/me")
    path, old = f"/v1/keys/{me['key']}/rotate", desk.tokens["ana"]
    status, made = await desk.ask("ana", "POST", path)
    assert (status, made["key"], made["scopes"]) == (200, me["key"], me["scopes"])
    assert made["old_secret_until"] is not None
    desk.tokens |= {"old": old, "new": made["token"]}
    assert [(await desk.ask(who, "GET", "/v1/me"))[0] for who in ("old", "new")] == [200, 200]
    _, last = await desk.ask("new", "POST", path, {"overlap_s": 0})
    desk.tokens["last"] = last["token"]
    assert [(await desk.ask(who, "GET", "/v1/me"))[0] for who in ("old", "new", "last")] == [401, 401, 200]
    assert await desk.slug("bea", "DELETE", f"/v1/keys/{me['key']}") == "ok"
    assert await desk.slug("bea", "POST", path) == "not-found"


async def test_a_secret_that_was_rotated_away_rotates_nothing(desk: Desk):
    """Whoever found it would take the key from its person; the new one goes on."""
    _, me = await desk.ask("ana", "GET", "/v1/me")
    path = f"/v1/keys/{me['key']}/rotate"
    _, made = await desk.ask("ana", "POST", path)
    desk.tokens["new"] = made["token"]
    assert await desk.slug("ana", "POST", path, {"overlap_s": 0}) == "not-allowed"
    assert await desk.slug("new", "GET", "/v1/me") == "ok"
    assert await desk.slug("new", "POST", path, {"overlap_s": 0}) == "ok"


async def test_nobody_revokes_a_key_that_is_more_than_their_own(desk: Desk):
    """So no helper shuts the administrators out; everybody revokes their own."""
    await desk.key("carl", scopes=ALL)
    await desk.key("dora", scopes=ALL)
    ids = {who: (await desk.ask(who, "GET", "/v1/me"))[1]["key"] for who in ("ana", "carl", "dora", "host")}
    table = {
        ("carl", "ana"): "not-allowed",
        ("carl", "dora"): "not-allowed",
        ("ana", "host"): "not-found",
        ("ana", "dora"): "ok",
        ("carl", "carl"): "ok",
    }
    found = {(who, of): await desk.slug(who, "DELETE", f"/v1/keys/{ids[of]}") for who, of in table}
    assert found == table


async def test_a_test_key_changes_no_actual_draft(desk: Desk, alert: dict[str, Any]):
    """Not even its own person's, into a Test that goes out at once."""
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "state": "draft"})
    made = await desk.parts.access.create(org="police", subject="ana", scopes=frozenset(ALL), test=True)
    desk.tokens["ana, testing"] = made[1]
    assert await desk.slug("ana, testing", "PATCH", f"/v1/alerts/{mine['id']}", {"status": "Test"}) == "not-allowed"
    assert await desk.slug("ana", "PATCH", f"/v1/alerts/{mine['id']}", {"channels": ["push", "sms"]}) == "ok"


async def test_a_stop_outlives_its_key_and_is_lifted_all_the_same(desk: Desk, alert: dict[str, Any]):
    """Two people lift the stop of a key that was revoked meanwhile, and what it had submitted can be approved."""
    await desk.key("dora")
    _, mine = await desk.ask("dora", "POST", "/v1/alerts", alert)
    scope = {"what": "key", "key": (await desk.ask("dora", "GET", "/v1/me"))[1]["key"]}
    assert await desk.slug("ana", "POST", "/v1/stop", {**scope, "reason": "lost"}) == "ok"
    assert await desk.slug("ana", "DELETE", f"/v1/keys/{scope['key']}") == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/approve", {}) == "stop-active"
    assert [await desk.slug(who, "POST", "/v1/resume", scope) for who in ("ana", "bea")] == ["ok", "ok"]
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/approve", {}) == "ok"
    assert await desk.slug("bea", "POST", "/v1/resume", scope) == "not-found"


async def test_nobody_rotates_a_key_that_is_more_than_their_own(desk: Desk, alert: dict[str, Any]):
    """For the new secret is theirs to use; and who rotated somebody's key has had it in hand."""
    await desk.key("carl", scopes=ALL)
    await desk.key("dora", scopes=ALL)
    ids = {
        subject: (await desk.ask(subject, "GET", "/v1/me"))[1]["key"]
        for subject in ("ana", "bea", "carl", "dora", "host")
    }
    table = {
        ("carl", "ana"): "not-allowed",  # it is an administrator's
        ("carl", "dora"): "not-allowed",  # it is somebody else's
        ("ana", "host"): "not-found",  # it is another organisation's
        ("carl", "carl"): "ok",
        ("bea", "dora"): "ok",
    }
    assert {row: await desk.slug(row[0], "POST", f"/v1/keys/{ids[row[1]]}/rotate") for row in table} == table
    _, taken = await desk.ask("dora", "POST", "/v1/alerts", alert)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "same-person"
    assert await desk.slug("ana", "POST", f"/v1/alerts/{taken['id']}/approve", {}) == "ok"


async def test_a_stopped_key_reads_nothing_and_only_stops_harm(desk: Desk, alert: dict[str, Any]):
    """It reads who it is and no more. It makes no other key, and removes nobody who could keep it stopped."""
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", alert)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/approve", {}) == "ok"
    await desk.key("mallory")
    names = {who: (await desk.ask(who, "GET", "/v1/me"))[1]["key"] for who in ("mallory", "bea")}
    stop = {"what": "key", "key": names["mallory"], "reason": "in the wrong hands"}
    assert await desk.slug("ana", "POST", "/v1/stop", stop) == "ok"
    ids = {"id": names["bea"], "org": "police", "message": "ended", "channel": "sms", "language": "es", "part": "text"}
    refused = {}
    for one in OPERATIONS:
        if one.scope and not one.while_stopped and not one.scope.startswith("subscribers:"):  # these are the host's
            path = re.sub(r"\{(\w+)[^/]*\}", lambda found: ids.get(found[1], "x"), one.path)
            refused[one.id] = await desk.slug("mallory", one.method, path, {} if one.method != "DELETE" else None)
    assert {"create_alert", "create_key", "revoke_key", "create_operator", "put_organisation", "put_text"} <= set(
        refused
    )
    reads = {one.id for one in OPERATIONS if one.method == "GET" and one.scope and one.scope != "subscribers:read"}
    assert reads - set(refused) == {"show_me"}
    assert refused == dict.fromkeys(refused, "stop-active")
    assert await desk.slug("mallory", "GET", f"/v1/alerts/{mine['id']}") == "stop-active"
    assert await desk.slug("mallory", "GET", "/v1/me") == "ok"
    assert await desk.slug("mallory", "POST", f"/v1/alerts/{mine['id']}/cancel", {"reason": "wrong child"}) == "ok"
    _, audit = await desk.ask("ana", "GET", "/v1/audit")
    assert any(one["by"] == "mallory" and one["facts"].get("problem") == "stop-active" for one in audit["entries"])
