"""Carriers whose login is mistaken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from channels.sandbox import Sandbox
from tests.acceptance.configured import Configured, in_toml
from tests.threads import in_a_thread

SECRET = "a-wrong-password-7"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Carriers in a thread of their own. The relay lets in nobody with a wrong password."""
    (tmp_path / "carriers").mkdir()
    running = Sandbox(tmp_path / "carriers")
    running.mail.account = ("alertd", "the right one")
    with in_a_thread(running):
        yield running


@pytest.fixture
def plain_http() -> Iterator[int]:
    """The port of a server that speaks HTTP without TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(30)


@pytest.fixture
def mistaken(tmp_path: Path, sandbox: Sandbox, plain_http: int) -> Configured:
    """An installation with a mistake in each carrier, not started yet."""
    ends = sandbox.endpoints
    of_relay = {**ends["mail"], "kind": "smtp", "sender": "alerts@centre.example"}
    tables: dict[str, dict[str, Any]] = {
        "store": {"directory": str(tmp_path / "data"), "reserve_mb": 1}, "api": {"port": 0},
        "worker": {"processes": 1},
        "carriers.relay": {**of_relay, "user": "alertd", "password": SECRET},
        "carriers.down-here": {**of_relay, "port": 1},
        "carriers.centre": {**ends["smpp"], "kind": "smpp", "password": SECRET},
        "carriers.texts": {
            "kind": "twilio", "account": ends["sms"]["account"], "password": SECRET, "sender": "+15005550006",
            "endpoint": ends["sms"]["endpoint"], "ca_file": ends["sms"]["ca_file"],
        },
        "carriers.phones": {**ends["push"], "kind": "fcm", "endpoint": f"https://127.0.0.1:{plain_http}"},
    }  # fmt: skip
    (tmp_path / "alertd.toml").write_text("".join(f"[{name}]\n{in_toml(table)}" for name, table in tables.items()))
    return Configured(tmp_path, 0)


@pytest.fixture
def running(mistaken: Configured) -> Iterator[Configured]:
    """The same, started: a mistake in a carrier keeps no service from starting."""
    mistaken.start()
    mistaken.metrics = mistaken._said(r"Metrics are at (\S+)/metrics and")
    yield mistaken
    assert mistaken.stop() == 0


def carriers(served: Configured) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in served.call("GET", "/v1/carriers")[1]["carriers"]}


def is_known(served: Configured) -> bool:
    return all(one["cause"] and one["state"] != "no_worker" for one in carriers(served).values())
