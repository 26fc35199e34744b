"""What the channels that speak HTTPS need: post a body, get the reply, or the outcome when there is none; what HTTP's own statuses mean; and
the requests that wait on a connection.

It is known whether a request was written, which is the difference between "again" and "unknown".
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

UNMADE = Outcome(Answer.RETRY, Reason.FAULT)  # a fault of our own, and nothing was written

_log = logging.getLogger(__name__)

# No carrier's word holds longer than this: a digit too many must not silence it for a year.
LONGEST_WAIT_S = 86_400.0


class Reply(NamedTuple):
    """What the carrier answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


#: Hears one answer.
Hear = Callable[[Reply | Outcome], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostSettings:
    url: str  # https; without a path, each request has its own
    ca_file: str | None  # None: the system's authorities
    connections: int  # messages under way at most: one on each HTTP/1.1 connection, a hundred on each of HTTP/2
    timeout_s: float  # from the written request to the whole answer
    connect_timeout_s: float


class Transport(Protocol):
    """One URL at one carrier, or one of its servers, over kept connections."""

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
        """Post each once; the answers are in their order. `may_write` is asked last thing before each request is written. `paths` are those
        of the requests (ASCII, with their query), where the URL has none. `hear` gets each answer as soon as it comes; it must not raise.

        `headers` are the same object for as long as they do not change, so that they are encoded once.
        """
        ...


async def post_each(
    transport: Transport, recipients: Sequence[Recipient], body_for: Callable[[Recipient], bytes],
    headers: Mapping[str, str], may_write: MayWrite, hear: Hear | None = None,
) -> list[Reply | Outcome]:  # fmt: skip
    """The answer for each recipient, in their order. Whose body cannot be made is told nothing, and the others go on."""
    made: list[bytes | Outcome] = []
    for recipient in recipients:
        try:
            made.append(body_for(recipient))
        except Exception as fault:  # noqa: BLE001 whatever it is, it is told
            # The exception may hold an address: whoever formats the log tells its class and place alone.
            _log.error("a message could not be made", exc_info=fault)
            made.append(UNMADE)
    bodies = [body for body in made if isinstance(body, bytes)]
    answers = iter(await transport.post(bodies, headers, may_write, hear=hear))
    return [next(answers) if isinstance(body, bytes) else body for body in made]


def outcome_of(answer: Reply | Outcome, read: Callable[[Reply], Outcome]) -> Outcome:
    """The outcome of a post. A refusal carries the carrier's own words."""
    if isinstance(answer, Outcome):
        return answer
    outcome = read(answer)
    return outcome if outcome.answer is Answer.ACCEPTED else outcome._replace(said=(answer.status, answer.body))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (RFC 9110 10.2.3: a number or a date), or None when there is none that can be read. A date is as far off as
    it is on the clock of who answered, where that is told (`Date`): this machine's may be wrong.
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
    """A date of HTTP (RFC 9110 5.6.7) in seconds since 1970, or None."""
    parsed = email.utils.parsedate_tz(date)
    try:
        return None if parsed is None else email.utils.mktime_tz(parsed)
    except (ValueError, OverflowError):  # the year 99999
        return None


def json_object(body: bytes) -> dict[str, Any]:
    """The object that somebody answered; empty when it is none, whatever the body holds."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


# FCM asks for a minute where it names no delay (scale-fcm), and nobody for more.
THROTTLED_WAIT_S = 60.0

COMMON: dict[int, tuple[Answer, Reason]] = {
    401: (Answer.RETRY, Reason.CREDENTIALS),
    413: (Answer.NEVER, Reason.BAD_MESSAGE),
    429: (Answer.RETRY, Reason.THROTTLED),
    500: (Answer.RETRY, Reason.UNAVAILABLE),
    503: (Answer.RETRY, Reason.UNAVAILABLE),
    502: (Answer.UNKNOWN, Reason.UNAVAILABLE),  # a gateway speaks, which may have passed the message on
    504: (Answer.UNKNOWN, Reason.TIMEOUT),
}


def refusal(reply: Reply, answer: Answer, reason: Reason) -> Outcome:
    """With the delay that the carrier names, if it is to be tried again."""
    wait_s = retry_after_s(reply.headers) if answer is Answer.RETRY else None
    if reason is Reason.THROTTLED and wait_s is None:
        wait_s = THROTTLED_WAIT_S
    return Outcome(answer, reason, retry_after_s=wait_s)


# The server says it has not looked at it: another connection may take it at once.
UNTAKEN = Outcome(Answer.RETRY, Reason.CONNECTION)
LOST = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
TIMED_OUT = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
NOT_HTTP = Outcome(Answer.UNKNOWN, Reason.GARBAGE)


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
