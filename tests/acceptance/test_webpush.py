"""Browsers are told as phones are: by the push service of each, sealed for it, in the ledger, and no more once they are gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.service.carriers.refusals import IN_A_ROW
from tests.acceptance.conftest import CHANNELS, Served
from tests.unit.alertd.samples import SUBSCRIBER


@pytest.fixture
def browsers(served: Served) -> list[str]:
    """People in Ceuta with a browser each, enough for an alert: their endpoints."""
    return [register(served, n, f"https://{end(served)['host']}/push/b{n:02}") for n in range(24)]


def end(served: Served) -> Any:
    """Where browsers of the sandbox are reached, and their keys."""
    return json.loads((served.directory / "sandbox" / "sandbox.json").read_text())["browser"]


def register(served: Served, number: int, endpoint: str) -> str:
    subscription = {"endpoint": endpoint, "expirationTime": None, "keys": end(served)["keys"]}
    document = {
        **SUBSCRIBER, "places": {"home": {"point": [-5.32, 35.889]}},
        "addresses": [{"channel": "webpush", "subscription": subscription}],
    }  # fmt: skip
    status, answer = served.call("PUT", f"/v1/subscribers/browser-{number}", document)
    assert status in {200, 201}, answer
    return endpoint


def at_ceuta(alert: dict[str, Any]) -> dict[str, Any]:
    return {**alert, "channels": ["webpush"], "target": {"circles": [{"center": [-5.32, 35.889], "radius_km": 3}]}}


def tell(served: Served, alert: dict[str, Any]) -> str:
    """An alert to all of Ceuta by web push; answers its id when everybody was told."""
    alert_id = served.approved(at_ceuta(alert))
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    return alert_id


def test_browsers_are_told_each_once(served: Served, alert: dict[str, Any], browsers: list[str]):
    """Every browser inside gets the alert from its own push service, and the ledger says so."""
    alert_id = tell(served, alert)
    assert served.recorded("webpush") == dict.fromkeys(browsers, 1)
    counts = served.progress(alert_id)["channels"]["webpush"]
    assert (counts["targeted"], counts["accepted"]) == (24, 24)
    assert all(endpoint not in served.log.read_text() for endpoint in browsers)


def test_browsers_are_told_where_an_alert_names_no_channels(
    served: Served, alert: dict[str, Any], browsers: list[str], bea: str
):
    """An alert that says nothing of channels goes by all four, and its author sees how long browsers take."""
    words = {name: value for name, value in at_ceuta(alert).items() if name != "channels"}
    status, taken = served.call("POST", "/v1/alerts", words, served.person("ana@centre.example"))
    assert status == 202, taken
    assert taken["audience"]["addresses"]["webpush"] in {0, "<100"}  # an estimate: so few cannot be told from none
    assert "webpush" in taken["eta"]
    shown = served.call("GET", f"/v1/alerts/{taken['id']}", key=bea)[1]
    assert shown["alert"]["channels"] == list(CHANNELS)
    assert served.call("POST", f"/v1/alerts/{taken['id']}/reject", {"reason": "A test"}, bea)[0] == 200


def test_a_browser_that_unsubscribed_is_not_asked_again(served: Served, alert: dict[str, Any], browsers: list[str]):
    """410 takes its address off; a slow one, or one that is refused for another reason, keeps it."""
    served.control("webpush", {"clear": True, "rules": [
        {"prefix": browsers[0], "do": "gone"}, {"prefix": browsers[1], "do": "other-key"},
        {"prefix": browsers[2], "do": "unavailable", "times": 1},
    ]})  # fmt: skip
    alert_id = tell(served, alert)
    counts = served.progress(alert_id)["channels"]["webpush"]
    assert (counts["accepted"], counts["failed"]) == (22, 2)
    registrations = [served.call("GET", f"/v1/subscribers/browser-{n}")[1]["registration"] for n in range(4)]
    assert [len(each["addresses"]) for each in registrations] == [0, 1, 1, 1]
    served.control("webpush", {"rules": []})


def test_a_push_service_that_calls_everybody_gone_is_not_believed(
    served: Served, alert: dict[str, Any], browsers: list[str], bea: str
):
    """However many another one accepts meanwhile: a few are removed, and all others keep their browsers."""
    host = f"other.{end(served)['host']}"
    for n in range(2 * IN_A_ROW):
        register(served, 100 + n, f"https://{host}/push/c{n:02}")
    served.control("webpush", {"clear": True, "rules": [{"prefix": f"https://{host}", "do": "gone"}]})
    alert_id = served.approved(at_ceuta(alert))
    served.wait_for(lambda: served.recorded("webpush") == dict.fromkeys(browsers, 1))
    served.wait_for(lambda: host in served.log.read_text())  # it is told that it is not believed
    paths = [f"/v1/subscribers/browser-{100 + n}" for n in range(2 * IN_A_ROW)]
    kept = [path for path in paths if served.call("GET", path)[1]["registration"]["addresses"]]
    assert len(kept) >= IN_A_ROW
    served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "test"}, bea)
    served.control("webpush", {"rules": []})
    for path in paths:
        served.call("DELETE", path)


def test_whoever_wants_no_more_is_found_by_the_endpoint(served: Served, alert: dict[str, Any], browsers: list[str]):
    """A browser is looked up, suppressed and lifted by its endpoint alone; its keys are nobody's business but the channel's."""
    lookup = {"channel": "webpush", "value": browsers[3]}
    assert served.call("POST", "/v1/subscribers/lookup", lookup)[1]["id"] == "browser-3"
    address = {"channel": "webpush", "subscription": {"endpoint": browsers[3], "keys": end(served)["keys"]}}
    assert served.call("POST", "/v1/suppressions", {"addresses": [address]})[1] == {"listed": 1, "stopped": 1}
    served.control("webpush", {"clear": True})
    tell(served, alert)
    assert browsers[3] not in served.recorded("webpush")
    assert served.call("POST", "/v1/suppressions/lift", {**lookup, "reason": "request"})[1]["lifted"]


def test_a_browser_has_one_owner_whatever_its_keys_are_now(served: Served, browsers: list[str]):
    """Whoever comes with somebody else's endpoint is refused; the same person with new keys is the same address."""
    keys = {**end(served)["keys"], "auth": "AAAAAAAAAAAAAAAAAAAAAA"}
    address = {"channel": "webpush", "subscription": {"endpoint": browsers[4], "keys": keys}}
    status, answer = served.call("PUT", "/v1/subscribers/somebody-else", {**SUBSCRIBER, "addresses": [address]})
    assert (status, answer["type"]) == (409, "/problems/duplicate-address")
    status, answer = served.call("PUT", "/v1/subscribers/browser-4", {**SUBSCRIBER, "addresses": [address]})
    assert (status, answer["registration"]["addresses"][0]["n"]) == (200, 0)
    assert answer["registration"]["addresses"][0]["subscription"]["keys"] == keys


def test_pages_find_the_key_that_browsers_subscribe_with(served: Served):
    """It is public, and stands with the carrier; others have none."""
    carriers = served.call("GET", "/v1/carriers")[1]["carriers"]
    keys = {one["name"]: one["application_server_key"] for one in carriers}
    assert len(keys.pop("sandbox-webpush")) == 87
    assert set(keys.values()) == {None}
