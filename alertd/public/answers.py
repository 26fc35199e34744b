"""Makes the answers of public pages: each at most once or twice a second, few at a time. Requests share an answer, and
clients may cache it for two seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Generic, TypeVar

from aiohttp import hdrs, web

from alertd.common.clock import Clock
from alertd.common.errors import Problem

#: Seconds: maximum age of a page here, and cache time of clients. The sum stays below the five seconds within which a
#: child must be hidden.
FRESH_S = 1.0
KEEP_S = 2
#: Maximum numbers for each `Answers`: of stored answers, of answers made at the same time, and of answers not yet
#: made. A request for one more gets 429.
MOST, AT_ONCE, WAITING = 256, 2, 200
FOR_OTHER_SITES: dict[str, str] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}  # their scripts may read the answer
_HEADERS: dict[str, str] = {hdrs.CACHE_CONTROL: f"public, max-age={KEEP_S}, must-revalidate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A page or document that is ready to send, with its headers."""

    body: bytes
    content_type: str
    etag: str
    location: str | None = None  # the document's own path, because the request may have used an older identifier
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


T = TypeVar("T")


class Answers(Generic[T]):
    """A cache of answers, or of the data that they are made from, by name. Makes each at most once in `fresh_s` seconds
    and shares it among requests, so a flood of requests costs no more than the number of names.
    """

    def __init__(self, clock: Clock, fresh_s: float = FRESH_S) -> None:
        self._clock = clock
        self._fresh_s = fresh_s
        self._made: OrderedDict[str, tuple[float, asyncio.Task[T]]] = OrderedDict()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def of(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        """Returns the answer of this name. Calls `make` only if no answer is being made and the last one is older than
        `fresh_s` seconds. Raises Problem rate-limited if `WAITING` answers are not yet made, and any exception of
        `make`, which counts as an answer.
        """
        began, task = self._made.get(name, (0.0, None))
        if task is None or (task.done() and self._clock.monotonic() - began > self._fresh_s):
            if self._waiting >= WAITING:
                raise Problem("rate-limited", "Too many ask at once.", headers={"Retry-After": "1"})
            self._waiting += 1
            task = asyncio.create_task(self._make(make))
            task.add_done_callback(self._is_made)
            self._made[name] = (self._clock.monotonic(), task)
        self._made.move_to_end(name)
        while len(self._made) > MOST:
            self._made.popitem(last=False)
        return await asyncio.shield(task)

    async def _make(self, make: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            return await make()

    def _is_made(self, task: asyncio.Task[T]) -> None:
        """Counts one unfinished answer less. Retrieves the exception of a failed task, so that asyncio does not log it
        as never retrieved when all clients have hung up.
        """
        self._waiting -= 1
        _ = task.cancelled() or task.exception()


def answer(
    body: bytes, content_type: str, *, location: str | None = None, status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Answer:  # fmt: skip
    """Returns an Answer with this body. Its ETag is a digest of the body."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    return Answer(
        body=body, content_type=content_type, etag=etag, location=location, status=status, headers=headers or {}
    )


def respond(request: web.Request, made: Answer) -> web.Response:
    """Returns the response with the page, or 304 if If-None-Match names the page's ETag. Ignores If-Modified-Since:
    with two changes in one second, or after a purge, the client would go on to show a child that must be hidden.
    """
    response = web.Response(status=made.status, headers=_HEADERS | dict(made.headers))
    response.etag = made.etag
    if made.location:
        response.headers[hdrs.CONTENT_LOCATION] = made.location
    if any(one.value in {made.etag, "*"} for one in request.if_none_match or ()):
        response.set_status(304)
        return response
    response.content_type, response.charset, response.body = made.content_type, "utf-8", made.body
    return response
