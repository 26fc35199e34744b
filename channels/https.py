"""POSTs to one URL over TLS on kept connections. Implements `channels.posting.Transport`.

The server chooses by ALPN (RFC 7301): over HTTP/2 a hundred messages share a connection, over HTTP/1.1 each has its own. Either way
`may_write` is asked in the very step that writes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohappyeyeballs

from channels.base import WITHHELD, MayWrite, Outcome
from channels.http1 import Http1Connection
from channels.http2 import Http2Connection
from channels.http2_head import encode_head
from channels.http2_session import STREAMS
from channels.posting import NOT_CONNECTED, UNTAKEN, Connection, Encoded, PostSettings, Reply

# The carriers' servers close an idle connection after minutes; we close first, so that a request seldom meets a closed one.
KEEP_IDLE_S = 50.0

# Try IPv6 and IPv4 side by side (RFC 8305), so that a broken one costs a quarter of a second. uvloop
# cannot by itself.
OTHER_FAMILY_AFTER_S = 0.25

# Connections for one message in a row, when each goes away before it looks at it; more where more are kept, because a
# server that is deployed anew says goodbye on all of them at once, and one that takes few at a time refuses the rest.
CONNECTIONS_TRIED = 3


@dataclass(eq=False, slots=True)
class _Opening:
    """A connection that is being made, for how many more it will be enough, and how many wait for it."""

    task: asyncio.Task[Connection | None]
    places: int
    waiting: int = 0

    async def made(self) -> Connection | None:
        """Cancelling the last who waits cancels it."""
        self.places -= 1
        self.waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self.waiting -= 1
            if not self.waiting:
                self.task.cancel()


class _Chosen(asyncio.Protocol):
    """Becomes the connection that the server chose, before the first byte of it is read."""

    def __init__(self, transport: HttpsTransport) -> None:
        self._make = transport.connection_for
        self.connection = cast("Connection", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._make(transport.get_extra_info("ssl_object").selected_alpn_protocol())
        cast("asyncio.Transport", transport).set_protocol(made)
        made.connection_made(transport)
        self.connection = made


class HttpsTransport:
    """At most `settings.connections` messages on their way; the connection used last is used next, so that others may close."""

    def __init__(self, settings: PostSettings) -> None:
        """Raises `ValueError` when the URL is not https."""
        self._url = urlsplit(settings.url)
        if self._url.scheme != "https" or self._url.hostname is None:
            raise ValueError("a carrier's URL must be https: every request carries a secret")
        self._settings = settings
        self._encoded: tuple[Mapping[str, str] | None, Encoded] = (None, cast("Encoded", None))
        self._context: ssl.SSLContext | None = None
        self._all: WeakSet[Connection] = WeakSet()  # one that ends is kept by nobody
        self._ready: list[Connection] = []
        self._opening: list[_Opening] = []
        self._newest: Connection | None = None
        self._free = asyncio.Semaphore(settings.connections)

    async def open(self) -> None:
        self._context = ssl.create_default_context(cafile=self._settings.ca_file)
        self._context.set_alpn_protocols(["h2", "http/1.1"])

    async def close(self) -> None:
        for opening in self._opening:
            opening.task.cancel()
        await asyncio.gather(*(opening.task for opening in self._opening), return_exceptions=True)
        for connection in list(self._all):
            connection.abort()
        self._all.clear()
        self._ready.clear()

    async def post(self, body: bytes, headers: Mapping[str, str], may_write: MayWrite) -> Reply | Outcome:
        """Post once; again only what the server says it has not looked at, as when it goes away."""
        answer: Reply | Outcome = UNTAKEN
        tried = 0
        async with self._free:
            while answer is UNTAKEN and tried < self._tries:
                tried += 1
                if not may_write():
                    return WITHHELD
                connection = self._with_room() or await self._opened(may_write)
                if isinstance(connection, Outcome):
                    return connection
                answer = await connection.exchange(self._encode(headers), body, may_write)
        return answer

    def connection_for(self, alpn: str | None) -> Http1Connection | Http2Connection:
        """Of the kind that the server chose."""
        if alpn == "h2":
            return Http2Connection(self._settings.timeout_s, self._on_room, self._each)
        return Http1Connection(self._settings.timeout_s, self._on_room)

    @property
    def _each(self) -> int:
        """How many messages a new connection will take at a time: as many as the one before it does."""
        return STREAMS if self._newest is None else max(1, self._newest.most)

    @property
    def _tries(self) -> int:
        return CONNECTIONS_TRIED + self._settings.connections // self._each

    def _encode(self, headers: Mapping[str, str]) -> Encoded:
        """Everything before the body, for both kinds, once for as long as the headers stay the same object."""
        if self._encoded[0] is not headers:
            http2 = encode_head(self._url, headers)  # refuses what no header may hold
            path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"POST {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n{lines}".replace("%", "%%").encode("ascii")
            self._encoded = (headers, Encoded(head + b"Content-Length: %d\r\n\r\n", http2))
        return self._encoded[1]

    def _on_room(self, connection: Connection) -> None:
        if not connection.listed:
            connection.listed = True
            self._ready.append(connection)

    def _with_room(self) -> Connection | None:
        oldest_s = asyncio.get_running_loop().time() - KEEP_IDLE_S
        while self._ready:
            connection = self._ready[-1]
            if connection.room > 0 and connection.idle_since_s > oldest_s:
                if connection.room == 1:  # nothing after this; it is listed again when there is
                    connection.listed = False
                    self._ready.pop()
                return connection
            connection.listed = False
            self._ready.pop()
            if connection.idle_since_s <= oldest_s:
                connection.abort()
        return None

    async def _opened(self, may_write: MayWrite) -> Connection | Outcome:
        """A connection with room, from one that is being made; else why not: it could not be, or others were faster for too long."""
        while True:
            opening = next((opening for opening in self._opening if opening.places > 0), None)
            if opening is None:
                opening = self._open_one()
            if await opening.made() is None:
                return NOT_CONNECTED
            if connection := self._with_room():
                return connection
            if not may_write():
                return WITHHELD

    def _open_one(self) -> _Opening:
        opening = _Opening(asyncio.get_running_loop().create_task(self._connect()), self._each)
        self._opening.append(opening)
        opening.task.add_done_callback(lambda _: self._opening.remove(opening))
        return opening

    async def _connect(self) -> Connection | None:
        if self._context is None:
            raise RuntimeError("the channel is not open")
        host, port = self._url.hostname, self._url.port or 443
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=OTHER_FAMILY_AFTER_S)
                _, chosen = await loop.create_connection(
                    lambda: _Chosen(self), sock=connected, ssl=self._context, server_hostname=host
                )
        except OSError:  # no route, refused, no trust, or no time
            return None
        self._newest = chosen.connection
        self._all.add(chosen.connection)
        self._on_room(chosen.connection)
        return chosen.connection
