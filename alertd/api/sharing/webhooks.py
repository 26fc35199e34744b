"""Webhooks over HTTP: made, shown, tried, told again, removed."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from alertd.api.http.call import credential, is_replay, note
from alertd.api.http.operations import Act, Operation
from alertd.api.services import services
from alertd.api.shapes import BY_ORG
from alertd.api.sharing.events import CURSOR
from alertd.common.clock import time_of, time_or_none
from alertd.common.errors import Problem
from alertd.model.faults import refusal
from alertd.service.records.events import TYPES
from alertd.service.records.webhooks import Watched

HookId = Annotated[str, Field(pattern="^wh_[0-9a-f]{16}$", examples=["wh_0123456789abcdef"])]


class NewWebhook(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    url: str = Field(
        max_length=1000, examples=["https://cases.centre.example/alertd"],
        description="Plain https on the public internet. It may hold a secret: it is shown to nobody without `webhooks:write`.",
    )  # fmt: skip
    types: list[str] = Field(
        [], max_length=len(TYPES), description=f"Events that it is told of; none: all. {', '.join(TYPES)}."
    )


class WebhookReply(BaseModel):
    id: str
    url: str
    types: list[str]
    made_at: datetime
    made_by: str
    made_by_org: str = Field(description=BY_ORG)
    state: Literal["on", "off"]
    off_since: datetime | None
    why: str | None = Field(
        description="It is off: `gone` (it answered 410) or `failing` (it took nothing for three days)."
    )
    failing_since: datetime | None = Field(description="Of the first try after which none was taken.")
    answered: int | None = Field(description="Status of the last answer; null where there was none.")
    tried_at: datetime | None
    waiting: int = Field(description="Events that it is still to be told.")
    given_up: int = Field(description="Events that it never took; of a thousand and more, a thousand.")


class GivenUpReply(BaseModel):
    event: str | None = Field(description="Its id; null where it is no longer kept.")
    type: str | None
    cursor: str = Field(description="Replayed from here, it is the first.")
    given_up_at: datetime


class WebhookFull(WebhookReply):
    latest_given_up: list[GivenUpReply] = Field(description="A hundred at most, the latest first.")


class WebhookMade(WebhookReply):
    secret: str = Field(description="Checks the signatures. Told once and never again.", examples=["whsec_…"])


class WebhookList(BaseModel):
    webhooks: list[WebhookReply]


class Replay(BaseModel):
    """What is told again: all that follows `cursor`, or one `event`, or, with neither, what was given up."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    cursor: Annotated[str, Field(pattern=CURSOR)] | None = None
    event: Annotated[str, Field(pattern="^evt_[0-9A-Za-z_]{1,64}$")] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Replay:
        if self.cursor is not None and self.event is not None:
            raise refusal("It is a cursor or an event.")
        return self


GIVEN_UP = Replay()


class Pinged(BaseModel):
    taken: bool = Field(description="It answered with a status from 200 to 299.")
    answered: int | None = Field(description="Its status; null where there was no answer.")


async def create_webhook(request: web.Request, *, body: NewWebhook) -> WebhookMade:
    """A URL that is told of events as they happen, from now on: each is posted to it as `GET /v1/events` shows it, signed as Standard
    Webhooks say, until it answers with a status from 200 to 299. What it does not take is tried again over three days.
    """
    if is_replay(request):
        raise Problem(
            "precondition-failed", "The webhook was made and its secret told; give it a new one with `rotate`."
        )
    watched, secret = await services(request).webhooks.create(credential(request), body.url, body.types)
    note(request, object_=watched.hook.id)
    return WebhookMade(**_facts(watched), secret=secret)


async def list_webhooks(request: web.Request) -> WebhookList:
    """The organisation's, the oldest first, without their secrets."""
    found = await services(request).webhooks.of_org(credential(request).org)
    return WebhookList(webhooks=[_shown(one) for one in found])


async def get_webhook(request: web.Request, *, id: HookId) -> WebhookFull:
    """How it stands, and which events it never took."""
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


async def remove_webhook(request: web.Request, *, id: HookId) -> None:
    """It is told nothing more, and what waited for it is forgotten."""
    await services(request).webhooks.remove(credential(request).org, id)


async def rotate_webhook(request: web.Request, *, id: HookId) -> WebhookMade:
    """A new secret. Those before it go on signing, each for a day, so a receiver misses nothing meanwhile."""
    if is_replay(request):
        raise Problem(
            "precondition-failed",
            "The secret was made and told; make another with a new Idempotency-Key. What your receiver has signs for a day.",
        )
    watched, secret = await services(request).webhooks.rotate(credential(request).org, id)
    return WebhookMade(**_facts(watched), secret=secret)


async def test_webhook(request: web.Request, *, id: HookId) -> Pinged:
    """Posts an event of the type `ping` once, also to a webhook that is off, and answers what came of it."""
    status = await services(request).webhooks.ping(credential(request).org, id)
    return Pinged(taken=200 <= status < 300, answered=status or None)


async def resume_webhook(request: web.Request, *, id: HookId) -> WebhookReply:
    """A webhook that was turned off is told again: what waited for it, and what happened meanwhile."""
    return _shown(await services(request).webhooks.resume(credential(request).org, id))


async def replay_webhook(request: web.Request, *, id: HookId, body: Replay = GIVEN_UP) -> WebhookReply:
    """Tells it again what it missed or lost, under the ids that the events have always had."""
    s, org = services(request).webhooks, credential(request).org
    if is_replay(request):
        return _shown(await s.get(org, id))
    return _shown(await s.replay(org, id, cursor=body.cursor, event=body.event))


def _shown(watched: Watched) -> WebhookReply:
    return WebhookReply(**_facts(watched))


def _facts(watched: Watched) -> dict[str, object]:
    hook, standing = watched.hook, watched.standing
    return {
        "id": hook.id, "url": hook.url, "types": list(hook.types), "made_at": time_of(hook.made), "made_by": hook.by, "made_by_org": hook.org,
        "state": "off" if standing.off else "on", "off_since": time_or_none(standing.off), "why": standing.why or None,
        "failing_since": time_or_none(standing.failing), "answered": standing.answered or None, "tried_at": time_or_none(standing.tried),
        "waiting": watched.waiting, "given_up": watched.given_up,
    }  # fmt: skip


_GROUP = "Events"
_SCOPE = "webhooks:write"
_NONE = ("not-found",)
OPERATIONS = (
    Operation(
        method="POST", path="/v1/webhooks", handler=create_webhook, summary="Make a webhook", scope=_SCOPE, group=_GROUP,
        status=201, problems=("precondition-failed",), act=Act("webhook.create"),
    ),
    Operation(method="GET", path="/v1/webhooks", handler=list_webhooks, summary="List webhooks", scope=_SCOPE, group=_GROUP),
    Operation(
        method="GET", path="/v1/webhooks/{id}", handler=get_webhook, summary="Show a webhook", scope=_SCOPE, group=_GROUP,
        problems=_NONE,
    ),
    Operation(
        method="DELETE", path="/v1/webhooks/{id}", handler=remove_webhook, summary="Remove a webhook", scope=_SCOPE,
        group=_GROUP, status=204, problems=_NONE, essential=True, act=Act("webhook.remove", stops_harm=True),
    ),
    Operation(
        method="POST", path="/v1/webhooks/{id}/rotate", handler=rotate_webhook, summary="Give a webhook a new secret",
        scope=_SCOPE, group=_GROUP, problems=(*_NONE, "precondition-failed"), act=Act("webhook.rotate"),
    ),
    Operation(
        method="POST", path="/v1/webhooks/{id}/test", handler=test_webhook, summary="Try a webhook", scope=_SCOPE,
        group=_GROUP, problems=_NONE, act=Act("webhook.test"),
    ),
    Operation(
        method="POST", path="/v1/webhooks/{id}/resume", handler=resume_webhook, summary="Turn a webhook on again",
        scope=_SCOPE, group=_GROUP, problems=_NONE, act=Act("webhook.resume"),
    ),
    Operation(
        method="POST", path="/v1/webhooks/{id}/replay", handler=replay_webhook, summary="Tell a webhook again",
        scope=_SCOPE, group=_GROUP, problems=_NONE, act=Act("webhook.replay", once=True),
    ),
)  # fmt: skip
