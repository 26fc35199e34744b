"""One session with a mail relay after EHLO. Several commands may be written together; the replies come in the same
order (RFC 2920).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

from channels.base import Recipient

#: Maximum bytes of one reply with its continuation lines. Real replies are shorter.
REPLY_LIMIT_BYTES = 32_768
HEAD = re.compile(rb"([0-9]{3})([ -]|$)")


class Reply(NamedTuple):
    """A server's reply: its code and text, with lines joined by a space. Code 0 stands for an invalid reply."""

    code: int
    text: str


class SessionLostError(ConnectionError):
    """The connection is unusable: it ended, or the server sent a reply to no command."""


class MailSession(asyncio.Protocol):
    """One session. Takes over the transport of an existing connection."""

    def __init__(
        self, transport: asyncio.Transport, extensions: frozenset[str], hear: Callable[[], None] = lambda: None
    ) -> None:
        """`extensions`: names from the relay's EHLO, in lower case. Calls `hear` when the server sends something."""
        self._hear = hear
        self.extensions = extensions
        self.unclean = False  # a transaction was abandoned: the next one needs RSET first
        self.was_kept = False  # the session was idle before, so the server may have ended it
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
        """Closes the connection at once, without QUIT, even in the middle of a mail."""
        self._transport.abort()

    def write(self, data: bytes, replies: int) -> None:
        """Writes commands or content. `replies` is the number of replies that the server will send."""
        self._expected += replies
        self._transport.write(data)

    async def reply(self, timeout_s: float) -> Reply:
        """Waits for the next reply and returns it. Raises `SessionLostError` if the connection is unusable, or
        `TimeoutError` after `timeout_s` seconds.
        """
        if not self._replies:
            if not self.is_open:
                raise SessionLostError
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake, TimeoutError)
            try:
                await self._waiter
            except TimeoutError:
                if not self._replies:  # otherwise the reply came in the same step, as after a suspended process
                    raise
            finally:
                timer.cancel()
        return self._replies.popleft()

    async def quit(self, timeout_s: float) -> None:
        """Sends QUIT, waits for the reply, and closes the connection in any case."""
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
        """Handles one line of a reply. If no command waits for the reply, ends the connection."""
        self._partial.append(line[4:].decode("utf-8", "replace"))
        self._partial_bytes += len(line)
        head = HEAD.match(line)
        if head is not None and head[2] == b"-":
            return
        reply = Reply(int(head[1]) if head else 0, " ".join(self._partial))
        self._partial.clear()
        self._partial_bytes = 0
        if not self._expected:  # "421 closing", or a reply that would count for the next command
            self._lose()
            return
        self._expected -= 1
        self._replies.append(reply)
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        self._wake(SessionLostError)

    def _lose(self) -> None:
        self._buffer.clear()
        self._transport.abort()

    def _wake(self, error: type[Exception] | None = None) -> None:
        """Ends the wait for a reply: with a reply, or with `error`."""
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error())


def session_over(
    transport: asyncio.BaseTransport, extensions: frozenset[str], hear: Callable[[], None] = lambda: None
) -> MailSession:
    """Returns a session on an existing connection; see `MailSession` for `extensions` and `hear`."""
    return MailSession(cast("asyncio.Transport", transport), extensions, hear)


#: A new mail waits for the reply to its recipient up to TIMES the usual time, but at least LEAST_S seconds. Postfix
#: delays each refusal by a second.
LEAST_S, TIMES = 2.0, 4
#: The weight of one reply in the usual time.
WEIGHT = 1 / 16
#: One connection of this many, and at least one, may wait for a slow recipient until the relay answers.
PATIENT = 4


class SlowRecipients:
    """Limits how long the reply to a recipient holds a connection. So a few slow mailboxes cannot hold all connections
    of a process.

    A new mail stops to wait after a multiple of the usual time, and is retried later. On a quarter of the connections,
    a retried mail waits until the relay answers. On the other connections it waits until a new mail needs the
    connection. If many recipients are slow, the usual time grows. A mail that is sent alone waits until the relay
    answers.
    """

    def __init__(self) -> None:
        self._usual_s: float | None = None  # seconds for a new mail
        self._patient = 0  # mails that wait until the relay answers
        self._yielding: dict[asyncio.Timeout, float] = {}  # mails to end for a new one, with the earliest time

    async def reply(self, session: MailSession, timeout_s: float, recipient: Recipient, connections: int) -> Reply:
        """Returns the reply to one recipient. `timeout_s`: longest wait in seconds. `connections`: the maximum of this
        process. Raises SessionLostError, or TimeoutError if the mail may wait no longer.
        """
        if recipient.is_alone:
            return await session.reply(timeout_s)
        if recipient.is_new:
            return await self._reply_to_new(session, timeout_s)
        if self._patient < max(1, connections // PATIENT):
            self._patient += 1
            try:
                return await session.reply(timeout_s)
            finally:
                self._patient -= 1
        async with asyncio.timeout(None) as limit:
            usual_s = 0.0 if self._usual_s is None else self._longest_s()
            self._yielding[limit] = asyncio.get_running_loop().time() + usual_s
            try:
                return await session.reply(timeout_s)
            finally:
                del self._yielding[limit]

    def make_room(self) -> None:
        """Called because a new mail waits for a connection. Ends the waits of the repeated mails that hold the other
        connections, each after at least the maximum wait of a new mail.
        """
        if not self._yielding:
            return
        now_s = asyncio.get_running_loop().time()
        for limit, soonest_s in self._yielding.items():
            if not limit.expired():
                limit.reschedule(max(now_s, soonest_s))

    def _longest_s(self) -> float:
        """Returns how many seconds a new mail waits for the reply to its recipient: a multiple of the usual time of all
        connections, at least LEAST_S. Unlimited until the first such wait has ended.
        """
        return math.inf if self._usual_s is None else max(LEAST_S, TIMES * self._usual_s)

    async def _reply_to_new(self, session: MailSession, timeout_s: float) -> Reply:
        """Returns the reply to the recipient of a new mail. Learns the usual time from the wait or time-out."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            reply = await session.reply(min(timeout_s, self._longest_s()))
        except TimeoutError:
            self._learn(loop.time() - began_s)
            raise
        self._learn(loop.time() - began_s)
        return reply

    def _learn(self, took_s: float) -> None:
        self._usual_s = took_s if self._usual_s is None else self._usual_s + WEIGHT * (took_s - self._usual_s)
