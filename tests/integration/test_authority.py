"""Who may not do what: of each rule about organisations and keys, that it refuses, and that its neighbour goes through."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.api import OPERATIONS
from alertd.app import Parts
from alertd.organisations import Jurisdiction, Organisation
from alertd.service.access import Terms
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


ALL = ("alerts:read", "alerts:write", "alerts:approve", "keys:write")


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


ALLOWED = {"levels": ["endangered"], "people": 100, "alerts_per_hour": 2}


async def allow(desk: Desk, who: str, **changes: Any) -> None:
    """Somebody of the police lets alerts go out without a second person."""
    _, shown = await desk.ask("ana", "GET", "/v1/organisations/police")
    body = {**shown["organisation"], "unattended": {**ALLOWED, **changes}}
    assert await desk.slug(who, "PUT", "/v1/organisations/police", body) == "ok"


async def state(desk: Desk, who: str, alert: dict[str, Any]) -> str:
    """What an alert comes to that somebody submits."""
    status, taken = await desk.ask(who, "POST", "/v1/alerts", alert)
    assert status == 202, taken
    return str(taken["state"])


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
    await allow(desk, "bea", people=39)
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
        await allow(desk, name, people=100 + len(found))
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


async def test_a_stopped_key_does_nothing_but_read_and_stop_harm(desk: Desk, alert: dict[str, Any]):
    """Whatever else there is: it makes nobody who goes on in its place, and takes nobody away who could keep it stopped."""
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
    assert refused == dict.fromkeys(refused, "stop-active")
    assert await desk.slug("mallory", "GET", f"/v1/alerts/{mine['id']}") == "ok"
    assert await desk.slug("mallory", "POST", f"/v1/alerts/{mine['id']}/cancel", {"reason": "wrong child"}) == "ok"
    _, audit = await desk.ask("ana", "GET", "/v1/audit")
    assert any(one["by"] == "mallory" and one["facts"].get("problem") == "stop-active" for one in audit["entries"])


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
    assert len(refused) == 22
    assert refused == dict.fromkeys(refused, "not-allowed")
    assert await desk.slug("host", "GET", "/v1/subscribers/p0") == "ok"
    assert [(await desk.ask(who, "GET", "/v1/me"))[1]["host"] for who in ("ana", "host")] == [False, True]


async def test_a_draft_that_is_submitted_and_an_update_go_by_the_same_policy(desk: Desk, alert: dict[str, Any]):
    """An update tells those again who were told: they count among its people."""
    await allow(desk, "bea")
    _, draft = await desk.ask("ana", "POST", "/v1/alerts", {**alert, "state": "draft"})
    assert (await desk.ask("ana", "POST", f"/v1/alerts/{draft['id']}/submit"))[1]["state"] == "approved"
    update = {**alert, "notify": "full"}
    assert (await desk.ask("ana", "POST", f"/v1/alerts/{draft['id']}/updates", update))[1]["state"] == "approved"


async def test_an_organisation_stops_itself_and_whoever_runs_the_service_all(desk: Desk, alert: dict[str, Any]):
    """Two of another's administrators could otherwise lift a stop of the whole; and what an organisation has is measured, too."""
    assert await state(desk, "ana", alert) == "pending"
    assert b'alertd_alerts{state="pending"} 1.0' in await desk.parts.fleet.metrics()
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


async def test_each_organisation_has_a_hold_of_its_own(desk: Desk, alert: dict[str, Any]):
    """Whoever has an alert of the case sees that another organisation keeps it, and neither by whom nor why; they hold it for themselves and release that alone."""
    await desk.parts.organisations.put("fire", Organisation.model_validate_json('{"name": "Fire"}'), ANA)
    for who in ("fred", "fran"):
        await desk.key(who, org="fire")
    ours, theirs = [
        f"/v1/alerts/{(await desk.ask(who, 'POST', '/v1/alerts', {**alert, 'state': 'draft'}))[1]['id']}"
        for who in ("ana", "fred")
    ]
    assert await desk.slug("ana", "POST", f"{ours}/hold", {"reason": "the father is accused"}) == "ok"
    _, seen = await desk.ask("fred", "GET", f"{theirs}/hold")
    assert seen == {"id": theirs.split("/")[-1], "held": True, "by": None, "at": None, "reason": None}
    assert await desk.slug("fred", "POST", f"{theirs}/release") == "not-allowed"
    _, held = await desk.ask("fred", "POST", f"{theirs}/hold", {"reason": "for us"})
    assert (held["by"], held["reason"]) == ("fred", "for us")
    assert await desk.slug("bea", "POST", f"{ours}/release") == "ok"
    assert await desk.slug("ana", "POST", f"{ours}/reject", {"reason": "x"}) == "ok"
    assert await desk.slug("ana", "POST", f"{ours}/purge", {"reason": "request"}) == "precondition-failed"
    _, released = await desk.ask("fran", "POST", f"{theirs}/release")
    assert not released["held"]


async def entries(desk: Desk) -> int:
    return int((await desk.ask("ana", "GET", "/v1/audit?limit=1"))[1]["entries"][0]["entry"])


async def test_a_case_stand_down_that_is_sent_again_hides_nothing_new(desk: Desk, alert: dict[str, Any]):
    """Under its Idempotency-Key it tells how the case stands. Under another it acts, and that is in the audit."""
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", alert)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/approve", {}) == "ok"
    asked = ("ana", "POST", "/v1/cases/SE-2026-117/stand-down", {"reason": "found"})
    _, first = await desk.ask(*asked, **{"Idempotency-Key": "one"})
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/reopen", {"reason": "another child"}) == "ok"
    before = await entries(desk)
    status, again = await desk.ask(*asked, **{"Idempotency-Key": "one"})
    assert (status, [one["id"] for one in again["alerts"]]) == (200, [one["id"] for one in first["alerts"]])
    assert [one["state"] for one in again["alerts"]] == ["sending"]
    assert await entries(desk) == before
    _, anew = await desk.ask(*asked, **{"Idempotency-Key": "two"})
    assert [one["state"] for one in anew["alerts"]] == ["stood_down"]
    assert await entries(desk) > before


async def test_a_cap_cancel_that_is_sent_again_cancels_nothing_new(desk: Desk, alert: dict[str, Any]):
    """What came under the same reference since goes on."""
    await register(desk.parts, 40, first=300, kinds=["general"])
    kind = {"Content-Type": "application/cap+xml"}
    document = CAP.format(lat=SEVILLA[1], lon=SEVILLA[0], expires=alert["expires"])
    named = "<references>police.example,1,2026-01-10T12:00:00-00:00</references>"
    cancel = (
        re.sub("<info>.*</info>", named, document, flags=re.DOTALL).replace(">1<", ">2<").replace(">Alert<", ">Cancel<")
    )
    _, first = await desk.ask("ana", "POST", "/v1/cap", document, **kind)
    assert (await desk.ask("ana", "POST", "/v1/cap", cancel, **kind, **{"Idempotency-Key": "c"}))[0] == 202
    _, second = await desk.ask("ana", "POST", "/v1/cap", document, **kind)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{second['id']}/approve", {}) == "ok"
    _, again = await desk.ask("ana", "POST", "/v1/cap", cancel, **kind, **{"Idempotency-Key": "c"})
    assert again["id"] == first["id"]
    assert (await desk.ask("ana", "GET", f"/v1/alerts/{second['id']}"))[1]["state"] in {"approved", "sending"}


async def test_who_is_looked_up_again_is_in_the_audit_again(desk: Desk):
    """Whatever its Idempotency-Key: it was disclosed twice."""
    asked = ("host", "POST", "/v1/subscribers/lookup", {"channel": "push", "value": "token-3"})
    for _ in range(2):
        assert await desk.slug(*asked, **{"Idempotency-Key": "one"}) == "ok"
    _, audit = await desk.ask("host", "GET", "/v1/audit")
    assert [(one["act"], one["outcome"]) for one in audit["entries"]].count(("subscriber.lookup", "done")) == 2


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
            assert (
                await desk.slug(who, "POST", "/v1/alerts", {**alert, **asked, "status": "Test", "state": "draft"})
                == found
            )
    assert await desk.slug("host", "PUT", "/v1/regions/SEARCH-1", drawn) == "not-allowed"
