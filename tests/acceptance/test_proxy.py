"""Behind nginx as it comes, told nothing of alertd but where it is."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from channels.sandbox.authority import make_authority
from tests.acceptance.conftest import Served
from tests.contract import programs
from tests.ports import free_port

pytestmark = [pytest.mark.peer, pytest.mark.shares]

SERVERS = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{there}; }} }}"
#: Sooner than nginx gives up a line over which nothing comes.
SOON_S = 5


@pytest.fixture
def proxied(served: Served, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    servers = SERVERS.format(port=port, there=urlsplit(served.url).netloc)
    with programs.nginx(tmp_path, make_authority(tmp_path), servers, "", port):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", ["/v1/alerts/{id}/progress", "/v1/events"])
def test_what_happens_now_is_told_now(served: Served, proxied: str, alert: dict[str, Any], path: str):
    """A proxy keeps nothing of a stream back: of an alert that waits, little comes over it."""
    told = {**alert, "external_id": path, "target": {"regions": ["41091"]}}
    alert_id = served.call("POST", "/v1/alerts", told, served.person("ana@centre.example"))[1]["id"]
    headers = {"Authorization": f"Bearer {served.key}", "Accept": "text/event-stream"}
    asked = urllib.request.Request(proxied + path.format(id=alert_id), headers=headers)
    with urllib.request.urlopen(asked, timeout=SOON_S) as stream:
        assert any(alert_id.encode() in line for line in stream)
