"""What is known of a call besides what was sent: who makes it, its name, and whether it was made before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from alertd.service.access import Credential
from alertd.service.audit import Fact, Noted
from alertd.store.alerts import AlertRecord
from alertd.store.codec import Box


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be asked again while an answer is given. It does not hold the call, which holds it: what was sent goes with its answer."""

    ask: Callable[[web.Request], Awaitable[bool]]


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


#: Whether whoever calls might still do so now; each asking looks anew. Missing where an operation needs no key.
MAY = web.RequestKey("may", Question)

#: Nobody does anything by this call any more but watch: a session does not live on for it.
WATCHES = web.RequestKey("watches", bool)

#: When that was asked last, by the event loop's clock.
ASKED = web.RequestKey("asked", float)

#: A stream is cut off so soon after its key or session is gone.
RECHECK_S = 2.0


async def still_may(request: web.Request) -> bool:
    """Whether whoever watches a stream still may: their key was not revoked and has not expired, their session is not over. Asked as
    often as anybody likes, it is looked up every so often. Raises StoreUnavailableError.
    """
    now = asyncio.get_running_loop().time()
    if MAY not in request or now - request.get(ASKED, request.get(STARTED, now)) < RECHECK_S:
        return True
    request[ASKED] = now
    return await request[MAY].ask(request)


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


def prepared_id(request: web.Request) -> str | None:
    """The id that what is made must get, or None: then any."""
    return request.get(PREPARED_ID)


def is_replay(request: web.Request) -> bool:
    """Whether to answer from what there is and do nothing."""
    return REPLAY in request and request[REPLAY]
