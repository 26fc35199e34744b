"""The page behind the link in a message, as people without a key read it."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.acceptance.conftest import Served
from tests.acceptance.photo_calls import hand_in, look
from tests.pictures import drawn, written
from tests.unit.alertd.samples import changed

pytestmark = pytest.mark.shares

#: Seconds within which a child must be hidden.
HIDDEN_S = 5.0


def opened(url: str, language: str = "en") -> tuple[int, str]:
    """The status and the text of a page."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Accept-Language": language}), timeout=30
        ) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_a_link_leads_to_the_page_until_the_stand_down(served: Served, alert: dict[str, Any], ana: str):
    """In two languages while the alert is active; five seconds after the stand-down nothing of the child is left on it."""
    photo = hand_in(served, written(drawn()))[1]["id"]
    document = changed(alert, "case/children/0/photos", [{"media": photo}])
    document |= {"channels": ["push"], "target": {"regions": ["41091"]}, "publish": {"page": True}}
    alert_id = served.approved(document)
    url = served.call("GET", f"/v1/alerts/{alert_id}")[1]["page"]
    assert url.startswith(f"{served.url}/a/")
    served.wait_for(lambda: opened(url)[0] == 200)
    english, arabic = opened(url)[1], opened(url, "ar")[1]
    assert "Lucía" in english
    assert f"/m/{photo}?size=page" in english
    assert 'lang="ar" dir="rtl"' in arabic
    assert "Lucía" in opened(f"{served.url}/alerts")[1]
    assert served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "Found"}, ana)[0] == 200
    before = time.monotonic()
    served.wait_for(lambda: "Lucía" not in opened(url)[1] + opened(url, "ar")[1] + opened(f"{served.url}/alerts")[1])
    assert time.monotonic() - before < HIDDEN_S
    status, over = opened(url)
    assert (status, photo in over, "no longer active" in over) == (200, False, True)
    assert look(served, photo)[0] == 410


def test_without_a_page_there_is_no_link(served: Served, alert: dict[str, Any]):
    alert_id = served.approved({**alert, "channels": ["push"], "target": {"regions": ["41091"]}})
    assert served.call("GET", f"/v1/alerts/{alert_id}")[1]["page"] is None
    assert opened(f"{served.url}/a/0000000000")[0] == 404
