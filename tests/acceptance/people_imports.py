"""Import of people over the API."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.acceptance.conftest import Served


def imported(served: Served, lines: list[str]) -> list[dict[str, Any]]:
    """What an import of these lines answers."""
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/x-ndjson"}
    url = f"{served.url}/v1/subscribers/import"
    request = urllib.request.Request(url, "\n".join(lines).encode("utf-8-sig"), headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        return [json.loads(line) for line in response.read().splitlines()]
