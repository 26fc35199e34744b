"""Answers of server-sent events, and how many of them one key may have open."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from aiohttp import web

from alertd.api.http.call import credential
from alertd.api.http.operations import EVENTS
from alertd.common.errors import Problem

#: A stream without a reader ends within a second, so a place may be free soon.
AGAIN_S = 5


class Streams:
    """Counts the open streams of each key in this process."""

    def __init__(self, most: int) -> None:
        """`most`: open streams of one key; 0: no limit."""
        self._most = most
        self._open = Counter[str]()

    @contextmanager
    def place(self, key_id: str) -> Iterator[None]:
        """Counts one stream of a key while it is open. Raises Problem if the key has as many as it may."""
        if 0 < self._most <= self._open[key_id]:
            raise Problem(
                "rate-limited", f"This key has {self._most} event streams open.", headers={"Retry-After": str(AGAIN_S)}
            )
        self._open[key_id] += 1
        try:
            yield
        finally:
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]


STREAMS = web.AppKey("streams", Streams)


async def send_events(request: web.Request, events: AsyncIterator[bytes]) -> web.StreamResponse:
    """Answers with server-sent events until they end. Raises Problem if the caller's key has too many streams open."""
    with request.app[STREAMS].place(credential(request).key_id):
        response = web.StreamResponse(headers={"Content-Type": EVENTS})
        await response.prepare(request)
        async for event in events:
            await response.write(event)
    return response
