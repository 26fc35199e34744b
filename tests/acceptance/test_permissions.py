"""Two organisations on one service: what one asks of the other rings nowhere before it is permitted, and then once."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.conftest import Served
from tests.unit.alertd.samples import changed

CADIZ = (-6.29, 36.53)
ASK = {"regions": ["ES-SE", "ES-CA"], "beyond": "ask"}
THERE = {f"there-{i}" for i in range(25)}
#: So many seconds after its approval ends the alert that nobody answers.
SHORT_S = 20


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, str]:
    """Of the police of Sevilla, Ana and Bea; of that of Cádiz, Eva. And 25 people there, one of whom lives in both."""
    for org, region in (("police", "ES-SE"), ("cadiz", "ES-CA")):
        ground = {"name": f"Policía de {org}", "jurisdiction": {"regions": [region]}}
        assert served.call("PUT", f"/v1/organisations/{org}", ground)[0] == 201
    for token in sorted(THERE):
        places = {"home": {"point": CADIZ}} | ({"school": {"point": [-5.98, 37.39]}} if token == "there-0" else {})
        person = {
            "languages": ["es"], "kinds": ["missing-child"], "places": places,
            "addresses": [{"channel": "push", "token": token}],
            "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
        }  # fmt: skip
        assert served.call("PUT", f"/v1/subscribers/{token}", person)[0] == 201
    return {
        who: served.call("POST", "/v1/keys", {"subject": who, "organisation": org, "scopes": ["admin"]})[1]["token"]
        for who, org in (("ana", "police"), ("bea", "police"), ("eva", "cadiz"))
    }


def _approved(served: Served, alert: dict[str, Any], keys: dict[str, str], **more: Any) -> str:
    """By push, to both provinces; submitted by Ana and approved by Bea."""
    document = {**changed(alert, "author/subject", None), "channels": ["push"], "target": ASK, **more}
    status, taken = served.call("POST", "/v1/alerts", document, keys["ana"])
    assert status == 202, taken
    status, answer = served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, keys["bea"])
    assert status == 200, answer
    assert [one["state"] for one in answer["permissions"]] == ["asked"]
    return str(taken["id"])


def _is_sent(served: Served, version: str, key: str) -> bool:
    progress = served.call("GET", f"/v1/alerts/{version}/progress", key=key)[1]
    return bool(progress["state"] == "sent" and not any(one["queued"] + one["in_flight"] for one in progress["channels"].values()))  # fmt: skip


def _state(served: Served, alert_id: str, key: str) -> str:
    return str(served.call("GET", f"/v1/alerts/{alert_id}", key=key)[1]["permissions"][0]["state"])


def test_the_neighbours_phones_ring_when_it_permits_and_once(
    served: Served, alert: dict[str, Any], keys: dict[str, str]
):
    """The own part rings at once; across the border only whoever has a place on this side, until the neighbour says yes over its command line."""
    alert_id = _approved(served, alert, keys)
    served.wait_for(lambda: _is_sent(served, alert_id, keys["ana"]))
    first = served.recorded("push")
    assert first.keys() & THERE == {"there-0"}
    assert len(first) > 100
    assert "waits for Policía de cadiz" in _command(served, keys["ana"], "alerts", "show", alert_id)
    assert alert_id in _command(served, keys["eva"], "permissions", "list", "--state", "asked")
    shown = _command(served, keys["eva"], "permissions", "show", alert_id)
    assert "Lucía" in shown
    ground = served.call("GET", f"/v1/permissions/{alert_id}", key=keys["eva"])[1]["ground"]
    said = _command(served, keys["eva"], "permissions", "grant", alert_id, "--ground", ground)
    assert "granted" in said
    served.wait_for(lambda: _is_sent(served, f"{alert_id}-2", keys["ana"]))
    both = served.recorded("push")
    assert both.keys() - first.keys() >= THERE - {"there-0"}
    assert set(both.values()) == {1}
    status, closed = served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found"}, keys["bea"])
    assert status == 200
    served.wait_for(lambda: _is_sent(served, closed["told_by"], keys["ana"]))
    assert served.recorded("push") == dict.fromkeys(both, 2)


def test_where_the_neighbour_refuses_or_says_nothing_no_phone_rings(
    served: Served, alert: dict[str, Any], keys: dict[str, str]
):
    """Refused with its reason; lapsed at the alert's end, after which nobody permits it."""
    before = served.recorded("push")
    refused = _approved(served, alert, keys)
    assert "refused" in _command(
        served, keys["eva"], "permissions", "refuse", refused, "--reason", "Ours is out already"
    )
    assert (
        served.call("GET", f"/v1/alerts/{refused}", key=keys["ana"])[1]["permissions"][0]["reason"]
        == "Ours is out already"
    )
    ends = (datetime.now(UTC) + timedelta(seconds=SHORT_S)).isoformat()
    lapsed = _approved(served, alert, keys, expires=ends, external_id="cms-2")
    ground = served.call("GET", f"/v1/permissions/{lapsed}", key=keys["eva"])[1]["ground"]
    served.wait_for(lambda: _is_sent(served, refused, keys["ana"]))
    served.wait_for(lambda: _state(served, lapsed, keys["ana"]) == "lapsed", SHORT_S + 60)
    assert served.call("POST", f"/v1/permissions/{lapsed}/grant", {"ground": ground}, keys["eva"])[0] == 409
    after = served.recorded("push")
    rang = {token for token in THERE if after.get(token, 0) > before.get(token, 0)}
    assert rang == {"there-0"}


def _command(served: Served, key: str, *words: str) -> str:
    """What a command says. It must be done."""
    done = subprocess.run(
        [sys.executable, "-m", "alertd", *words], env={**os.environ, "ALERTD_URL": served.url, "ALERTD_KEY": key},
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.decode()
