"""Whoever comes without a key: a person with a browser, a carrier with a report, and what is no HTTP, which is not repeated."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from alertd.common.ids import TokenPurpose
from tests.acceptance.conftest import Served

pytestmark = pytest.mark.shares

#: What only the code's own readers know.
INTERNALS = re.compile(r"wire number|not_honoured|\brules\.|\bself\.|redis|lua\b", re.IGNORECASE)
SECRET = "live_cccccccccccc_SECRETSECRET"
POST = f"POST /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
UNREADABLE = {
    "a header too long": f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}{'a' * 9000}\r\n\r\n",
    "a control character": f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\x01\r\n\r\n",
    "a byte above 127 in the query": "POST /v1/subscribers/lookup?v=+34600SECRET\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a byte above 127 in the path": "GET /u/SECRETTAG\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken chunk": POST + 'Transfer-Encoding: chunked\r\n\r\n{"name": "SECRET NAME"}\r\n',
    "no length": POST + '\r\n{"name": "SECRET NAME"}\r\n\r\n',
    "a body that is not packed as it says": POST
    + 'Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 23\r\n\r\n{"name": "SECRET NAME"}',
    "a strange wish": "POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: SECRET\xff\xfe\r\n\r\n",
    "a cookie that is no text": "GET /v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n"
    "Cookie: alertd_session=SECRET\xff\r\n\r\n",
    "another protocol": "SECRET\x16\x03\x01\r\n\r\n",
}


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
        assert "Open it again from the email." in page
        assert "<form" not in page
        status, kind, _, problem = fetched(served, "/u/broken", "*/*", method)
        assert (status, kind) == (404, "application/problem+json")
        assert json.loads(problem)["type"] == "/problems/not-found"


def test_who_cannot_leave_by_an_old_link_is_told_so(served: Served):
    """Where it is no longer kept whom a mail was sent to, nobody is told that they get no more of them: they would."""
    tag = served.tags().make("01ARZ3NDEKTSV4RRFFQ69G5FAV", 3, TokenPurpose.LEAVE)
    for method in ("GET", "POST"):
        status, kind, _, page = fetched(served, f"/u/{tag}", "text/html,application/xhtml+xml,*/*;q=0.8", method)
        assert (status, kind) == (410, "text/html")
        assert "Use the link in the latest email" in page
        assert "<form" not in page
        status, kind, _, problem = fetched(served, f"/u/{tag}", "*/*", method)
        assert (status, kind) == (410, "application/problem+json")
        assert json.loads(problem)["type"] == "/problems/gone"


def test_a_report_reaches_a_service_on_any_port(served: Served, alert: dict[str, Any]):
    """Without `api.public_url` carriers are told where the API really listens: every SMS ends as delivered."""
    alert_id = served.approved(alert)

    def all_delivered() -> bool:
        sms = served.progress(alert_id)["channels"].get("sms", {})
        return 0 < sms.get("targeted", 0) == sms["delivered"]

    served.wait_for(all_delivered)


def exchange(url: str, request: str) -> str:
    """Send raw bytes; answers all that comes until the server closes or falls silent."""
    parts = urlsplit(url)
    came = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(request.encode("latin-1"))
        while part := connection.recv(65_536):
            came += part
    return came.decode("latin-1")


@pytest.mark.parametrize("request_", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_not_repeated(served: Served, request_: str):
    """The answer is a problem without a word of the request or a version of ours, and every line of the log is JSON without it."""
    answer = exchange(served.url, request_)
    head, _, body = answer.partition("\r\n\r\n")
    assert re.match(r"HTTP/1.[01] 4\d\d ", head)
    assert "aiohttp" not in answer
    assert "SECRET" not in answer
    problem = json.loads(body.partition("\r\nHTTP/1.1")[0].partition("HTTP/1.")[0])
    assert problem["type"].startswith("/problems/")
    log = served.log.read_text()
    assert "SECRET" not in log
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())
