"""What is known of a call besides what was sent: who makes it, its name, and whether it was made before."""

from __future__ import annotations

from aiohttp import web

from alertd.service.access import Credential

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


def credential(request: web.Request) -> Credential:
    """Who calls. Raises KeyError in an operation that needs no key."""
    return request[CREDENTIAL]


def prepared_id(request: web.Request) -> str | None:
    """The id that what is made must get, or None: then any."""
    return request.get(PREPARED_ID)


def is_replay(request: web.Request) -> bool:
    """Whether to answer from what there is and do nothing."""
    return REPLAY in request and request[REPLAY]
