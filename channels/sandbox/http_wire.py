"""A minimal HTTP/1.1 server protocol, for sandbox carriers that must handle ten thousand requests a second.

It reads requests with a Content-Length, pipelined or not. It answers in order, and writes all answers to one read
together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol, cast

HEAD_LIMIT_BYTES = 65_536

STREAM_HEAD = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nConnection: close\r\n\r\n"
PHRASES = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found"}


@dataclass(frozen=True, slots=True)
class Request:
    line: bytes  # b"POST /path HTTP/1.1"
    head: bytes  # the header lines as received
    body: bytes

    def header(self, name: bytes) -> bytes:
        """Returns the value, or b"" if the header is missing. `name` must be in lower case."""
        at = self.head.lower().find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        start = at + len(name) + 3
        return self.head[start : self.head.find(b"\r\n", start)].strip()


class Reply(NamedTuple):
    """A whole answer. `headers` are additional lines, each with its line end."""

    status: int
    body: bytes
    headers: bytes = b""
    kind: bytes = b"application/json; charset=UTF-8"


class Half(NamedTuple):
    """Sends half of an answer, then ends the connection. Over HTTP/2 it ends this request alone."""

    reply: Reply


class Late(NamedTuple):
    """An answer sent after `delay_s` seconds. Later answers on the connection wait, except over HTTP/2. With None, the
    connection (over HTTP/2 this request) then ends without an answer.
    """

    answer: Reply | None
    delay_s: float


class Streamed(NamedTuple):
    """An answer in pieces, produced as they are written. It ends the connection, except over HTTP/2."""

    pieces: Iterator[bytes]
    status: int = 200
    kind: bytes = b"application/x-ndjson"


RESET = Late(None, 0.0)

Answer = Reply | Half | Late | Streamed


class Connection(Protocol):
    """A connection over HTTP/1.1 or HTTP/2."""

    def close(self) -> None: ...


class Wire(asyncio.Protocol):
    """One HTTP/1.1 connection. Calls `serve` to answer each request."""

    def __init__(self, serve: Callable[[Request], Answer], connections: set[Connection], latency_s: float) -> None:
        self._serve = serve
        self._connections = connections
        self._latency_s = latency_s
        self._buffer = bytearray()
        self._waiting: asyncio.TimerHandle | None = None
        self._streaming: Iterator[bytes] | None = None
        self._full = False
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        self._streaming = None
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._waiting is None and self._streaming is None:
            self._answer_all()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._stream()

    def _answer_all(self) -> None:
        """Answers the whole requests in the buffer. Stops at an answer that is delayed, cut or streamed."""
        answers: list[bytes] = []
        while (request := self._next()) is not None:
            got = self._serve(request)
            if isinstance(got, Reply):
                answers.append(_whole(got))
                continue
            self._write(b"".join(answers))
            self._hold(got)
            return
        self._write(b"".join(answers))

    def _next(self) -> Request | None:
        """Removes the next whole request from the buffer and returns it. Returns None if no whole request is there yet.
        Aborts the connection if the head is too long.
        """
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > HEAD_LIMIT_BYTES:
                self._transport.abort()
            return None
        line_end = buffer.find(b"\r\n")
        head = Request(bytes(buffer[:line_end]), bytes(buffer[line_end : end + 2]), b"")
        length = int(head.header(b"content-length") or 0)
        if len(buffer) < end + 4 + length:
            return None
        body = bytes(buffer[end + 4 : end + 4 + length])
        del buffer[: end + 4 + length]
        return Request(head.line, head.head, body)

    def _hold(self, got: Half | Late | Streamed) -> None:
        """Starts a delayed, cut or streamed answer."""
        if isinstance(got, Late):
            delay_s = max(got.delay_s, self._latency_s)
            self._waiting = asyncio.get_running_loop().call_later(delay_s, self._release, got.answer)
            return
        if isinstance(got, Half):
            whole = _whole(got.reply)
            self._streaming = iter([whole[: len(whole) // 2]])
        else:
            self._streaming = chain([STREAM_HEAD % (got.status, PHRASES[got.status], got.kind)], got.pieces)
        self._stream()

    def _release(self, late: Reply | None) -> None:
        """Sends a delayed answer and continues with the buffer. Aborts the connection if there is no answer."""
        self._waiting = None
        if late is None:
            self._transport.abort()
            return
        self._transport.write(_whole(late))
        self._answer_all()

    def _write(self, answers: bytes) -> None:
        if not answers:
            return
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, answers)
        else:
            self._transport.write(answers)

    def _stream(self) -> None:
        """Writes pieces until the transport's buffer is full; `resume_writing` continues. After the last piece, closes
        the connection.
        """
        if self._streaming is None:
            return
        for piece in self._streaming:
            self._transport.write(piece)
            if self._full:
                return
        self._streaming = None
        self._transport.close()


def _whole(reply: Reply) -> bytes:
    head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n"
    phrase = PHRASES.get(reply.status, b"-")
    return head % (reply.status, phrase, reply.kind, len(reply.body), reply.headers) + reply.body
