"""Calls of the API as its users make them, and what they say when something is wrong."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.acceptance.conftest import Served


def pointers(answer: dict[str, Any]) -> list[str]:
    return [fault.get("pointer", fault.get("parameter")) for fault in answer["errors"]]


def asked(
    served: Served, method: str, path: str, body: bytes | None, key: str, **headers: str
) -> tuple[int, dict[str, Any], Any]:
    """A call with these very bytes and headers: status, answer, and the answer's headers."""
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{served.url}{path}", body, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read()), refusal.headers


def raw(served: Served, body: bytes, key: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """A POST of an alert as these very bytes."""
    return asked(served, "POST", "/v1/alerts", body, key, **headers)[:2]
