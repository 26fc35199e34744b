"""What the connections of HTTPS share with the transport that keeps them: requests that wait to be written, and who hears of each answer.

It is known whether a request was written, which is the difference between "again" and "unknown".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from channels.base import WITHHELD, Answer, MayWrite, Outcome, Reason
from channels.http2_head import Head
from channels.posting import Hear, Reply

# The server says it has not looked at it: another connection may take it at once.
UNTAKEN = Outcome(Answer.RETRY, Reason.CONNECTION)
LOST = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
TIMED_OUT = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
NOT_HTTP = Outcome(Answer.UNKNOWN, Reason.GARBAGE)

_log = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """Everything of a request before its body."""

    http1: bytes  # with places for the path and the body's length
    http2: Head
    path: str | None  # None: each request has its own


@dataclass(eq=False, slots=True)
class Post:
    """One request that waits to be written, or for its answer."""

    together: Posts
    index: int  # among these
    body: bytes
    path: str | None = None  # its own
    tried: int = 0

    @property
    def http1(self) -> bytes:
        """As HTTP/1.1 writes it."""
        path = self.path or self.together.request.path or "/"
        return self.together.request.http1 % (path.encode("ascii"), len(self.body)) + self.body


class Posts:
    """Posts of one call: `done` when the last of them is answered."""

    def __init__(
        self,
        request: Encoded,
        bodies: Sequence[bytes],
        may_write: MayWrite,
        paths: Sequence[str] | None = None,
        hear: Hear | None = None,
    ) -> None:
        self.answers: list[Reply | Outcome] = [WITHHELD] * len(bodies)
        self.request = request
        own: Sequence[str | None] = paths or [None] * len(bodies)
        self.posts = [Post(self, index, body, path) for index, (body, path) in enumerate(zip(bodies, own, strict=True))]
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._may_write = may_write
        self._hear = hear
        self._left = len(bodies)

    def may_write(self) -> bool:
        """Not once the call is cancelled, which it hears itself only in its next step; nor where the answer is a fault, which must not
        stop what is written for others in the same step.
        """
        try:
            return not self.done.done() and self._may_write()
        except Exception as fault:  # noqa: BLE001 whatever it is, it is told
            _log.error("whether to write could not be told", exc_info=fault)
            return False

    def answer(self, post: Post, answer: Reply | Outcome) -> None:
        self.answers[post.index] = answer
        if self._hear:
            self._hear(answer)
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)


class Connection(Protocol):
    """A kept connection of either kind. It tells its `Owner` what was answered, and that it may have room again."""

    listed: bool  # whether the transport has it among those with room
    idle_since_s: float

    @property
    def most(self) -> int:
        """How many it takes at a time."""
        ...

    @property
    def room(self) -> int:
        """How many more it takes now."""
        ...

    def post(self, post: Post) -> None:
        """Begin one; only while there is room."""
        ...

    def flush(self) -> None:
        """Write what was begun."""
        ...

    def forget(self, together: Posts) -> None:
        """Nobody waits for the answers of these any more. A late one is never read as another's."""
        ...

    def abort(self) -> None: ...


class Owner(Protocol):
    """Whom the connections belong to."""

    def answered(self, post: Post, answer: Reply | Outcome) -> None: ...

    def on_event(self, connection: Connection) -> None:
        """Something happened: there may be room for what waits."""
        ...

    def turned_away(self) -> None:
        """A connection was closed, for its server takes nothing at all on it."""
        ...
