"""A key of another organisation against a running service: it stands down no live alert, learns no case number, and reads nothing once it is stopped."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.acceptance.conftest import Served


def key_of(served: Served, subject: str, organisation: str, *scopes: str) -> dict[str, Any]:
    body = {"subject": subject, "organisation": organisation, "scopes": scopes}
    status, made = served.call("POST", "/v1/keys", body)
    assert status == 201, made
    return dict(made)


def test_a_key_of_another_organisation_stands_down_no_live_alert_and_guesses_no_number(
    served: Served, alert: dict[str, Any]
):
    """It tries 199 numbers and the right one: no answer differs from another but for the limit, and the alert goes on until its own people decide. The
    people on call are paged.
    """
    assert served.call("PUT", "/v1/organisations/fire", {"name": "Bomberos"})[0] == 201
    stranger = key_of(served, "fred", "fire", "alerts:read", "alerts:write")["token"]
    live, number = served.approved(alert), alert["case"]["number"]
    desk = {"name": "Duty desk", "addresses": [{"channel": "sms", "number": "+34600000001"}]}
    assert served.call("PUT", "/v1/oncall", {"time_zone": "Europe/Madrid", "steps": [{"people": [desk]}]})[0] == 200
    tried = [number, *(f"SE-2026-{n}" for n in range(1000, 1199))]
    found = [served.call("POST", f"/v1/cases/{one}/stand-down", {"reason": "x"}, stranger) for one in tried]
    assert Counter(status for status, _ in found) == {202: 30, 429: 170}
    assert [answer for status, answer in found if status == 202] == [{"alerts": [], "others": None, "asked": True}] * 30
    _, shown = served.call("GET", f"/v1/alerts/{live}")
    assert shown["state"] in {"approved", "sending", "sent"}
    assert [(one["by"], one["organisation"]) for one in shown["stand_down_asked"]] == [("fred", "fire")]
    expected = {("alert.stand_down_asked", live), ("alert.paged", live)}
    served.wait_for(lambda: expected <= {(one["type"], one["data"].get("alert")) for one in events(served)})
    assert served.call("POST", f"/v1/alerts/{live}/stand-down", {"reason": "she was found"})[0] == 200


def events(served: Served) -> list[dict[str, Any]]:
    """The events of the service's own organisation, from the first on."""
    found, cursor = list[dict[str, Any]](), ""
    while page := served.call("GET", f"/v1/events{cursor}")[1]:
        found += page["events"]
        if not page["events"]:
            break
        cursor = f"?cursor={page['cursor']}"
    return found


def test_a_stopped_key_reads_no_alert(served: Served, alert: dict[str, Any]):
    """Nor its progress as a stream, nor the list. Its holder reads which key it is."""
    reader = key_of(served, "rosa", "default", "alerts:read", "audit:read")
    alert_id = served.approved({**alert, "case": {**alert["case"], "number": "SE-2026-9"}})
    paths = [f"/v1/alerts/{alert_id}", f"/v1/alerts/{alert_id}/progress", "/v1/alerts", "/v1/events", "/v1/audit"]
    assert [served.call("GET", one, None, reader["token"])[0] for one in paths] == [200] * 5
    order = {"what": "key", "key": reader["key"], "reason": "in the wrong hands"}
    assert served.call("POST", "/v1/stop", order)[0] == 200
    refused = [served.call("GET", one, None, reader["token"]) for one in paths]
    assert [(status, answer["type"]) for status, answer in refused] == [(409, "/problems/stop-active")] * 5
    assert served.call("GET", "/v1/me", None, reader["token"])[1]["subject"] == "rosa"
