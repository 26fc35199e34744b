"""An HTTP/2 connection that carries a hundred POSTs at a time. `channels.https` holds such connections, or those of
`http1`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, cast

from channels.base import WITHHELD
from channels.http2_frames import STREAMS
from channels.http2_session import Answered, Http2Session
from channels.posting import LOST, NOT_HTTP, TIMED_OUT, Owner, Post, Posts

# Maximum seconds between checks for late requests. Each check marks the connection as used. So this is well below
# `https.KEEP_IDLE_S`, because a connection that waits for answers is not idle.
LOOK_S = 10.0


class _Posted(NamedTuple):
    post: Post
    at_s: float


class Http2Connection(asyncio.Protocol):
    """One connection. `flush` writes all posted requests together. Implements `channels.posting.Connection`."""

    def __init__(self, timeout_s: float, owner: Owner, most: int = STREAMS) -> None:
        """`most` requests at a time, until the server sets its limit."""
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._owner = owner
        self._session = Http2Session(most)
        self._transport = cast("asyncio.Transport", None)
        self._posted: dict[int, _Posted] = {}  # oldest first
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._open = False
        self.listed = False
        self.idle_since_s = self._loop.time()

    @property
    def is_open(self) -> bool:
        return self._open and not self._session.leaving

    @property
    def most(self) -> int:
        return self._session.most

    @property
    def room(self) -> int:
        return self._session.room if self._open and not self._paused else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True
        self.flush()

    def data_received(self, data: bytes) -> None:
        whole = self._session.whole
        for number in list(self._session.held):
            # Part of the request waits for the server's window, and may no longer be written.
            if not self._posted[number].post.together.may_write():
                self._session.cancel(number)
                self._answer([(number, WITHHELD)])
        try:
            answered = self._session.feed(data)
        except ValueError:
            self._answer(self._session.answered)
            self._answer((number, self._session.unanswered(number, NOT_HTTP)) for number in list(self._posted))
            self.abort()
            return
        if self._session.whole > whole:
            self._heard_s = self._loop.time()
        self._answer(answered)
        self._tell()

    def eof_received(self) -> None:
        """Handles the end of the server's data as a lost connection: the server would drop everything written from now
        on.
        """
        self.connection_lost(None)

    def connection_lost(self, _: Exception | None) -> None:
        self._end()
        self._owner.on_event(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._tell()

    def post(self, post: Post) -> None:
        number = self._session.post(post.together.request.http2, post.body, post.path)
        self.idle_since_s = self._loop.time()
        self._posted[number] = _Posted(post, self.idle_since_s)

    def flush(self) -> None:
        if self._open and (out := self._session.take()):
            self._transport.write(out)
        if self._timer is None and self._posted:
            self._timer = self._loop.call_later(min(self._timeout_s / 4, LOOK_S), self._look)

    def forget(self, together: Posts) -> None:
        """Resets the streams of the requests `together`, whose call ended. The connection stays open for the other
        requests.
        """
        numbers = [number for number, posted in self._posted.items() if posted.post.together is together]
        for number in numbers:
            self._session.cancel(number)
            self._answer([(number, LOST)])
        if numbers:  # otherwise each cancellation would mark an idle connection as used
            self._tell()

    def abort(self) -> None:
        self._transport.abort()
        self._end()

    def _tell(self) -> None:
        """Calls the owner because the connection may have room, then writes the queued requests. Aborts the connection
        if it takes no more requests and none is open.
        """
        takes_none = self._session.most == 0
        if (self._session.leaving or takes_none) and not self._posted and self._open:
            self.abort()
            if takes_none:
                self._owner.turned_away()
        elif self.room > 0:
            self.idle_since_s = self._loop.time()
        self._owner.on_event(self)
        self.flush()

    def _look(self) -> None:
        """Times out late requests. Aborts the connection if no frame arrived since the oldest of them was posted. Also
        aborts it if it is stuck inside a frame: further bytes would count as the rest of that frame.
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
        if dead:
            self.abort()
        self._tell()

    def _answer(self, answered: Iterable[Answered]) -> None:
        """Passes answers to the owner, and forgets their requests."""
        for number, reply in answered:
            posted = self._posted.pop(number, None)
            if posted is not None:
                self._owner.answered(posted.post, reply)

    def _end(self) -> None:
        """Marks the connection as closed. Its open requests get the outcomes of `Http2Session.end`."""
        self._open = False
        self._answer(self._session.end())
        self._answer((number, LOST) for number in list(self._posted))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
