"""An HTTP/1.1 connection that carries one POST at a time. `channels.https` holds such connections, or those of `http2`.

The parser reads replies as bytes arrive (RFC 9112) and is strict: it raises `ValueError` for an invalid reply. The
outcome of the POST is then unknown, and the connection closes.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import cast

from channels.base import Outcome
from channels.posting import LOST, NOT_HTTP, TIMED_OUT, Owner, Post, Posts, Reply

# Maximum bytes of the head and of the body of a reply. Carriers answer with a few hundred. A longer answer is an
# intermediary's page, which alertd does not need.
HEAD_BYTES = 65_536
BODY_BYTES = 1_048_576

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: .*)?")
HEX = re.compile(rb"[0-9A-Fa-f]{1,8}")


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    headers: dict[str, str]
    length: int | None  # of the body; None: chunked, or until the connection ends
    chunked: bool
    keeps: bool


class ReplyReader:
    """Parses the replies of one connection. After a reply, `keeps` is True if the connection is reusable."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks: list[bytes] = []
        self._chunked_bytes = 0
        self.keeps = False

    def feed(self, data: bytes) -> Reply | None:
        """Takes received bytes. Returns the reply when it is complete, else None; `end` returns a reply without a
        length. Skips interim replies (status 1xx). Raises `ValueError` for an invalid reply; the connection is then
        unusable.
        """
        self._buffer += data
        while self._head is None:
            head = self._take_head()
            if head is None:
                return None
            if head.status >= 200:  # the others are interim replies
                self._head = head
        body = self._take_chunked() if self._head.chunked else self._take_plain(self._head)
        return None if body is None else self._whole(self._head, body)

    def end(self) -> Reply | None:
        """Called when the server has closed the connection. Returns the reply if it has no length of its own and so
        ends here, otherwise None.
        """
        head = self._head
        if head is None or head.chunked or head.length is not None:
            return None
        return self._whole(head, bytes(self._buffer))

    def _whole(self, head: _Head, body: bytes) -> Reply:
        self._head = None
        self.keeps = head.keeps and not self._buffer  # extra bytes: the next reply could be wrong
        return Reply(head.status, head.headers, body)

    def _take_head(self) -> _Head | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES:
                raise ValueError("the head of the reply is too long")
            return None
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        return _parse_head(lines)

    def _take_plain(self, head: _Head) -> bytes | None:
        if len(self._buffer) > BODY_BYTES or (head.length or 0) > BODY_BYTES:
            raise ValueError("the body of the reply is too long")
        if head.length is None or len(self._buffer) < head.length:
            return None
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        return body

    def _take_chunked(self) -> bytes | None:
        """Reads the chunks that have arrived (RFC 9112 7.1). Returns the whole body once the last chunk and the
        trailers have arrived, else None.
        """
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size_text = bytes(self._buffer[:end]).partition(b";")[0].strip()
            if not HEX.fullmatch(size_text):
                raise ValueError("a chunk of the reply has no size")
            size = int(size_text, 16)
            if size == 0:
                return self._take_trailers(end)
            if self._chunked_bytes + size > BODY_BYTES:
                raise ValueError("the body of the reply is too long")
            if len(self._buffer) < end + 2 + size + 2:
                return None
            if self._buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise ValueError("a chunk of the reply does not end where it says")
            self._chunks.append(bytes(self._buffer[end + 2 : end + 2 + size]))
            self._chunked_bytes += size
            del self._buffer[: end + 4 + size]
        if len(self._buffer) > HEAD_BYTES:
            raise ValueError("a chunk of the reply has no size")
        return None

    def _take_trailers(self, last: int) -> bytes | None:
        """Returns the whole body once the trailers have arrived, else None. `last` is the end of the last chunk's
        line. An empty line ends the trailers.
        """
        end = self._buffer.find(b"\r\n\r\n", last)
        if end < 0:
            if len(self._buffer) > HEAD_BYTES:
                raise ValueError("the trailers of the reply are too long")
            return None
        del self._buffer[: end + 4]
        body = b"".join(self._chunks)
        self._chunks, self._chunked_bytes = [], 0
        return body


def _parse_head(lines: list[bytes]) -> _Head:
    """Parses the status line and the headers. Raises `ValueError` if one is malformed, or for status 101."""
    found = STATUS_LINE.fullmatch(lines[0])
    if found is None:
        raise ValueError("not an HTTP/1 reply")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise ValueError("a header line of the reply is malformed")
        key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    status = int(found[2])
    if status == 101:
        raise ValueError("the server switches protocols unasked")
    length, chunked = _framing(status, headers)
    keeps = found[1] == b"1" and "close" not in headers.get("connection", "").lower()
    return _Head(status, headers, length, chunked, keeps and (chunked or length is not None))


def _framing(status: int, headers: dict[str, str]) -> tuple[int | None, bool]:
    """Returns the length of the body in bytes, and whether the body is chunked (RFC 9112 6.3). The length is None if
    the body is chunked or lasts until the connection ends. Raises `ValueError` if the headers contradict each other.
    """
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and (coding.lower() != "chunked" or length is not None):
        raise ValueError("the reply's length is ambiguous")
    if status in {204, 304}:
        return 0, False
    if coding is not None:
        return None, True
    if length is None:
        return None, False
    if not (length.isascii() and length.isdigit()):
        raise ValueError("the reply's length is not a number")
    return int(length), False


class Http1Connection(asyncio.Protocol):
    """One connection. `post` writes a request; the owner gets its reply. Implements `channels.posting.Connection`."""

    most = 1

    def __init__(self, timeout_s: float, owner: Owner) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._owner = owner
        self._reader = ReplyReader()
        self._transport = cast("asyncio.Transport", None)
        self._posted: Post | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self.listed = False
        self.idle_since_s = self._loop.time()

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def room(self) -> int:
        return int(self._open and self._posted is None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True

    def data_received(self, data: bytes) -> None:
        try:
            reply = self._reader.feed(data)
        except ValueError:
            self._end(NOT_HTTP)
            return
        if self._posted is None:  # no request is open
            self.abort()
        elif reply is not None:
            if not self._reader.keeps:
                self.abort()
            self._finish(reply)

    def eof_received(self) -> None:
        """Ends the connection, because the server sends nothing more. The data so far is the reply if the reply has no
        length of its own; otherwise the outcome is LOST.
        """
        self._open = False
        self._finish(self._reader.end() or LOST)

    def connection_lost(self, _: Exception | None) -> None:
        self._open = False
        self._finish(LOST)

    def post(self, post: Post) -> None:
        self._posted, self.idle_since_s = post, self._loop.time()
        self._timer = self._loop.call_later(self._timeout_s, self._end, TIMED_OUT)
        self._transport.write(post.http1)

    def flush(self) -> None:
        """Does nothing: `post` has already written."""

    def forget(self, together: Posts) -> None:
        """Aborts the connection if its request is one of `together`: a late reply would count for the next request."""
        if self._posted is not None and self._posted.together is together:
            self._end(LOST)

    def abort(self) -> None:
        self._open = False
        self._transport.abort()

    def _end(self, answer: Outcome) -> None:
        self.abort()
        self._finish(answer)

    def _finish(self, answer: Reply | Outcome) -> None:
        """Passes the answer of the open request, if there is one, to the owner."""
        post, self._posted = self._posted, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if post is not None:
            self._owner.answered(post, answer)
        self.idle_since_s = self._loop.time()
        self._owner.on_event(self)
