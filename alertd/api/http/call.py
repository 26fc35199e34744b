"""The context of a call besides its body: the caller, the request id, idempotency, and the version of the object that
the caller saw. Also sends server-sent events while the caller has access.

Answers name a version by `ETag`, requests by `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.common.errors import Problem
from alertd.service.access import Credential
from alertd.service.container import Container
from alertd.service.organisations.organisations import OrganisationPolicy
from alertd.service.records.audit import Fact, Noted
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.codec import Box


@dataclass(frozen=True, slots=True)
class CallerCheck:
    """A check of the caller that can be repeated during a call. It holds no reference to the request, so the request is
    freed when it is answered.
    """

    ask: Callable[[web.Request], Awaitable[Credential]]


#: The request id, for logs and answers.
REQUEST_ID = web.RequestKey("request_id", str)

#: The caller's credential. Missing if the operation needs no key.
CREDENTIAL = web.RequestKey("credential", Credential)

#: The id for the object that this call creates, chosen before the first attempt. Missing without an Idempotency-Key.
PREPARED_ID = web.RequestKey("prepared_id", str)

#: Set if the same call was answered before. The handler then changes nothing: it reads the object of PREPARED_ID and
#: returns its current state.
REPLAY = web.RequestKey("replay", bool)

#: The event loop's time in seconds when aiohttp was about to send the answer's first byte. Missing until then.
STARTED = web.RequestKey("started", float)

#: The facts of the call for the audit. Missing if the call is not audited.
NOTED = web.RequestKey("noted", Noted)

#: The application's event that is set when the service shuts down.
GOES_DOWN = web.AppKey("goes_down", asyncio.Event)

#: Looks up the caller again; raises Problem if they no longer have access. Missing if the operation needs no key.
CALLER_CHECK = web.RequestKey("may", CallerCheck)

#: Set when a call has begun to stream: it then only watches, and does not prolong the session.
WATCHES = web.RequestKey("watches", bool)

#: The organisation's rules for a submission, read when the call was admitted. Missing for other operations.
ORG_POLICY = web.RequestKey("org_policy", OrganisationPolicy)

#: The event loop's time in seconds when the caller was last checked. Missing if the operation needs no key.
CHECKED_AT = web.RequestKey("asked", float)

#: Seconds that a check of the caller stays valid during a call. A call with a prompt body takes less time, so alertd
#: checks its caller once. The sender of messages relies on a read of the stops for at least as long.
CHECK_VALID_S = 0.5

#: Seconds that a check of the caller stays valid while the caller only watches a stream.
RECHECK_S = 2.0


async def check_caller(request: web.Request, holds_s: float = CHECK_VALID_S) -> None:
    """Raises Problem if the caller has lost access: the key was revoked or stopped or has expired, the session is over,
    or the role is gone. Handlers may call it often: it looks up the caller, and renews CREDENTIAL, at most every
    `holds_s` seconds. Does nothing in an operation that needs no key. Raises StoreUnavailableError if the store does
    not answer.
    """
    now = asyncio.get_running_loop().time()
    if CALLER_CHECK in request and now - request[CHECKED_AT] >= holds_s:
        request[CREDENTIAL] = await request[CALLER_CHECK].ask(request)
        request[CHECKED_AT] = now


async def end_streams(app: web.Application) -> None:
    """Marks the application as shutting down, so that open event streams end and do not delay the shutdown."""
    app[GOES_DOWN].set()


async def still_may(request: web.Request) -> bool:
    """Returns whether a stream may continue: its reader is connected and still has access, and the service is not
    shutting down. Marks the call as watching, because a stream must not prolong a session.
    """
    if request.app[GOES_DOWN].is_set() or request.transport is None:
        return False
    request[WATCHES] = True
    try:
        await check_caller(request, RECHECK_S)
    except Problem:
        return False
    return True


def note(
    request: web.Request, *, object_: str = "", record: AlertRecord | None = None, box: Box | None = None, **facts: Fact
) -> None:
    """Adds facts to the audit entry of this call, besides those in its path; does nothing if the call is not audited.
    `object_`: the id of the object. `record`: the alert. `box`: the encryption key of the alert's case, if the handler
    has it.
    """
    noted = request.get(NOTED)
    if noted is not None:
        noted.object, noted.record, noted.box = object_ or noted.object, record or noted.record, box or noted.box
        noted.facts = {**noted.facts, **facts}


def credential(request: web.Request) -> Credential:
    """Returns the caller's credential. Raises KeyError if the operation needs no key."""
    return request[CREDENTIAL]


def is_replay(request: web.Request) -> bool:
    """Returns whether an earlier call with the same Idempotency-Key was done. Then the handler must change nothing, and
    answer from the current state.
    """
    return REPLAY in request and request[REPLAY]


_NEVER = -1  # matches no version


class Conditions(BaseModel):
    """The headers of a request that changes an object."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    if_match: str | None = Field(None, alias="If-Match", description="ETag of the version you saw.", max_length=32)

    @property
    def version(self) -> int | None:
        """Returns the version that the object must still have, from If-Match. None if any version will do; a number
        that no version has if the header is no ETag of alertd.
        """
        if self.if_match in {None, "*"}:
            return None
        text = str(self.if_match).strip('"')
        return int(text) if text.isascii() and text.isdecimal() else _NEVER


class NewOrSeen(Conditions):
    """The headers of a request that changes or creates an object."""

    if_none_match: Literal["*"] | None = Field(
        None, alias="If-None-Match", description="Only if nothing has this name yet (RFC 9110, section 13.1.2)."
    )


def etag(version: int) -> dict[str, str]:
    """Returns the ETag header for a version."""
    return {"ETag": f'"{version}"'}


SERVICES = web.AppKey("services", Container)


def services(request: web.Request) -> Container:
    """Returns the container of this process's services."""
    return request.app[SERVICES]


def route_of(request: web.Request) -> str:
    """Returns the pattern of the request's route, such as /v1/alerts/{id}; "none" without a route. Metrics use the
    pattern, because the number of paths has no limit.
    """
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


EVENTS = "text/event-stream"
#: Seconds for Retry-After. A stream ends within a second after its reader has left, so a place may be free soon.
AGAIN_S = 5


class Streams:
    """Counts the open event streams of each key in this process, and limits their number."""

    def __init__(self, most: int) -> None:
        """`most`: maximum of open streams for one key; 0: no limit."""
        self._most = most
        self._open = Counter[str]()

    @contextmanager
    def place(self, key_id: str) -> Iterator[None]:
        """Returns a context that counts one stream of a key while it is open. Raises Problem (`rate-limited`) if the
        key has reached its maximum.
        """
        if 0 < self._most <= self._open[key_id]:
            raise Problem(
                "rate-limited", f"This key has {self._most} event streams open.", headers={"Retry-After": str(AGAIN_S)}
            )
        self._open[key_id] += 1
        try:
            yield
        finally:
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]


STREAMS = web.AppKey("streams", Streams)


async def send_events(request: web.Request, events: AsyncIterator[bytes]) -> web.StreamResponse:
    """Sends the events (server-sent events, already encoded) until they end, and returns the finished response. Raises
    Problem if the caller's key has too many streams open.
    """
    with request.app[STREAMS].place(credential(request).key_id):
        response = web.StreamResponse(headers={"Content-Type": EVENTS})
        await response.prepare(request)
        async for event in events:
            await response.write(event)
    return response
