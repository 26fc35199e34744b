"""An HTTP/1.1 connection: one POST at a time. One of the two kinds that `channels.https` keeps."""

from __future__ import annotations

import asyncio
from typing import cast

from channels.base import WITHHELD, MayWrite, Outcome
from channels.http1_reader import ReplyReader
from channels.posting import LOST, NOT_HTTP, TIMED_OUT, Encoded, OnRoom, Reply


class Http1Connection(asyncio.Protocol):
    """`exchange` writes a request and answers its reply."""

    most = 1

    def __init__(self, timeout_s: float, on_room: OnRoom) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_room = on_room
        self._reader = ReplyReader()
        self._transport = cast("asyncio.Transport", None)
        self._waiting: asyncio.Future[Reply | Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self.listed = False
        self.idle_since_s = self._loop.time()

    @property
    def room(self) -> int:
        return int(self._open and self._waiting is None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True

    def data_received(self, data: bytes) -> None:
        try:
            reply = self._reader.feed(data)
        except ValueError:
            self._finish(NOT_HTTP)
            self.abort()
            return
        if self._waiting is None:  # nobody asked
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

    async def exchange(self, request: Encoded, body: bytes, may_write: MayWrite) -> Reply | Outcome:
        """Cancelling closes the connection, so that a late reply is never read as another's."""
        if not may_write():
            self._tell()
            return WITHHELD
        self._waiting = self._loop.create_future()
        self._timer = self._loop.call_later(self._timeout_s, self._time_out)
        self._transport.write(request.http1 % len(body) + body)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        self._open = False
        self._transport.abort()

    def _time_out(self) -> None:
        self._finish(TIMED_OUT)
        self.abort()

    def _finish(self, answer: Reply | Outcome) -> None:
        waiting, self._waiting = self._waiting, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
        self._tell()

    def _tell(self) -> None:
        """There is room again, unless it ended."""
        if self._open:
            self.idle_since_s = self._loop.time()
            self._on_room(self)
