"""HTTP operations on the events of an organisation's alerts: read them in pages or as a stream, and manage webhooks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from alertd.api.alerts.progress import STREAM_EVERY_S, STREAM_SILENCE_S
from alertd.api.http.bodies import JSON
from alertd.api.http.call import EVENTS, credential, is_replay, note, send_events, services, still_may
from alertd.api.http.operations import Act, Operations
from alertd.api.shapes import BY_ORG, Query
from alertd.common.clock import time_of, time_or_none
from alertd.common.errors import Problem
from alertd.model.faults import refusal
from alertd.service.records.events import TYPES, Batch
from alertd.service.records.webhooks import Watched
from alertd.store.sharing.webhooks import Hook, HookStanding

CURSOR = r"^e[0-9a-f]{1,12}$"
_MOST = 1000
MADE_AND_TOLD = "The secret was made and told; make another with a new Idempotency-Key."


class EventQuery(Query):
    cursor: str | None = Field(
        None, description="`cursor` of the previous page; without it the list begins with the oldest.", pattern=CURSOR
    )
    limit: int = Field(100, ge=1, le=_MOST)


class EventHeaders(BaseModel):
    model_config = ConfigDict(frozen=True)
    last_event_id: Annotated[str, Field(pattern=CURSOR)] | None = Field(
        None,
        alias="Last-Event-ID",
        description="Position to resume a stream from; takes precedence over `cursor`. Browsers send it automatically.",
    )


class Event(BaseModel):
    id: str = Field(
        description="The same in every delivery of the event, also as `webhook-id`.",
        examples=["evt_01M882R9G938BE2P8KXNZ55750_4"],
    )
    type: str = Field(examples=["alert.sent"])
    timestamp: str = Field(
        description="When it happened, by the store's clock.", json_schema_extra={"format": "date-time"}
    )
    data: dict[str, str | int] = Field(
        description="`alert`, `chain` (the id of its first version), and, depending on the type, `state`, `was` (the state before), `rev`, `status`,"
        " `kind`, `occasion` (the purpose of a later version), `percent`. Ids and codes only: read the alert for more."
    )


class EventPage(BaseModel):
    events: list[Event] = Field(description="Oldest first.")
    cursor: str = Field(description="Send it to get the following events, now or later.")
    more: bool = Field(description="Whether more events are available now.")


_SCOPE = "webhooks:write"
OPERATIONS = Operations()


@OPERATIONS.add(
    "GET", "/v1/events", "Read events", "alerts:read", gives=(JSON, EVENTS), writes_out={EVENTS: Event},
    problems=("not-found", "gone"),
)  # fmt: skip
async def list_events(
    request: web.Request, *, query: EventQuery, headers: EventHeaders
) -> EventPage | web.StreamResponse:
    """Returns the events of the organisation's alerts in order, each once: every state of an alert or a later version,
    the progress of sending, and stalls. Store the `cursor` and send it with the next call: no event is lost, even
    across restarts. With `Accept: text/event-stream`, streams events as they happen, each with its cursor as its id. If
    the event after a cursor is no longer stored, the answer is 410.
    """
    s, org = services(request), credential(request).org
    cursor = headers.last_event_id or query.cursor
    batch = await s.events.read_page(org, cursor, query.limit)
    if "text/event-stream" not in request.headers.get("Accept", ""):
        found = [Event.model_validate_json(event) for _, event in batch.events]
        return EventPage(events=found, cursor=batch.cursor, more=batch.more)
    return await send_events(request, _stream(request, org, batch))


async def _stream(request: web.Request, org: str, batch: Batch) -> AsyncIterator[bytes]:
    """Yields server-sent events (HTML Living Standard, section 9.2): the events of `batch` and all later ones, and a
    comment after 15 s without an event. Ends when the reader has left or lost access, or the service shuts down.
    """
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


HookId = Annotated[str, Field(pattern="^wh_[0-9a-f]{16}$", examples=["wh_0123456789abcdef"])]


class NewWebhook(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    url: str = Field(
        max_length=1000, examples=["https://cases.centre.example/alertd"],
        description="Plain https on the public internet. It may contain a secret: only `webhooks:write` may see it.",
    )  # fmt: skip
    types: list[str] = Field(
        [], max_length=len(TYPES), description=f"Event types to send; empty: all. {', '.join(TYPES)}."
    )


class SubscriptionReply(BaseModel):
    """The members that webhooks and distributors share."""

    id: str
    made_at: datetime
    made_by: str
    made_by_org: str = Field(description=BY_ORG)
    failing_since: datetime | None = Field(description="Time of the first failure since the last success.")
    answered: int | None = Field(description="Status of the last answer; null without an answer.")
    tried_at: datetime | None


class WebhookReply(SubscriptionReply):
    url: str
    types: list[str]
    state: Literal["on", "off"]
    off_since: datetime | None
    why: str | None = Field(
        description="It is off: `gone` (it answered 410) or `failing` (it accepted nothing for three days)."
    )
    waiting: int = Field(description="Events that wait to be sent to it.")
    given_up: int = Field(description="Events that it never accepted; at most 1,000 are counted.")


class GivenUpReply(BaseModel):
    event: str | None = Field(description="Its id; null if it is no longer stored.")
    type: str | None
    cursor: str = Field(description="A replay from this cursor begins with the event.")
    given_up_at: datetime


class WebhookFull(WebhookReply):
    latest_given_up: list[GivenUpReply] = Field(description="At most 100, latest first.")


class WebhookMade(WebhookReply):
    secret: str = Field(description="Checks the signatures. Shown once and never again.", examples=["whsec_…"])


class WebhookList(BaseModel):
    webhooks: list[WebhookReply]


class Replay(BaseModel):
    """The events to send again: all after `cursor`, or one `event`. With neither: the events that alertd gave up."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    cursor: Annotated[str, Field(pattern=CURSOR)] | None = None
    event: Annotated[str, Field(pattern="^evt_[0-9A-Za-z_]{1,64}$")] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Replay:
        """Refuses a cursor together with an event."""
        if self.cursor is not None and self.event is not None:
            raise refusal("It is a cursor or an event.")
        return self


GIVEN_UP = Replay()


class Pinged(BaseModel):
    taken: bool = Field(description="It answered with a status from 200 to 299.")
    answered: int | None = Field(description="Its status; null where there was no answer.")


@OPERATIONS.add(
    "POST", "/v1/webhooks", "Make a webhook", _SCOPE, status=201, problems=("precondition-failed",),
    act=Act("webhook.create"),
)  # fmt: skip
async def create_webhook(request: web.Request, *, body: NewWebhook) -> WebhookMade:
    """Creates a webhook. From now on alertd posts each event to the webhook's URL, in the form of `GET /v1/events` and
    signed according to Standard Webhooks. A status from 200 to 299 accepts the event; otherwise alertd retries for
    three days.
    """
    refuse_replay(request, "The webhook was made and its secret told; give it a new one with `rotate`.")
    watched, secret = await services(request).webhooks.create(credential(request), body.url, body.types)
    note(request, object_=watched.hook.id)
    return WebhookMade(**_facts(watched), secret=secret)


@OPERATIONS.add("GET", "/v1/webhooks", "List webhooks", _SCOPE)
async def list_webhooks(request: web.Request) -> WebhookList:
    """Returns the organisation's webhooks, oldest first, without their secrets."""
    found = await services(request).webhooks.of_org(credential(request).org)
    return WebhookList(webhooks=[_shown(one) for one in found])


@OPERATIONS.add("GET", "/v1/webhooks/{id}", "Show a webhook", _SCOPE)
async def get_webhook(request: web.Request, *, id: HookId) -> WebhookFull:
    """Returns a webhook and its state, with the latest events that it never accepted."""
    s, org = services(request).webhooks, credential(request).org
    watched = await s.get(org, id)
    given_up = [
        GivenUpReply(
            event=event.get("id"), type=event.get("type"), cursor=one.cursor, given_up_at=time_of(one.at)
        )
        for one in await s.given_up(watched.hook)
        for event in [json.loads(one.event or b"{}")]
    ]  # fmt: skip
    return WebhookFull(**_facts(watched), latest_given_up=given_up)


@OPERATIONS.add(
    "DELETE", "/v1/webhooks/{id}", "Remove a webhook", _SCOPE, status=204, act=Act("webhook.remove", stops_harm=True)
)
async def remove_webhook(request: web.Request, *, id: HookId) -> None:
    """Removes a webhook and the events that wait to be sent to it."""
    await services(request).webhooks.remove(credential(request).org, id)


@OPERATIONS.add(
    "POST", "/v1/webhooks/{id}/rotate", "Give a webhook a new secret", _SCOPE, problems=("precondition-failed",),
    act=Act("webhook.rotate"),
)  # fmt: skip
async def rotate_webhook(request: web.Request, *, id: HookId) -> WebhookMade:
    """Creates a new secret. Earlier secrets also sign, each for one more day, so that the receiver can accept every
    event meanwhile.
    """
    refuse_replay(request, f"{MADE_AND_TOLD} What your receiver has signs for a day.")
    watched, secret = await services(request).webhooks.rotate(credential(request).org, id)
    return WebhookMade(**_facts(watched), secret=secret)


@OPERATIONS.add("POST", "/v1/webhooks/{id}/test", "Try a webhook", _SCOPE, act=Act("webhook.test"))
async def test_webhook(request: web.Request, *, id: HookId) -> Pinged:
    """Posts one event of the type `ping`, even to a webhook that is off, and returns the status of its answer."""
    status = await services(request).webhooks.ping(credential(request).org, id)
    return Pinged(taken=200 <= status < 300, answered=status or None)


@OPERATIONS.add("POST", "/v1/webhooks/{id}/resume", "Turn a webhook on again", _SCOPE, act=Act("webhook.resume"))
async def resume_webhook(request: web.Request, *, id: HookId) -> WebhookReply:
    """Turns a webhook on again: alertd sends it the waiting events, and those that happened while it was off."""
    return _shown(await services(request).webhooks.resume(credential(request).org, id))


@OPERATIONS.add(
    "POST", "/v1/webhooks/{id}/replay", "Tell a webhook again", _SCOPE, act=Act("webhook.replay", once=True)
)
async def replay_webhook(request: web.Request, *, id: HookId, body: Replay = GIVEN_UP) -> WebhookReply:
    """Queues events to be sent again to a webhook, with their original ids: all after a cursor, or one. Without a body,
    queues those that alertd gave up because the webhook never accepted them.
    """
    s, org = services(request).webhooks, credential(request).org
    if is_replay(request):
        return _shown(await s.get(org, id))
    return _shown(await s.replay(org, id, cursor=body.cursor, event=body.event))


def _shown(watched: Watched) -> WebhookReply:
    return WebhookReply(**_facts(watched))


def _facts(watched: Watched) -> dict[str, object]:
    """Returns the values of the members of `WebhookReply`, by name."""
    hook, standing = watched.hook, watched.standing
    return subscription_facts(hook, standing) | {
        "url": hook.url, "types": list(hook.types), "state": "off" if standing.off else "on", "off_since": time_or_none(standing.off),
        "why": standing.why or None, "waiting": watched.waiting, "given_up": watched.given_up,
    }  # fmt: skip


def subscription_facts(hook: Hook, standing: HookStanding) -> dict[str, Any]:
    """Returns the values of the members of `SubscriptionReply`, by name."""
    return {
        "id": hook.id, "made_at": time_of(hook.made), "made_by": hook.by, "made_by_org": hook.org,
        "failing_since": time_or_none(standing.failing), "answered": standing.answered or None, "tried_at": time_or_none(standing.tried),
    }  # fmt: skip


def refuse_replay(request: web.Request, sentence: str) -> None:
    """Raises Problem with this sentence if the call repeats an earlier one, because alertd shows a secret only once."""
    if is_replay(request):
        raise Problem("precondition-failed", sentence)
