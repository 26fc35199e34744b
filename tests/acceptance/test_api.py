"""The API as its users meet it: decisions need two people, bad input gets one clear answer, and nothing is done twice."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.acceptance.asking import asked, raw
from tests.acceptance.conftest import CHANNELS, Served

pytestmark = pytest.mark.shares


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
    assert (status, answer["type"], answer["seen"]) == (409, "/problems/audience-changed", "<100")
    status, answer = served.call("POST", approve, {"people": answer["now"]}, bea)
    assert (status, answer["state"], answer["approver"]) == (200, "approved", "bea@centre.example")
    served.wait_for(lambda: served.progress(taken["id"])["state"] == "sent")  # it stands as it is then
    status, again = served.call("POST", approve, {}, bea)
    assert (status, again["approver"], again["approved"]) == (200, answer["approver"], answer["approved"])
    status, answer = served.call("POST", approve, {}, served.person("carl@centre.example"))
    kinds = {409: "/problems/precondition-failed", 412: "/problems/version-changed"}  # 412: it went on meanwhile
    assert answer["type"] == kinds[status]


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
        assert (status, answer["type"]) == (412, "/problems/version-changed")
    assert served.call("POST", f"{path}/submit", {}, ana)[0] == 200
    status, answer, _ = asked(served, "POST", f"{path}/approve", b"{}", bea, **{"If-Match": headers["ETag"]})
    assert (status, answer["type"]) == (412, "/problems/version-changed")
    _, shown, headers = asked(served, "GET", path, None, bea)
    assert (shown["alert"]["external_id"], shown["alert"]["target"]["regions"]) == ("patched", ["ES-SE"])
    listed = served.call("GET", "/v1/alerts?external_id=patched", key=bea)[1]["alerts"]
    assert [f'"{one["rev"]}"' for one in (shown, *listed, served.progress(taken["id"]))] == [headers["ETag"]] * 3
    status, answer, _ = asked(served, "POST", f"{path}/approve", b"{}", bea, **{"If-Match": headers["ETag"]})
    assert (status, answer["state"] in {"approved", "sending", "sent"}) == (200, True)  # a worker may be quicker


def test_an_approval_names_what_was_looked_at(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """By its ETag or its `rev`; without one nobody is told, whoever asks, and not of another than was looked at either. An alert that there is
    not is not found.
    """
    taken = served.call("POST", "/v1/alerts", {**alert, "external_id": "looked-at"}, ana)[1]
    path = f"/v1/alerts/{taken['id']}"
    cases: tuple[tuple[bytes | None, dict[str, str], int], ...] = (
        (None, {}, 428), (b"{}", {}, 428), (b"{}", {"If-Match": "*"}, 428), (b'{"people": 1}', {}, 428),
        (b'{"rev": 2}', {}, 412), (b"{}", {"If-Match": '"7"'}, 412), (b'{"rev": 1}', {"If-Match": '"7"'}, 412),
    )  # fmt: skip
    for body, headers, refused in cases:
        status, answer, _ = asked(served, "POST", f"{path}/approve", body, bea, **headers)
        kinds = {412: "/problems/version-changed", 428: "/problems/version-required"}
        assert (status, answer["type"]) == (refused, kinds[refused]), (body, headers)
    nowhere = path.replace(taken["id"], "01M882R9G938BE2P8KXNZ55750")
    assert asked(served, "POST", f"{nowhere}/approve", b"{}", bea)[0] == 404
    assert served.call("GET", path)[1]["state"] == "pending"
    status, answer, _ = asked(served, "POST", f"{path}/approve", json.dumps({"rev": taken["rev"]}).encode(), bea)
    assert (status, answer["approver"]) == (200, "bea@centre.example")


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
    assert {carrier["channel"] for carrier in served.call("GET", "/v1/carriers")[1]["carriers"]} == set(CHANNELS)


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


def test_who_closes_a_stream_is_no_failure(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """A tab that is closed while an alert goes out is counted as a caller who left, not as an error of ours."""
    _, taken = served.call("POST", "/v1/alerts", alert, ana)
    path = f"/v1/alerts/{taken['id']}"
    asking = {"Authorization": f"Bearer {ana}", "Accept": "text/event-stream"}
    stream = urllib.request.urlopen(urllib.request.Request(f"{served.url}{path}/progress", headers=asking), timeout=30)
    stream.readline()
    stream.close()
    assert served.call("POST", f"{path}/approve", {}, bea)[0] == 200
    served.wait_for(lambda: "499" in statuses(served, "GET", "/v1/alerts/{id}/progress"))
    assert "500" not in statuses(served, "GET", "/v1/alerts/{id}/progress")
    assert '"request.failed"' not in served.log.read_text()


def test_who_leaves_in_mid_body_is_no_failure(served: Served, ana: str):
    """A line that breaks while an alert comes in is counted as a caller who left: nobody is woken for it, and nothing was taken."""
    where = urllib.parse.urlsplit(served.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=30) as line:
        head = f"POST /v1/alerts HTTP/1.1\r\nHost: alertd\r\nAuthorization: Bearer {ana}\r\n"
        line.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n".encode() + b'{"kind": ')
    served.wait_for(lambda: "499" in statuses(served, "POST", "/v1/alerts"))
    assert "500" not in statuses(served, "POST", "/v1/alerts")
    assert '"request.failed"' not in served.log.read_text()


def statuses(served: Served, method: str, route: str) -> set[str]:
    """Those that calls of a route have ended with so far."""
    lines = [line for line in metrics(served).splitlines() if line.startswith("alertd_http_request_seconds_count{")]
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]
    return {one["status"] for one in labels if (one["method"], one["route"]) == (method, route)}


def metrics(served: Served) -> str:
    with urllib.request.urlopen(f"{served.metrics}/metrics", timeout=30) as response:
        return str(response.read().decode())


def test_an_external_id_that_two_systems_submit_is_one_alert(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """The second is answered with the first, also when its own call is repeated. Other content is refused, and names the first."""
    document = {**alert, "author": {}}
    first = served.call("POST", "/v1/alerts", document, ana)[1]
    key = {"Idempotency-Key": uuid.uuid4().hex}
    for _ in range(2):
        status, answer, headers = asked(served, "POST", "/v1/alerts", json.dumps(document).encode(), bea, **key)
        assert (status, answer, headers["Idempotent-Replayed"]) == (200, first, "true")
        assert headers["Location"] == f"/v1/alerts/{first['id']}"
    status, problem = served.call("POST", "/v1/alerts", {**document, "target": {"regions": ["ES-SE"]}}, bea)
    assert (status, problem["type"], problem["alert"]) == (409, "/problems/duplicate-case", first["id"])


def test_a_case_that_is_posted_twice_names_the_first_to_author_and_approver(
    served: Served, alert: dict[str, Any], ana: str, bea: str
):
    """Without an external id nothing says whether two alerts are meant."""
    case = {**alert["case"], "number": f"SE-{uuid.uuid4().hex}"}
    document = {**alert, "external_id": None, "case": case}
    first, second = (served.call("POST", "/v1/alerts", document, ana)[1] for _ in range(2))
    assert [one["id"] for one in second["similar"]] == [first["id"]]
    (other,) = served.call("GET", f"/v1/alerts/{first['id']}", key=bea)[1]["similar"]
    assert (other["id"], other["state"], other["author"]) == (second["id"], "pending", "ana@centre.example")
