"""What is known of a call besides what was sent: who makes it, its name, and whether it was made before."""

from __future__ import annotations

from aiohttp import web

from alertd.service.access import Credential
from alertd.service.audit import Fact, Noted
from alertd.store.alerts import AlertRecord

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


def note(request: web.Request, *, object_: str = "", record: AlertRecord | None = None, **facts: Fact) -> None:
    """What the audit says of this call besides what its address names."""
    noted = request.get(NOTED)
    if noted is not None:
        noted.object, noted.record = object_ or noted.object, record or noted.record
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
