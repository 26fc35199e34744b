"""People sign up by mail on a running installation: a worker sends the mails, and an alert to their town reaches them until they leave."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from alertd.common.clock import SystemClock
from alertd.service.people.sign_up_links import SignUpLinks, Wish, new_once
from alertd.store.engine.codec import Codec, Keys
from tests.acceptance.conftest import Served, installed

BOX = "newcomer@people.example"
TOWN = "41091"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with installed(
        0, ALERTD_PUBLIC__SIGN_UP="true", ALERTD_AUDIENCE__LEAST_PEOPLE="0"
    ) as made:  # noise may hide one person
        yield made


def page(served: Served, path: str, fields: dict[str, str] | None = None) -> tuple[int, str]:
    """What a browser without cookies is answered."""
    data = None if fields is None else urllib.parse.urlencode(fields).encode()
    request = urllib.request.Request(served.url + path, data, {"Accept-Language": "en"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def mails(served: Served) -> int:
    return served.recorded("mail").get(BOX, 0)


def test_a_person_signs_up_gets_an_alert_leaves_and_gets_no_more(served: Served, alert: dict[str, Any]):
    """Through the form, the mail of a worker, the button behind its link, and the page of one's own settings."""
    _, form = page(served, "/subscribe")
    fields = {
        "region": TOWN,
        "mailbox": BOX,
        "consent": "1",
        "form": re.search(r'name="form" value="([^"]+)"', form)[1],
    }
    answers: list[tuple[int, str]] = []

    def is_taken() -> bool:  # two seconds after the form was opened
        answers.append(page(served, "/subscribe", fields))
        return answers[-1][0] == 200

    served.wait_for(is_taken)
    assert "Check your email" in answers[-1][1]
    served.wait_for(lambda: mails(served) == 1)

    # The relay of the sandbox keeps no text of a mail, so the link is made as the mail's was.
    links = SignUpLinks(Codec(Keys.load_or_make(served.directory)).derived("sign-up"), SystemClock())
    wish = Wish(made_s=int(time.time()), mailbox=BOX, regions=(TOWN,), language="en", general=False, once=new_once())
    link = f"/subscribe/confirm/{links.make(wish)}"
    lookup = {"channel": "mail", "value": BOX}
    assert page(served, link)[0] == 200
    assert served.call("POST", "/v1/subscribers/lookup", lookup)[0] == 404
    status, done = page(served, link, {})
    assert status == 200
    assert served.call("POST", "/v1/subscribers/lookup", lookup)[0] == 200

    # However small the area is: they chose the town, and the area is in it.
    told = {**alert, "target": {"circles": [{"center": [-5.99, 37.39], "radius_km": 0.5}]}, "channels": ["mail"]}
    served.approved(told)
    served.wait_for(lambda: mails(served) == 2)

    me = "/me/" + re.search(r'href="../../me/([^"]+)"', done)[1]
    assert page(served, me, {"action": "erase-now"})[0] == 200
    assert page(served, me)[0] == 404
    again = served.approved({**told, "external_id": "after-leaving"})
    served.wait_for(lambda: served.progress(again)["state"] == "sent")
    assert mails(served) == 2
    for file in filter(lambda file: file.is_file() and "sandbox" not in file.parts, served.directory.rglob("*")):
        assert BOX.encode() not in file.read_bytes(), file


def test_a_postcode_is_not_read_as_the_code_of_a_region(served: Served):
    """41091 is the code of Sevilla, and the postcode of another town. A name counts without its accents, and alone."""
    _, form = page(served, "/subscribe")
    fields = {"mailbox": "p@people.example", "form": re.search(r'name="form" value="([^"]+)"', form)[1]}
    for typed in (TOWN, f" {TOWN[:2]} {TOWN[2:]}", "41-091"):
        assert "no place with this name" in page(served, "/subscribe", {**fields, "place": typed})[1], typed
    for typed in ("Sevilla", "MALAGA", "Málaga"):
        assert "no place with this name" not in page(served, "/subscribe", {**fields, "place": typed})[1], typed


def test_a_person_who_withdrew_consent_signs_up_again_and_keeps_their_places(served: Served):
    """The button never says that they are signed up while they get no alerts."""
    links = SignUpLinks(Codec(Keys.load_or_make(served.directory)).derived("sign-up"), SystemClock())
    box, lookup = "again@people.example", {"channel": "mail", "value": "again@people.example"}

    def link(region: str, made_s: int) -> str:
        wish = Wish(made_s=made_s, mailbox=box, regions=(region,), language="en", general=False, once=new_once())
        return f"/subscribe/confirm/{links.make(wish)}"

    assert page(served, link(TOWN, int(time.time()) - 120), {})[0] == 200
    person = served.call("POST", "/v1/subscribers/lookup", lookup)[1]
    left_s = int(time.time())
    at = {"consent": {"withdrawn_at": datetime.fromtimestamp(left_s, UTC).isoformat()}}
    assert served.call("PATCH", f"/v1/subscribers/{person['id']}", at)[0] == 200
    assert page(served, link("28079", left_s - 90), {})[0] == 409
    served.wait_for(lambda: int(time.time()) > left_s)
    assert page(served, link("28079", int(time.time())), {})[0] == 200
    stored = served.call("POST", "/v1/subscribers/lookup", lookup)[1]
    assert {place["region"] for place in stored["registration"]["places"].values()} == {TOWN, "28079"}
    assert not stored["registration"]["consent"].get("withdrawn_at")
