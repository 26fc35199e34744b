"""POSTs to one URL, or one server, over TLS on connections that stay open. Implements `channels.posting.Transport`.

The server chooses the protocol by ALPN (RFC 7301). Over HTTP/2 a hundred messages share a connection; over HTTP/1.1
each has its own. In both cases the transport calls `may_write` in the same step of the event loop as the write.
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
from channels.connection_limit import ConnectionLimit
from channels.http1 import Http1Connection
from channels.http2 import Http2Connection
from channels.http2_frames import STREAMS, encode_head, path_of
from channels.posting import UNTAKEN, Connection, Encoded, Hear, Post, Posts, PostSettings, Reply

_log = logging.getLogger(__name__)

# Seconds after which alertd closes an idle connection. Carriers' servers close one after minutes. So requests seldom
# meet a connection that the server is closing.
KEEP_IDLE_S = 50.0

# Seconds without a connection over IPv6 after which IPv4 is tried as well, or the reverse (RFC 8305). A broken one then
# only costs a quarter of a second. uvloop lacks this.
OTHER_FAMILY_AFTER_S = 0.25

# A message is tried on this many connections if each server says that it did not process the message. The number of
# connections that may be open is added: a server that restarts closes all of them at once, and a server that takes few
# refuses the rest.
CONNECTIONS_TRIED = 3


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Returns a TLS context with these authorities (None: the system's), which offers HTTP/2 and HTTP/1.1."""
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class _Chosen(asyncio.Protocol):
    """Replaces itself by the protocol that the server chose, before the first byte is read."""

    def __init__(self, transport: HttpsTransport) -> None:
        self._make = transport.connection_for
        self.connection = cast("Connection", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._make(transport.get_extra_info("ssl_object").selected_alpn_protocol())
        cast("asyncio.Transport", transport).set_protocol(made)
        made.connection_made(transport)
        self.connection = made


class HttpsTransport:
    """Posts over connections that stay open, with at most `settings.connections` concurrent messages. It uses the most
    recent connection first, so that the others become idle and close. If a connection cannot be opened, the messages
    wait for the open ones (`ConnectionLimit`); without an open one they get the outcome NOT_CONNECTED.
    """

    def __init__(self, settings: PostSettings, context: ssl.SSLContext | None = None) -> None:
        """`context` is from `trust`, if several transports share it. Raises `ValueError` if the URL is not https."""
        self._url = urlsplit(settings.url)
        if self._url.scheme != "https" or self._url.hostname is None:
            raise ValueError("a carrier's URL must be https: every request carries a secret")
        self._settings = settings
        self._encoded: tuple[Mapping[str, str] | None, Encoded] = (None, cast("Encoded", None))
        self._context = context
        self._waiting: deque[Post] = deque()
        self._under_way = 0
        self._all: WeakSet[Connection] = WeakSet()  # ended connections disappear from it
        self._ready: list[Connection] = []
        self._opening: dict[asyncio.Task[Connection | None], int] = {}  # with the messages that each will take
        self._newest: Connection | None = None
        self._limit = ConnectionLimit()
        self._handing = False

    async def open(self) -> None:
        self._context = self._context or trust(self._settings.ca_file)

    async def close(self) -> None:
        """Withholds the waiting requests and aborts all connections. Requests in progress get the outcome LOST."""
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
        """Posts each body and returns the answers in their order. Posts a body again only if the server says that it
        did not process the request, as when it closes. Raises RuntimeError before `open`.
        """
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
        """Returns whether no request is in progress or waiting."""
        return not (self._waiting or self._under_way)

    def connection_for(self, alpn: str | None) -> Http1Connection | Http2Connection:
        """Returns a connection of the protocol that the server chose."""
        if alpn == "h2":
            return Http2Connection(self._settings.timeout_s, self, self._each)
        return Http1Connection(self._settings.timeout_s, self)

    def answered(self, post: Post, answer: Reply | Outcome) -> None:
        """Implements `channels.posting.Owner`. Queues the request again, as the first, if the server did not process it
        and it was tried on few connections. Otherwise records its answer.
        """
        self._under_way -= 1
        is_open = answer is UNTAKEN and not post.together.done.done()
        if is_open and post.tried < CONNECTIONS_TRIED + self._settings.connections // self._each:
            self._waiting.appendleft(post)
        else:
            post.together.answer(post, answer)

    def on_event(self, connection: Connection) -> None:
        """Implements `channels.posting.Owner`. Gives waiting requests to a connection with room."""
        if connection.room > 0 and not connection.listed:
            connection.listed = True
            self._ready.append(connection)
        self._hand_over_soon()  # later: a server may close right behind an answer

    def turned_away(self) -> None:
        """Implements `channels.posting.Owner`. Gives up to 100 waiting requests the outcome NOT_CONNECTED, as after a
        failed connection: the next connections would accept nothing either.
        """
        self._answer_first(STREAMS, NOT_CONNECTED)

    def _answer_first(self, count: int, answer: Outcome) -> None:
        """Gives the first `count` waiting requests this outcome."""
        for _ in range(min(count, len(self._waiting))):
            post = self._waiting.popleft()
            post.together.answer(post, answer)

    @property
    def _each(self) -> int:
        """Returns how many messages at a time a new connection should take: as many as the newest one, or 100."""
        return (self._newest and self._newest.most) or STREAMS

    def _encode(self, headers: Mapping[str, str]) -> Encoded:
        """Returns everything before the body, for both protocols. Encodes it again only for another `headers` object."""
        if self._encoded[0] is not headers:
            http2 = encode_head(self._url, headers)  # raises for an invalid header
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"Host: {self._url.netloc}\r\n{lines}".replace("%", "%%").encode("ascii")
            http1 = b"POST %b HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n"
            self._encoded = (headers, Encoded(http1, http2, path_of(self._url) if self._url.path else None))
        return self._encoded[1]

    def _hand_over_soon(self) -> None:
        """Defers the writes to the end of this loop step, so that each connection gets one write."""
        if not self._handing:
            self._handing = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Gives waiting requests to connections with room, and opens more for the rest. Calls `may_write` in the same
        loop step as the write.
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
        """Returns the most recent connection with room, or None. Aborts those that were idle for `KEEP_IDLE_S`."""
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
        """Opens connections for all waiting requests that may still be written, but no more than the server accepts."""
        most, is_open = self._settings.connections - self._under_way, self._open
        room = max(not is_open, self._limit.most(self._settings.connections) - is_open)
        if self.opening < min(len(self._waiting), most) and len(self._opening) < room:
            self._withhold(most)
        while self.opening < min(len(self._waiting), most) and len(self._opening) < room:
            opening = asyncio.get_running_loop().create_task(self._connect())
            self._opening[opening] = self._each
            opening.add_done_callback(self._was_opened)

    @property
    def _open(self) -> int:
        """Returns the number of connections that take requests, or will once theirs are answered."""
        return sum(connection.is_open for connection in self._all)

    @property
    def opening(self) -> int:
        """Returns the number of messages that the opening connections will take."""
        return sum(self._opening.values())

    def _withhold(self, most: int) -> None:
        """Goes through the waiting requests until `most` may still be written, and withholds those that may not. The
        rest is checked in its turn: a call may have ten thousand requests, and connections open one by one.
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
        """Called when an attempt to connect has ended. After a failure, limits the connections to the open ones.
        Without an open one, gives NOT_CONNECTED to as many requests as the connection would have taken.
        """
        places = self._opening.pop(opening)
        fault = None if opening.cancelled() else opening.exception()
        if fault is not None:
            _log.error("connection.open_failed", exc_info=fault)
        connection = None if fault is not None or opening.cancelled() else opening.result()
        if connection is not None:
            self._limit.opened(self._open)
            self.on_event(connection)
        elif not opening.cancelled() and self._open:
            self._learn()
        elif not opening.cancelled():
            self._answer_first(places, NOT_CONNECTED)
        self._hand_over_soon()  # later: the server's settings follow its handshake

    def _learn(self) -> None:
        """Limits the connections to those open now, and logs it once per wait. The requests wait for the open ones."""
        wait_s = self._limit.refused(self._open)
        if wait_s is not None:
            _log.warning(
                "server.connection_refused",
                extra={"server": self._url.hostname, "open": self._open, "again_in_s": wait_s},
            )

    def _forget(self, together: Posts) -> None:
        """Drops the requests `together`, whose call was cancelled, and cancels the opening connections that no other
        request needs.
        """
        self._waiting = deque(post for post in self._waiting if post.together is not together)
        for connection in list(self._all):
            connection.forget(together)
        spare = self.opening - len(self._waiting)
        for opening, places in reversed(self._opening.items()):
            if places <= spare:
                spare -= places
                opening.cancel()

    async def _connect(self) -> Connection | None:
        """Opens a connection with TLS. Returns None if that fails."""
        host, port = self._url.hostname, self._url.port or 443
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=OTHER_FAMILY_AFTER_S)
                _, chosen = await loop.create_connection(
                    lambda: _Chosen(self), sock=connected, ssl=self._context, server_hostname=host
                )
        except OSError:  # no route, refused, not trusted, or timed out
            return None
        self._newest = chosen.connection
        self._all.add(chosen.connection)
        return chosen.connection
