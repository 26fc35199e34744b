"""Events and webhooks as their users have them: over HTTP and the command line of a running service."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.acceptance.commands import alertd, done, refused
from tests.acceptance.conftest import Served
from tests.recorders import Local, a_local

pytestmark = pytest.mark.shares


def types(receiver: Local, alert_id: str) -> list[str]:
    """Of the events of an alert that it got."""
    events = [json.loads(body) for _, body in receiver.got]
    return [event["type"] for event in events if event["data"].get("alert") == alert_id]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Local]:
    """A program that is told of events."""
    with a_local() as made:
        yield made


def test_what_happens_to_an_alert_is_posted_and_can_be_read(served: Served, receiver: Local, alert: dict[str, Any]):
    """The same events in the same order, from the submission until everyone has been told; each signed."""
    made = done(served, "webhooks", "add", receiver.url)
    cursor = served.call("GET", "/v1/events")[1]["cursor"]
    alert_id = served.approved(alert)
    served.wait_for(lambda: "alert.sent" in types(receiver, alert_id))
    page = served.call("GET", f"/v1/events?cursor={cursor}&limit=1000")[1]
    read = [event["type"] for event in page["events"] if event["data"]["alert"] == alert_id]
    assert read == types(receiver, alert_id)
    assert [one for one in read if one != "alert.progress"] == [
        "alert.pending", "alert.approved", "alert.sending", "alert.sent",
    ]  # fmt: skip
    for headers, body in receiver.got:
        assert Webhook(made["secret"]).verify(body, headers)["id"] == headers["webhook-id"]
    text = "".join(body.decode() for _, body in receiver.got)
    assert not [word for word in ("Lucía", alert["case"]["number"], alert["external_id"], "@") if word in text]
    series = alertd_metric(served)
    assert series["told"] >= len(read)


def alertd_metric(served: Served) -> dict[str, float]:
    """`alertd_webhooks_total` by outcome, of all processes."""
    with urllib.request.urlopen(f"{served.metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {word: float(value) for word, value in re.findall(r'alertd_webhooks_total\{outcome="(\w+)"\} (\S+)', text)}


def test_a_webhook_is_run_from_the_command_line(served: Served, receiver: Local):
    """Added, listed, tried, told again, given a new secret, removed; what cannot be is refused with the reason."""
    made = done(served, "webhooks", "add", receiver.url, "--event", "alert.rejected")
    assert made["id"] in alertd(served, "webhooks", "list").stdout.decode()
    before = len(receiver.got)
    assert "took it" in alertd(served, "webhooks", "test", made["id"]).stdout.decode()
    headers, body = receiver.got[-1]
    assert len(receiver.got) > before
    assert Webhook(made["secret"]).verify(body, headers)["type"] == "ping"
    assert done(served, "webhooks", "rotate", made["id"])["secret"] != made["secret"]
    assert done(served, "webhooks", "replay", made["id"], "--cursor", "e0")["state"] == "on"
    assert done(served, "webhooks", "resume", made["id"])["state"] == "on"
    assert done(served, "webhooks", "show", made["id"])["latest_given_up"] == []
    assert "public internet" in refused(served, "webhooks", "add", "https://10.0.0.1/hook")
    silent = done(served, "webhooks", "add", "http://127.0.0.1:1/")
    assert "no answer" in refused(served, "webhooks", "test", silent["id"])
    for name in (made["id"], silent["id"]):
        assert "removed" in alertd(served, "webhooks", "remove", name).stdout.decode()
    assert "no such webhook" in refused(served, "webhooks", "show", made["id"])
