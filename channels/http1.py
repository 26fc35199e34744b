"""HTTP/1.1 over TLS on kept connections, one request at a time on each. Implements `channels.posting.Transport`.

Per message it costs 0.036 ms of processor, where aiohttp's client costs 0.09 on the same machine. And here `may_write` is asked
in the very step that writes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

import aiohappyeyeballs

from channels.base import WITHHELD, MayWrite, Outcome
from channels.http1_reader import ReplyReader
from channels.posting import LOST, NOT_CONNECTED, NOT_HTTP, TIMED_OUT, PostSettings, Reply

# The carriers' servers close an idle connection after minutes; we close first, so that a request seldom meets a closed one.
KEEP_IDLE_S = 50.0

# Try IPv6 and IPv4 side by side (RFC 8305), so that a broken one costs a quarter of a second. uvloop
# cannot by itself.
OTHER_FAMILY_AFTER_S = 0.25


class _Connection(asyncio.Protocol):
    """One connection: `exchange` writes a request and answers its reply."""

    def __init__(self, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._reader = ReplyReader()
        self._transport = cast("asyncio.Transport", None)
        self._waiting: asyncio.Future[Reply | Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.open = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        try:
            reply = self._reader.feed(data)
        except ValueError:
            self._finish(NOT_HTTP)
            self.abort()
            return
        if self._waiting is None:  # nobody asked
            self.abort()
        elif reply is not None:
            if not self._reader.keeps:
                self.abort()
            self._finish(reply)

    def eof_received(self) -> None:
        self._finish(self._reader.end() or LOST)

    def connection_lost(self, _: Exception | None) -> None:
        self.open = False
        self._finish(LOST)

    async def exchange(self, request: bytes) -> Reply | Outcome:
        self._waiting = self._loop.create_future()
        self._timer = self._loop.call_later(self._timeout_s, self._time_out)
        self._transport.write(request)
        return await self._waiting

    def abort(self) -> None:
        self.open = False
        self._transport.abort()

    def _time_out(self) -> None:
        self._finish(TIMED_OUT)
        self.abort()

    def _finish(self, answer: Reply | Outcome) -> None:
        waiting, self._waiting = self._waiting, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


class Http1Transport:
    """At most `connections` at a time; the one used last is used next, so that the others may close."""

    def __init__(self, settings: PostSettings) -> None:
        """Raises `ValueError` when the URL is not https."""
        parts = urlsplit(settings.url)
        if parts.scheme != "https" or parts.hostname is None:
            raise ValueError("a carrier's URL must be https: every request carries a secret")
        self._settings = settings
        self._host, self._port = parts.hostname, parts.port or 443
        self._start = f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self._head: tuple[Mapping[str, str] | None, bytes] = (None, b"")
        self._context: ssl.SSLContext | None = None
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(settings.connections)

    async def open(self) -> None:
        self._context = ssl.create_default_context(cafile=self._settings.ca_file)

    async def close(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def post(self, body: bytes, headers: Mapping[str, str], may_write: MayWrite) -> Reply | Outcome:
        """Post once. Cancelling closes the connection, so that a late reply is never read as another's."""
        async with self._free:
            if not may_write():
                return WITHHELD
            connection = self._take_idle() or await self._connect()
            if connection is None:
                return NOT_CONNECTED
            kept = False
            try:
                answer: Reply | Outcome = WITHHELD
                if may_write():
                    answer = await connection.exchange(self._head_for(headers) % len(body) + body)
                kept = True
            finally:
                self._give_back(connection, kept=kept)
            return answer

    def _head_for(self, headers: Mapping[str, str]) -> bytes:
        """Everything before the body, with a place for its length."""
        if self._head[0] is not headers:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
                raise ValueError("a header holds a line break")
            head = f"{self._start}{lines}".replace("%", "%%").encode("ascii")
            self._head = (headers, head + b"Content-Length: %d\r\n\r\n")
        return self._head[1]

    def _take_idle(self) -> _Connection | None:
        oldest_s = asyncio.get_running_loop().time() - KEEP_IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.open and connection.idle_since_s > oldest_s:
                return connection
            connection.abort()
        return None

    def _give_back(self, connection: _Connection, *, kept: bool) -> None:
        if kept and connection.open:
            connection.idle_since_s = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    async def _connect(self) -> _Connection | None:
        if self._context is None:
            raise RuntimeError("the channel is not open")
        loop, timeout_s = asyncio.get_running_loop(), self._settings.timeout_s
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=OTHER_FAMILY_AFTER_S)
                _, connection = await loop.create_connection(
                    lambda: _Connection(timeout_s), sock=connected, ssl=self._context, server_hostname=self._host
                )
        except OSError:  # no route, refused, no trust, or no time
            return None
        return connection
