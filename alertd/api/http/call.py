"""What is known of a call besides its body: who makes it, its name, whether it was made before, and which version its caller saw. And
how it is answered with server-sent events, for as long as its caller may see them.

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
class Question:
    """Something to be asked again while a call lasts. It does not hold the call, which holds it: what was sent goes with its answer."""

    ask: Callable[[web.Request], Awaitable[Credential]]


#: The call's name in logs and answers.
REQUEST_ID = web.RequestKey("request_id", str)

#: Who calls. Missing where an operation needs no key.
CREDENTIAL = web.RequestKey("credential", Credential)

#: The id that what is made must get, decided before the first try. Missing without an Idempotency-Key.
PREPARED_ID = web.RequestKey("prepared_id", str)

#: The same call was answered before: do nothing, read what PREPARED_ID names and answer from how it is now.
REPLAY = web.RequestKey("replay", bool)

#: The event loop's time when the answer's first byte was due; missing until then.
STARTED = web.RequestKey("started", float)

#: What the call tells for the audit. Missing where nobody writes it down.
NOTED = web.RequestKey("noted", Noted)

#: The service goes down: of the application, not of a call.
GOES_DOWN = web.AppKey("goes_down", asyncio.Event)

#: Who calls, as they are now; raises Problem where they might not do so any more. Each asking looks anew. Missing where an operation needs no key.
MAY = web.RequestKey("may", Question)

#: Nobody does anything by this call any more but watch: a session does not live on for it.
WATCHES = web.RequestKey("watches", bool)

#: What a submission is measured against, as it was when it was let in. Missing elsewhere.
STANCE = web.RequestKey("stance", OrganisationPolicy)

#: When it was found out last who calls, by the event loop's clock. Missing where an operation needs no key.
ASKED = web.RequestKey("asked", float)

#: What was found out about a caller holds for so long while something is done for them: longer than a call waits whose body comes at once,
#: so that it costs that call nothing, and no longer than what was read of stops holds for what is sent.
HOLDS_S = 0.5

#: And so long for whoever only watches.
RECHECK_S = 2.0


async def check_caller(request: web.Request, holds_s: float = HOLDS_S) -> None:
    """Raises Problem where whoever calls may not do so any more: their key was revoked, stopped or has expired, their session is over, they are
    no approver now. Asked as often as anybody likes, it is looked up every so often. Raises StoreUnavailableError.
    """
    now = asyncio.get_running_loop().time()
    if MAY in request and now - request[ASKED] >= holds_s:
        request[CREDENTIAL] = await request[MAY].ask(request)
        request[ASKED] = now


async def end_streams(app: web.Application) -> None:
    """The service goes down: whoever only watches is not waited for."""
    app[GOES_DOWN].set()


async def still_may(request: web.Request) -> bool:
    """Whether a stream goes on: its reader is connected and still has access, and the service is not shutting down. Watching does not prolong
    a session.
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
    """What the audit says of this call besides what its address names; `box` is the key of the record's case, where it is at hand."""
    noted = request.get(NOTED)
    if noted is not None:
        noted.object, noted.record, noted.box = object_ or noted.object, record or noted.record, box or noted.box
        noted.facts = {**noted.facts, **facts}


def credential(request: web.Request) -> Credential:
    """Who calls. Raises KeyError in an operation that needs no key."""
    return request[CREDENTIAL]


def is_replay(request: web.Request) -> bool:
    """Whether to answer from what there is and do nothing."""
    return REPLAY in request and request[REPLAY]


_NEVER = -1  # a version that nothing has


class Conditions(BaseModel):
    """The headers of a request that changes something."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    if_match: str | None = Field(None, alias="If-Match", description="ETag of the version you saw.", max_length=32)

    @property
    def version(self) -> int | None:
        """The version that must still be there; None if any will do."""
        if self.if_match in {None, "*"}:
            return None
        text = str(self.if_match).strip('"')
        return int(text) if text.isascii() and text.isdecimal() else _NEVER


class NewOrSeen(Conditions):
    """The headers of a request that may make what it names, too."""

    if_none_match: Literal["*"] | None = Field(
        None, alias="If-None-Match", description="Only if nothing has this name yet (RFC 9110, section 13.1.2)."
    )


def etag(version: int) -> dict[str, str]:
    """The header that names a version."""
    return {"ETag": f'"{version}"'}


SERVICES = web.AppKey("services", Container)


def services(request: web.Request) -> Container:
    """Returns the services of this process."""
    return request.app[SERVICES]


def route_of(request: web.Request) -> str:
    """The pattern of the path, such as /v1/alerts/{id}; "none" if nothing is there. A closed set, unlike paths."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


EVENTS = "text/event-stream"
#: A stream without a reader ends within a second, so a place may be free soon.
AGAIN_S = 5


class Streams:
    """Counts the open streams of each key in this process."""

    def __init__(self, most: int) -> None:
        """`most`: open streams of one key; 0: no limit."""
        self._most = most
        self._open = Counter[str]()

    @contextmanager
    def place(self, key_id: str) -> Iterator[None]:
        """Counts one stream of a key while it is open. Raises Problem if the key has as many as it may."""
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
    """Answers with server-sent events until they end. Raises Problem if the caller's key has too many streams open."""
    with request.app[STREAMS].place(credential(request).key_id):
        response = web.StreamResponse(headers={"Content-Type": EVENTS})
        await response.prepare(request)
        async for event in events:
            await response.write(event)
    return response
