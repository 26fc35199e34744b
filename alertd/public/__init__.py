"""Public pages without a key: a feed of the active alerts, and each alert as a CAP document.

They contain only public data of active alerts, and caches may keep them for seconds only. Load is limited: each page is made at most
once a second, and few at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.public.atom import FEED_TYPE, atom
from alertd.service.sharing.feeds import Feeds

#: Maximum age of a page, and cache time for clients. Together they stay below the five seconds within which a child must be hidden.
FRESH_S = 1.0
KEEP_S = 2
#: Maximum numbers: of cached pages, of pages made at the same time, and of requests that may wait. Further requests get
#: 429.
MOST, AT_ONCE, WAITING = 256, 2, 200
_HEADERS = {
    hdrs.CACHE_CONTROL: f"public, max-age={KEEP_S}, must-revalidate",
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",  # web pages of other sites may read it
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    body: bytes
    content_type: str
    etag: str
    location: str | None = None  # its own path, if the request used an older identifier


Make = Callable[[], Awaitable[_Answer]]


class _Answers:
    """Makes pages by name, each at most once in `FRESH_S`, and shares each among concurrent requests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: OrderedDict[str, tuple[float, asyncio.Task[_Answer]]] = OrderedDict()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def of(self, name: str, make: Make) -> _Answer:
        """Returns the page of this name, made by `make` if it is older than `FRESH_S`. Raises Problem if too many
        requests wait, and any exception of `make`.
        """
        began, task = self._made.get(name, (0.0, None))
        if task is None or (task.done() and self._clock.monotonic() - began > FRESH_S):
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

    async def _make(self, make: Make) -> _Answer:
        async with self._turn:
            return await make()

    def _is_made(self, task: asyncio.Task[_Answer]) -> None:
        """Counts one waiting request less. Retrieves the exception of a failed task, even if no request waits for it
        any more.
        """
        self._waiting -= 1
        _ = task.cancelled() or task.exception()


def public_routes(feeds: Feeds, site: str, clock: Clock) -> list[web.RouteDef]:
    """Returns the routes of the feed and the CAP documents. `site` is the public URL without a trailing slash."""
    # Separate queues: requests for missing documents cannot block the feed.
    feed_answers, documents = _Answers(clock), _Answers(clock)

    async def make_feed() -> _Answer:
        return _answer(atom(await feeds.feed(), site), FEED_TYPE)

    async def feed(request: web.Request) -> web.Response:
        return _told(request, await feed_answers.of("", make_feed))

    async def cap(request: web.Request) -> web.Response:
        identifier = request.match_info["identifier"]

        async def make_cap() -> _Answer:
            current, document = await feeds.cap(identifier)
            return _answer(document, MEDIA_TYPE, location=f"/cap/{current}.xml")

        return _told(request, await documents.of(identifier, make_cap))

    return [web.get("/feed.atom", feed), web.get("/cap/{identifier}.xml", cap)]


def _answer(body: bytes, content_type: str, *, location: str | None = None) -> _Answer:
    etag = hashlib.sha256(body).hexdigest()[:32]
    return _Answer(body=body, content_type=content_type, etag=etag, location=location)


def _told(request: web.Request, answer: _Answer) -> web.Response:
    """Returns the response with the page, or 304 if the client's ETag matches. Does not support If-Modified-Since: with
    two changes in one second, or after a purge, a client would keep a child that must be hidden.
    """
    response = web.Response(headers=_HEADERS)
    response.etag = answer.etag
    if answer.location:
        response.headers[hdrs.CONTENT_LOCATION] = answer.location
    if any(one.value in {answer.etag, "*"} for one in request.if_none_match or ()):
        response.set_status(304)
        return response
    response.content_type, response.charset, response.body = answer.content_type, "utf-8", answer.body
    return response
