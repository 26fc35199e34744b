"""What is published, for everybody, without a key: a feed of the alerts that are told now, and each as a CAP document.

It shows what the public is told and nothing else, and for as long as it is told: whoever keeps an answer keeps it for seconds. It cannot
be made to work hard: an answer is made once a second at most, a few at a time.
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

#: An answer is so old at most, and whoever keeps it may keep it so long: together less than the five seconds in which a child is hidden.
FRESH_S = 1.0
KEEP_S = 2
#: Answers that are kept, and that are made at the same time. More wait; more than so many are told to come again.
MOST, AT_ONCE, WAITING = 256, 2, 200
_HEADERS = {
    hdrs.CACHE_CONTROL: f"public, max-age={KEEP_S}, must-revalidate",
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",  # it is for everybody's pages, too
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    body: bytes
    content_type: str
    etag: str
    location: str | None = None  # what it is called itself, where it was asked for by an older name


Make = Callable[[], Awaitable[_Answer]]


class _Answers:
    """Answers by name, each made at most once in `FRESH_S`, for all who ask meanwhile."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: OrderedDict[str, tuple[float, asyncio.Task[_Answer]]] = OrderedDict()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def of(self, name: str, make: Make) -> _Answer:
        """Raises Problem, what `make` raises among them."""
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
        """Or it failed, which is looked at though everybody who asked has gone."""
        self._waiting -= 1
        _ = task.cancelled() or task.exception()


def public_routes(publishing: Feeds, site: str, clock: Clock) -> list[web.RouteDef]:
    """`site` is where this is reached from outside, without a slash at its end."""
    # Apart: whoever asks for documents that there are not keeps nobody from the feed.
    feeds, documents = _Answers(clock), _Answers(clock)

    async def make_feed() -> _Answer:
        return _answer(atom(await publishing.feed(), site), FEED_TYPE)

    async def feed(request: web.Request) -> web.Response:
        return _told(request, await feeds.of("", make_feed))

    async def cap(request: web.Request) -> web.Response:
        identifier = request.match_info["identifier"]

        async def make_cap() -> _Answer:
            current, document = await publishing.cap(identifier)
            return _answer(document, MEDIA_TYPE, location=f"/cap/{current}.xml")

        return _told(request, await documents.of(identifier, make_cap))

    return [web.get("/feed.atom", feed), web.get("/cap/{identifier}.xml", cap)]


def _answer(body: bytes, content_type: str, *, location: str | None = None) -> _Answer:
    etag = hashlib.sha256(body).hexdigest()[:32]
    return _Answer(body=body, content_type=content_type, etag=etag, location=location)


def _told(request: web.Request, answer: _Answer) -> web.Response:
    """The answer, or that the caller has it, as its tag tells. A time tells that of nothing here: of two alerts that change in one second,
    or one that is purged, a child would stay with whoever asked by it.
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
