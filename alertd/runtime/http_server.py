"""The HTTP server of a process, with limits that aiohttp lacks. With them no stranger can block the server, or use up
its memory or files.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import resource
import secrets
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from alertd.api.http import problems
from alertd.api.http.call import CREDENTIAL
from alertd.common.clock import SystemClock
from alertd.common.errors import Problem
from alertd.common.logs import places_of
from alertd.common.repetition import repeated

#: File descriptors not used for client connections: the store, carriers, webhooks, region files, threads that read.
FILES_KEPT = 256
LEAST_CONNECTIONS = 64
#: Maximum connections that wait to be accepted. Beyond it, a client in a flood would lose the second before its kernel
#: tries again.
BACKLOG = 1024
LISTENING_FILES = 32
#: Value of SO_LINGER: the kernel discards unsent data when the connection is closed.
_RESET = struct.pack("ii", 1, 0)
#: The server returns free memory to the system after 100 connections have ended. It checks every 10 s.
MANY_ENDED, GIVE_BACK_EVERY_S = 100, 10.0
#: Seconds. The log reports dropped and refused connections at most this often.
REPORT_EVERY_S = 60.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: alertd\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on what the clients of a server may hold."""

    connections: int = 100
    head_s: float = 10.0  # maximum time from the connection to the end of the first request's head
    idle_s: float = 75.0  # maximum time between two requests: longer than proxies keep a connection (nginx: 60 s)
    stalled_s: float = 20.0  # a client that reads less than `least_rate` over this time is dropped
    least_rate: int = 1_024  # bytes a second
    unsent_mb: int = 128  # of all answers together that clients have not read


class Handler(RequestHandler):
    """One connection. Answers invalid HTTP without repeating it: aiohttp would log and return the bytes, which may contain a key, a number
    or a child's name.
    """

    def __init__(self, server: Server, **named: Any) -> None:
        super().__init__(server, **named)
        self._server = server
        self._timer: asyncio.TimerHandle | None = None
        self.unsent = 0  # bytes of the answer in this process's buffer, for the limit `unsent_mb`
        self._untaken = 0  # bytes of the answer that the client had not taken at the last check
        server.newcomers[self] = None
        self.had_key = False  # whether any request on this connection came with an API key or a session

    @property
    def is_expendable(self) -> bool:
        """Returns whether the connection can be dropped: it is idle, or it has a request without a key and waits for
        its client.
        """
        request = self._current_request
        if request is None:
            return True
        return CREDENTIAL not in request and (self.writing_paused or not request.content.is_eof())

    @property
    def is_strangers(self) -> bool:
        """Returns whether the connection can be dropped (`is_expendable`) and none of its requests ever had a key. A proxy's or a client
        program's connection has had one.
        """
        return not self.had_key and self.is_expendable

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the time-out for the head of the first request. Drops the connection if the server has already given its place to a later
        one.
        """
        super().connection_made(transport)
        if self in self._server.newcomers:
            self._arm(self._server.bounds.head_s, self._check_head)
        else:  # a later one took its place already
            self.drop()

    def data_received(self, data: bytes) -> None:
        """When the first request's head is complete, ends its time-out and moves the connection from the server's `newcomers` to `known`."""
        super().data_received(data)
        if self._request_count and self in self._server.newcomers:
            del self._server.newcomers[self]
            self._server.known[self] = None
            if not self.writing_paused:
                self._disarm()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Removes the connection from the server's lists, and counts its end."""
        self._disarm()
        self._forget()
        self._server.count_end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called when the client reads more slowly than the answer is written. Starts the check of its progress, and
        limits the unsent data of all clients.
        """
        super().pause_writing()
        self.unsent, self._untaken = self._left(), self._unconfirmed_bytes()
        self._server.slow_readers[self] = None
        self._arm(self._server.bounds.stalled_s, self._check_progress)
        self._server.bound_unsent()

    def resume_writing(self) -> None:
        """Called when the client has read most of the answer. Ends the check of its progress."""
        super().resume_writing()
        self._server.slow_readers.pop(self, None)
        self._disarm()

    def drop(self) -> None:
        """Closes the connection now and discards unsent data."""
        self._forget()
        if self.transport is not None:
            self.transport.abort()

    def cut_off(self) -> None:
        """Drops a client that does not read, and also the data in the kernel, which would otherwise keep the connection
        for minutes.
        """
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.drop()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 it quotes the request
    ) -> web.StreamResponse:
        """Answers a request that cannot be parsed with a problem document. Raises ConnectionError if the client has gone or an answer had
        begun.
        """
        if isinstance(exc, ConnectionResetError):  # the client has gone: nothing failed
            raise exc
        self.log_exception("a request cannot be read", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun")
        slug = "internal-error" if status >= 500 else "invalid-request"
        problem = Problem(slug, "This is not a request that can be read.", status=status)
        response = problems.answer(problem, secrets.token_hex(16))
        response.headers[hdrs.SERVER] = "alertd"
        response.force_close()
        return response

    def log_exception(self, *_: object, **named: object) -> None:
        """Logs at most one line a minute, because a stranger could fill the log."""
        error = named.get("exc_info")
        text = (
            {"error": type(error).__qualname__, "places": places_of(error)} if isinstance(error, BaseException) else {}
        )
        self._server.note_unreadable(text)

    def _forget(self) -> None:
        """Removes the connection from the server's lists."""
        for each in (self._server.newcomers, self._server.known, self._server.slow_readers):
            each.pop(self, None)

    def _check_head(self) -> None:
        """Drops the connection if the head of its first request is still incomplete."""
        if self in self._server.newcomers:
            self.drop()

    def _check_progress(self) -> None:
        """Cuts the client off if it has read too slowly since the last check. Otherwise checks again after `stalled_s`."""
        bounds, left = self._server.bounds, self._unconfirmed_bytes()
        if self._untaken - left < bounds.least_rate * bounds.stalled_s:
            self.cut_off()
        else:
            self.unsent, self._untaken = self._left(), left
            self._arm(bounds.stalled_s, self._check_progress)

    def _left(self) -> int:
        """Returns the bytes of the answer in this process's write buffer."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def _unconfirmed_bytes(self) -> int:
        """Returns the bytes of the answer that the client's machine has not confirmed, in this process and in the kernel. On systems that
        do not report the kernel's buffer, only that of this process counts: it shows no progress of a slow client for minutes, since the
        kernel takes 100 KB and more at once.
        """
        kernel = bytes(4)
        if self.transport is not None:
            with suppress(OSError):
                kernel = fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, kernel)
        return self._left() + int.from_bytes(kernel, sys.byteorder)

    def _arm(self, seconds: float, check: Callable[[], None]) -> None:
        """Calls `check` after `seconds`, in place of the check that was planned before."""
        self._disarm()
        self._timer = self._loop.call_later(seconds, check)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Refusal(asyncio.Protocol):
    """The protocol of a connection beyond the limit: answers 503 and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writable = cast("asyncio.WriteTransport", transport)  # uvloop's are, and do not say so
        writable.write(_BUSY)
        writable.close()


class Server(web.Server):
    """Makes the protocol of each new connection. At the limit it drops another connection first."""

    bounds: Bounds
    newcomers: dict[Handler, None]  # before the first whole request head, the oldest first
    known: dict[Handler, None]  # after the first whole request head, the oldest first
    slow_readers: dict[Handler, None]  # with an answer that the client reads too slowly, the first to become slow first
    _ended: int  # connections that ended since memory was given back
    _dropped: int
    _refused: int
    _reported: float
    _unreadable: int
    _unreadable_reported: float

    def limit(self, bounds: Bounds) -> None:
        """Sets the limits. The caller must call it before the first connection."""
        self.bounds, self.newcomers, self.known, self.slow_readers = bounds, {}, {}, {}
        self._ended = self._dropped = self._refused = 0
        self._unreadable = 0
        self._reported = self._unreadable_reported = float("-inf")

    def __call__(self) -> Any:
        """Returns the protocol for a new connection. At the limit it first drops another connection (see `_make_room`). If none can be
        dropped, the new connection gets a protocol that answers 503.
        """
        if self._open() < self.bounds.connections or self._make_room():
            return Handler(self, loop=self._loop, **self._kwargs)
        self._refused += 1
        self._report()
        return _Refusal()

    def bound_unsent(self) -> None:
        """Drops the slow readers that became slow first, until the unsent data of all together is within `unsent_mb`."""
        total = sum(one.unsent for one in self.slow_readers)
        for one in list(self.slow_readers):
            if total <= self.bounds.unsent_mb * 1024 * 1024:
                return
            total -= one.unsent
            one.cut_off()
            self._dropped += 1
            self._report()

    def count_end(self) -> None:
        """Counts a connection that has ended."""
        self._ended += 1

    async def give_back(self) -> None:
        """Returns free memory to the system if at least 100 connections have ended since the last time. glibc keeps
        freed memory otherwise; other C libraries have no such call.
        """
        if self._ended < MANY_ENDED:
            return
        self._ended = 0
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            await asyncio.to_thread(trim, 0)

    def _open(self) -> int:
        """Returns the number of open connections."""
        return len(self.newcomers) + len(self.known)

    def _make_room(self) -> bool:
        """Drops one connection and returns True, or returns False if none can be dropped. Chooses the oldest connection
        of a stranger that sent a whole head, then the oldest newcomer (no whole head yet), then the oldest expendable
        one.

        If newcomers went first, clients that hold the other connections could keep all new clients out.
        """
        oldest = (
            next((one for one in self.known if one.is_strangers), None)
            or next(iter(self.newcomers), None)
            or next((one for one in self.known if one.is_expendable), None)
        )
        if oldest is None:
            return False
        oldest.drop()
        self._dropped += 1
        self._report()
        return True

    def note_unreadable(self, facts: dict[str, Any]) -> None:
        """Counts a request that cannot be parsed. Logs their number with `facts` at most once a minute."""
        self._unreadable += 1
        if self._loop.time() - self._unreadable_reported >= REPORT_EVERY_S:
            self._unreadable_reported = self._loop.time()
            structlog.get_logger().warning("request.parse_failed", requests=self._unreadable, **facts)
            self._unreadable = 0

    def _report(self) -> None:
        """Logs the dropped and refused connections at most once a minute, and starts to count anew."""
        if self._loop.time() - self._reported >= REPORT_EVERY_S:
            self._reported = self._loop.time()
            structlog.get_logger().warning(
                "connection.limit_reached",
                dropped=self._dropped,
                refused=self._refused,
                connections=self._open(),
                most=self.bounds.connections,
            )
            self._dropped = self._refused = 0


class Runner(web.AppRunner):
    """Runs an application on a `Server`. A request's body stays compressed: `with_body` decompresses it within limits."""

    def __init__(self, app: web.Application, bounds: Bounds | None = None, **named: Any) -> None:
        self._bounds = bounds or Bounds()
        super().__init__(
            app,
            access_log=None,
            auto_decompress=False,
            lingering_time=1.0,
            keepalive_timeout=self._bounds.idle_s,
            **named,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = Server
        assert isinstance(server, Server)
        server.limit(self._bounds)
        server.request_factory = _without_expect(server.request_factory)
        return server


@asynccontextmanager
async def listening(runner: Runner, address: socket.socket) -> AsyncIterator[None]:
    """Serves the application at a bound socket until the end of the block, then cleans up the runner.

    uvloop accepts one connection per listening file in each round of its loop, so a flood on a busy loop would keep every client waiting
    for seconds. So 32 duplicates of the socket listen, and each accepts one.
    """
    await runner.setup()
    try:
        for one in (address, *(address.dup() for _ in range(LISTENING_FILES - 1))):
            await web.SockSite(runner, one, backlog=BACKLOG).start()
        assert isinstance(runner.server, Server)
        async with repeated("memory of connections", runner.server.give_back, GIVE_BACK_EVERY_S, SystemClock()):
            yield
    finally:
        await runner.cleanup()


def connections_within(wanted: int) -> int:
    """Returns how many connections the process's file limit allows, at most `wanted`. Logs a warning if it is fewer."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = wanted if files == resource.RLIM_INFINITY else min(wanted, max(LEAST_CONNECTIONS, files - FILES_KEPT))
    if most < wanted:
        structlog.get_logger().warning("connection.limit_lowered", files=files, connections=most)
    return most


def _without_expect(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Wraps a factory of requests. Removes an `Expect` header other than 100-continue from each request: a server may
    ignore it (RFC 9110, section 10.1.1), and aiohttp would return its text to the client.
    """

    def made(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        """Makes the request without an `Expect` header that the server does not know."""
        if message.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            headers = message.headers.copy()
            del headers[hdrs.EXPECT]
            message = message._replace(headers=type(message.headers)(headers))
        return make(message, *rest)

    return made
