"""The end of a case through the API alone: stood down, back, closed; who was told is told, wherever they can be reached by then."""

from __future__ import annotations

from typing import Any

from tests.acceptance.conftest import Served


def test_the_told_are_told_at_a_token_rotated_in_between(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """Exactly they: not who came since; each step with its version, its audit and its state; the photo's page says that it is over."""
    person = {
        "languages": ["es"], "kinds": ["missing-child"], "places": {"home": {"point": [-5.98, 37.39]}},
        "addresses": [{"channel": "push", "token": "before"}],
        "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
    }  # fmt: skip
    assert served.call("PUT", "/v1/subscribers/maria", person)[0] == 201
    alert_id = served.approved({**alert, "channels": ["push"], "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    told = served.recorded("push")
    assert "before" in told
    served.call("PUT", "/v1/subscribers/maria", {**person, "addresses": [{"channel": "push", "token": "after"}]})
    new = {**person, "addresses": [{"channel": "push", "token": "since"}]}
    assert served.call("PUT", "/v1/subscribers/pedro", new)[0] == 201

    status, down = served.call("POST", f"{path}/stand-down", {"reason": "She may be at home"}, ana)
    assert (status, down["state"], down["told_by"]) == (200, "stood_down", f"{alert_id}-2")
    served.wait_for(lambda: served.progress(f"{alert_id}-2")["state"] == "sent")
    assert served.progress(f"{alert_id}-2")["people"] == served.progress(alert_id)["channels"]["push"]["targeted"]
    heard = served.recorded("push")
    assert heard.keys() - told.keys() == {"after"}
    assert served.call("POST", f"{path}/reopen", {"reason": "She is not"}, bea)[1]["state"] in {"sending", "sent"}
    served.wait_for(lambda: served.progress(f"{alert_id}-3")["state"] == "sent")
    status, closed = served.call("POST", f"{path}/close", {"outcome": "Found, well"}, bea)
    assert (status, closed["state"], closed["told_by"]) == (200, "closed", f"{alert_id}-4")
    served.wait_for(lambda: served.progress(f"{alert_id}-4")["state"] == "sent")
    after = served.recorded("push")
    assert after.keys() == told.keys() | {"after"}
    assert served.total("push") == 4 * len(told)
    found = served.call("GET", "/v1/audit?limit=12")[1]["entries"]
    ends = [(one["act"], one["facts"]["told_by"]) for one in reversed(found) if "told_by" in one["facts"]]
    assert ends[-3:] == [
        ("alert.stand-down", f"{alert_id}-2"), ("alert.reopen", f"{alert_id}-3"), ("alert.close", f"{alert_id}-4"),
    ]  # fmt: skip


def test_a_child_who_is_found_is_told_of_in_one_call(served: Served, alert: dict[str, Any], bea: str):
    """`found` hides the alert and ends it, as its close would; said again, or as a close in the same words, it answers the same."""
    alert_id = served.approved({**alert, "channels": ["push"], "target": {"regions": ["41091"]}})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    outcome = {"outcome": "Found, well"}
    ends = [served.call("POST", f"/v1/alerts/{alert_id}/{end}", outcome, bea) for end in ("found", "found", "close")]
    assert [(status, one["state"], one["told_by"]) for status, one in ends] == [(200, "closed", f"{alert_id}-2")] * 3
    history = served.call("GET", f"/v1/alerts/{alert_id}/history")[1]["acts"]
    assert "alert.found" in {one["act"] for one in history}


def test_breaches_are_refused(served: Served, alert: dict[str, Any], ana: str):
    """Each with its problem: what was never sent, what is not stood down, whoever may not, and what cannot be read."""
    pending = served.call("POST", "/v1/alerts", alert, ana)[1]["id"]
    writer = served.call("POST", "/v1/keys", {"subject": "w@centre.example", "scopes": ["alerts:write"]})[1]["token"]
    reason = {"reason": "x"}
    for step, body in (("stand-down", reason), ("reopen", reason), ("close", {"outcome": "x"})):
        status, problem = served.call("POST", f"/v1/alerts/{pending}/{step}", body, ana)
        assert (status, problem["type"]) == (409, "/problems/precondition-failed")
        assert served.call("POST", f"/v1/alerts/{pending}/{step}", {}, ana)[0] == 400
    assert served.call("POST", f"/v1/alerts/{pending}/reopen", reason, writer)[0] == 403
    for body in ({"outcome": "x", "notify": "loud"}, {"reason": "x", "code": "other"}):
        assert (
            served.call("POST", f"/v1/alerts/{pending}/{'close' if 'outcome' in body else 'cancel'}", body, ana)[0]
            == 400
        )
    assert (
        served.call("POST", f"/v1/alerts/{pending}/cancel", {"reason": "x", "code": "drill"}, ana)[1]["state"]
        == "rejected"
    )
