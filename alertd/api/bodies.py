"""JSON bodies: read within bounds, refused where two readers could understand them differently."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from alertd.api.call import check_caller
from alertd.api.operations import JSON
from alertd.errors import Fault, Problem
from alertd.faults import faults_of, is_overfull

#: A whole body may take so long, a photograph over a bad line; and of one that is read as it comes, the next piece.
BODY_S, PIECE_S = 120.0, 60.0

#: A body without a key is no longer: what a mail provider reports at once is the longest of them (Amazon SNS: 256 kB).
KEYLESS_BYTES = 1024 * 1024

Read = TypeVar("Read")


async def raw_json(request: web.Request) -> bytes:
    """The body's bytes. Raises Problem: wrong-content-type, invalid-request if it is not JSON; web's own if too large."""
    if request.content_type != JSON or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise wrong_content_type(JSON)
    raw = await request.read()
    check_json(raw)
    return raw


async def pieces_of(request: web.Request) -> AsyncIterator[bytes]:
    """A body as it comes, for as long as its sender may send it. Raises Problem where they may not any more, and where they break off or send
    nothing more: that is no failure of ours.
    """
    pieces = aiter(request.content.iter_any())
    try:
        while (piece := await in_time(anext(pieces, None), PIECE_S)) is not None:
            await check_caller(request)
            yield piece
    except ConnectionResetError:
        raise Problem("invalid-request", "The connection ended before the body did.") from None
    await check_caller(request)  # its end may have been long in coming, and what is done with the whole comes now


async def in_time(reading: Awaitable[Read], within_s: float) -> Read:
    """What is read. Raises Problem where it does not come: whoever never ends a body would keep a connection, and what came of it, for ever."""
    try:
        async with asyncio.timeout(within_s):
            return await reading
    except TimeoutError:
        raise Problem("invalid-request", "The body did not come in time.") from None


def wrong_content_type(*expected: str) -> Problem:
    """The problem of a body that is of none of these media types."""
    return Problem("wrong-content-type", f"The body must be {' or '.join(expected)}, in UTF-8.", expected=expected)


def check_json(raw: bytes) -> None:
    """Raises Problem unless these bytes are one JSON text (RFC 8259) that means the same to every reader.

    A name given twice, and NaN or Infinity, are refused: readers differ about them. pydantic would let both pass.
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


def validated(adapter: TypeAdapter[Any], raw: bytes) -> tuple[Any, list[Fault]]:
    """The body as its model, or None and all its faults."""
    try:
        return adapter.validate_json(raw), []
    except ValidationError as error:
        return None, faults_of(error)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _unreadable("An object has the same name twice.")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise _unreadable("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _unreadable(sentence: str) -> Problem:
    return Problem("invalid-request", "The body cannot be read.", faults=(Fault("", sentence),))
