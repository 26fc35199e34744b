"""An HTTP/1.1 connection: one POST at a time. One of the two kinds that `channels.https` keeps."""

from __future__ import annotations

import asyncio
from typing import cast

from channels.base import Outcome
from channels.http1_reader import ReplyReader
from channels.http_posts import LOST, NOT_HTTP, TIMED_OUT, Owner, Post, Posts
from channels.posting import Reply


class Http1Connection(asyncio.Protocol):
    """`post` writes a request, whose reply its owner is told. Implements `channels.http_posts.Connection`."""

    most = 1

    def __init__(self, timeout_s: float, owner: Owner) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._owner = owner
        self._reader = ReplyReader()
        self._transport = cast("asyncio.Transport", None)
        self._posted: Post | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self.listed = False
        self.idle_since_s = self._loop.time()

    @property
    def room(self) -> int:
        return int(self._open and self._posted is None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True

    def data_received(self, data: bytes) -> None:
        try:
            reply = self._reader.feed(data)
        except ValueError:
            self._end(NOT_HTTP)
            return
        if self._posted is None:  # nobody asked
            self.abort()
        elif reply is not None:
            if not self._reader.keeps:
                self.abort()
            self._finish(reply)

    def eof_received(self) -> None:
        """Nothing more can be answered here: what has come is the reply, and nothing more is asked."""
        self._open = False
        self._finish(self._reader.end() or LOST)

    def connection_lost(self, _: Exception | None) -> None:
        self._open = False
        self._finish(LOST)

    def post(self, post: Post) -> None:
        self._posted, self.idle_since_s = post, self._loop.time()
        self._timer = self._loop.call_later(self._timeout_s, self._end, TIMED_OUT)
        self._transport.write(post.http1)

    def flush(self) -> None:
        """It is written."""

    def forget(self, together: Posts) -> None:
        if self._posted is not None and self._posted.together is together:
            self._end(LOST)

    def abort(self) -> None:
        self._open = False
        self._transport.abort()

    def _end(self, answer: Outcome) -> None:
        self.abort()
        self._finish(answer)

    def _finish(self, answer: Reply | Outcome) -> None:
        post, self._posted = self._posted, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if post is not None:
            self._owner.answered(post, answer)
        self.idle_since_s = self._loop.time()
        self._owner.on_event(self)
