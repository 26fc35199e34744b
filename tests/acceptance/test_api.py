"""The API as its users meet it: decisions need two people, bad input gets one clear answer, and nothing is done twice."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openapi_spec_validator import validate

from alertd.ids import Door
from tests.acceptance.conftest import Served
from tests.unit.alertd.samples import SUBSCRIBER, changed

BOW_TIE = [[[-6.1, 37.3], [-5.8, 37.5], [-5.8, 37.3], [-6.1, 37.5], [-6.1, 37.3]]]


@pytest.fixture(scope="module")
def ana(served: Served) -> str:
    return served.person("ana@centre.example")


@pytest.fixture(scope="module")
def bea(served: Served) -> str:
    return served.person("bea@centre.example")


def pointers(answer: dict[str, Any]) -> list[str]:
    return [fault.get("pointer", fault.get("parameter")) for fault in answer["errors"]]


def asked(
    served: Served, method: str, path: str, body: bytes | None, key: str, **headers: str
) -> tuple[int, dict[str, Any], Any]:
    """A call with these very bytes and headers: status, answer, and the answer's headers."""
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{served.url}{path}", body, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read()), refusal.headers


def raw(served: Served, body: bytes, key: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """A POST of an alert as these very bytes."""
    return asked(served, "POST", "/v1/alerts", body, key, **headers)[:2]


def test_openapi_is_valid_and_whole(served: Served):
    """The document is valid OpenAPI 3.1, and every operation has a summary, a scope and a problem answer."""
    _, document = served.call("GET", "/openapi.json")
    validate(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert any(int(status) >= 400 for status in operation["responses"]), (method, path)


def test_a_second_person_must_approve(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """The author of an Actual alert cannot approve it, nor can a key without the scope; another person can, once."""
    _, taken = served.call("POST", "/v1/alerts", alert, ana)
    assert taken["state"] == "pending"
    approve = f"/v1/alerts/{taken['id']}/approve"
    status, answer = served.call("POST", approve, {}, ana)
    assert (status, answer["type"]) == (403, "/problems/same-person")
    writer = {"subject": "eva@centre.example", "scopes": ["alerts:write", "alerts:read"]}
    only_writes = served.call("POST", "/v1/keys", writer)[1]["token"]
    status, answer = served.call("POST", approve, {}, only_writes)
    assert (status, answer["scope"]) == (403, "alerts:approve")
    status, answer = served.call("POST", approve, {"people": 1}, bea)
    assert (status, answer["type"], answer["seen"]) == (409, "/problems/audience-changed", 1)
    status, answer = served.call("POST", approve, {"people": answer["now"]}, bea)
    assert (status, answer["state"], answer["approver"]) == (200, "approved", "bea@centre.example")
    status, again = served.call("POST", approve, {}, bea)
    assert (status, again["approver"], again["approved"]) == (200, answer["approver"], answer["approved"])
    status, answer = served.call("POST", approve, {}, served.person("carl@centre.example"))
    assert (status, answer["type"]) == (409, "/problems/precondition-failed")


def test_returned_rejected_and_drafts(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """A draft waits for its author; a returned alert can be submitted again; a rejected one is over."""
    _, taken = served.call("POST", "/v1/alerts", {**alert, "state": "draft"}, ana)
    path = f"/v1/alerts/{taken['id']}"
    assert taken["state"] == "draft"
    assert served.call("POST", f"{path}/submit", {}, ana)[1]["state"] == "pending"
    assert served.call("POST", f"{path}/return", {"reason": "Which exit?"}, bea)[1]["state"] == "returned"
    assert served.call("POST", f"{path}/submit", {}, ana)[1]["state"] == "pending"
    assert served.call("POST", f"{path}/reject", {"reason": "Found"}, bea)[1]["state"] == "rejected"
    status, answer = served.call("POST", f"{path}/submit", {}, ana)
    assert (status, answer["type"]) == (409, "/problems/precondition-failed")
    assert served.call("GET", path, key=ana)[1]["reason"] == "Found"


def test_a_draft_is_changed_and_a_decision_is_about_what_was_seen(
    served: Served, alert: dict[str, Any], ana: str, bea: str
):
    """A draft takes a merge patch; an ETag that is no longer the alert's refuses the decision, and the present one makes it."""
    draft = json.dumps({**alert, "state": "draft"}).encode()
    _, taken, headers = asked(served, "POST", "/v1/alerts", draft, ana)
    path, seen = f"/v1/alerts/{taken['id']}", headers["ETag"]
    patch = json.dumps({"target": {"regions": ["ES-SE"]}, "external_id": "patched"}).encode()
    status, changed_to, headers = asked(served, "PATCH", path, patch, ana, **{"If-Match": seen})
    assert (status, changed_to["state"], changed_to["area"]["km2"] < taken["area"]["km2"]) == (200, "draft", True)
    assert headers["ETag"] != seen
    for method, to in (("PATCH", path), ("POST", f"{path}/submit")):
        status, answer, _ = asked(served, method, to, b"{}", ana, **{"If-Match": seen})
        assert (status, answer["type"]) == (412, "/problems/precondition-failed")
    assert served.call("POST", f"{path}/submit", {}, ana)[0] == 200
    status, answer, _ = asked(served, "POST", f"{path}/approve", b"{}", bea, **{"If-Match": headers["ETag"]})
    assert (status, answer["type"]) == (412, "/problems/precondition-failed")
    _, shown, headers = asked(served, "GET", path, None, bea)
    assert (shown["alert"]["external_id"], shown["alert"]["target"]["regions"]) == ("patched", ["ES-SE"])
    status, answer, _ = asked(served, "POST", f"{path}/approve", b"{}", bea, **{"If-Match": headers["ETag"]})
    assert (status, answer["state"]) == (200, "approved")


def test_alerts_are_listed_page_by_page(served: Served, alert: dict[str, Any], ana: str):
    """The pages of a filter are full, hold each alert once, and end."""
    draft = {**alert, "state": "draft", "external_id": "in-pages"}
    made = [served.call("POST", "/v1/alerts", draft, ana)[1]["id"] for _ in range(5)]
    listed: list[list[str]] = []
    cursor = ""
    while len(listed) < 9:
        _, answer = served.call("GET", f"/v1/alerts?external_id=in-pages&limit=2{cursor}", key=ana)
        listed.append([found["id"] for found in answer["alerts"]])
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert [name for page in listed for name in page] == made[::-1]
    assert [len(page) for page in listed[:3]] == [2, 2, 1]
    future = (datetime.now(UTC) + timedelta(minutes=1)).isoformat().replace("+", "%2B")
    assert served.call("GET", f"/v1/alerts?since={future}", key=ana)[1]["alerts"] == []
    assert served.call("GET", "/v1/alerts?cursor=7", key=ana)[0] == 400


def test_the_same_post_is_done_once(served: Served, alert: dict[str, Any], ana: str):
    """One Idempotency-Key: the same alert again, another body refused."""
    body = json.dumps({**alert, "external_id": "once"}).encode()
    key = {"Idempotency-Key": "k-1"}
    first, again = raw(served, body, ana, **key), raw(served, body, ana, **key)
    assert first[0] == again[0] == 202
    assert first[1]["id"] == again[1]["id"]
    status, answer = raw(served, json.dumps(alert).encode(), ana, **key)
    assert (status, answer["type"]) == (422, "/problems/idempotency-mismatch")
    listed = served.call("GET", "/v1/alerts?external_id=once&limit=200")[1]["alerts"]
    assert len(listed) == 1


def test_a_dry_run_does_nothing(served: Served, alert: dict[str, Any], ana: str):
    """It answers as the real thing and keeps nothing."""

    def kept() -> list[str]:
        return [one["id"] for one in served.call("GET", "/v1/alerts?limit=200")[1]["alerts"]]

    before = kept()
    status, answer = served.call("POST", "/v1/alerts?dry_run=true", alert, ana)
    assert (status, answer["audience"]["people"] > 100) == (202, True)
    assert kept() == before
    assert served.call("GET", f"/v1/alerts/{answer['id']}")[0] == 404
    for _ in range(2):  # the second is a replay, of which nothing was kept
        again = asked(
            served, "POST", "/v1/alerts?dry_run=true", json.dumps(alert).encode(), ana, **{"Idempotency-Key": "dry"}
        )
        assert (again[0], again[1]["audience"]) == (202, answer["audience"])
    assert kept() == before


CASES = [
    ({"target/regions": ["41O91"]}, 422, "unknown-region", ["/target/regions/0"]),
    ({"target/circles": [{"center": [37.39, -5.97], "radius_km": 0.0}]}, 400, "invalid-request", None),
    ({"expires": "2020-01-01T00:00:00Z"}, 409, "expired", ["/expires"]),
    ({"channels": ["webpush"]}, 422, "channel-unavailable", ["/channels/0"]),
    ({"case/protection": ["witness"]}, 400, "invalid-request", ["/case/protection"]),
    ({"case/verification": None}, 422, "case-not-verified", None),
    ({"info/es/source": "machine"}, 422, "translation-unreviewed", ["/info/es/source"]),
    ({"target": {"circles": [{"center": [-30, 50], "radius_km": 5}]}}, 422, "audience-too-small", None),
    ({"target": {"circles": [{"center": [-5.98, 37.39], "radius_km": 0.1}]}}, 422, "audience-too-small", None),
    ({"author/subject": "someone@else.example"}, 403, "not-allowed", ["/author/subject"]),
    ({"case/contact": [{"url": "https://centre.example/" + "x" * 1600}]}, 422, "message-impossible", ["/channels/1"]),
    ({"publish/page": True}, 400, "invalid-request", ["/publish/page"]),
]


@pytest.mark.parametrize(("changes", "status", "slug", "places"), CASES)
def test_what_cannot_be_sent_is_refused(
    served: Served, alert: dict[str, Any], ana: str, changes: dict[str, Any], status: int, slug: str, places: Any
):
    """Each with its problem, its place, and what to do about it; nothing is ignored."""
    for path, value in changes.items():
        alert = changed(alert, path, value)
    found, answer = served.call("POST", "/v1/alerts", alert, ana)
    assert (found, answer["type"]) == (status, f"/problems/{slug}")
    assert answer["what_to_do"]
    if places:
        assert pointers(answer) == places


def test_a_dry_run_finds_the_message_that_cannot_be_made(served: Served, alert: dict[str, Any], ana: str):
    """An alert that would tell nobody by SMS is refused before it is kept, and taken without that channel."""
    long = changed(alert, "case/contact", [{"url": "https://centre.example/" + "x" * 1600}])
    status, answer = served.call("POST", "/v1/alerts?dry_run=true", long, ana)
    assert (status, answer["type"], pointers(answer)) == (422, "/problems/message-impossible", ["/channels/1"])
    assert served.call("POST", "/v1/alerts?dry_run=true", changed(long, "channels", ["mail"]), ana)[0] == 202


SHAPES = [
    ([[[-6, 37], [-5, 37], [-5, 38]]], None),  # unclosed: closed for the sender
    ([[[-6, 37], [-5, 37]]], "invalid-geometry"),
    ([], "invalid-geometry"),
    ([[[37, -6], [37, -5], [138, -95], [37, -6]]], "invalid-geometry"),
    ([[[-170, 10], [170, 10], [170, 20], [-170, 20], [-170, 10]]], "invalid-geometry"),  # which way round?
]


@pytest.mark.parametrize(("rings", "slug"), SHAPES)
def test_odd_shapes_are_mended_or_refused(served: Served, ana: str, rings: Any, slug: str | None):
    """What can be meant in one way is taken; the rest is refused at its place."""
    target = {"polygons": [{"type": "Polygon", "coordinates": rings}]}
    status, answer = served.call("POST", "/v1/targets/preview", {"target": target}, ana)
    if slug is None:
        assert status == 200
    else:
        assert (status, answer["type"]) == (422, f"/problems/{slug}")
        assert pointers(answer)[0].startswith("/target/polygons/0")


def test_a_bow_tie_is_mended_and_said(served: Served, ana: str):
    """A shape that crosses itself is repaired, and the preview tells it."""
    target = {"polygons": [{"type": "Polygon", "coordinates": BOW_TIE}]}
    status, answer = served.call("POST", "/v1/targets/preview", {"target": target}, ana)
    assert status == 200
    assert answer["area"]["repairs"][0].startswith("/polygons/0")
    assert len(answer["geometry"]["coordinates"]) == 2


def test_too_much_is_refused_at_once(served: Served, alert: dict[str, Any], ana: str):
    """Too many vertices, too long a body, numbers that are none, and nesting without end: an answer, quickly."""
    circle = [[math.cos(i / 20000) * 5, math.sin(i / 20000) * 5] for i in range(120_000)]
    large = changed(alert, "target", {"polygons": [{"type": "Polygon", "coordinates": [[*circle, circle[0]]]}]})
    assert raw(served, json.dumps(large).encode(), ana)[0] in {413, 422}
    assert raw(served, b'{"kind": "' + b"x" * 11_000_000 + b'"}', ana)[0] == 413
    nan = json.dumps({**alert, "target": {"circles": [{"center": [math.nan, 1], "radius_km": 1}]}})
    for body in (nan.encode(), b"[" * 100_000, b'{"kind": 1, "kind": 2}', b"\xff", b"<alert/>"):
        status, answer = raw(served, body, ana)
        assert (status, answer["type"]) == (400, "/problems/invalid-request")


def test_errors_never_quote_people(served: Served, alert: dict[str, Any], ana: str):
    """A refused alert or subscriber is told by place, without the words that were sent."""
    secret = "Xanthippe-4711"
    broken = changed(changed(alert, "case/children/0/name", {"public": secret, "nickname": secret}), "kind", secret)
    person = {**SUBSCRIBER, "addresses": [{"channel": "sms", "number": secret}], "languages": [secret]}
    for method, path, body in (("POST", "/v1/alerts", broken), ("PUT", "/v1/subscribers/x", person)):
        status, answer = served.call(method, path, body, ana)
        assert status == 400
        assert secret not in json.dumps(answer)


def test_an_import_writes_what_it_can(served: Served):
    """Each bad line is told with its number and faults; the good ones are in; the same file again changes nothing."""
    good = [
        {**SUBSCRIBER, "id": f"imported-{i}", "addresses": [{"channel": "push", "token": f"i-{i}"}]} for i in range(3)
    ]
    lines = [json.dumps(good[0]), "{", json.dumps({**good[1], "kinds": ["no"]}), json.dumps(good[2])]
    for _ in range(2):
        headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/x-ndjson"}
        url = f"{served.url}/v1/subscribers/import"
        request = urllib.request.Request(url, "\n".join(lines).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            report = json.loads(response.read().splitlines()[-1])
        assert (report["written"], report["refused"]) == (2, 2)
        assert [fault["line"] for fault in report["faults"]] == [2, 3]
    assert served.call("GET", "/v1/subscribers/imported-2")[0] == 200
    assert served.call("GET", "/v1/subscribers/imported-1")[0] == 404


def test_the_ledger_is_told_without_people(served: Served, alert: dict[str, Any]):
    """One line a reference, under names that mean nothing elsewhere, and as many as were targeted."""
    alert_id = served.approved(alert)
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    request = urllib.request.Request(
        f"{served.url}/v1/alerts/{alert_id}/deliveries", headers={"Authorization": f"Bearer {served.key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        text = response.read().decode()
    rows = [json.loads(line) for line in text.splitlines()]
    targeted = sum(counts["targeted"] for counts in served.progress(alert_id)["channels"].values())
    assert len(rows) == targeted > 100
    assert {row["state"] for row in rows} <= {"accepted", "delivered"}
    assert not re.search(r"sample-|\+34|@people", text)


def posted(served: Served, path: str, form: dict[str, str]) -> int:
    """A form posted as a carrier, an app or a mail program does; answers the status."""
    try:
        with urllib.request.urlopen(served.url + path, urllib.parse.urlencode(form).encode(), timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def test_a_report_counts_for_its_carriers_channel_alone(served: Served, alert: dict[str, Any]):
    """Each carrier's words are read by its own channel, for its own messages, under a tag that was made for reports."""
    alert_id = served.approved(alert)
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    url, key = f"{served.url}/v1/alerts/{alert_id}/deliveries", {"Authorization": f"Bearer {served.key}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=key), timeout=30) as response:
        first = {row["channel"]: row["row"] for row in map(json.loads, response.read().splitlines()[::-1])}
    name = {c["channel"]: c["name"] for c in served.call("GET", "/v1/carriers")[1]["carriers"]}
    tags, delivered = served.tags(), {"MessageStatus": "delivered"}
    report = tags.make(alert_id, first["sms"], Door.RECEIPT)
    assert posted(served, f"/v1/receipts/{name['sms']}/{report}", delivered) == 204
    assert posted(served, f"/v1/receipts/{name['sms']}/{report}", {"MessageStatus": "nonsense"}) == 400
    assert served.progress(alert_id)["channels"]["sms"]["delivered"] >= 1
    others = tags.make(alert_id, first["push"], Door.RECEIPT)
    for path in (
        f"/v1/receipts/{name['sms']}/{others}",  # of a push
        f"/v1/receipts/{name['mail']}/{report}",  # whose channel knows no reports
        f"/v1/receipts/nobody/{report}",
        f"/v1/receipts/{name['sms']}/{tags.make(alert_id, first['sms'], Door.LEAVE)}",
        f"/u/{report}",
        f"/u/{tags.make(alert_id, first['push'], Door.ACK)}",
    ):
        assert posted(served, path, delivered) == 404, path
    assert served.call("POST", f"/r/{report}")[0] == 404
    assert served.progress(alert_id)["channels"]["push"]["delivered"] == 0
    assert served.call("POST", f"/r/{tags.make(alert_id, first['push'], Door.ACK)}")[0] == 204
    assert served.progress(alert_id)["channels"]["push"]["delivered"] == 1


def test_test_alerts_reach_only_testers(served: Served, alert: dict[str, Any], ana: str):
    """A Test goes out at once, to testers alone, and says so in front."""
    tester = {**SUBSCRIBER, "tester": True, "addresses": [{"channel": "push", "token": "the-tester"}]}
    tester["places"] = {"home": {"point": [-3.7, 40.4]}}
    assert served.call("PUT", "/v1/subscribers/tester", tester)[0] == 201
    status, taken = served.call("POST", "/v1/alerts", {**alert, "status": "Test", "channels": ["push"]}, ana)
    assert status == 202
    served.wait_for(lambda: served.progress(taken["id"])["state"] == "sent")
    assert served.progress(taken["id"])["channels"]["push"]["targeted"] == 1


def previewed(served: Served, key: str, center: list[float], radius_km: float) -> dict[str, Any]:
    """The audience and the seconds that a preview of a circle tells."""
    target = {"circles": [{"center": center, "radius_km": radius_km}]}
    status, answer = served.call("POST", "/v1/targets/preview", {"target": target}, key)
    assert status == 200
    return {"audience": answer["audience"], "eta": answer["eta"]}


def test_small_counts_are_hidden(served: Served, alert: dict[str, Any], ana: str):
    """A few people and nobody at all read the same, in a preview and in a dry run, so that nobody can be sought that way;
    of an area below the least nothing is told, however many live there.
    """
    lonely = {**SUBSCRIBER, "places": {"home": {"point": [9.5, 51.3]}}, "tester": True}
    lonely["addresses"] = [{"channel": "push", "token": "lonely"}]
    assert served.call("PUT", "/v1/subscribers/lonely", lonely)[0] in {200, 201}
    someone, nobody = (previewed(served, ana, [lon, 51.3], 1) for lon in (9.5, 9.7))
    assert someone == nobody
    assert (someone["audience"]["people"], someone["audience"]["addresses"]["push"]) == ("<20", "<20")
    assert someone["audience"]["regions"] == {}
    tiny = [previewed(served, ana, point, 0.01) for point in ([9.5, 51.3], [9.7, 51.3])]
    crowd = previewed(served, ana, [-5.98, 37.39], 0.2)
    assert tiny[0] == tiny[1] == crowd
    assert crowd["audience"]["people"] == crowd["audience"]["addresses"]["sms"] == "hidden"
    audiences = []
    for lon in (9.5, 9.7):
        test = {**alert, "status": "Test", "target": {"circles": [{"center": [lon, 51.3], "radius_km": 1}]}}
        audiences.append(served.call("POST", "/v1/alerts?dry_run=true", test, ana)[1]["audience"])
    assert audiences == [someone["audience"]] * 2


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("target", "rings", [{"center": [0, 1], "radius_km": 1}]),
        ("target", "buffer_km", 1),
        ("target", "groups", ["x"]),
        ("policy", "mode", "first"),
        ("policy", "pace_per_min", 10),
    ],
)
def test_a_preview_ignores_nothing(served: Served, ana: str, part: str, name: str, value: Any):
    """What is not done yet is refused there as in an alert: else another area would be seen than was asked for."""
    body: dict[str, Any] = {"target": {"regions": ["41091"]}, "policy": {}}
    body[part][name] = value
    status, answer = served.call("POST", "/v1/targets/preview", body, ana)
    assert (status, pointers(answer)) == (400, [f"/{part}/{name}"])


def test_keys_are_for_one_person_and_end_at_once(served: Served):
    """A key gives no more than its maker has, and a revoked one is unknown from the next call on."""
    maker = served.call("POST", "/v1/keys", {"subject": "m@centre.example", "scopes": ["keys:write"]})[1]["token"]
    status, answer = served.call("POST", "/v1/keys", {"subject": "x@centre.example", "scopes": ["admin"]}, maker)
    assert (status, answer["type"]) == (403, "/problems/not-allowed")
    made = served.call("POST", "/v1/keys", {"subject": "y@centre.example", "scopes": ["alerts:read"]})[1]
    assert served.call("GET", "/v1/me", key=made["token"])[0] == 200
    assert served.call("DELETE", f"/v1/keys/{made['key']}")[0] == 204
    assert served.call("GET", "/v1/me", key=made["token"])[0] == 401
    assert served.call("GET", "/v1/me", key="live_nonsense")[0] == 401
    assert made["token"] not in json.dumps(served.call("GET", "/v1/keys")[1])


def test_only_an_administrator_makes_keys_for_others(served: Served, alert: dict[str, Any]):
    """Whoever may make keys makes them for themselves, in whatever spelling; nobody becomes their own second person, and a
    test key makes only test keys.
    """
    scopes = ["alerts:write", "alerts:approve", "keys:write"]
    mallory = served.call("POST", "/v1/keys", {"subject": "mal@centre.example", "scopes": scopes})[1]["token"]
    status, answer = served.call("POST", "/v1/keys", {"subject": "bea@centre.example", "scopes": scopes[1:]}, mallory)
    assert (status, answer["type"], answer["scope"]) == (403, "/problems/not-allowed", "admin")
    own = {"subject": "MAL@centre.example", "scopes": scopes[1:]}
    second = served.call("POST", "/v1/keys", own, mallory)[1]["token"]
    taken = served.call("POST", "/v1/alerts", changed(alert, "author", {}), mallory)[1]
    status, answer = served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, second)
    assert (status, answer["type"]) == (403, "/problems/same-person")
    status, answer = served.call("POST", "/v1/keys", {"subject": "ma\u200bl", "scopes": scopes})
    assert (status, pointers(answer)) == (400, ["/subject"])
    tester = served.call("POST", "/v1/keys", {"subject": "t", "scopes": ["admin"], "test": True})[1]["token"]
    assert served.call("POST", "/v1/keys", {"subject": "t", "scopes": scopes}, tester)[1]["test"] is True


def test_kinds_regions_and_carriers_are_told(served: Served):
    """What a case system needs to fill a form."""
    kind = served.call("GET", "/v1/kinds/missing-child")[1]
    assert kind["levels"]["child-alert"]["loudness"] == "loud"
    assert kind["codes"]["hair"]["es"]
    assert kind["json_schema"]["properties"]["case"]
    found = served.call("GET", "/v1/regions?q=Sevilla&kind=city")[1]["regions"]
    assert found[0]["code"] == "41091"
    at = served.call("GET", "/v1/regions?at=-5.98,37.39")[1]["regions"]
    assert [region["code"] for region in at] == ["41091", "ES-SE", "ES"]
    assert served.call("GET", "/v1/regions/41091?geometry=simple")[1]["geometry"]["type"] in {"Polygon", "MultiPolygon"}
    status, answer = served.call("GET", "/v1/regions/41O91")
    assert (status, "41091" in answer["nearest"]) == (404, True)
    assert {carrier["channel"] for carrier in served.call("GET", "/v1/carriers")[1]["carriers"]} == {
        "push",
        "sms",
        "mail",
    }


def test_a_stream_shows_the_last_reference_end(served: Served, alert: dict[str, Any]):
    """Whoever watches an alert that is cancelled half way sees its queued settled, and then the stream's end."""
    served.control("push", {"rules": [{"prefix": "", "do": "slow", "delay_s": 0.2}]})
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: served.progress(alert_id)["channels"].get("push", {}).get("accepted", 0) > 0)
    headers = {"Authorization": f"Bearer {served.key}", "Accept": "text/event-stream"}
    request = urllib.request.Request(f"{served.url}/v1/alerts/{alert_id}/progress", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        assert served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "Found"})[0] == 200
        events = [json.loads(line[6:]) for line in response.read().splitlines() if line.startswith(b"data: ")]
    served.control("push", {"rules": []})
    counts = events[-1]["channels"]["push"]
    assert (events[-1]["state"], counts["queued"], counts["in_flight"]) == ("cancelled", 0, 0)
    assert counts["cancelled"] > 0
    assert any(event["channels"]["push"]["queued"] for event in events)
