"""Whoever watches an alert may go at any time: a closed tab is no error of the service."""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import Served

pytestmark = pytest.mark.shares

#: Longer than a stream is silent: something was written to those who had gone.
SILENCE_S = 20


def test_a_tab_that_is_closed_is_no_error(served: Served, alert: dict[str, Any]):
    """The stream of a live alert ends with its reader, and nothing of it is in the log."""
    alert_id = served.approved({**alert, "target": {"regions": ["41091"]}})
    served.call("POST", f"/v1/alerts/{alert_id}/pause", {})
    there = urlsplit(served.url)
    with socket.create_connection((there.hostname, there.port)) as line:
        head = f"GET /v1/alerts/{alert_id}/progress HTTP/1.1\r\nHost: {there.netloc}\r\nAuthorization: Bearer {served.key}\r\nAccept: text/event-stream\r\n\r\n"
        line.sendall(head.encode())
        assert b"event-stream" in line.recv(4096)
    time.sleep(SILENCE_S)
    assert "ClientConnectionResetError" not in served.log.read_text()
