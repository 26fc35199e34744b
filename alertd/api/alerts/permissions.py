"""Permissions over HTTP: a neighbouring organisation says whether an alert is told in its jurisdiction."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import shapely
from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.alerts.alerts import Saw, Seen, reply_with_alert, seen
from alertd.api.alerts.messages import MessagesPreview, making_of, messages_reply
from alertd.api.area_shapes import AreaReply, area_reply
from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import AlertId, AlertReply, PermissionReply, Query, Remark, permission_of
from alertd.common.clock import time_of
from alertd.model.fields import Language
from alertd.model.kinds import PermissionState
from alertd.model.organisation import OrganisationId
from alertd.model.states import SHOWN
from alertd.rendering import THE_ALERT
from alertd.service.alerts.permissions import Request
from alertd.service.container import Container
from alertd.service.reach import Estimate, about
from geofences.targets import Area


class Grant(BaseModel):
    """What whoever permits it saw."""

    model_config = Saw.model_config
    ground: str = Field(
        description="Of the request that was shown: another ground is another question.", pattern=r"^[0-9a-f]{64}$"
    )
    people: Seen | None = Field(None, description="The estimate that was shown. Default: that of the submission.")


class Refuse(BaseModel):
    model_config = Saw.model_config
    reason: Remark = Field(examples=["The same child is sought here by an alert of our own"])


class AskAgain(BaseModel):
    model_config = Saw.model_config
    organisation: OrganisationId


class PermissionRequest(BaseModel):
    """What your organisation is asked for of another's alert."""

    id: str = Field(description="The alert's.")
    asked_by: str = Field(description="The organisation that alerts.")
    asked_by_name: str
    kind: str
    level: str
    status: str
    approved: datetime
    expires: datetime = Field(description="After it nothing can be permitted.")
    live: bool = Field(
        description="The alert is told now, in its own jurisdiction; false once it was stopped or is over."
    )
    ground: str = Field(description="A digest of the ground that is asked for: `grant` wants it.")
    permission: PermissionReply
    area: AreaReply | None = Field(None, description="What is asked for, and lies in your jurisdiction.")
    geometry: dict[str, Any] | None = Field(None, description="The same as GeoJSON MultiPolygon.")
    people_now: Estimate | None = Field(
        None,
        description="In it at this moment, counted as `permission.people` is; null once the alert is over, or in a list.",
    )
    channels: list[str] | None = None
    messages: MessagesPreview | None = Field(
        None, description="What people would read, as the alert stands; null once it is over, or in a list."
    )


class PermissionRequests(BaseModel):
    requests: list[PermissionRequest] = Field(description="The latest first.")


class RequestsQuery(Query):
    state: PermissionState | None = Field(None, description="`asked` are those that await an answer.")


class ShownQuery(Query):
    language: Language = Field("en", description="To name the area in.")


_ONE = "/v1/permissions/{id}"
OPERATIONS = Operations("Permissions")


@OPERATIONS.add("GET", "/v1/permissions", "List what neighbours ask", "alerts:read")
async def list_permissions(request: web.Request, *, query: RequestsQuery) -> PermissionRequests:
    """What other organisations ask of yours: to be told in your jurisdiction, too. The latest 200."""
    found = await services(request).permissions.asked_of(credential(request).org)
    return PermissionRequests(
        requests=[request_reply(one) for one in found if query.state is None or one.state == query.state]
    )


@OPERATIONS.add("GET", _ONE, "Show what a neighbour asks", "alerts:read")
async def show_permission(request: web.Request, *, id: AlertId, query: ShownQuery) -> PermissionRequest:
    """One of them, as whoever answers must see it: the ground, how many people are in it, and what they would read. Nothing else of the
    case is shown.
    """
    s = services(request)
    return await _whole(s, await s.permissions.get(id, credential(request)), query.language)


@OPERATIONS.add(
    "POST", f"{_ONE}/grant", "Permit it", "alerts:approve", step_up=True, act=Act("permission.grant", once=True),
    problems=(
        "precondition-failed", "same-person", "protection-review-required", "audience-changed", "approval-stale",
        "expired", "stop-active", "outside-jurisdiction", "over-budget",
    ),
)  # fmt: skip
async def grant_permission(request: web.Request, *, id: AlertId, body: Grant) -> PermissionRequest:
    """The alert is told in your jurisdiction, too, on the ground that you were shown; whoever was told of it before is not told again.
    It takes whoever might approve such an alert, and is neither of the two that sent it. What was permitted is not taken back: the
    alert's own organisation pauses, stands down or cancels it; `POST /v1/cases/{number}/stand-down` asks it to.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return request_reply(await s.permissions.get(id, who))
    done = await s.permissions.grant(id, who, body.ground, people=seen(body.people))
    note(request, object_=id, organisation=done.record.org, version=done.permission.version)
    return request_reply(done)


@OPERATIONS.add(
    "POST", f"{_ONE}/refuse", "Refuse it", "alerts:approve", step_up=True, act=Act("permission.refuse", once=True),
    problems=("precondition-failed", "expired"),
)  # fmt: skip
async def refuse_permission(request: web.Request, *, id: AlertId, body: Refuse) -> PermissionRequest:
    """The alert is not told in your jurisdiction. Whoever may can still permit it while it is told."""
    s, who = services(request), credential(request)
    if is_replay(request):
        return request_reply(await s.permissions.get(id, who))
    done = await s.permissions.refuse(id, who, body.reason)
    note(request, object_=id, organisation=done.record.org)
    return request_reply(done)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/permissions", "Ask a neighbour again", "alerts:write",
    act=Act("alert.ask-permission", once=True), problems=("precondition-failed", "permission-pending", "expired"),
)  # fmt: skip
async def ask_permission(request: web.Request, *, id: AlertId, body: AskAgain) -> Reply[AlertReply]:
    """Asks a neighbour again that has refused. Each is asked for the first time when the alert is approved."""
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    record = await s.permissions.ask(id, who, body.organisation)
    note(request, record=record, organisation=body.organisation)
    return reply_with_alert(record)


def request_reply(asked: Request) -> PermissionRequest:
    """A request in few words."""
    record = asked.record
    permission = permission_of(record, asked.permission, counts=True)
    return PermissionRequest(
        id=record.id, asked_by=record.org, asked_by_name=asked.asked_by, kind=record.kind, level=record.level,
        status=record.status, approved=time_of(record.times.start), expires=time_of(record.expires), live=record.state in SHOWN,
        ground=asked.permission.ground, permission=permission,
    )  # fmt: skip


async def _whole(s: Container, asked: Request, language: str) -> PermissionRequest:
    """The same with its ground and its messages."""
    reply, record, geometry = request_reply(asked), asked.record, asked.ground
    if geometry.is_empty:
        return reply
    shares = await s.targeting.shares(geometry)
    said: dict[str, Any] = {
        "area": await area_reply(s, Area(geometry=geometry, km2=asked.permission.km2), shares, language),
        "geometry": json.loads(shapely.to_geojson(geometry)),
    }
    if record.document and record.state in SHOWN:
        alert = record.alert
        reach = await s.permissions.reach(record, geometry, await s.permissions.regions(asked))
        said["people_now"] = about(reach.whole.people)
        own, countries = await s.texts.of(record.org, record.texts), record.target.countries.split()
        said["messages"] = await asyncio.to_thread(
            messages_reply, making_of(s), alert, (alert.channels, s.renderer.languages(alert)), THE_ALERT, own, record.times.start, countries
        )  # fmt: skip
        said["channels"] = list(alert.channels)
    return reply.model_copy(update=said)
