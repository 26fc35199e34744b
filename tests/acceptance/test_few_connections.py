"""An installation of three workers whose mail relay takes six connections, in the processes that a user starts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from channels.sandbox.authority import make_authority
from channels.sandbox.script import Rule
from channels.sandbox.smtp import SmtpSandbox
from tests.acceptance.configured import Configured, in_toml
from tests.acceptance.people_imports import imported
from tests.threads import in_a_thread

PEOPLE, TAKES, WORKERS = 260, 6, 3


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[SmtpSandbox]:
    """It works in a thread of its own."""
    running = SmtpSandbox(make_authority(tmp_path))
    running.connections = TAKES
    running.script.set(Rule("", "slow", delay_s=0.05))
    with in_a_thread(running):
        yield running


def person(n: int) -> dict[str, Any]:
    return {
        "languages": ["es"],
        "kinds": ["missing-child"],
        "places": {"home": {"point": [-5.9845, 37.3891]}},
        "addresses": [{"channel": "mail", "mailbox": f"p{n}@people.example"}],
        "consent": {"at": "2026-01-10T12:00:00Z", "source": "app"},
    }


@pytest.fixture
def served(tmp_path: Path, relay: SmtpSandbox) -> Iterator[Configured]:
    """Its settings say that the relay takes twice as many connections; everybody is registered."""
    running = Configured(tmp_path, 0)
    tables = {
        "store": {"directory": str(tmp_path)}, "api": {"port": 0}, "worker": {"processes": WORKERS},
        "carriers.relay": {"kind": "smtp", "host": "127.0.0.1", "port": relay.port, "tls": "plain", "sender": "a@b.example",
                           "connections": 2 * TAKES},
    }  # fmt: skip
    text = "".join(f"[{name}]\n{in_toml(table)}" for name, table in tables.items())
    (tmp_path / "alertd.toml").write_text(text)
    running.start()
    [report] = imported(running, [json.dumps({"id": f"p{n}", **person(n)}) for n in range(PEOPLE)])
    assert report["written"] == PEOPLE
    yield running
    assert running.stop() == 0


def attempts(served: Configured, alert_id: str) -> list[int]:
    """Of each mail of an alert, how often it was tried."""
    status, rows = served.call("GET", f"/v1/alerts/{alert_id}/deliveries")
    assert status == 200
    return [row["attempts"] for row in rows]


def test_every_mail_is_tried_once_over_the_connections_that_the_relay_takes(
    served: Configured, relay: SmtpSandbox, alert: dict[str, Any]
):
    """The relay refuses a few connections, and no mail."""
    ids = [served.approved({**alert, "channels": ["mail"], "external_id": f"few-{n}"}) for n in range(2)]
    served.wait_for(lambda: all(served.progress(one)["state"] == "sent" for one in ids))
    assert relay.recorded.total == 2 * PEOPLE
    assert set(relay.message_ids.values()) == {1}
    assert [set(attempts(served, one)) for one in ids] == [{1}, {1}]
    assert relay.refused <= 4 * WORKERS


def test_the_others_send_on_when_a_worker_is_killed(served: Configured, relay: SmtpSandbox, alert: dict[str, Any]):
    """Everybody gets the mail. A mail that was under way with it may come twice, under one Message-ID."""
    alert_id = served.approved({**alert, "channels": ["mail"]})
    served.wait_for(lambda: relay.recorded.total > 20)
    for pid in served.workers()[:2]:
        os.kill(pid, signal.SIGKILL)
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert len(relay.message_ids) == PEOPLE
