"""POSTs to one URL, or one server, over TLS on kept connections. Implements `channels.posting.Transport`.

The server chooses by ALPN (RFC 7301): over HTTP/2 a hundred messages share a connection, over HTTP/1.1 each has its own. Either way
`may_write` is asked in the very step that writes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohappyeyeballs

from channels.base import NOT_CONNECTED, WITHHELD, MayWrite, Outcome
from channels.http1 import Http1Connection
from channels.http2 import Http2Connection
from channels.http2_frames import STREAMS, encode_head, path_of
from channels.posting import UNTAKEN, Connection, Encoded, Hear, Post, Posts, PostSettings, Reply

_log = logging.getLogger(__name__)

# The carriers' servers close an idle connection after minutes; we close first, so that a request seldom meets a closed one.
KEEP_IDLE_S = 50.0

# Try IPv6 and IPv4 side by side (RFC 8305), so that a broken one costs a quarter of a second. uvloop
# cannot by itself.
OTHER_FAMILY_AFTER_S = 0.25

# Connections for one message in a row, when each goes away before it looks at it; more where more are kept, because a
# server that is deployed anew says goodbye on all of them at once, and one that takes few at a time refuses the rest.
CONNECTIONS_TRIED = 3


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Whom connections trust (None: the system's authorities), and that they speak HTTP/2 or HTTP/1.1."""
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


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

    def __init__(self, settings: PostSettings, context: ssl.SSLContext | None = None) -> None:
        """`context` is from `trust`, where several share it. Raises `ValueError` when the URL is not https."""
        self._url = urlsplit(settings.url)
        if self._url.scheme != "https" or self._url.hostname is None:
            raise ValueError("a carrier's URL must be https: every request carries a secret")
        self._settings = settings
        self._encoded: tuple[Mapping[str, str] | None, Encoded] = (None, cast("Encoded", None))
        self._context = context
        self._waiting: deque[Post] = deque()
        self._under_way = 0
        self._all: WeakSet[Connection] = WeakSet()  # one that ends is kept by nobody
        self._ready: list[Connection] = []
        self._opening: dict[asyncio.Task[Connection | None], int] = {}  # for how many each will be enough
        self._newest: Connection | None = None
        self._handing = False

    async def open(self) -> None:
        self._context = self._context or trust(self._settings.ca_file)

    async def close(self) -> None:
        self._answer_first(len(self._waiting), WITHHELD)
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._all):
            connection.abort()
        self._all.clear()
        self._ready.clear()

    async def post(
        self,
        bodies: Sequence[bytes],
        headers: Mapping[str, str],
        may_write: MayWrite,
        paths: Sequence[str] | None = None,
        hear: Hear | None = None,
    ) -> list[Reply | Outcome]:
        """Post each once; again only what the server says it has not looked at, as when it goes away."""
        if self._context is None:
            raise RuntimeError("the channel is not open")
        together = Posts(self._encode(headers), bodies, may_write, paths, hear)
        self._waiting.extend(together.posts)
        self._hand_over_soon()
        try:
            if bodies:
                await together.done
        except asyncio.CancelledError:
            self._forget(together)
            raise
        return together.answers

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing waits."""
        return not (self._waiting or self._under_way)

    def connection_for(self, alpn: str | None) -> Http1Connection | Http2Connection:
        """Of the kind that the server chose."""
        if alpn == "h2":
            return Http2Connection(self._settings.timeout_s, self, self._each)
        return Http1Connection(self._settings.timeout_s, self)

    def answered(self, post: Post, answer: Reply | Outcome) -> None:
        """Implements `channels.posting.Owner`."""
        self._under_way -= 1
        is_open = answer is UNTAKEN and not post.together.done.done()
        if is_open and post.tried < CONNECTIONS_TRIED + self._settings.connections // self._each:
            self._waiting.appendleft(post)
        else:
            post.together.answer(post, answer)

    def on_event(self, connection: Connection) -> None:
        """Implements `channels.posting.Owner`."""
        if connection.room > 0 and not connection.listed:
            connection.listed = True
            self._ready.append(connection)
        self._hand_over_soon()  # not now: who closes right behind an answer is heard first

    def turned_away(self) -> None:
        """Implements `channels.posting.Owner`: the same as when none could be made. The next would take nothing either, and the next."""
        self._answer_first(STREAMS, NOT_CONNECTED)

    def _answer_first(self, count: int, answer: Outcome) -> None:
        for _ in range(min(count, len(self._waiting))):
            post = self._waiting.popleft()
            post.together.answer(post, answer)

    @property
    def _each(self) -> int:
        """How many messages a new connection will take at a time: as many as the one before it does."""
        return (self._newest and self._newest.most) or STREAMS

    def _encode(self, headers: Mapping[str, str]) -> Encoded:
        """Everything before the body, for both kinds, once for as long as the headers stay the same object."""
        if self._encoded[0] is not headers:
            http2 = encode_head(self._url, headers)  # refuses what no header may hold
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"Host: {self._url.netloc}\r\n{lines}".replace("%", "%%").encode("ascii")
            http1 = b"POST %b HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n"
            self._encoded = (headers, Encoded(http1, http2, path_of(self._url) if self._url.path else None))
        return self._encoded[1]

    def _hand_over_soon(self) -> None:
        """What is posted and answered in one step of the loop is followed by one write for each connection."""
        if not self._handing:
            self._handing = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """What waits goes to connections with room, as far as there are; for the rest more are opened. `may_write` is asked in the very step
        that writes.
        """
        self._handing = False
        while self._waiting and self._under_way < self._settings.connections:
            connection = self._with_room()
            if connection is None:
                self._open_more()
                return
            while self._waiting and self._under_way < self._settings.connections and connection.room > 0:
                post = self._waiting.popleft()
                if post.together.may_write():
                    post.tried += 1
                    self._under_way += 1
                    connection.post(post)
                else:
                    post.together.answer(post, WITHHELD)
            connection.flush()

    def _with_room(self) -> Connection | None:
        oldest_s = asyncio.get_running_loop().time() - KEEP_IDLE_S
        while self._ready:
            connection = self._ready[-1]
            if connection.room > 0 and connection.idle_since_s > oldest_s:
                return connection
            connection.listed = False  # it is listed again when it has room
            self._ready.pop()
            if connection.room > 0:  # it was idle for too long
                connection.abort()
        return None

    def _open_more(self) -> None:
        """Connections for all that waits and may still be written."""
        most = self._settings.connections - self._under_way
        if self.opening < min(len(self._waiting), most):
            self._withhold(most)
        while self.opening < min(len(self._waiting), most):
            opening = asyncio.get_running_loop().create_task(self._connect())
            self._opening[opening] = self._each
            opening.add_done_callback(self._was_opened)

    @property
    def opening(self) -> int:
        """For how many messages connections are being made."""
        return sum(self._opening.values())

    def _withhold(self, most: int) -> None:
        """Of the first that wait, so many may be written after this. Those behind them are looked at when it is their turn: a call may be
        ten thousand, and connections are opened one by one.
        """
        may: dict[Posts, bool] = {}
        first: list[Post] = []
        while self._waiting and len(first) < most:
            post = self._waiting.popleft()
            if post.together not in may:
                may[post.together] = post.together.may_write()
            if may[post.together]:
                first.append(post)
            else:
                post.together.answer(post, WITHHELD)
        self._waiting.extendleft(reversed(first))

    def _was_opened(self, opening: asyncio.Task[Connection | None]) -> None:
        places = self._opening.pop(opening)
        fault = None if opening.cancelled() else opening.exception()
        if fault is not None:
            _log.error("a connection could not be tried", exc_info=fault)
        connection = None if fault is not None or opening.cancelled() else opening.result()
        if connection is not None:
            self.on_event(connection)
        elif not opening.cancelled():
            self._answer_first(places, NOT_CONNECTED)
        self._hand_over_soon()  # not now: what the server allows comes right behind its handshake

    def _forget(self, together: Posts) -> None:
        """What is being opened for these alone is ended."""
        self._waiting = deque(post for post in self._waiting if post.together is not together)
        for connection in list(self._all):
            connection.forget(together)
        spare = self.opening - len(self._waiting)
        for opening, places in reversed(self._opening.items()):
            if places <= spare:
                spare -= places
                opening.cancel()

    async def _connect(self) -> Connection | None:
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
        return chosen.connection
