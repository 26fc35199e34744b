"""The audit as its readers have it: through the API and the command line, over a service that runs."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from redis import Redis

from tests.acceptance.asking import asked
from tests.acceptance.commands import alertd, done, refused
from tests.acceptance.conftest import Served


def entries(served: Served, limit: int = 1000) -> list[dict[str, Any]]:
    """All there are, oldest first, as the administrator reads them."""
    status, page = served.call("GET", f"/v1/audit?limit={limit}")
    assert status == 200, page
    found = page["entries"]
    while page["next"] is not None:
        page = served.call("GET", f"/v1/audit?limit={limit}&cursor={page['next']}")[1]
        found += page["entries"]
    return list(reversed(found))


def acts(served: Served, after: int) -> list[tuple[str, str]]:
    return [(one["act"], one["outcome"]) for one in entries(served) if one["entry"] > after]


def last(served: Served) -> int:
    return max((one["entry"] for one in entries(served)), default=0)


def test_the_life_of_an_alert_is_written_down(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """Who submitted, who was refused, who approved, who cancelled: each with its person, in the order they acted."""
    before = last(served)
    taken = served.call("POST", "/v1/alerts", alert, ana)[1]
    served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, ana)
    served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, bea)
    served.call("GET", f"/v1/alerts/{taken['id']}/deliveries", None, bea)
    served.call("POST", f"/v1/alerts/{taken['id']}/cancel", {"reason": "Lucía is at home"}, bea)
    found = [one for one in entries(served) if one["entry"] > before]
    told = [(one["act"], one["outcome"], one["by"]) for one in found if one["outcome"] != "begun"]
    assert told == [
        ("alert.create", "done", "ana@centre.example"), ("alert.approve", "refused", "ana@centre.example"),
        ("alert.approve", "done", "bea@centre.example"), ("ledger.read", "done", "bea@centre.example"),
        ("alert.cancel", "done", "bea@centre.example"),
    ]  # fmt: skip
    assert [one["of"] for one in found if one["outcome"] != "begun"] == [
        one["entry"] for one in found if one["outcome"] == "begun"
    ]
    assert {one["object"] for one in found if one["act"] != "alert.create"} == {taken["id"]}
    assert found[3]["facts"] == {"problem": "same-person"}
    approved = served.call("GET", f"/v1/alerts/{taken['id']}", None, bea)[1]
    assert found[1]["facts"]["people"] == taken["audience"]["people"]
    assert (approved["exact"], found[5]["facts"]["people"]) == (True, approved["people"])
    assert "reason" in found[-1]["case"]
    assert "Luc" not in str(found)


def test_looking_is_an_act_too(served: Served, ana: str):
    """Where somebody asked for a count, once a day, without the count; and whoever was looked up: the person by a name that means nothing."""
    before = last(served)
    preview = {"target": {"regions": ["41091"]}}
    for _ in range(2):
        assert served.call("POST", "/v1/targets/preview", preview, ana)[0] == 200
    assert served.call("POST", "/v1/subscribers/lookup", {"channel": "sms", "value": "+34999999999"}, ana)[0] == 404
    assert served.call("GET", "/v1/subscribers/maria-lopez", None, ana)[0] == 404
    assert served.call("DELETE", "/v1/subscribers/maria-lopez", None, ana)[0] == 404
    found = [one for one in entries(served) if one["entry"] > before]
    assert [one["act"] for one in found[::2]] == [
        "target.preview", "subscriber.lookup", "subscriber.show", "subscriber.forget",
    ]  # fmt: skip
    assert set(found[0]["facts"]) == {"digest", "bounds", "kind"}
    assert found[3]["object"] == found[5]["object"] != "maria-lopez"


def test_keys_photos_texts_and_regions_are_acts(served: Served):
    """Whatever changes what others may do or are told."""
    before = last(served)
    made = served.call("POST", "/v1/keys", {"subject": "x@centre.example", "scopes": ["alerts:read"]})[1]
    served.call("DELETE", f"/v1/keys/{made['key']}")
    served.call("POST", "/v1/media", {"url": "https://nowhere.invalid/a.jpg"})
    text = "/v1/organisations/default/texts/ended/sms/en/text"
    served.call("PUT", text, {"template": "{{ heading }}. {{ happened }}"})
    served.call("DELETE", text)
    served.call("PUT", "/v1/regions/our-harbour", {})
    served.call("DELETE", "/v1/regions/our-harbour")
    told = [act for act, outcome in acts(served, before) if outcome != "begun"]
    assert told == [
        "key.make", "key.revoke", "photo.upload", "text.write", "text.remove", "region.draw", "region.delete",
    ]  # fmt: skip
    assert [one["object"] for one in entries(served) if one["act"] == "key.make"][-1] == made["key"]


def test_what_is_repeated_is_written_once(served: Served, alert: dict[str, Any], ana: str):
    """The same Idempotency-Key again does nothing, so it is no act."""
    body = {**alert, "status": "Test"}
    before, raw = last(served), json.dumps(body).encode()
    for _ in range(2):
        assert asked(served, "POST", "/v1/alerts", raw, ana, **{"Idempotency-Key": "audit-once"})[0] == 202
    assert acts(served, before) == [("alert.create", "begun"), ("alert.create", "done")]


def test_only_auditors_read_it(served: Served):
    """A scope of its own; pages go from the newest to the first entry and leave none out."""
    other = served.call("POST", "/v1/keys", {"subject": "x@centre.example", "scopes": ["alerts:read", "ledger:read"]})[
        1
    ]
    for path in ("/v1/audit", "/v1/audit/verify"):
        status, problem = served.call("GET", path, None, other["token"])
        assert (status, problem["type"], problem["scope"]) == (403, "/problems/not-allowed", "audit:read")
    numbers = [one["entry"] for one in entries(served, limit=3)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert served.call("GET", "/v1/audit?cursor=0")[0] == served.call("GET", "/v1/audit?limit=1001")[0] == 400


def test_metric_counts_entries(served: Served):
    """Those of this process, and each from the start."""
    with urllib.request.urlopen(f"{served.metrics}/metrics", timeout=30) as response:
        [line] = [one for one in response.read().decode().splitlines() if one.startswith("alertd_audit_entries_total ")]
    assert float(line.split()[1]) == last(served)


def test_verify_names_the_entry_whose_byte_was_changed(served: Served):
    """With everything in place it ends with 0 and tells the head; after one byte was changed in the store, with 1."""
    for subject in ("x@centre.example", "y@centre.example"):
        assert served.call("POST", "/v1/keys", {"subject": subject, "scopes": ["alerts:read"]})[0] == 201
    verdict = done(served, "audit", "verify")
    assert (verdict["broken"], verdict["entries"]) == (None, last(served))
    head = f"{verdict['entries']}:{verdict['head']}"
    assert alertd(served, "audit", "verify", "--noted", head).returncode == 0
    assert alertd(served, "audit", "verify", "--noted", "head").returncode == 2
    assert "broken at entry 2:" in refused(served, "audit", "verify", "--noted", f"2:{'0' * 40}")
    assert "key.make" in alertd(served, "audit", "list", "--limit", "1000").stdout.decode()
    [socket] = Path(served.directory).glob("*.sock")
    with Redis(unix_socket_path=str(socket)) as store:
        [name] = store.keys("{u:*")
        kept = store.xrange(name)
        store.delete(name)
        for number, fields in kept:
            if number == b"4-0":
                fields[b"said"] = fields[b"said"][:-1] + bytes([fields[b"said"][-1] ^ 1])
            store.xadd(name, fields, id=number)
    assert "the audit is broken at entry 4: " in refused(served, "audit", "verify")
    assert served.call("POST", "/v1/keys", {"subject": "x@centre.example", "scopes": ["alerts:read"]})[0] == 201
    assert done_anyway(served)["broken"] == 4


def done_anyway(served: Served) -> Any:
    """What verify answers with --json, whatever it ends with."""
    return json.loads(alertd(served, "audit", "verify", "--json").stdout)
