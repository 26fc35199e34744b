"""Events over HTTP: what happened to the organisation's alerts, a page at a time or as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.alerts.progress import STREAM_EVERY_S, STREAM_SILENCE_S
from alertd.api.http.call import credential, still_may
from alertd.api.http.operations import EVENTS, JSON, Operation
from alertd.api.http.streams import send_events
from alertd.api.services import services
from alertd.api.shapes import Query
from alertd.service.records.events import Batch

CURSOR = r"^e[0-9a-f]{1,12}$"
_MOST = 1000


class EventQuery(Query):
    cursor: str | None = Field(
        None, description="`cursor` of the page before; none begins with the oldest.", pattern=CURSOR
    )
    limit: int = Field(100, ge=1, le=_MOST)


class EventHeaders(BaseModel):
    model_config = ConfigDict(frozen=True)
    last_event_id: Annotated[str, Field(pattern=CURSOR)] | None = Field(
        None,
        alias="Last-Event-ID",
        description="Where a stream goes on, before `cursor`: browsers send it by themselves.",
    )


class Event(BaseModel):
    id: str = Field(
        description="The same wherever and how often it is told, also as `webhook-id`.",
        examples=["evt_01M882R9G938BE2P8KXNZ55750_4"],
    )
    type: str = Field(examples=["alert.sent"])
    timestamp: str = Field(
        description="When it happened, by the store's clock.", json_schema_extra={"format": "date-time"}
    )
    data: dict[str, str | int] = Field(
        description="`alert`, `chain` (the id of its first version), and as it fits `state`, `was` (the state before), `rev`, `status`,"
        " `kind`, `occasion` (why a later version is told), `percent`. Ids and codes alone: ask for the alert to know more."
    )


class EventPage(BaseModel):
    events: list[Event] = Field(description="Oldest first.")
    cursor: str = Field(description="Ask with it for what comes next, now or later.")
    more: bool = Field(description="Whether there is more already.")


async def list_events(
    request: web.Request, *, query: EventQuery, headers: EventHeaders
) -> EventPage | web.StreamResponse:
    """What happened to the organisation's alerts, in order, each event once: every state that an alert or a later version of it
    comes into, how far the sending is, and when it stalls. Keep the `cursor` and ask with it again: nothing is missed, whatever
    was restarted in between. With `Accept: text/event-stream` events come as they happen, each with its cursor as its id.
    A cursor whose next event is no longer kept is answered with 410.
    """
    s, org = services(request), credential(request).org
    cursor = headers.last_event_id or query.cursor
    batch = await s.events.read_page(org, cursor, query.limit)
    if "text/event-stream" not in request.headers.get("Accept", ""):
        found = [Event.model_validate_json(event) for _, event in batch.events]
        return EventPage(events=found, cursor=batch.cursor, more=batch.more)
    return await send_events(request, _stream(request, org, batch))


async def _stream(request: web.Request, org: str, batch: Batch) -> AsyncIterator[bytes]:
    """Server-sent events (HTML Living Standard, section 9.2), and a comment when nothing happens."""
    silent_s = 0.0
    while True:
        for cursor, event in batch.events:
            yield b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), json.loads(event)["type"].encode(), event)
            silent_s = 0.0
        if not batch.more:
            await asyncio.sleep(STREAM_EVERY_S)
            silent_s += STREAM_EVERY_S
        if silent_s >= STREAM_SILENCE_S:
            silent_s = 0.0
            yield b": still here\n\n"
        if not await still_may(request):
            return
        batch = await services(request).events.read_page(org, batch.cursor, _MOST)


OPERATIONS = (
    Operation(
        method="GET", path="/v1/events", handler=list_events, summary="Read events", scope="alerts:read", group="Events",
        gives=(JSON, EVENTS), writes_out={EVENTS: Event}, problems=("not-found", "gone"),
    ),
)  # fmt: skip
