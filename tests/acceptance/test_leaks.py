"""What is no HTTP is answered in words of ours, and neither answer nor log repeats it."""

from __future__ import annotations

import json
import re
import socket
from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import Served

SECRET = "live_cccccccccccc_SECRETSECRET"
POST = f"POST /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
UNREADABLE = {
    "a header too long": f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}{'a' * 9000}\r\n\r\n",
    "a control character": f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\x01\r\n\r\n",
    "a byte above 127 in the query": "POST /v1/subscribers/lookup?v=+34600SECRET\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a byte above 127 in the path": "GET /u/SECRETTAG\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken chunk": POST + 'Transfer-Encoding: chunked\r\n\r\n{"name": "SECRET NAME"}\r\n',
    "no length": POST + '\r\n{"name": "SECRET NAME"}\r\n\r\n',
    "another protocol": "SECRET\x16\x03\x01\r\n\r\n",
}


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
