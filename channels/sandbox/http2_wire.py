"""A minimal HTTP/2 server protocol (RFC 9113) for sandbox carriers: the same as `http_wire`, with 100 requests at a
time on one connection.

It must handle ten thousand requests a second, like `http_wire`. So it decodes a repeated header block once, and writes
all answers to one read together. A fault that ends a connection over HTTP/1.1 ends only one request here. A client that
breaks the protocol loses its connection.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import hpack

from channels.http2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    INTERNAL_ERROR,
    LAST_STREAM,
    PREFACE,
    PRIORITY,
    REFUSED_STREAM,
    STREAMS,
    TABLE_BYTES,
    WINDOW,
    Frame,
    Frames,
    Setting,
    frame,
    table_size,
    unpadded,
)  # fmt: skip
from channels.http2_session import OUR_WINDOW
from channels.sandbox.http_wire import Answer, Connection, Half, Late, Reply, Request, Streamed

#: Maximum number of cached header blocks. A client that repeats its headers has one block for each length of its
#: bodies.
KNOWN = 1_000
#: The announced settings: as many concurrent requests as FCM takes, and a window for the longest body.
SETTINGS = frame(
    Frame.SETTINGS,
    0,
    0,
    struct.pack(">HIHI", Setting.MAX_CONCURRENT_STREAMS, STREAMS, Setting.INITIAL_WINDOW_SIZE, OUR_WINDOW),
)
GROWN = frame(Frame.WINDOW_UPDATE, 0, 0, (OUR_WINDOW - WINDOW).to_bytes(4, "big"))


class Heads:
    """Decodes header blocks (HPACK, RFC 7541) and caches the results. A block that changes the client's table empties
    the cache and is not cached.
    """

    def __init__(self) -> None:
        self._decoder = hpack.Decoder()
        self._known: dict[bytes, tuple[bytes, bytes]] = {}

    def decode(self, block: bytes) -> tuple[bytes, bytes]:
        """Returns the request line, ending in "HTTP/2", and the header lines in the form of HTTP/1.1, with a line end
        before and after each. Keeps only the last of repeated headers. Raises `ValueError` if the block cannot be
        decoded.
        """
        found = self._known.get(block)
        if found is not None:
            return found
        table = self._decoder.header_table
        before, newest = (table.maxsize, len(table.dynamic_entries)), self._newest()
        try:
            fields = dict(self._decoder.decode(block, raw=True))
        except hpack.HPACKError as fault:
            raise ValueError("a head cannot be read") from fault
        line = b"%b %b HTTP/2" % (fields.get(b":method", b""), fields.get(b":path", b""))
        lines = (b"%b: %b\r\n" % field for field in fields.items() if not field[0].startswith(b":"))
        found = line, b"\r\n" + b"".join(lines)
        same = (table.maxsize, len(table.dynamic_entries)) == before and self._newest() is newest
        if not same or len(self._known) >= KNOWN:
            self._known.clear()
        if same:
            self._known[block] = found
        return found

    def _newest(self) -> object:
        """Returns the newest table entry or None. Each entry is a new object, even if its text is that of the one
        before.
        """
        entries = self._decoder.header_table.dynamic_entries
        return entries[0] if entries else None


@lru_cache(maxsize=64)
def answer_head(status: int, kind: bytes, headers: bytes) -> bytes:
    """Returns the header block of an answer. It adds nothing to the client's table, so every connection can use it."""
    lines = (line.partition(b": ") for line in headers.split(b"\r\n") if line)
    fields = [
        (b":status", b"%d" % status),
        (b"content-type", kind),
        *((name.lower(), value) for name, _, value in lines),
    ]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


@dataclass(slots=True)
class _Stream:
    """One request, and the unsent part of its answer."""

    line: bytes
    head: bytes
    window: int  # how many octets of the answer the client accepts now
    room: int = OUR_WINDOW  # how many more octets of the request are accepted
    body: bytes = b""
    answering: bool = False
    unsent: bytes = b""
    pieces: Iterator[bytes] | None = None
    cut: bool = False  # the answer ends in the middle


class Http2Wire(asyncio.Protocol):
    """One HTTP/2 connection. Calls `serve` to answer each request."""

    def __init__(self, serve: Callable[[Request], Answer], connections: set[Connection], latency_s: float) -> None:
        self._serve = serve
        self._connections = connections
        self._latency_s = latency_s
        self._heads = Heads()
        self._frames, self._out = Frames(), [SETTINGS, GROWN]
        self._greeting = PREFACE  # the part of the preface that has not arrived
        self._streams: dict[int, _Stream] = {}
        self._last = 0  # number of the newest stream
        self._window, self._stream_window = WINDOW, WINDOW  # the client's windows
        # The start of the next header block. Not empty if the client has reduced its table.
        self._emptied = b""
        self._waiting: dict[int, asyncio.TimerHandle] = {}
        self._full = False
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        for number in list(self._streams):
            self._forget(number)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._read(data)
        except (ValueError, struct.error, IndexError):
            self._transport.abort()
            return
        self._flush()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()
        self._flush()

    def _read(self, data: bytes) -> None:
        greeting, data = data[: len(self._greeting)], data[len(self._greeting) :]
        if not self._greeting.startswith(greeting):
            raise ValueError("this is not HTTP/2")
        self._greeting = self._greeting[len(greeting) :]
        received = 0
        for kind, flags, number, payload in self._frames.feed(data):
            received += len(payload) * (kind == Frame.DATA)
            if take := TAKE.get(kind):
                take(self, flags, number, payload)
        if received:
            self._out.append(frame(Frame.WINDOW_UPDATE, 0, 0, received.to_bytes(4, "big")))

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not flags & END_HEADERS or not number % 2:
            raise ValueError("a head in many frames, or one of a stream that no client begins")
        block = unpadded(flags, payload)
        line, head = self._heads.decode(block[5:] if flags & PRIORITY else block)
        if number > self._last:  # later headers on a stream are trailers, which are ignored
            self._last = number
            self._streams[number] = _Stream(line, head, self._stream_window)
            if len(self._streams) > STREAMS:
                self._reset(number, REFUSED_STREAM)  # the client may not know the limit yet
        if flags & END_STREAM and number in self._streams:
            self._whole(number)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return  # the stream was reset
        stream.body += unpadded(flags, payload)
        stream.room -= len(payload)
        if flags & END_STREAM:
            self._whole(number)
        elif stream.room <= 0:
            self._reset(number)

    def _whole(self, number: int) -> None:
        """Calls `serve` for a request that has arrived, and answers now or later."""
        stream = self._streams[number]
        got = self._serve(Request(stream.line, stream.head, stream.body))
        if isinstance(got, Late):
            delay_s = max(0.0, got.delay_s - self._latency_s)  # `_flush` adds the rest
            self._waiting[number] = asyncio.get_running_loop().call_later(delay_s, self._release, number, got.answer)
        else:
            self._answer(number, got)

    def _release(self, number: int, late: Reply | None) -> None:
        """Sends a delayed answer, or resets the stream if there is none."""
        if late is None:
            self._reset(number)
        else:
            self._answer(number, late)
        self._flush()

    def _answer(self, number: int, got: Reply | Half | Streamed) -> None:
        stream, whole = self._streams[number], got.reply if isinstance(got, Half) else got
        block = self._emptied + answer_head(
            whole.status, whole.kind, whole.headers if isinstance(whole, Reply) else b""
        )
        self._emptied = b""
        self._out.append(frame(Frame.HEADERS, END_HEADERS, number, block))
        if isinstance(whole, Streamed):
            stream.pieces = whole.pieces
        elif isinstance(got, Half):
            stream.unsent, stream.cut = whole.body[: len(whole.body) // 2], True
        else:
            stream.unsent = whole.body
        stream.answering = True
        self._send(number, stream)

    def _send(self, number: int, stream: _Stream) -> None:
        """Sends as much of an answer as the windows allow."""
        while stream.unsent or self._more(stream):
            size = min(len(stream.unsent), FRAME_BYTES, self._window, stream.window)
            if size <= 0 or self._full:
                return
            part, stream.unsent = stream.unsent[:size], stream.unsent[size:]
            self._window -= size
            stream.window -= size
            last = not (stream.unsent or stream.pieces or stream.cut)
            self._out.append(frame(Frame.DATA, END_STREAM * last, number, part))
            if last:
                self._forget(number)
                return
        if stream.cut:
            self._reset(number)
        else:
            self._out.append(frame(Frame.DATA, END_STREAM, number))
            self._forget(number)

    @staticmethod
    def _more(stream: _Stream) -> bool:
        """Takes the next piece of a streamed answer. Returns whether there is one."""
        stream.unsent = next(stream.pieces, b"") if stream.pieces else b""
        return bool(stream.unsent)

    def _go_on(self) -> None:
        """Sends more of the answers that wait for a window."""
        for number, stream in list(self._streams.items()):
            if stream.answering:
                self._send(number, stream)

    def _reset(self, number: int, why: int = INTERNAL_ERROR) -> None:
        self._out.append(frame(Frame.RST_STREAM, 0, number, why.to_bytes(4, "big")))
        self._forget(number)

    def _forget(self, number: int) -> None:
        self._streams.pop(number, None)
        if waiting := self._waiting.pop(number, None):
            waiting.cancel()

    def _rst_stream(self, _: int, number: int, __: bytes) -> None:
        self._forget(number)

    def _settings(self, flags: int, _: int, payload: bytes) -> None:
        if flags & ACK:
            return
        for name, value in struct.iter_unpack(">HI", payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif name == Setting.HEADER_TABLE_SIZE and value < TABLE_BYTES:
                self._emptied = table_size(0)  # the client waits for it (RFC 7541 section 4.2)
        self._out.append(frame(Frame.SETTINGS, ACK, 0))
        self._go_on()

    def _ping(self, flags: int, _: int, payload: bytes) -> None:
        if not flags & ACK:
            self._out.append(frame(Frame.PING, ACK, 0, payload))

    def _window_update(self, _: int, number: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & LAST_STREAM
        if not number:
            self._window += more
        elif stream := self._streams.get(number):
            stream.window += more
        self._go_on()

    def _flush(self) -> None:
        """Writes all queued output, with a latency that many seconds later. The order stays the same."""
        if not self._out:
            return
        out = b"".join(self._out)
        self._out.clear()
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, out)
        else:
            self._transport.write(out)


TAKE: dict[int, Callable[[Http2Wire, int, int, bytes], None]] = {
    Frame.DATA: Http2Wire._data,  # noqa: SLF001 the table of this class
    Frame.HEADERS: Http2Wire._headers,  # noqa: SLF001
    Frame.RST_STREAM: Http2Wire._rst_stream,  # noqa: SLF001
    Frame.SETTINGS: Http2Wire._settings,  # noqa: SLF001
    Frame.PING: Http2Wire._ping,  # noqa: SLF001
    Frame.WINDOW_UPDATE: Http2Wire._window_update,  # noqa: SLF001
}
