"""An HTTP/2 connection: a hundred POSTs at a time. One of the two kinds that `channels.https` keeps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, cast

from channels.base import WITHHELD, MayWrite, Outcome
from channels.http2_head import Head
from channels.http2_session import STREAMS, Answered, Http2Session
from channels.posting import LOST, NOT_HTTP, TIMED_OUT, UNTAKEN, Encoded, OnRoom, Reply

Answer = asyncio.Future[Reply | Outcome]

# At the latest; well below `https.KEEP_IDLE_S`, because a connection that waits for answers is not idle.
LOOK_S = 10.0


class _Queued(NamedTuple):
    answer: Answer
    head: Head
    body: bytes
    may_write: MayWrite


class _Posted(NamedTuple):
    answer: Answer
    at_s: float
    may_write: MayWrite


class Http2Connection(asyncio.Protocol):
    """What is asked in one step of the loop is written in one go; `may_write` is asked in the step that writes."""

    def __init__(self, timeout_s: float, on_room: OnRoom, most: int = STREAMS) -> None:
        """`most` at a time, until the server says."""
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_room = on_room
        self._session = Http2Session(most)
        self._transport = cast("asyncio.Transport", None)
        self._queue: deque[_Queued] = deque()
        self._posted: dict[int, _Posted] = {}  # oldest first
        self._flush_soon = self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._open = False
        self.listed = False
        self.idle_since_s = self._loop.time()

    @property
    def most(self) -> int:
        return self._session.most

    @property
    def room(self) -> int:
        return self._session.room - len(self._queue) if self._open and not self._paused else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True
        self._transport.write(self._session.take())

    def data_received(self, data: bytes) -> None:
        whole = self._session.whole
        self._withhold()
        try:
            answered = self._session.feed(data)
        except ValueError:
            self._answer((number, self._session.unanswered(number, NOT_HTTP)) for number in list(self._posted))
            self.abort()
            return
        if self._session.whole > whole:
            self._heard_s = self._loop.time()
        self._answer(answered)
        self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    async def exchange(self, request: Encoded, body: bytes, may_write: MayWrite) -> Reply | Outcome:
        """Cancelling resets the stream alone."""
        answer: Answer = self._loop.create_future()
        self._queue.append(_Queued(answer, request.http2, body, may_write))
        if not self._flush_soon:
            self._flush_soon = True
            self._loop.call_soon(self._flush)
        try:
            return await answer
        except asyncio.CancelledError:
            self._forget(answer)
            raise

    def abort(self) -> None:
        self._transport.abort()
        self._end()

    def _flush(self) -> None:
        """Write what is queued, as far as there is room for it."""
        self._flush_soon = False
        now_s = self._loop.time()
        while self._queue and self._open and not self._paused and self._session.room > 0:
            queued = self._queue.popleft()
            if queued.answer.done():
                continue
            if queued.may_write():
                self._posted[self._session.post(queued.head, queued.body)] = _Posted(
                    queued.answer, now_s, queued.may_write
                )
            else:
                queued.answer.set_result(WITHHELD)
        if self._session.leaving:
            self._refuse_queued()
        if self._open and (out := self._session.take()):
            self._transport.write(out)
        if self._timer is None and (self._posted or self._queue):
            self._timer = self._loop.call_later(min(self._timeout_s / 4, LOOK_S), self._look)
        self._tell()

    def _tell(self) -> None:
        """Room again, or nothing more to wait for on a connection that takes no more."""
        if self._session.leaving and not self._posted and self._open:
            self.abort()
        elif self.room > 0:
            self.idle_since_s = self._loop.time()
            self._on_room(self)

    def _look(self) -> None:
        """Whoever waited too long is answered. When nothing was heard meanwhile, the connection is dead; so it is when it got
        stuck in a frame, or what comes next would be read as the rest of that.
        """
        self._timer = None
        oldest_s = self._loop.time() - self._timeout_s
        late = [number for number, posted in self._posted.items() if posted.at_s <= oldest_s]
        stuck = self._session.half and self._heard_s < oldest_s + self._timeout_s / 2
        dead = bool(late) and (stuck or self._heard_s < self._posted[late[0]].at_s)
        given_up = [(number, self._session.unanswered(number, TIMED_OUT)) for number in late]
        for number in late:
            self._session.cancel(number)
        self._answer(given_up)
        for queued in [queued for queued in self._queue if not queued.may_write()]:
            self._queue.remove(queued)
            if not queued.answer.done():
                queued.answer.set_result(WITHHELD)
        if dead:
            self.abort()
        self._flush()
        if not self._posted:  # nothing is under way that could make room for what still waits
            self._refuse_queued()

    def _withhold(self) -> None:
        """What the server is about to grant room for is not written any more where it may not be."""
        for number in self._session.held:
            if not self._posted[number].may_write():
                self._session.cancel(number)
                self._answer([(number, WITHHELD)])

    def _answer(self, answered: Iterable[Answered]) -> None:
        for number, reply in answered:
            posted = self._posted.pop(number, None)
            if posted is not None and not posted.answer.done():
                posted.answer.set_result(reply)

    def _forget(self, answer: Answer) -> None:
        for number, posted in self._posted.items():
            if posted.answer is answer:
                del self._posted[number]
                self._session.cancel(number)
                self._flush()
                return

    def _refuse_queued(self) -> None:
        """Nothing was written of these."""
        while self._queue:
            queued = self._queue.popleft()
            if not queued.answer.done():
                queued.answer.set_result(UNTAKEN)

    def _end(self) -> None:
        self._open = False
        self._answer(self._session.end())
        self._answer((number, LOST) for number in list(self._posted))
        self._refuse_queued()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
