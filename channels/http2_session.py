"""The client's side of one HTTP/2 connection as a state machine (RFC 9113): it takes POSTs and received bytes, and
returns replies and bytes to send. No I/O, no clock.

It is made for many small POSTs. It reads a 200 or 201 without decoding the headers, because alertd allows the server no
compression table. A fault of one stream is an outcome. A fault of the connection raises `ValueError` and ends it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from channels.base import Answer, Outcome
from channels.http2_frames import (
    ACK,
    BLOCK_BYTES,
    CANCEL,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    LAST_STREAM,
    PREFACE,
    PRIORITY,
    REFUSED_STREAM,
    START,
    STREAMS,
    TABLE_BYTES,
    WINDOW,
    Frame,
    Frames,
    Head,
    Setting,
    content_length,
    frame,
    own_path,
    read_head,
    table_size,
    unpadded,
)  # fmt: skip
from channels.posting import LOST, NOT_HTTP, UNTAKEN, Reply

Answered = tuple[int, Reply | Outcome]

OUR_WINDOW = 1 << 20  # octets that the server may send without a window update
MAX_WINDOW = (1 << 31) - 1
BODY_BYTES = 1_048_576  # maximum body of a reply; more is an intermediary's page


@dataclass(slots=True)
class _Stream:
    """One open POST: the unsent part of its body, and its reply so far."""

    window: int
    unsent: bytes
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Http2Session:
    """One connection. The caller starts POSTs with `post` if `room` is above 0, passes received bytes to `feed`, and
    sends the bytes from `take`.
    """

    def __init__(self, most: int = STREAMS) -> None:
        """`most` streams at a time, until the server sets its limit."""
        ours = {Setting.HEADER_TABLE_SIZE: 0, Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: OUR_WINDOW}
        settings = b"".join(struct.pack(">HI", name, value) for name, value in ours.items())
        grown = frame(Frame.WINDOW_UPDATE, 0, 0, (OUR_WINDOW - WINDOW).to_bytes(4, "big"))
        self._out: list[bytes] = [PREFACE, frame(Frame.SETTINGS, 0, 0, settings), grown]
        self._frames = Frames()
        self._streams: dict[int, _Stream] = {}
        #: Streams with a body that waits for a window. They continue when the server grants room, unless they are
        #: cancelled.
        self.held: set[int] = set()
        self._next = 1
        self._window, self._stream_window = WINDOW, WINDOW
        self._frame_bytes, self._table_bytes = FRAME_BYTES, TABLE_BYTES
        self.most, self._agreed = most, False
        self._told: Head | None = None  # the contents of the server's table
        self._resized = b""
        self._received = 0
        self._block: tuple[int, bool, bytearray] | None = None  # a header block that continues in the next frame
        # Answers that `feed` has read but not returned yet, because it raised after them.
        self.answered: list[Answered] = []
        self.whole = 0  # received frames
        self.leaving = False  # the server closes, or stream numbers are used up: no new POSTs

    @property
    def room(self) -> int:
        """Returns how many POSTs may start now. It is 0 while a body waits for a window, so that a slow server gets no
        more.
        """
        if self.leaving or self.held or self._window <= 0:
            return 0
        return max(0, self.most - len(self._streams))

    @property
    def half(self) -> bool:
        """Returns whether part of a frame has arrived, and its rest is missing."""
        return self._frames.half

    def post(self, head: Head, body: bytes, path: str | None = None) -> int:
        """Starts a POST and returns its stream number; `take` then returns its bytes. The caller must check `room`
        first, and give `path` if `head` has no path, and only then.
        """
        number = self._next
        self._next += 2
        self.leaving = self.leaving or self._next > LAST_STREAM
        start = START if path is None else START + own_path(path)
        if head is self._told:
            block = start + head.again
        else:
            if head.table_bytes <= self._table_bytes:
                self._told = head
            block, self._resized = self._resized + start + head.first, b""
        block += content_length(len(body))
        self._out.append(frame(Frame.HEADERS, END_HEADERS | (0 if body else END_STREAM), number, block))
        stream = self._streams[number] = _Stream(self._stream_window, body)
        self._send_body(number, stream)
        return number

    def unanswered(self, number: int, written: Outcome) -> Outcome:
        """Returns the outcome of a stream without an answer. If the whole request was sent, that is `written`. If part
        of the body is unsent, the server cannot have accepted the request, so the outcome is a RETRY.
        """
        stream = self._streams.get(number)
        return written._replace(answer=Answer.RETRY) if stream and stream.unsent else written

    def cancel(self, number: int) -> None:
        """Resets a stream, because its reply is no longer needed."""
        if self._drop(number):
            self._out.append(frame(Frame.RST_STREAM, 0, number, CANCEL.to_bytes(4, "big")))

    def take(self) -> bytes:
        """Returns the bytes to send, and removes them from the queue."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def feed(self, data: bytes) -> list[Answered]:
        """Takes received bytes and returns the new answers. Raises `ValueError` if the connection has become unusable;
        `answered` then holds the answers before the fault.
        """
        for kind, flags, stream, payload in self._frames.feed(data):
            self.whole += 1
            if self._block is not None and kind != Frame.CONTINUATION:
                raise ValueError("a header block was interrupted")
            take = TAKE.get(kind)
            if take is not None:
                take(self, flags, stream, payload)
        answered, self.answered = self.answered, []
        return answered

    def end(self) -> list[Answered]:
        """Ends the session, because the connection is gone. Returns the outcomes of open streams: UNKNOWN for a whole
        request, which may have arrived, RETRY for a part.
        """
        lost: list[Answered] = [(number, self.unanswered(number, LOST)) for number in self._streams]
        self._streams.clear()
        self.held.clear()
        self.leaving = True
        return lost

    def _drop(self, number: int) -> bool:
        """Forgets a stream. Returns whether it existed."""
        self.held.discard(number)
        return self._streams.pop(number, None) is not None

    def _send_body(self, number: int, stream: _Stream) -> None:
        """Sends as much of the body as the windows allow."""
        while stream.unsent:
            size = min(len(stream.unsent), self._frame_bytes, self._window, stream.window)
            if size <= 0:
                self.held.add(number)
                return
            part, stream.unsent = stream.unsent[:size], stream.unsent[size:]
            self._out.append(frame(Frame.DATA, 0 if stream.unsent else END_STREAM, number, part))
            self._window -= size
            stream.window -= size
        self.held.discard(number)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > OUR_WINDOW // 2:
            self._out.append(frame(Frame.WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0
        stream = self._streams.get(number)
        if stream is None:
            return  # the stream was cancelled
        stream.body += unpadded(flags, payload)
        if not stream.status or len(stream.body) > BODY_BYTES:
            self.answered.append((number, self.unanswered(number, NOT_HTTP)))
            self.cancel(number)
        elif flags & END_STREAM:
            self._finish(number, stream)

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        block = unpadded(flags, payload)
        if flags & PRIORITY:
            block = block[5:]
        self._block_came(number, bool(flags & END_STREAM), bytearray(block), whole=bool(flags & END_HEADERS))

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ValueError("a header block goes on that never began")
        _, ends, block = self._block
        self._block_came(number, ends, block + payload, whole=bool(flags & END_HEADERS))

    def _block_came(self, number: int, ends: bool, block: bytearray, *, whole: bool) -> None:
        """Handles a header block. Stores it if it continues in the next frame. `ends`: the stream ends after it."""
        if len(block) > BLOCK_BYTES:
            raise ValueError("the head of a reply is too long")
        self._block = None if whole else (number, ends, block)
        stream = self._streams.get(number)
        if not whole or stream is None:
            return
        if not stream.status:
            status, headers = read_head(bytes(block))
            if status >= 200:  # the others are interim replies
                stream.status, stream.headers = status, headers
        if ends:
            self._finish(number, stream)

    def _finish(self, number: int, stream: _Stream) -> None:
        """Ends a stream whose reply has arrived completely, and records the reply."""
        self._drop(number)
        # The server answered before it had read the whole body, and needs no more of it (RFC 9113 section 8.1).
        if stream.unsent:
            self._out.append(frame(Frame.RST_STREAM, 0, number, CANCEL.to_bytes(4, "big")))
        reply = Reply(stream.status, stream.headers, stream.body)
        self.answered.append((number, reply if stream.status >= 200 else NOT_HTTP))

    def _rst_stream(self, _: int, number: int, payload: bytes) -> None:
        lost = self.unanswered(number, LOST)
        if self._drop(number):
            # A refused stream was not processed (RFC 9113 section 8.7).
            refused = payload == REFUSED_STREAM.to_bytes(4, "big")
            self.answered.append((number, UNTAKEN if refused else lost))

    def _settings(self, flags: int, _: int, payload: bytes) -> None:
        if flags & ACK:
            return
        if len(payload) % 6:
            raise ValueError("settings of a broken length")
        if not self._agreed:  # limits that the server leaves out do not apply
            self.most, self._agreed = STREAMS, True
        for name, value in struct.iter_unpack(">HI", payload):
            self._set(name, value)
        self._out.append(frame(Frame.SETTINGS, ACK, 0))
        self._go_on()

    def _set(self, name: int, value: int) -> None:
        """Applies one setting of the server. Raises `ValueError` for a window above the maximum."""
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self.most = min(value, STREAMS)
        elif name == Setting.MAX_FRAME_SIZE:
            self._frame_bytes = max(FRAME_BYTES, value)
        elif name == Setting.HEADER_TABLE_SIZE:
            self._table_bytes = min(value, TABLE_BYTES)
            self._told, self._resized = None, table_size(self._table_bytes)
        elif name == Setting.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ValueError("a window is too large")
            for stream in self._streams.values():
                stream.window += value - self._stream_window
            self._stream_window = value

    def _ping(self, flags: int, _: int, payload: bytes) -> None:
        if not flags & ACK:
            self._out.append(frame(Frame.PING, ACK, 0, payload))

    def _goaway(self, _: int, __: int, payload: bytes) -> None:
        """Handles GOAWAY. Streams above the last one that it names were not processed (RFC 9113 section 6.8)."""
        if len(payload) < 8:
            raise ValueError("a farewell of a broken length")
        self.leaving = True
        last = int.from_bytes(payload[:4], "big") & LAST_STREAM
        for number in [number for number in self._streams if number > last]:
            self._drop(number)
            self.answered.append((number, UNTAKEN))

    def _window_update(self, _: int, number: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & LAST_STREAM
        if number:
            stream = self._streams.get(number)
            if stream is not None:
                stream.window += more
        else:
            self._window += more
        if self._window > MAX_WINDOW:
            raise ValueError("a window is too large")
        self._go_on()

    def _push_promise(self, _: int, __: int, ___: bytes) -> None:
        raise ValueError("the server pushes although we said no")

    def _go_on(self) -> None:
        """Sends more of the bodies that wait for a window."""
        for number in sorted(self.held):
            self._send_body(number, self._streams[number])


TAKE: dict[int, Callable[[Http2Session, int, int, bytes], None]] = {
    Frame.DATA: Http2Session._data,  # noqa: SLF001 the table of this class
    Frame.HEADERS: Http2Session._headers,  # noqa: SLF001
    Frame.RST_STREAM: Http2Session._rst_stream,  # noqa: SLF001
    Frame.SETTINGS: Http2Session._settings,  # noqa: SLF001
    Frame.PUSH_PROMISE: Http2Session._push_promise,  # noqa: SLF001
    Frame.PING: Http2Session._ping,  # noqa: SLF001
    Frame.GOAWAY: Http2Session._goaway,  # noqa: SLF001
    Frame.WINDOW_UPDATE: Http2Session._window_update,  # noqa: SLF001
    Frame.CONTINUATION: Http2Session._continuation,  # noqa: SLF001
}
