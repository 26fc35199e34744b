"""Distributors as their users have them: from the command line of a running service to a broadcaster's own program, and back."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.acceptance.commands import alertd, done, refused
from tests.acceptance.conftest import Served
from tests.acceptance.radio import Radio
from tests.integration.gateways import answering

pytestmark = pytest.mark.shares


def test_a_take_down_is_followed_from_the_command_line(served: Served, radio: Radio, alert: dict[str, Any]):
    """Registered, tried, sent an alert and its end; who has not confirmed that is said by the commands, `check` and the metrics until an Ack
    comes to the address that each message named.
    """
    order = {"name": "Radio Sevilla", "url": radio.local.url, "levels": [alert["level"]]}
    made = done(served, "distributors", "add", "-", given=json.dumps(order).encode())
    name = made["id"]
    assert b"took it: 202." in alertd(served, "distributors", "test", name).stdout
    assert (len(radio.local.got), radio.got) == (1, [])
    alert_id = served.approved(alert)
    served.wait_for(lambda: len(radio.got) == 1)
    assert "Radio Sevilla" in alertd(served, "distributors", "having", alert_id).stdout.decode()
    assert "Turn it off" in refused(served, "distributors", "remove", name)
    done(served, "alerts", "stand-down", alert_id, "--reason", "found")
    served.wait_for(lambda: len(radio.got) == 2)
    assert [one.msg_type.value for one in radio.got] == ["Alert", "Cancel"]
    words = f"Radio Sevilla has not confirmed the take-down ({name})."
    served.wait_for(lambda: words in alertd(served, "distributors", "having", alert_id).stdout.decode())
    said = {one["part"]: one for one in done(served, "check")["findings"]}["organisation default"]
    assert said["says"] == f"Radio Sevilla ({name}) has not confirmed the take-down of 1 alerts"
    assert _open(served) == 1
    assert done(served, "distributors", "show", name)["takedowns"] == [alert_id]
    ack = answering("Ack")(radio.got[-1])
    request = urllib.request.Request(radio.receipts, ack, {"Content-Type": "application/cap+xml"}, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {"taken": 1}
    served.wait_for(lambda: _open(served) == 0)  # a scrape may be a second old
    assert words not in alertd(served, "distributors", "having", alert_id).stdout.decode()
    [listed] = done(served, "distributors", "list")["distributors"]
    assert (listed["alerts"], listed["takedowns_open"], listed["answered"]) == (0, 0, 202)
    changed = json.dumps({**order, "enabled": False}).encode()
    assert done(served, "distributors", "set", name, "-", given=changed)["enabled"] is False
    shown = done(served, "distributors", "show", name)
    assert done(served, "distributors", "set", name, "-", given=json.dumps(shown).encode()) == shown
    assert b"gets nothing of it" not in alertd(served, "distributors", "having", alert_id).stdout
    assert radio.local.url in alertd(served, "distributors", "show", name).stdout.decode()
    for words in (("confirm", alert_id, name), ("resend", alert_id, name)):
        ran = alertd(served, "distributors", *words)
        assert ran.returncode == (0 if words[0] == "confirm" else 1), ran.stderr
    assert b"is removed" in alertd(served, "distributors", "remove", name).stdout
    assert "no such" in refused(served, "distributors", "show", name)


def _open(served: Served) -> int:
    with urllib.request.urlopen(f"{served.metrics}/metrics/fleet", timeout=30) as answer:
        [line] = [
            one for one in answer.read().decode().splitlines() if one.startswith("alertd_distributor_takedowns_open ")
        ]
    return int(float(line.split()[1]))
