"""What a person with a browser meets: the documentation at the front door, and a page where a link is broken."""

from __future__ import annotations

import http.client
import json
import re

from tests.acceptance.conftest import Served

#: What only the code's own readers know.
INTERNALS = re.compile(r"wire number|not_honoured|\brules\.|\bself\.|redis|lua\b", re.IGNORECASE)


def fetched(served: Served, path: str, accept: str, method: str = "GET") -> tuple[int, str, str, str]:
    """Status, media type, Location and body, without following."""
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        told = [answer.headers.get(name) or "" for name in ("Content-Type", "Location")]
        return answer.status, told[0].partition(";")[0], told[1], answer.read().decode()
    finally:
        connection.close()


def test_front_door_leads_to_the_documentation(served: Served):
    """Whoever opens the address that was announced finds out what this is, in words for its users."""
    status, _, location, _ = fetched(served, "/", "text/html")
    assert (status, location) == (302, "/docs")
    status, kind, _, page = fetched(served, "/docs", "text/html")
    assert (status, kind) == (200, "text/html")
    assert INTERNALS.findall(re.sub(r"<[^>]*>", " ", page)) == []


def test_broken_link_to_leave_is_told_in_a_page(served: Served):
    """Mail programs break long links; a program that asks for no page gets a problem."""
    for method in ("GET", "POST"):
        status, kind, _, page = fetched(served, "/u/broken", "text/html,application/xhtml+xml,*/*;q=0.8", method)
        assert (status, kind) == (404, "text/html")
        assert "Open it from the mail again." in page
        assert "<form" not in page
        status, kind, _, problem = fetched(served, "/u/broken", "*/*", method)
        assert (status, kind) == (404, "application/problem+json")
        assert json.loads(problem)["type"] == "/problems/not-found"
