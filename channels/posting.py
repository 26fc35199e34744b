"""What the channels that speak HTTPS need: post a body, get the reply, or the outcome when there is none.

A transport knows whether the request was written, which is the difference between "again" and "unknown".
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from channels.base import Answer, MayWrite, Outcome, Reason
from channels.http2_head import Head

NOT_CONNECTED = Outcome(Answer.RETRY, Reason.CONNECTION)
UNTAKEN = Outcome(
    Answer.RETRY, Reason.CONNECTION
)  # the server says it has not looked at it: another connection may take it at once
LOST = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
TIMED_OUT = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
NOT_HTTP = Outcome(Answer.UNKNOWN, Reason.GARBAGE)

# No carrier's word holds longer than this: a digit too many must not silence it for a year.
LONGEST_WAIT_S = 86_400.0


class Reply(NamedTuple):
    """What the carrier answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class PostSettings:
    url: str  # https
    ca_file: str | None  # None: the system's authorities
    connections: int  # messages under way at most: one on each HTTP/1.1 connection, a hundred on each of HTTP/2
    timeout_s: float  # from the written request to the whole answer
    connect_timeout_s: float


class Encoded(NamedTuple):
    """Everything of a request before its body."""

    http1: bytes  # with a place for the body's length
    http2: Head


class Connection(Protocol):
    """A kept connection of either kind."""

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

    async def exchange(self, request: Encoded, body: bytes, may_write: MayWrite) -> Reply | Outcome: ...

    def abort(self) -> None: ...


OnRoom = Callable[[Connection], None]


class Transport(Protocol):
    """One URL at one carrier, over kept connections."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def post(self, body: bytes, headers: Mapping[str, str], may_write: MayWrite) -> Reply | Outcome:
        """Post once. `may_write` is asked last thing before the request is written.

        `headers` are the same object for as long as they do not change, so that they are encoded once.
        """
        ...


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
    """The object that a carrier answered; empty when it is none, whatever the body holds."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
