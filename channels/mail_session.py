"""One conversation with a mail relay that has said hello: commands written together, replies in their order (RFC 2920)."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

#: Of one reply, its continuations included. Longer is no mail server.
REPLY_LIMIT_BYTES = 32_768
HEAD = re.compile(rb"([0-9]{3})([ -]|$)")


class Reply(NamedTuple):
    """A server's answer: its code, and the text that follows, lines joined by a space. Code 0 is what no server says."""

    code: int
    text: str


class SessionLostError(ConnectionError):
    """The connection is of no further use: it ended, or the server spoke when nobody asked."""


class MailSession(asyncio.Protocol):
    """Takes a transport over from whoever connected it."""

    def __init__(
        self, transport: asyncio.Transport, extensions: frozenset[str], hear: Callable[[], None] = lambda: None
    ) -> None:
        """`hear` is called whenever the server says something."""
        self._hear = hear
        self.extensions = extensions  # lower case
        self.unclean = False  # a transaction was begun and given up: it needs RSET first
        self.was_kept = False  # it was idle, and the server may have ended it
        self._transport = transport
        self._buffer = bytearray()
        self._partial: list[str] = []
        self._partial_bytes = 0
        self._replies: deque[Reply] = deque()
        self._expected = 0
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def close(self) -> None:
        """At once, whatever is under way."""
        self._transport.abort()

    def write(self, data: bytes, replies: int) -> None:
        """Write commands or content to which the server answers this many times."""
        self._expected += replies
        self._transport.write(data)

    async def reply(self, timeout_s: float) -> Reply:
        """The next reply. Raises `SessionLostError` or `TimeoutError`."""
        if not self._replies:
            if not self.is_open:
                raise SessionLostError
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._waiter
            except TimeoutError:
                if not self._replies:  # else it came in the same step, as to a process that stood still
                    raise
        return self._replies.popleft()

    async def quit(self, timeout_s: float) -> None:
        """Say goodbye, and close whatever comes back."""
        try:
            if self.is_open:
                self.write(b"QUIT\r\n", 1)
                await self.reply(timeout_s)
        except (SessionLostError, TimeoutError):
            pass
        finally:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._hear()
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            self._take(line)
        if len(self._buffer) + self._partial_bytes > REPLY_LIMIT_BYTES:
            self._lose()

    def _take(self, line: bytes) -> None:
        self._partial.append(line[4:].decode("utf-8", "replace"))
        self._partial_bytes += len(line)
        head = HEAD.match(line)
        if head is not None and head[2] == b"-":
            return
        reply = Reply(int(head[1]) if head else 0, " ".join(self._partial))
        self._partial.clear()
        self._partial_bytes = 0
        if not self._expected:  # "421 closing", or an answer that would be taken for that of the next command
            self._lose()
            return
        self._expected -= 1
        self._replies.append(reply)
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(SessionLostError())

    def _lose(self) -> None:
        self._buffer.clear()
        self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def session_over(
    transport: asyncio.BaseTransport, extensions: frozenset[str], hear: Callable[[], None] = lambda: None
) -> MailSession:
    """Returns a session on a connection that somebody else made. `hear` is called whenever the server says something."""
    return MailSession(cast("asyncio.Transport", transport), extensions, hear)
