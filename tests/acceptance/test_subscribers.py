"""Subscribers over HTTP: they move, rotate tokens, leave and are forgotten, and the next alert knows."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from alertd.common.ids import TokenPurpose
from tests.acceptance.asking import asked
from tests.acceptance.conftest import Served
from tests.unit.alertd.samples import SUBSCRIBER


def put(served: Served, name: str, **changes: Any) -> None:
    document = {**SUBSCRIBER, "addresses": [{"channel": "push", "token": f"t-{name}"}], **changes}
    status, answer = served.call("PUT", f"/v1/subscribers/{name}", document)
    assert status in {200, 201}, answer


def told(served: Served, name: str) -> Any:
    return served.call("GET", f"/v1/subscribers/{name}")[1]["registration"]


def test_a_phone_moves(served: Served):
    """A place that is written anew replaces the one before, and a place that is removed is gone."""
    put(served, "mover", places={"home": {"point": [2.17, 41.39]}})
    status, answer = served.call("PUT", "/v1/subscribers/mover/places/home", {"point": [-3.7, 40.4]})
    assert (status, answer) == (200, {"id": "mover"})
    assert told(served, "mover")["places"]["home"]["point"] == [-3.7, 40.4]
    status, _ = served.call("DELETE", "/v1/subscribers/mover/places/home")
    assert (status, told(served, "mover")["places"]) == (204, {})


def test_a_token_rotates(served: Served):
    """An address takes a new value under its old number, and never another channel."""
    put(served, "rotor")
    status, answer = served.call("PUT", "/v1/subscribers/rotor/addresses/0", {"channel": "push", "token": "fresh"})
    assert (status, told(served, "rotor")["addresses"][0]["token"]) == (200, "fresh")
    status, answer = served.call(
        "PUT", "/v1/subscribers/rotor/addresses/0", {"channel": "mail", "mailbox": "a@b.example"}
    )
    assert (status, answer["type"]) == (409, "/problems/precondition-failed")
    status, _ = served.call("PUT", "/v1/subscribers/rotor/addresses/7", {"channel": "push", "token": "x"})
    assert status == 404
    assert served.call("DELETE", "/v1/subscribers/rotor/addresses/0")[0] == 204
    assert told(served, "rotor")["addresses"] == []


def test_an_address_has_one_owner(served: Served):
    """Somebody else's address is refused, without saying whose it is; given up, it is free."""
    put(served, "holder-1", addresses=[{"channel": "mail", "mailbox": "shared@people.example"}])
    document = {**SUBSCRIBER, "addresses": [{"channel": "mail", "mailbox": "shared@people.example"}]}
    status, answer = served.call("PUT", "/v1/subscribers/second", document)
    assert (status, answer["type"]) == (409, "/problems/duplicate-address")
    assert "holder-1" not in str(answer)
    assert served.call("DELETE", "/v1/subscribers/holder-1")[0] == 204
    assert served.call("PUT", "/v1/subscribers/second", document)[0] == 201
    lookup = {"channel": "mail", "value": "shared@people.example"}
    assert served.call("POST", "/v1/subscribers/lookup", lookup)[1]["id"] == "second"


def test_a_patch_changes_what_it_names(served: Served):
    """A merge patch keeps the rest, tells every fault, and respects the version that was seen."""
    put(served, "patched")
    status, answer = served.call("PATCH", "/v1/subscribers/patched", {"languages": ["fr"], "time_zone": None})
    assert (status, answer) == (200, {"id": "patched"})
    patched = told(served, "patched")
    assert (patched["languages"], patched["addresses"][0]["token"]) == (["fr"], "t-patched")
    status, answer = served.call("PATCH", "/v1/subscribers/patched", {"kinds": ["nonsense"], "languages": []})
    assert (status, len(answer["errors"])) == (400, 2)


def test_a_change_of_a_part_does_not_show_the_rest(served: Served):
    """A key that only writes learns nobody's home or number: to read a registration needs `subscribers:read`, and is in the audit."""
    put(served, "unseen", places={"home": {"point": [2.17, 41.39]}})
    token = served.call("POST", "/v1/keys", {"subject": "app", "scopes": ["subscribers:write"]})[1]["token"]
    calls = (
        ("PATCH", "/v1/subscribers/unseen", {}),
        ("PUT", "/v1/subscribers/unseen/places/work", {"point": [2.2, 41.4]}),
        ("PUT", "/v1/subscribers/unseen/addresses/0", {"channel": "push", "token": "t-unseen-2"}),
    )
    for method, path, body in calls:
        assert served.call(method, path, body, token) == (200, {"id": "unseen"})


def test_who_saw_another_version_changes_nothing(served: Served):
    """Two programs that keep one subscriber: what the second makes of an old reading does not take the first one's change away."""
    put(served, "shared", places={"home": {"point": [2.17, 41.39]}})
    path, one = "/v1/subscribers/shared", {"channel": "push", "token": "t-shared"}
    seen = asked(served, "GET", path, None, served.key)[2]["ETag"]
    assert served.call("PUT", f"{path}/places/home", {"point": [-3.7, 40.4]})[0] == 200
    old = json.dumps({**SUBSCRIBER, "addresses": [one]}).encode()
    for method, to, body in (
        ("PUT", path, old), ("PUT", f"{path}/places/home", b'{"point": [2.17, 41.39]}'), ("DELETE", f"{path}/places/home", None),
        ("PUT", f"{path}/addresses/0", json.dumps(one).encode()), ("DELETE", f"{path}/addresses/0", None),
        ("PATCH", path, b'{"places": null}'), ("DELETE", path, None),
    ):  # fmt: skip
        status, answer, _ = asked(served, method, to, body, served.key, **{"If-Match": seen})
        assert (method, to, status, answer["type"]) == (method, to, 412, "/problems/version-changed")
    now = told(served, "shared")
    assert (now["places"]["home"]["point"], len(now["addresses"])) == ([-3.7, 40.4], 1)
    seen = asked(served, "GET", path, None, served.key)[2]["ETag"]
    assert asked(served, "PUT", path, old, served.key, **{"If-Match": seen})[0] == 200
    assert asked(served, "DELETE", path, None, served.key, **{"If-Match": seen})[0] == 412
    assert served.call("DELETE", path)[0] == 204
    assert asked(served, "PUT", path, old, served.key, **{"If-Match": seen})[0] == 404  # who left is not brought back


def test_who_had_too_many_addresses_is_told_so(served: Served):
    """However the next one comes: all numbers of a subscriber are used up after 256 addresses."""
    put(served, "collector", addresses=[])
    for some in range(12):
        twenty = [{"channel": "push", "token": f"{some}-{one}"} for one in range(20)]
        for addresses in (twenty, []):
            assert served.call("PATCH", "/v1/subscribers/collector", {"addresses": addresses})[0] == 200
    status, answer = served.call("PATCH", "/v1/subscribers/collector", {"addresses": twenty})
    assert (status, answer["type"]) == (400, "/problems/invalid-request")
    assert "256 addresses" in answer["detail"]


def test_one_click_leaves(served: Served, alert: dict[str, Any]):
    """Looking at the link changes nothing; one POST stops the address, for this alert and the next import."""
    alert_id = served.approved({**alert, "channels": ["mail"]})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    everyone = served.total("mail")
    tag = served.tags().make(alert_id, 3, TokenPurpose.LEAVE)
    for wanted, language, direction, title in (
        ("", "en", "ltr", "Stop these alerts?"), ("fr-CA,fr;q=0.9,en;q=0.5", "fr", "ltr", "Ne plus recevoir ces alertes"),
        ("xx, en;q=0.1, ar;q=0.7", "ar", "rtl", "هل تريد إيقاف هذه الإنذارات؟"), ("<b>,;q=,es;q=9", "en", "ltr", "Stop these alerts?"),
    ):  # fmt: skip
        page = urllib.request.Request(f"{served.url}/u/{tag}", headers={"Accept-Language": wanted})
        with urllib.request.urlopen(page, timeout=10) as response:
            told = response.read().decode()
            assert response.headers["Content-Language"] == language
        assert f'<html lang="{language}" dir="{direction}">' in told
        assert f"<h1>{title}" in told
    for method, left in (("GET", False), ("POST", True), ("POST", True), ("GET", True)):
        body = b"List-Unsubscribe=One-Click" if method == "POST" else None
        with urllib.request.urlopen(f"{served.url}/u/{tag}", body, timeout=10) as response:
            told = response.read().decode()
        assert ("No more alerts are sent to this address." in told, "<form" in told) == (left, not left)
    status, answer = served.call("GET", f"/u/{tag[:-3]}abc")
    assert (status, answer["type"]) == (404, "/problems/not-found")
    second = served.approved({**alert, "channels": ["mail"], "external_id": "again"})
    served.wait_for(lambda: served.progress(second)["state"] == "sent")
    assert served.total("mail") == 2 * everyone - 1


def test_subscribers_are_listed_page_by_page(served: Served):
    """Everyone is on one page, nobody on two, whoever was forgotten on none; a key that may not read them is refused."""
    for name in ("listed-1", "listed-2", "listed-3"):
        put(served, name)
    assert served.call("DELETE", "/v1/subscribers/listed-2")[0] == 204
    listed: list[str] = []
    path: str | None = "/v1/subscribers?limit=200"
    while path:
        page = served.call("GET", path)[1]
        listed += [found["id"] for found in page["subscribers"]]
        path = f"/v1/subscribers?limit=200&cursor={page['next']}" if page["next"] else None
        assert len(page["subscribers"]) == 200 or path is None
    assert len(listed) == len(set(listed)) > served.people
    assert listed[-2:] == ["listed-1", "listed-3"]
    assert served.call("GET", "/v1/subscribers?limit=1")[1]["subscribers"][0]["registration"]["languages"]
    writer = served.call("POST", "/v1/keys", {"subject": "w@centre.example", "scopes": ["subscribers:write"]})[1][
        "token"
    ]
    assert served.call("GET", "/v1/subscribers", key=writer)[0] == 403


def test_a_list_of_another_provider_stops_whoever_has_an_address_or_comes_with_one(served: Served):
    """Taken in one call, looked up and lifted by address, and no address is in the audit or the log."""
    mailbox = "listed@people.example"
    addresses = [{"channel": "mail", "mailbox": mailbox}]
    put(served, "listed", addresses=addresses)
    strangers = [{"channel": "sms", "number": f"+3469{i:07d}"} for i in range(4_999)]
    body = {"addresses": [*addresses, *strangers]}
    assert served.call("POST", "/v1/suppressions", body) == (200, {"listed": 5_000, "stopped": 1})
    assert served.call("POST", "/v1/suppressions", body) == (200, {"listed": 0, "stopped": 0})
    one = {"channel": "mail", "value": mailbox}
    assert set(served.call("POST", "/v1/suppressions/lookup", one)[1]) == {"since"}
    assert served.call("DELETE", "/v1/subscribers/listed")[0] == 204
    put(served, "listed", addresses=addresses)
    assert served.call("POST", "/v1/suppressions/lift", {**one, "reason": "request"}) == (
        200,
        {"lifted": True, "active": 1},
    )
    assert served.call("POST", "/v1/suppressions/lookup", one)[0] == 404
    assert served.call("POST", "/v1/suppressions/lift", {**one, "reason": "she phoned"})[0] == 400
    entries = served.call("GET", "/v1/audit?limit=20")[1]["entries"]
    lifted = next(each for each in entries if (each["act"], each["outcome"]) == ("suppression.lift", "done"))
    assert lifted["facts"] == {"reason": "request"}
    told_of_it = str(entries) + served.log.read_text()
    assert mailbox not in told_of_it
    assert "+3469" not in told_of_it


def test_a_list_has_bounds_and_says_what_is_no_address(served: Served):
    """Each fault at its place; nothing of such a list is taken."""
    good = {"channel": "sms", "number": "+34699999999"}
    for bad, pointer in [
        ({"channel": "sms", "number": "12"}, "/addresses/1/number"),
        (
            {"channel": "webpush", "subscription": {"endpoint": "https://push.example/1"}},
            "/addresses/1/subscription/keys",
        ),
    ]:
        status, answer = served.call("POST", "/v1/suppressions", {"addresses": [good, bad]})
        assert (status, answer["errors"][0]["pointer"]) == (400, pointer)
    assert served.call("POST", "/v1/suppressions", {"addresses": [good] * 5_001})[0] == 400
    assert served.call("POST", "/v1/suppressions", {"addresses": []})[0] == 400
    assert served.call("POST", "/v1/suppressions/lookup", {"channel": "sms", "value": good["number"]})[0] == 404
