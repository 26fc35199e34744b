"""HTTP/2's frames (RFC 9113 section 4), for both ends: what they are called, how one is written, and how they are cut from what came; and the
heads of a request and of a reply (RFC 7541).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult

import hpack

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


#: What every head begins with: `:method POST` and `:scheme https`, whole fields of the static table (RFC 7541 appendix A).
START = b"\x83\x87"
#: Names of the static table, by index.
NAMES = {":authority": 1, ":path": 4, "authorization": 23, "content-length": 28, "content-type": 31, "user-agent": 58}
INDEXED, WITH_INDEXING, WITHOUT_INDEXING, RESIZING = (0x80, 7), (0x40, 6), (0x00, 4), (0x20, 5)
FIRST_DYNAMIC = 62  # the newest entry of the table; older ones count up
ENTRY_OVERHEAD = 32  # what an entry counts beside its text (RFC 7541 section 4.1)
#: A head must fit the smallest frame that every peer takes, so that it needs no CONTINUATION.
HEAD_BYTES = 16_000


class Head(NamedTuple):
    """One request's head between `START`, behind which its own path may stand, and its content-length: `first` on a connection, `again`
    after it there.
    """

    first: bytes
    again: bytes
    table_bytes: int  # what the server's table must hold for `again` to mean the same


def encode_head(url: SplitResult, headers: Mapping[str, str]) -> Head:
    """Without a path where the URL has none: then each request has its own. Raises `ValueError` when a header cannot be one, or all are
    too long.
    """
    path = {":path": path_of(url)} if url.path else {}
    fields = {**path, ":authority": url.netloc, **{name.lower(): value for name, value in headers.items()}}
    if any(not value.isprintable() or not value.isascii() for value in fields.values()):
        raise ValueError("a header holds what no header may")
    first = b"".join(_literal(name, value, WITH_INDEXING) for name, value in fields.items())
    again = b"".join(_integer(FIRST_DYNAMIC + age, *INDEXED) for age in reversed(range(len(fields))))
    if len(first) > HEAD_BYTES:
        raise ValueError("the headers are too long")
    table_bytes = sum(len(name) + len(value) + ENTRY_OVERHEAD for name, value in fields.items())
    return Head(first, again, table_bytes)


def path_of(url: SplitResult) -> str:
    """As requests name it."""
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def own_path(path: str) -> bytes:
    """The path of one request alone, kept out of the server's table."""
    return _literal(":path", path, WITHOUT_INDEXING)


@lru_cache(maxsize=1024)
def content_length(size: int) -> bytes:
    """The field that differs from request to request, kept out of the server's table."""
    return _literal("content-length", str(size), WITHOUT_INDEXING)


def table_size(size: int) -> bytes:
    """What begins the first head after the server has changed the size of its table (RFC 7541 section 4.2)."""
    return _integer(size, *RESIZING)


def _literal(name: str, value: str, form: tuple[int, int]) -> bytes:
    """A field with its value written out (RFC 7541 section 6.2), its name by index where the static table has it."""
    known = NAMES.get(name)
    field = _integer(known or 0, *form)
    for text in (value,) if known else (name, value):
        field += _integer(len(text), 0, 7) + text.encode("ascii")
    return field


def _integer(value: int, flag: int, bits: int) -> bytes:
    """RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flag | value])
    out, value = bytearray([flag | most]), value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


BLOCK_BYTES = 65_536  # of the head of a reply; more is a page of somebody in between
#: `:status 200` as every server writes it, alone or after it has emptied its table as we asked.
OK_BLOCKS = (b"\x88", b"\x20\x88")
#: `:status 201`, which no table has whole: for the table, not for it or for none, its digits plain or in Huffman's code (RFC 7541 section 6.2).
CREATED_BLOCKS = tuple(
    emptied + form + digits
    for emptied in (b"", b"\x20")
    for form in (b"\x48", b"\x08", b"\x18")
    for digits in (b"\x03201", b"\x82\x10\x03")
)


def read_head(block: bytes) -> tuple[int, dict[str, str]]:
    """The status and the headers of a reply; a 200 and a 201 are read by their first bytes, without headers. Raises `ValueError`."""
    if block.startswith(OK_BLOCKS):
        return 200, {}
    if block.startswith(CREATED_BLOCKS):
        return 201, {}
    decoder = hpack.Decoder(max_header_list_size=BLOCK_BYTES)
    decoder.max_allowed_table_size = TABLE_BYTES
    decoder.header_table_size = 0
    try:
        fields = {str(name): str(value) for name, value in decoder.decode(block)}
    except (hpack.HPACKError, UnicodeDecodeError) as fault:
        raise ValueError("the head of a reply cannot be read") from fault
    status = fields.pop(":status", "")
    if not (status.isascii() and status.isdigit()):
        raise ValueError("a reply has no status")
    return int(status), fields
