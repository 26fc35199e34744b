"""People sign up by mail on a running installation: a worker sends the mails, and an alert to their town reaches them until they leave."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
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

    told = {**alert, "target": {"regions": [TOWN]}, "channels": ["mail"]}
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
