"""HTTP/2's frames (RFC 9113 section 4), for both ends: what they are called, how one is written, and how they are cut from what came."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES = 16_384  # the most that we take in one frame, and the least that any peer takes
WINDOW = 65_535  # where every flow-control window begins
LAST_STREAM = (1 << 31) - 1
TABLE_BYTES = 4_096  # what a table of headers holds unless its owner says otherwise
STREAMS = 100  # at a time, at most (RFC 9113 section 6.5.2 advises servers to take no less)

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20
INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 2, 7, 8

_HEAD = struct.Struct(">BHBBI")  # a length in two parts, kind, flags, stream


class Frame(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


def frame(kind: Frame, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


class Frames:
    """`feed` what came; it gives each whole frame's kind, flags, stream and payload."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def half(self) -> bool:
        """Whether the rest of a frame is waited for."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Raises `ValueError` for a frame that is larger than we allow."""
        data, at = self._rest + data, 0
        while len(data) - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            begin = at + _HEAD.size
            end = begin + (high << 16 | low)
            if end - begin > FRAME_BYTES:
                raise ValueError("a frame is larger than we allow")
            if end > len(data):
                break
            yield kind, flags, stream & LAST_STREAM, data[begin:end]
            at = end
        self._rest = data[at:]


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a frame holds. Raises `ValueError` when it is less than nothing."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ValueError("a frame is all padding")
    return payload[1 : len(payload) - payload[0]]
