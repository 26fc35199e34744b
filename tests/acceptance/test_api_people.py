"""What the API tells of people, and to whom: keys are one person's, counts before an approval are estimates, the ledger names nobody."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from alertd.common.ids import TokenPurpose
from tests.acceptance.asking import pointers
from tests.acceptance.conftest import Served
from tests.acceptance.people_imports import imported
from tests.unit.alertd.samples import SUBSCRIBER, changed

pytestmark = pytest.mark.shares


def test_an_import_writes_what_it_can(served: Served):
    """Each bad line is told with its number and faults; the good ones are in, the first behind a byte order mark, too; the same file again
    changes nothing.
    """
    good = [
        {**SUBSCRIBER, "id": f"imported-{i}", "addresses": [{"channel": "push", "token": f"i-{i}"}]} for i in range(3)
    ]
    lines = [json.dumps(good[0]), "{", json.dumps({**good[1], "kinds": ["no"]}), json.dumps(good[2])]
    for _ in range(2):
        [report] = imported(served, lines)
        assert (report["written"], report["refused"]) == (2, 2)
        assert [fault["line"] for fault in report["faults"]] == [2, 3]
    assert served.call("GET", "/v1/subscribers/imported-2")[0] == 200
    assert served.call("GET", "/v1/subscribers/imported-1")[0] == 404


def test_a_line_that_is_too_long_costs_no_other(served: Served):
    """However long it is, and wherever it stands: it is refused by its number, and those before and after it are in."""
    good = [
        {**SUBSCRIBER, "id": f"around-{i}", "addresses": [{"channel": "push", "token": f"a-{i}"}]} for i in range(1_003)
    ]
    lines = [json.dumps(each) for each in good]
    for at, length in ((1, 66_000), (1_001, 3_000_000), (1_002, 3_000_000)):
        lines[at] = json.dumps({**good[at], "groups": "a" * length})
    first, last = imported(served, lines)
    told = [(fault["line"], fault["type"]) for report in (first, last) for fault in report["faults"]]
    assert told == [(number, "/problems/too-large") for number in (2, 1_002, 1_003)]
    assert (last["written"], last["refused"]) == (1_000, 3)
    assert [served.call("GET", f"/v1/subscribers/around-{i}")[0] for i in (0, 1, 1_000)] == [200, 404, 200]


def test_of_two_lines_for_one_person_the_last_that_can_be_taken_counts(served: Served):
    """What is said to be written is: a second line that is refused for what others have takes nobody out."""
    one = {**SUBSCRIBER, "id": "twice", "addresses": [{"channel": "push", "token": "twice"}]}
    other = {**one, "id": "other", "addresses": [{"channel": "push", "token": "other's"}]}
    lines = [other, one, {**one, "languages": ["fr"]}, {**one, "addresses": other["addresses"]}]
    [report] = imported(served, [json.dumps(line) for line in lines])
    assert (report["written"], [fault["line"] for fault in report["faults"]]) == (3, [4])
    status, told = served.call("GET", "/v1/subscribers/twice")
    assert status == 200
    assert told["registration"]["languages"] == ["fr"]


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
    report = tags.make(alert_id, first["sms"], TokenPurpose.RECEIPT)
    assert posted(served, f"/v1/receipts/{name['sms']}/{report}", delivered) == 204
    assert posted(served, f"/v1/receipts/{name['sms']}/{report}", {"MessageStatus": "nonsense"}) == 400
    assert served.progress(alert_id)["channels"]["sms"]["delivered"] >= 1
    others = tags.make(alert_id, first["push"], TokenPurpose.RECEIPT)
    for path in (
        f"/v1/receipts/{name['sms']}/{others}",  # of a push
        f"/v1/receipts/{name['mail']}/{report}",  # whose channel knows no reports
        f"/v1/receipts/nobody/{report}",
        f"/v1/receipts/{name['sms']}/{tags.make(alert_id, first['sms'], TokenPurpose.LEAVE)}",
        f"/u/{report}",
        f"/u/{tags.make(alert_id, first['push'], TokenPurpose.ACK)}",
    ):
        assert posted(served, path, delivered) == 404, path
    assert served.call("POST", f"/r/{report}")[0] == 404
    assert served.progress(alert_id)["channels"]["push"]["delivered"] == 0
    assert served.call("POST", f"/r/{tags.make(alert_id, first['push'], TokenPurpose.ACK)}")[0] == 204
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


def test_one_person_and_nobody_read_the_same_before_an_approval(served: Served, alert: dict[str, Any], ana: str):
    """An area with one person and an empty one have the same answer, in a preview and in a dry run, however small they are."""
    lonely = {**SUBSCRIBER, "places": {"home": {"point": [9.5, 51.3]}}, "tester": True}
    lonely["addresses"] = [{"channel": "push", "token": "lonely"}]
    assert served.call("PUT", "/v1/subscribers/lonely", lonely)[0] in {200, 201}
    someone, nobody = (previewed(served, ana, [lon, 51.3], 1) for lon in (9.5, 9.7))
    assert someone == nobody
    assert (someone["audience"]["people"], someone["audience"]["exact"]) == ("<100", False)
    assert someone["audience"]["regions"] == {}
    tiny = [previewed(served, ana, point, 0.01) for point in ([9.5, 51.3], [9.7, 51.3])]
    assert tiny == [someone] * 2
    audiences = []
    for lon in (9.5, 9.7):
        test = {**alert, "status": "Test", "target": {"circles": [{"center": [lon, 51.3], "radius_km": 1}]}}
        audiences.append(served.call("POST", "/v1/alerts?dry_run=true", test, ana)[1]["audience"])
    assert audiences == [someone["audience"]] * 2


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
    status, answer = served.call("POST", f"/v1/alerts/{taken['id']}/approve", {"rev": 1}, second)
    assert (status, answer["type"]) == (403, "/problems/same-person")
    status, answer = served.call("POST", "/v1/keys", {"subject": "ma\u200bl", "scopes": scopes})
    assert (status, pointers(answer)) == (400, ["/subject"])
    tester = served.call("POST", "/v1/keys", {"subject": "t", "scopes": ["admin"], "test": True})[1]["token"]
    assert served.call("POST", "/v1/keys", {"subject": "t", "scopes": scopes}, tester)[1]["test"] is True
