"""HTTP/2 frames (RFC 9113 section 4), for clients and servers: their names, encoding and parsing. Also encodes the
headers of requests and decodes those of replies (HPACK, RFC 7541).
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
FRAME_BYTES = 16_384  # the largest frame accepted here, and the least maximum of any peer
WINDOW = 65_535  # initial size of every flow-control window
LAST_STREAM = (1 << 31) - 1
TABLE_BYTES = 4_096  # default size of a header table
STREAMS = 100  # maximum at a time on one connection (RFC 9113 section 6.5.2 advises servers to allow no less)

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
    """Parses frames. Stores the start of a frame until its rest arrives."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def half(self) -> bool:
        """Returns whether part of a frame has arrived, and its rest is missing."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Takes received bytes. Yields kind, flags, stream and payload of each frame that is whole now. Raises
        `ValueError` for a frame above `FRAME_BYTES`.
        """
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
    """Returns the payload without padding. Raises `ValueError` if the padding is longer than the frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ValueError("a frame is all padding")
    return payload[1 : len(payload) - payload[0]]


#: The start of every header block: `:method POST` and `:scheme https`, whole fields of the static table (RFC 7541
#: appendix A).
START = b"\x83\x87"
#: Index in the static table of HPACK, by the name of a header.
NAMES = {":authority": 1, ":path": 4, "authorization": 23, "content-length": 28, "content-type": 31, "user-agent": 58}
INDEXED, WITH_INDEXING, WITHOUT_INDEXING, RESIZING = (0x80, 7), (0x40, 6), (0x00, 4), (0x20, 5)
FIRST_DYNAMIC = 62  # the newest entry of the table; older ones count up
ENTRY_OVERHEAD = 32  # octets of an entry besides its text (RFC 7541 section 4.1)
#: Maximum size of a header block. It fits the smallest frame size that every peer accepts, so it needs no CONTINUATION.
HEAD_BYTES = 16_000


class Head(NamedTuple):
    """The encoded headers that many requests share: without `START`, the content-length, and a path that only one
    request has. `first` is for the first request on a connection, and adds the headers to the server's table. `again`
    is for later requests, and refers to that table.
    """

    first: bytes
    again: bytes
    table_bytes: int  # the table size that the server needs for `again`


def encode_head(url: SplitResult, headers: Mapping[str, str]) -> Head:
    """Returns the encoded headers for requests to a URL. If the URL has no path, each request adds its own. Raises
    `ValueError` for an invalid header, or if the headers together are longer than `HEAD_BYTES`.
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
    """Returns path and query of a URL in the form of a request; the path is at least "/"."""
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def own_path(path: str) -> bytes:
    """Returns the encoded `:path` field of one request. It is not added to the server's table."""
    return _literal(":path", path, WITHOUT_INDEXING)


@lru_cache(maxsize=1024)
def content_length(size: int) -> bytes:
    """Returns the encoded content-length field. It is not added to the server's table, because requests differ."""
    return _literal("content-length", str(size), WITHOUT_INDEXING)


def table_size(size: int) -> bytes:
    """Returns the octets that start the first header block after the server changed its table size (RFC 7541 section
    4.2).
    """
    return _integer(size, *RESIZING)


def _literal(name: str, value: str, form: tuple[int, int]) -> bytes:
    """Returns an encoded field with a literal value (RFC 7541 section 6.2). Writes the name as an index if it is in
    `NAMES`. `form`: what the server does with its table, as for `_integer`.
    """
    known = NAMES.get(name)
    field = _integer(known or 0, *form)
    for text in (value,) if known else (name, value):
        field += _integer(len(text), 0, 7) + text.encode("ascii")
    return field


def _integer(value: int, flag: int, bits: int) -> bytes:
    """Returns an integer in the form of RFC 7541 section 5.1. `bits`: the size of its prefix. `flag`: the bits before
    the prefix.
    """
    most = (1 << bits) - 1
    if value < most:
        return bytes([flag | value])
    out, value = bytearray([flag | most]), value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


BLOCK_BYTES = 65_536  # maximum header size of a reply; more is an intermediary's page
#: `:status 200` in every server's form, alone or after the server emptied its table at the client's request.
OK_BLOCKS = (b"\x88", b"\x20\x88")
#: `:status 201`, which the static table does not have as a whole field. All forms: with indexing, without, or never
#: indexed; digits plain or in Huffman code (RFC 7541 section 6.2).
CREATED_BLOCKS = tuple(
    emptied + form + digits
    for emptied in (b"", b"\x20")
    for form in (b"\x48", b"\x08", b"\x18")
    for digits in (b"\x03201", b"\x82\x10\x03")
)


def read_head(block: bytes) -> tuple[int, dict[str, str]]:
    """Returns status and headers of a reply. For speed, recognises 200 and 201 by the first bytes and then returns no
    headers. Raises `ValueError` if the block cannot be decoded or has no status.
    """
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
