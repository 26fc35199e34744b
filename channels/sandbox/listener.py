"""A listening socket for the sandbox's carriers, and their control calls. The connections speak HTTP/1.1 (`http_wire`),
or HTTP/2 (`http2_wire`) if client and server agree on it by ALPN (RFC 7301).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from functools import partial
from typing import cast
from urllib.parse import parse_qs

import msgspec

from channels.sandbox.http2_wire import Http2Wire
from channels.sandbox.http_wire import Answer, Connection, Reply, Request, Streamed, Wire
from channels.sandbox.script import Recorded, Rule, Script


class _Arrived(asyncio.Protocol):
    """Replaces itself by the protocol that ALPN selected, before the first byte is read."""

    def __init__(self, serve: Callable[[Request], Answer], connections: set[Connection], latency_s: float) -> None:
        self._made = serve, connections, latency_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        encrypted = transport.get_extra_info("ssl_object")
        chosen = Http2Wire if encrypted and encrypted.selected_alpn_protocol() == "h2" else Wire
        wire = chosen(*self._made)
        cast("asyncio.Transport", transport).set_protocol(wire)
        wire.connection_made(transport)


class Listener:
    """Accepts connections on 127.0.0.1 and calls `serve` to answer each request, after `latency_s` seconds."""

    def __init__(self, serve: Callable[[Request], Answer], context: ssl.SSLContext | None, latency_s: float) -> None:
        self._connections: set[Connection] = set()
        self._arrived = partial(_Arrived, serve, self._connections, latency_s)
        self._context = context
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listens on 127.0.0.1. Port 0 selects a free port; `port` then holds it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._arrived, "127.0.0.1", port, ssl=self._context, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops to listen and cuts all connections."""
        if self._server is None:
            return
        self._server.close()
        for wire in list(self._connections):
            wire.close()
        await self._server.wait_closed()

    @property
    def open_connections(self) -> int:
        return len(self._connections)


class _Answering(msgspec.Struct, forbid_unknown_fields=True):
    number: str
    text: str


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /control`. An unknown member is an error, because a misspelt one would do nothing."""

    rules: list[Rule] | None = None
    clear: bool = False
    revoke: bool = False
    say: _Answering | None = None


class Control:
    """Serves `POST /control`, `GET /counts` and `GET /recorded`. Calls `revoke` for `{"revoke": true}`. Calls `say`,
    which simulates a person's answer, for `{"say": {"number": ..., "text": ...}}`. Serves `GET /mail?to=…` with the
    answer of `last_mail`.
    """

    def __init__(
        self,
        script: Script,
        recorded: Recorded,
        revoke: Callable[[], None] = lambda: None,
        say: Callable[[str, str], None] = lambda _number, _text: None,
        last_mail: Callable[[str], bytes | None] = lambda _to: None,
    ) -> None:
        self._script = script
        self._recorded = recorded
        self._revoke = revoke
        self._say = say
        self._last_mail = last_mail
        self._calls: dict[bytes, Callable[[Request], Answer]] = {
            b"POST /control": self._order,
            b"GET /counts": lambda _: Reply(200, json.dumps(recorded.counts()).encode()),
            b"GET /recorded": lambda _: Streamed(recorded.ndjson()),
            b"GET /mail": self._mail,
        }

    def serve(self, request: Request) -> Answer:
        """Answers a control call: 404 for any other call, 400 for an invalid body."""
        call = self._calls.get(request.line.rpartition(b" ")[0].partition(b"?")[0])
        if call is None:
            return Reply(404, b"no such call", kind=b"text/plain")
        try:
            return call(request)
        except (ValueError, msgspec.DecodeError) as fault:
            return Reply(400, str(fault).encode(), kind=b"text/plain")

    def _mail(self, request: Request) -> Reply:
        """Answers with the last mail to the mailbox in the query, or of all without one; 404 if there is none."""
        query = parse_qs(request.line.rpartition(b" ")[0].partition(b"?")[2].decode())
        found = self._last_mail(query.get("to", [""])[0])
        return Reply(404, b"no mail", kind=b"text/plain") if found is None else Reply(200, found)

    def _order(self, request: Request) -> Reply:
        order = msgspec.json.decode(request.body, type=_Order)
        if order.rules is not None:
            self._script.set(*order.rules)
        if order.clear:
            self._recorded.clear()
        if order.revoke:
            self._revoke()
        if order.say:
            self._say(order.say.number, order.say.text)
        return Reply(200, b"{}")
