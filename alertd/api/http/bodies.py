"""Reads the bodies of requests within limits of size, time and memory, and refuses JSON that two parsers could
understand differently.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, NoReturn, TypeVar

from aiohttp import hdrs, web

from alertd.api.http.call import CREDENTIAL, check_caller
from alertd.common.errors import Fault, Problem
from alertd.model.faults import is_overfull

JSON = "application/json"

#: Maximum seconds for a whole body (a photo over a slow line), and for the next piece of a streamed body.
BODY_S, PIECE_S = 120.0, 60.0

#: Maximum bytes of a body without a key. The longest is a mail provider's batch of reports (Amazon SNS: 256 kB).
KEYLESS_BYTES = 1024 * 1024
#: Maximum seconds for a body without a key: its sender is a carrier, a relay or an app, and a report is small.
KEYLESS_BODY_S = 20.0
#: A body without a key is large above `LARGE_BYTES`. At most `LARGE_AT_ONCE` large bodies may arrive at the same time.
LARGE_BYTES, LARGE_AT_ONCE = 16 * 1024, 32

#: Maximum number of gzip bodies handled at once: 10 KB can inflate to `api.body_mb` each.
INFLATED_AT_ONCE = 8
#: Maximum bytes of a piece when alertd inflates a streamed gzip body.
INFLATED_BYTES = 64 * 1024
_GZIP = "gzip"
_GZIP_BITS = 16 + zlib.MAX_WBITS  # 16 selects the gzip header in zlib

Read = TypeVar("Read")


#: alertd checks the JSON of a body with more bytes in a thread, so that the check does not delay other calls.
THREADED_BYTES = 65_536


async def raw_json(request: web.Request) -> bytes:
    """Returns the body's bytes, which are one JSON text. Raises Problem: `wrong-content-type` unless the header
    declares JSON in UTF-8, `invalid-request` if the body is no valid JSON. Raises aiohttp's error if it is too large.
    """
    if request.content_type != JSON or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise wrong_content_type(JSON)
    raw = await request.read()
    if len(raw) > THREADED_BYTES:
        await asyncio.to_thread(check_json, raw)
    else:
        check_json(raw)
    return raw


async def pieces_of(request: web.Request) -> AsyncIterator[bytes]:
    """Yields the content of a body as it arrives, inflated if it is gzip, while its sender has access. Raises Problem
    if the sender loses access, disconnects or sends no more data, because none of these is a failure of the server.
    """
    pieces = _sent(request)
    async for piece in _inflated(pieces) if is_gzip(request) else pieces:
        await check_caller(request)
        yield piece
    await check_caller(request)  # the last piece may have taken long, and the handler now acts on the whole body


class Keyless:
    """Reads the bodies of operations that need no key, and limits the memory of all these bodies together."""

    def __init__(self) -> None:
        self._large = 0

    async def read_body(self, request: web.Request, within_s: float) -> web.Request:
        """Reads the whole body, and returns a copy of the request that has it. Raises Problem if the body does not
        arrive within `within_s` seconds (20 at most), or if too many large bodies are arriving. Raises aiohttp's error
        if the body is larger than 1 MB.
        """
        request = request.clone(client_max_size=min(request.client_max_size, KEYLESS_BYTES))
        large = request.content_length is None or request.content_length > LARGE_BYTES
        if large and self._large >= LARGE_AT_ONCE:
            raise Problem("rate-limited", "Too many large bodies are on their way.", headers={"Retry-After": "1"})
        self._large += large
        try:
            if request.content.is_eof():  # complete: the time-out would cost more than the read
                await request.read()
            else:
                await in_time(request.read(), min(within_s, KEYLESS_BODY_S))
        finally:
            self._large -= large
        return request


async def _sent(request: web.Request) -> AsyncIterator[bytes]:
    """Yields the body's bytes as they arrive. Raises Problem if the next piece takes longer than `PIECE_S`, or if the
    connection ends before the body.
    """
    pieces = aiter(request.content.iter_any())
    try:
        while (piece := await in_time(anext(pieces, None), PIECE_S)) is not None:
            yield piece
    except ConnectionResetError:
        raise Problem("invalid-request", "The connection ended before the body did.") from None


async def _inflated(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields the content of one or more gzip members, in pieces of at most `INFLATED_BYTES`. Raises Problem if the
    bytes are not gzip or end early.
    """
    inflater, began = zlib.decompressobj(_GZIP_BITS), False
    async for packed in pieces:
        rest, piece = packed, b""
        while rest or len(piece) == INFLATED_BYTES:  # after a full piece, zlib may hold more output
            began = began or bool(rest)
            try:
                piece = await asyncio.to_thread(inflater.decompress, rest, INFLATED_BYTES)
            except zlib.error:
                raise _broken_gzip() from None
            rest = inflater.unconsumed_tail
            if inflater.eof:
                rest, inflater, began = inflater.unused_data, zlib.decompressobj(_GZIP_BITS), False
            if piece:
                yield piece
    if began:
        raise _broken_gzip()


def is_gzip(request: web.Request) -> bool:
    """Returns whether the request declares its body as gzip. Raises Problem (`wrong-encoding`) for any other encoding,
    and for gzip in a call without a credential.
    """
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    taken = [_GZIP] if CREDENTIAL in request else []
    if encoding not in {"identity", *taken}:
        headers = {"Accept-Encoding": ", ".join([*taken, "identity"])}
        raise Problem("wrong-encoding", "The body has a Content-Encoding that is not accepted here.", headers=headers)
    return encoding == _GZIP


async def inflate(request: web.Request) -> None:
    """Replaces the gzip body of the request, which was read before, with its content. Raises Problem if it is not gzip,
    and aiohttp's error if the content is larger than the application's limit.
    """
    content = await asyncio.to_thread(_content, await request.read(), request.client_max_size)
    if len(content) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size)
    request._read_bytes = content  # noqa: SLF001  `read` then returns it; aiohttp has no setter


def _content(packed: bytes, most: int) -> bytes:
    """Returns the content of gzip bytes, cut off after `most` + 1 bytes. Raises Problem if they are not gzip."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            return file.read(most + 1)
    except (OSError, EOFError, zlib.error):
        raise _broken_gzip() from None


def _broken_gzip() -> Problem:
    fault = Fault("", "The body is not what Content-Encoding says.")
    return Problem("invalid-request", "The body cannot be read.", faults=(fault,))


async def in_time(reading: Awaitable[Read], within_s: float) -> Read:
    """Returns the result of `reading`. Raises Problem if it takes more than `within_s` seconds: a body without an end
    would hold its connection and memory forever.
    """
    try:
        async with asyncio.timeout(within_s):
            return await reading
    except TimeoutError:
        raise Problem("invalid-request", "The body did not come in time.") from None


def wrong_content_type(*expected: str) -> Problem:
    """Returns the problem for a body that has none of the `expected` media types."""
    return Problem("wrong-content-type", f"The body must be {' or '.join(expected)}, in UTF-8.", expected=expected)


def check_json(raw: bytes) -> None:
    """Raises Problem unless these bytes are one JSON text in UTF-8 (RFC 8259) that every parser reads in the same way.

    Refuses duplicate names, NaN and Infinity, because parsers differ about them and pydantic would accept them. Also
    refuses too many members, too deep nesting and integers of thousands of digits.
    """
    if is_overfull(raw):
        raise _unreadable("This has too many members.")
    try:
        _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise _unreadable("This must be text in UTF-8.") from None
    except RecursionError:
        raise _unreadable("This is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"This is not JSON: {error.msg}, line {error.lineno}, column {error.colno}.") from None
    except ValueError:  # an integer of thousands of digits
        raise _unreadable("This holds a number that is too large.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the members of an object. Raises Problem if a name occurs twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _unreadable("An object has the same name twice.")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise _unreadable("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _unreadable(sentence: str) -> Problem:
    return Problem("invalid-request", "The body cannot be read.", faults=(Fault("", sentence),))
