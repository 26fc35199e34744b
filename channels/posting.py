"""What the channels that speak HTTPS need: post a body, get the reply, or the outcome when there is none."""

from __future__ import annotations

import email.utils
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from channels.base import Answer, MayWrite, Outcome, Reason, Recipient

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
    made = [_made(body_for, recipient) for recipient in recipients]
    bodies = [body for body in made if isinstance(body, bytes)]
    answers = iter(await transport.post(bodies, headers, may_write, hear=hear))
    return [next(answers) if isinstance(body, bytes) else body for body in made]


def _made(body_for: Callable[[Recipient], bytes], recipient: Recipient) -> bytes | Outcome:
    """Its exception may hold an address: whoever formats the log tells its class and place alone."""
    try:
        return body_for(recipient)
    except Exception as fault:  # noqa: BLE001 whatever it is, it is told
        _log.error("a message could not be made", exc_info=fault)
        return UNMADE


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
