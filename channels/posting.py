"""What the HTTPS channels share: the interface of a transport that posts bodies, the meaning of HTTP's own statuses,
and the requests that wait for a connection or an answer.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from channels.base import WITHHELD, Answer, MayWrite, Outcome, Reason, Recipient
from channels.http2_frames import Head

UNMADE = Outcome(Answer.RETRY, Reason.FAULT)  # a fault of alertd; nothing was written

_log = logging.getLogger(__name__)

# Maximum delay that a carrier can set, in seconds: a mistyped digit must not stop it for a year.
LONGEST_WAIT_S = 86_400.0


class Reply(NamedTuple):
    """The carrier's reply."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


#: A function that a transport calls with each answer.
Hear = Callable[[Reply | Outcome], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostSettings:
    url: str  # https; without a path, each request has its own
    ca_file: str | None  # None: the system's authorities
    # Maximum concurrent messages: one on each HTTP/1.1 connection, a hundred on each HTTP/2 connection.
    connections: int
    timeout_s: float  # seconds from the written request to the whole answer
    connect_timeout_s: float


class Transport(Protocol):
    """Posts to one URL at one carrier, or to one of its servers, over connections that stay open."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def post(
        self,
        bodies: Sequence[bytes],
        headers: Mapping[str, str],
        may_write: MayWrite,
        paths: Sequence[str] | None = None,
        hear: Hear | None = None,
    ) -> list[Reply | Outcome]:
        """Posts each body once, and returns the answers in their order: a reply, or the outcome if there is none. Calls
        `may_write` right before it writes a request; if that returns False, the outcome is WITHHELD. `paths` are those
        of the requests (ASCII, with their query), if the URL has none. `hear` gets each answer as soon as it comes, and
        must not raise.

        The caller passes the same `headers` object until they change, so that they are encoded once.
        """
        ...


async def post_each(
    transport: Transport, recipients: Sequence[Recipient], body_for: Callable[[Recipient], bytes],
    headers: Mapping[str, str], may_write: MayWrite, hear: Hear | None = None,
) -> list[Reply | Outcome]:  # fmt: skip
    """Posts the body that `body_for` returns for each recipient. Returns the answers in the order of the recipients. If
    `body_for` raises, sends nothing to that recipient, whose outcome is UNMADE, and continues with the others.
    """
    made: list[bytes | Outcome] = []
    for recipient in recipients:
        try:
            made.append(body_for(recipient))
        except Exception as fault:  # noqa: BLE001 any fault is logged
            # The exception may hold an address: a log formatter must only show its class and place.
            _log.error("message.build_failed", exc_info=fault)
            made.append(UNMADE)
    bodies = [body for body in made if isinstance(body, bytes)]
    answers = iter(await transport.post(bodies, headers, may_write, hear=hear))
    return [next(answers) if isinstance(body, bytes) else body for body in made]


def outcome_of(answer: Reply | Outcome, read: Callable[[Reply], Outcome]) -> Outcome:
    """Returns the outcome of a post; `read` interprets a reply. Unless the message was accepted, adds the carrier's own
    words as `said`.
    """
    if isinstance(answer, Outcome):
        return answer
    outcome = read(answer)
    return outcome if outcome.answer is Answer.ACCEPTED else outcome._replace(said=(answer.status, answer.body))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Returns Retry-After in seconds (RFC 9110 10.2.3: a number or a date), at most a day, or None without a valid one.
    A date is compared with the server's clock (`Date`) if the reply has one, because this machine's clock may be wrong.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT_S)
    until_s = _moment_s(value)
    if until_s is None:
        return None
    answered_s = _moment_s(headers.get("date", ""))
    return min(max(0.0, until_s - (time.time() if answered_s is None else answered_s)), LONGEST_WAIT_S)


def _moment_s(date: str) -> float | None:
    """Returns an HTTP date (RFC 9110 5.6.7) in UNIX seconds, or None."""
    parsed = email.utils.parsedate_tz(date)
    try:
        return None if parsed is None else email.utils.mktime_tz(parsed)
    except (ValueError, OverflowError):  # for instance the year 99999
        return None


def json_object(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body, or an empty one for any other body."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


# Seconds to wait after throttling without a Retry-After. FCM asks for a minute then (scale-fcm); no other service asks
# for more.
THROTTLED_WAIT_S = 60.0

# Answer and reason by HTTP status, for all services.
COMMON: dict[int, tuple[Answer, Reason]] = {
    401: (Answer.RETRY, Reason.CREDENTIALS),
    413: (Answer.NEVER, Reason.BAD_MESSAGE),
    429: (Answer.RETRY, Reason.THROTTLED),
    500: (Answer.RETRY, Reason.UNAVAILABLE),
    503: (Answer.RETRY, Reason.UNAVAILABLE),
    502: (Answer.UNKNOWN, Reason.UNAVAILABLE),  # from a gateway, which may have passed the message on
    504: (Answer.UNKNOWN, Reason.TIMEOUT),
}


def refusal(reply: Reply, answer: Answer, reason: Reason) -> Outcome:
    """Returns the outcome of a refusal with this answer and reason. A RETRY gets the carrier's delay (Retry-After);
    throttling without one gets 60 s.
    """
    wait_s = retry_after_s(reply.headers) if answer is Answer.RETRY else None
    if reason is Reason.THROTTLED and wait_s is None:
        wait_s = THROTTLED_WAIT_S
    return Outcome(answer, reason, retry_after_s=wait_s)


# The server says that it did not process the request: another connection may send it at once.
UNTAKEN = Outcome(Answer.RETRY, Reason.CONNECTION)
# The request was written, and no valid reply came, so the carrier may have the message.
LOST = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
TIMED_OUT = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
NOT_HTTP = Outcome(Answer.UNKNOWN, Reason.GARBAGE)


class Encoded(NamedTuple):
    """A request without its body."""

    http1: bytes  # with placeholders for the path and the body's length
    http2: Head
    path: str | None  # None: each request has its own


@dataclass(eq=False, slots=True)
class Post:
    """One request that waits for a connection or for its answer."""

    together: Posts
    index: int  # in its `Posts`
    body: bytes
    path: str | None = None  # the request's own
    tried: int = 0  # connections on which it was tried

    @property
    def http1(self) -> bytes:
        """Returns the request in the form of HTTP/1.1."""
        path = self.path or self.together.request.path or "/"
        return self.together.request.http1 % (path.encode("ascii"), len(self.body)) + self.body


class Posts:
    """The requests of one call. `done` is set after the last answer."""

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
        """Returns whether the next request may be written. Returns False if the call was cancelled: its task only
        notices that in its next step. Also returns False if the caller's check raises: an exception must not stop the
        writes of other calls in the same step.
        """
        try:
            return not self.done.done() and self._may_write()
        except Exception as fault:  # noqa: BLE001 any fault is logged
            _log.error("gate.check_failed", exc_info=fault)
            return False

    def answer(self, post: Post, answer: Reply | Outcome) -> None:
        """Records the answer to one request and passes it to `hear`. Sets `done` after the last one."""
        self.answers[post.index] = answer
        if self._hear:
            self._hear(answer)
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)


class Connection(Protocol):
    """A connection over HTTP/1.1 or HTTP/2 that stays open. It gives its `Owner` each answer, and calls it when
    it may have room again.
    """

    listed: bool  # whether the transport lists it among those with room
    idle_since_s: float  # when it was last used, in seconds of the event loop's clock

    @property
    def is_open(self) -> bool:
        """Returns whether the connection takes further requests, now or when others are answered."""
        ...

    @property
    def most(self) -> int:
        """Returns how many requests the connection takes at a time."""
        ...

    @property
    def room(self) -> int:
        """Returns how many more requests the connection takes now."""
        ...

    def post(self, post: Post) -> None:
        """Starts a request, which HTTP/1.1 writes at once and HTTP/2 at `flush`. The caller must check `room` first."""
        ...

    def flush(self) -> None:
        """Writes the started requests."""
        ...

    def forget(self, together: Posts) -> None:
        """Drops the requests `together`, because their call ended. A late answer never counts for another request."""
        ...

    def abort(self) -> None:
        """Closes the connection at once. The owner gets outcomes for its open requests."""
        ...


class Owner(Protocol):
    """The owner of the connections, which each connection calls."""

    def answered(self, post: Post, answer: Reply | Outcome) -> None:
        """Called with the answer to one request."""
        ...

    def on_event(self, connection: Connection) -> None:
        """Called if the connection may have room for waiting requests."""
        ...

    def turned_away(self) -> None:
        """Called if a connection was closed because its server accepts no request on it."""
        ...
