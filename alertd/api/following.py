"""What follows an alert over HTTP: stood down, back again, closed. Those who were told are told of it."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.alerts import Decide, followed
from alertd.api.conditions import Conditions
from alertd.api.operations import Act, Operation, Reply
from alertd.api.shapes import AlertId, AlertReply


class Close(BaseModel):
    """What came of it is kept with the case and told to nobody."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    outcome: str = Field(min_length=1, max_length=500, examples=["Found, well"])
    notify: Literal["full", "none"] = Field(
        "full", description="`none` holds the notice, as until the family knows: close it again with `full` to tell."
    )


async def stand_down_alert(
    request: web.Request, *, id: AlertId, headers: Conditions, body: Decide
) -> Reply[AlertReply]:
    """Hides an alert within seconds and sends nothing more of it: its photos are gone, and phones that had it by push are told
    that it is no longer active, without a name. It can be reopened until its end; then, what was queued goes out. Text
    messages and mails, which nothing takes back, speak when it is closed.
    """
    return await followed(request, id, lambda follow, who: follow.stand_down(id, who, body.reason, rev=headers.version))


async def reopen_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Shows an alert again that was stood down: it goes on where it was, and who was told of that is told that it is back."""
    return await followed(request, id, lambda follow, who: follow.reopen(id, who, body.reason, rev=headers.version))


async def close_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Close) -> Reply[AlertReply]:
    """It is over. Everyone who may have been told is told so, on every channel they were told on and at the address they have
    now: that it is over, not how it ended, and nobody's name. An alert that has passed its end can be closed, too.
    """
    return await followed(
        request, id,
        lambda follow, who: follow.close(id, who, body.outcome, notify=body.notify == "full", rev=headers.version),
    )  # fmt: skip


_GROUP = "Alerts"
_PROBLEMS = ("not-found", "precondition-failed")
OPERATIONS = (
    Operation(
        method="POST", path="/v1/alerts/{id}/stand-down", handler=stand_down_alert, summary="Stand down",
        scope="alerts:write", or_scope="alerts:approve", group=_GROUP, problems=_PROBLEMS, essential=True,
        act=Act("alert.stand-down", stops_harm=True),
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/reopen", handler=reopen_alert, summary="Reopen", scope="alerts:approve",
        group=_GROUP, problems=(*_PROBLEMS, "stop-active", "expired"), act=Act("alert.reopen"),
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/close", handler=close_alert, summary="Close", scope="alerts:write",
        or_scope="alerts:approve", group=_GROUP, problems=_PROBLEMS, essential=True,
        act=Act("alert.close", stops_harm=True),
    ),
)  # fmt: skip
