"""The head of a POST as HTTP/2 writes it (HPACK, RFC 7541), encoded once for as long as its headers do not change.

The first request on a connection puts its fields into the server's table; those after it name them with a byte each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult

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
    start = _integer(known or 0, *form)
    return start + (b"" if known else _text(name)) + _text(value)


def _text(value: str) -> bytes:
    raw = value.encode("ascii")
    return _integer(len(raw), 0, 7) + raw


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
