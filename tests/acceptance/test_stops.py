"""One person stops, two resume: over a service with two workers in the middle of an alert."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from tests.acceptance.commands import alertd, done, refused
from tests.acceptance.conftest import Served
from tests.acceptance.slow_sending import begun, slowed

PEOPLE = 1500


def counts(served: Served, alert_id: str) -> dict[str, int]:
    found: dict[str, int] = served.progress(alert_id)["channels"]["push"]
    return found


def test_a_stop_holds_within_a_second_on_all_workers(installation: Callable[..., Served], alert: dict[str, Any]):
    """After its answer and a second no carrier gets anything more, not even from a worker that is killed and started anew;
    when two people have resumed, everyone is told, and nobody twice.
    """
    served = installation(PEOPLE, ALERTD_WORKER__PROCESSES="2")
    assert len(served.workers()) == 2
    slowed(served)
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: begun(served, alert_id))
    ana, bea, carl = (served.person(f"{name}@centre.example") for name in ("ana", "bea", "carl"))
    status, answer = served.call("POST", "/v1/stop", {"reason": "Wrong picture"}, ana)
    assert (status, answer["stopped"], answer["alerts"]) == (200, True, 1)
    threading.Event().wait(1.0)  # the promise is about this second
    told = served.recorded("push")
    os.kill(served.workers()[0], signal.SIGKILL)
    threading.Event().wait(2.0)
    assert served.recorded("push") == told
    assert served.call("GET", "/v1/stop")[1]["stops"][0]["by"] == "ana@centre.example"
    assert counts(served, alert_id)["queued"] > 0

    assert served.call("POST", "/v1/resume", {}, bea)[1]["resume_asked_by"] == "bea@centre.example"
    assert served.call("POST", "/v1/resume", {}, bea)[1]["stopped"]
    assert served.recorded("push") == told
    assert not served.call("POST", "/v1/resume", {}, carl)[1]["stopped"]
    assert served.call("GET", "/v1/stop")[1] == {"stops": []}
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    after = counts(served, alert_id)
    assert after["accepted"] + after["unknown"] == after["targeted"]
    assert sum(count > 1 for count in served.recorded("push").values()) <= after["doubled"]


def test_an_alert_waits_and_goes_on(served: Served, alert: dict[str, Any]):
    """Paused by one person; shown so; nothing more of it is sent until it is resumed. Not in another's state, nor when changed."""
    slowed(served)
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: begun(served, alert_id))
    status, paused = served.call("POST", f"/v1/alerts/{alert_id}/pause")
    assert (status, paused["paused"], paused["state"]) == (200, True, "sending")
    threading.Event().wait(1.0)  # the promise is about this second
    told = served.recorded("push")
    threading.Event().wait(0.5)
    assert served.recorded("push") == told
    assert served.call("GET", f"/v1/alerts/{alert_id}")[1]["paused"]
    for channel in ("push", "sms", "mail"):
        served.control(channel, {"rules": []})
    assert not served.call("POST", f"/v1/alerts/{alert_id}/resume")[1]["paused"]
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert served.call("POST", f"/v1/alerts/{alert_id}/pause")[0] == 409


def test_breaches_are_refused(served: Served, alert: dict[str, Any]):
    """Each with its problem: whoever may not, what is not theirs, and what would be sent all the same."""
    ana, bea = served.person("ana@centre.example"), served.person("bea@centre.example")
    pending = served.call("POST", "/v1/alerts", alert, ana)[1]["id"]
    reader = served.call("POST", "/v1/keys", {"subject": "r@centre.example", "scopes": ["alerts:read"]})[1]
    writer = served.call("POST", "/v1/keys", {"subject": "w@centre.example", "scopes": ["alerts:write"]})[1]
    stop = {"reason": "x"}
    assert served.call("POST", "/v1/stop", stop, reader["token"])[0] == 403
    assert served.call("POST", "/v1/stop", {**stop, "what": "service"}, writer["token"])[0] == 403
    assert served.call("POST", "/v1/stop", {**stop, "what": "key", "key": "0" * 12}, ana)[0] == 404
    for body in ({}, {**stop, "what": "key"}, {**stop, "key": writer["key"]}, {**stop, "what": "town"}):
        assert served.call("POST", "/v1/stop", body, ana)[0] == 400
    assert served.call("POST", "/v1/stop", {**stop, "what": "key", "key": writer["key"]}, writer["token"])[0] == 200
    status, problem = served.call("POST", "/v1/alerts", {**alert, "author": {}}, writer["token"])
    assert (status, problem["type"]) == (409, "/problems/stop-active")
    assert served.call("POST", "/v1/resume", {}, writer["token"])[0] == 403
    assert served.call("POST", "/v1/stop", stop, ana)[0] == 200
    status, problem = served.call("POST", f"/v1/alerts/{pending}/approve", {}, bea)
    assert (status, problem["type"]) == (409, "/problems/stop-active")
    status, problem = served.call("POST", "/v1/alerts", {**alert, "status": "Test", "external_id": "t"}, ana)
    assert (status, problem["type"]) == (409, "/problems/stop-active")
    for scope in ({}, {"what": "key", "key": writer["key"]}):
        for key in (ana, bea):
            assert served.call("POST", "/v1/resume", scope, key)[0] == 200
    assert served.call("POST", f"/v1/alerts/{pending}/approve", {}, bea)[0] == 200


def test_the_command_line_stops_and_resumes(served: Served):
    """In words, and with 1 for what is refused."""
    ana, bea = served.person("ana@centre.example"), served.person("bea@centre.example")
    said = alertd(served, "stop", "--service", "--reason", "A key is lost", key=ana).stdout.decode()
    assert said.startswith("Stopped: service.")
    beside = alertd(served, "alerts", "list", key=ana).stderr.decode()
    assert all(
        word in beside for word in ("Stopped since ", "ana@centre.example", "service", "A key is lost", "alertd resume")
    )
    assert "A second person" in alertd(served, "resume", "--service", key=ana).stdout.decode()
    assert done(served, "resume", "--service", key=bea)["stopped"] is False
    assert alertd(served, "alerts", "list", key=ana).stderr == b""
    assert "There is no such key" in refused(served, "stop", "--key", "0" * 12, "--reason", "x", key=ana)
    assert alertd(served, "stop", "--service", "--key", "0" * 12, "--reason", "x", key=ana).returncode == 2
