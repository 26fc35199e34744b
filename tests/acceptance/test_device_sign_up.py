"""People sign up a browser on a running installation: an alert to their town reaches it, until they stop the alerts on it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from alertd.common.clock import SystemClock
from alertd.runtime.sample_people import BROWSER, BROWSER_KEYS
from alertd.service.people.sign_up_links import OpenedForm, SignUpLinks
from alertd.store.engine.codec import Codec, Keys
from tests.acceptance.conftest import Served, installed

TOWN, OTHER = "41091", "28079"
OTHER_KEYS = {**BROWSER_KEYS, "auth": "AAAAAAAAAAAAAAAAAAAAAA"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with installed(
        0, ALERTD_PUBLIC__SIGN_UP="true", ALERTD_AUDIENCE__LEAST_PEOPLE="0"
    ) as made:  # noise may hide one person
        yield made


def ask(served: Served, path: str, body: bytes | None = None, content_type: str = "") -> tuple[int, str]:
    """What a browser without cookies is answered."""
    headers = {"Accept-Language": "en"} | ({"Content-Type": content_type} if content_type else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(served.url + path, body, headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def fill_in(served: Served, **fields: str) -> tuple[int, str]:
    links = SignUpLinks(Codec(Keys.load_or_make(served.directory)).derived("sign-up"), SystemClock())
    form = links.make(OpenedForm(made_s=links.now_s() - 10))  # as if the person had taken ten seconds
    body = urllib.parse.urlencode({"region": TOWN, "consent": "1", "form": form, **fields}).encode()
    return ask(served, "/subscribe/device", body, "application/x-www-form-urlencoded")


def post(served: Served, path: str, content: Any) -> tuple[int, Any]:
    status, text = ask(served, path, json.dumps(content).encode(), "application/json")
    return status, json.loads(text) if text else None


def browser(name: str) -> dict[str, Any]:
    return {"endpoint": f"{BROWSER}{name}", "keys": BROWSER_KEYS}


def signed_up(served: Served, name: str, **fields: str) -> str:
    """Signs a browser up and returns the path of its settings."""
    status, page = fill_in(served, **fields)
    assert status == 200, page
    status, answer = post(served, re.search(r'data-to="([^"]+)"', page)[1], browser(name))
    assert status == 200, answer
    return str(answer["next"])


def found(served: Served, name: str) -> Any:
    """The subscriber who has this browser, or None."""
    status, person = served.call(
        "POST", "/v1/subscribers/lookup", {"channel": "webpush", "value": browser(name)["endpoint"]}
    )
    return person if status == 200 else None


def test_a_browser_gets_an_alert_until_its_owner_stops_them(served: Served, alert: dict[str, Any]):
    """Nothing is stored before the browser hands in its subscription."""
    endpoint = browser("first")["endpoint"]
    status, _page = fill_in(served)
    assert status == 200
    assert found(served, "first") is None
    own = signed_up(served, "first", language="es", general="1")
    person = found(served, "first")["registration"]
    assert (person["languages"], person["kinds"]) == (["es"], ["missing-child", "general"])
    assert person["places"]["home"]["region"] == TOWN
    assert person["consent"]["source"] == "web sign-up of a device"

    told = {**alert, "target": {"regions": [TOWN]}, "channels": ["webpush"]}
    served.approved(told)
    served.wait_for(lambda: served.recorded("webpush").get(endpoint) == 1)

    form = "application/x-www-form-urlencoded"
    assert ask(served, own)[0] == 200
    assert ask(served, own, b"action=erase-now", form)[0] == 200
    assert ask(served, own)[0] == 404
    assert found(served, "first") is None
    again = served.approved({**told, "external_id": "after-leaving"})
    served.wait_for(lambda: served.progress(again)["state"] == "sent")
    assert served.recorded("webpush")[endpoint] == 1
    for file in filter(lambda file: file.is_file() and "sandbox" not in file.parts, served.directory.rglob("*")):
        assert endpoint.encode() not in file.read_bytes(), file


def test_a_second_form_adds_a_place(served: Served):
    signed_up(served, "second")
    signed_up(served, "second", region=OTHER)
    places = found(served, "second")["registration"]["places"]
    assert {place["region"] for place in places.values()} == {TOWN, OTHER}
    assert places["home"]["region"] == TOWN


def test_a_further_form_renews_a_consent_that_was_withdrawn(served: Served):
    """From the next second on: consents have whole seconds, and a withdrawal in the same second counts."""
    signed_up(served, "returned")
    person = found(served, "returned")
    withdrawn = datetime.now(UTC)
    consent = {**person["registration"]["consent"], "withdrawn_at": withdrawn.isoformat()}
    assert served.call("PATCH", f"/v1/subscribers/{person['id']}", {"consent": consent})[0] == 200
    assert found(served, "returned")["registration"]["consent"]["withdrawn_at"]
    served.wait_for(lambda: int(datetime.now(UTC).timestamp()) > int(withdrawn.timestamp()))
    signed_up(served, "returned")
    assert found(served, "returned")["registration"]["consent"]["withdrawn_at"] is None


def test_a_token_signs_up_one_browser(served: Served):
    """A program that posts many subscriptions with one token makes one subscriber, and a forged token none."""
    to = re.search(r'data-to="([^"]+)"', fill_in(served)[1])[1]
    for name in ("many-1", "many-2", "many-3"):
        assert post(served, to, browser(name))[0] == 200
    assert [found(served, f"many-{number}") is not None for number in (1, 2, 3)] == [False, False, True]
    assert post(served, to[:-4] + "AAAA", browser("forged"))[0] == 410
    assert found(served, "forged") is None


def test_a_token_does_not_replace_a_record_that_others_joined(served: Served):
    """An organisation added a phone to the record that the form made."""
    to = re.search(r'data-to="([^"]+)"', fill_in(served)[1])[1]
    assert post(served, to, browser("joined"))[0] == 200
    name = found(served, "joined")["id"]
    phone = {"channel": "sms", "number": "+34600000018"}
    addresses = [{"channel": "webpush", "subscription": browser("joined")}, phone]
    assert served.call("PATCH", f"/v1/subscribers/{name}", {"addresses": addresses})[0] == 200
    before = found(served, "joined")
    assert post(served, to, browser("another"))[0] == 410
    assert found(served, "joined") == before
    assert found(served, "another") is None


def test_only_the_browser_itself_opens_its_settings(served: Served):
    """Its endpoint alone does not, also with a form filled in: the keys of the subscription must be the stored ones."""
    signed_up(served, "own")
    assert post(served, "/subscribe/device/settings", browser("own"))[1]["next"].startswith("/me/")
    other = {**browser("own"), "keys": OTHER_KEYS}
    assert post(served, "/subscribe/device/settings", other)[0] == 404
    to = re.search(r'data-to="([^"]+)"', fill_in(served, region=OTHER)[1])[1]
    assert post(served, to, other)[0] == 410
    assert [place["region"] for place in found(served, "own")["registration"]["places"].values()] == [TOWN]
    assert post(served, "/subscribe/device/settings", browser("unknown"))[0] == 404


def test_a_browser_that_an_organisation_registered_sees_and_changes_only_itself(served: Served):
    """The form adds no place to the organisation's record: it opens the settings, which say who keeps the places."""
    registration = {
        "languages": ["es"], "kinds": ["missing-child"], "places": {"home": {"region": TOWN}},
        "addresses": [{"channel": "webpush", "subscription": browser("theirs")}],
        "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
    }  # fmt: skip
    assert served.call("PUT", "/v1/subscribers/household-1", registration)[0] == 201
    before = found(served, "theirs")
    for own in (
        signed_up(served, "theirs", region=OTHER),
        post(served, "/subscribe/device/settings", browser("theirs"))[1]["next"],
    ):
        status, page = ask(served, f"{own}?lang=en")
        assert (status, "An organisation" in page, "Sevilla" in page) == (200, True, False)
    assert found(served, "theirs") == before


def test_a_renewed_subscription_replaces_the_old_one(served: Served):
    signed_up(served, "old")
    person = found(served, "old")["id"]
    change = {"subscription": browser("new"), "before": browser("old")}
    stolen = {**change, "before": {**browser("old"), "keys": OTHER_KEYS}}
    assert post(served, "/subscribe/device/changed", stolen)[0] == 404
    assert post(served, "/subscribe/device/changed", change)[0] == 204
    assert found(served, "old") is None
    assert found(served, "new")["id"] == person
    assert post(served, "/subscribe/device/changed", change)[0] == 404
    assert post(served, "/subscribe/device/changed", {"subscription": browser("new"), "before": None})[0] == 404


def test_the_form_names_each_fault(served: Served):
    for fields, fault in (
        ({"consent": ""}, "consent-fault"),
        ({"region": "", "place": "Nowhere at all"}, "place-fault"),
        ({"form": ""}, "form-fault"),
        ({"website": "https://spam.example"}, "form-fault"),
    ):
        status, page = fill_in(served, **fields)
        assert status == 422, fields
        assert f'id="{fault}"' in page, fields


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 422),
        ("application/json", b"\xff", 422),
        ("application/x-www-form-urlencoded", b"endpoint=x", 415),
        ("application/json", b"[" * 9000, 413),
    ],
)
def test_what_is_no_subscription_is_refused(served: Served, content_type: str, body: bytes, status: int):
    assert ask(served, "/subscribe/device/settings", body, content_type)[0] == status


def test_the_app_comes_from_alertd_itself(served: Served):
    """The service worker asks this site, with the key of the carrier, and speaks the language of the person."""
    worker = ask(served, "/sw.js?lang=es")[1]
    [carrier] = [one for one in served.call("GET", "/v1/carriers")[1]["carriers"] if one["channel"] == "webpush"]
    assert f'const KEY = "{carrier["application_server_key"]}";' in worker
    assert 'const ALERTD = "";' in worker
    assert "Alertas de menores" in worker
    manifest = json.loads(ask(served, "/app.webmanifest?lang=ar")[1])
    assert (manifest["display"], manifest["dir"], manifest["start_url"]) == ("standalone", "rtl", "/alerts?lang=ar")
    assert ask(served, manifest["start_url"])[0] == 200
    for path in ("/device.js", "/subscribe.js"):
        assert ask(served, path)[0] == 200
    with urllib.request.urlopen(served.url + manifest["icons"][0]["src"], timeout=30) as icon:
        assert icon.headers["Content-Type"] == "image/png"


def test_without_sign_up_there_is_no_page(shared: Served):
    for path in ("/subscribe/device", "/sw.js", "/app.webmanifest", "/device.js"):
        assert ask(shared, path)[0] == 404, path
