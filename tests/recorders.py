"""Servers that keep what is posted to them, and answer as a test tells them: one over TLS beside the test, and one on this machine for a
service that runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels.fetching import Fetcher

#: What is kept of a body.
Kept = TypeVar("Kept")


@dataclass
class Recorder(Generic[Kept]):
    """A server over TLS at `host`. Its answers are by path or by webhook-id, the last one for ever: "silence", or whatever `answer` makes
    something of.
    """

    host: str
    port: int = 0
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    answers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    got: dict[str, list[tuple[dict[str, str], Kept]]] = field(default_factory=lambda: defaultdict(list))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    addresses: list[str] = field(default_factory=lambda: ["127.0.0.1"])  # of its host

    def url(self, path: str) -> str:
        return f"https://{self.host}:{self.port}{path}"

    def fetcher(self) -> Fetcher:
        """Asks it as if it were on the public internet."""
        return Fetcher(
            resolve=self.resolve, is_allowed="127.0.0.1".__eq__, ports=frozenset({self.port}), trust=self.trust, timeout_s=5
        )  # fmt: skip

    async def resolve(self, host: str) -> list[str]:
        return self.addresses if host == self.host else ["10.0.0.1"]

    def judged(self, request: web.Request, raw: bytes) -> Kept:
        """What is kept of a body. Raises AssertionError for one that should not have come."""
        raise NotImplementedError

    def answer(self, answer: Any, kept: Kept) -> web.Response:
        """As it is told to."""
        raise NotImplementedError

    async def take(self, request: web.Request) -> web.Response:
        kept = self.judged(request, await request.read())
        self.got[request.path].append(({k.lower(): v for k, v in request.headers.items()}, kept))
        self.arrived.set()
        named = request.headers.get("webhook-id", "")
        answers = self.answers.get(named) or self.answers.get(request.path) or [202]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "silence":
            await asyncio.Event().wait()
        return self.answer(answer, kept)


Of = TypeVar("Of", bound=Recorder[Any])


@asynccontextmanager
async def running(recorder: Of) -> AsyncIterator[Of]:
    """Starts it, and ends it."""
    authority = trustme.CA()
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(recorder.trust)
    authority.issue_cert(recorder.host).configure_cert(own)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.take)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=own, shutdown_timeout=0.1)
    recorder.port = int(server.port or 0)
    yield recorder
    await server.close()


@dataclass
class Local:
    """A program on this machine, as the sandbox allows: what was posted to it, and the status that it answers."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 204


@contextmanager
def a_local() -> Iterator[Local]:
    """One that runs."""
    made = Local()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/posted"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()
