"""HTTP operations on permissions: an organisation permits or refuses that a neighbour's alert is sent in its
jurisdiction.
"""

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
    """The area and the number of people that the granting person saw."""

    model_config = Saw.model_config
    ground: str = Field(
        description="`ground` of the request that was shown. A request for a different area has a different value.",
        pattern=r"^[0-9a-f]{64}$",
    )
    people: Seen | None = Field(None, description="The estimate that was shown. Default: the estimate at submission.")


class Refuse(BaseModel):
    model_config = Saw.model_config
    reason: Remark = Field(examples=["The same child is sought here by an alert of our own"])


class AskAgain(BaseModel):
    model_config = Saw.model_config
    organisation: OrganisationId


class PermissionRequest(BaseModel):
    """A request of another organisation to send its alert in your jurisdiction."""

    id: str = Field(description="The alert's.")
    asked_by: str = Field(description="The organisation that alerts.")
    asked_by_name: str
    kind: str
    level: str
    status: str
    approved: datetime
    expires: datetime = Field(description="After this time the request cannot be granted.")
    live: bool = Field(description="The alert is live in its own jurisdiction; false once it was stopped or is over.")
    ground: str = Field(description="A digest of the requested area: send it with `grant`.")
    permission: PermissionReply
    area: AreaReply | None = Field(None, description="The requested area, which lies in your jurisdiction.")
    geometry: dict[str, Any] | None = Field(None, description="The same as GeoJSON MultiPolygon.")
    people_now: Estimate | None = Field(
        None,
        description="People in the area at this moment, counted as `permission.people`; null once the alert is over, and in a list.",
    )
    channels: list[str] | None = None
    messages: MessagesPreview | None = Field(
        None, description="The current messages of the alert; null once it is over, and in a list."
    )


class PermissionRequests(BaseModel):
    requests: list[PermissionRequest] = Field(description="Latest first.")


class RequestsQuery(Query):
    state: PermissionState | None = Field(None, description="`asked`: the requests that await an answer.")


class ShownQuery(Query):
    language: Language = Field("en", description="Language of the area's name.")


_ONE = "/v1/permissions/{id}"
OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/permissions", "List requests of neighbours", "alerts:read")
async def list_permissions(request: web.Request, *, query: RequestsQuery) -> PermissionRequests:
    """Returns the requests of other organisations to send their alerts in your jurisdiction, also answered ones, newest
    first, without area and messages. `state` selects among the latest 200.
    """
    found = await services(request).permissions.asked_of(credential(request).org)
    return PermissionRequests(
        requests=[request_reply(one) for one in found if query.state is None or one.state == query.state]
    )


@OPERATIONS.add("GET", _ONE, "Show a request of a neighbour", "alerts:read")
async def show_permission(request: web.Request, *, id: AlertId, query: ShownQuery) -> PermissionRequest:
    """Returns one request with the facts for a decision: the area, the number of people in it, and the messages. The
    answer shows nothing else of the case.
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
    """Permits the alert in your jurisdiction, in the area that you were shown; alertd then sends it there. People who
    were already notified of it are not notified again. You need the right to approve such an alert, and must be neither
    its author nor its approver. You cannot withdraw a grant. The alert's own organisation can pause, stand down or
    cancel the alert; `POST /v1/cases/{number}/stand-down` asks it to.
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
    """Refuses the alert in your jurisdiction. You can still grant it while the alert is live."""
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
    """Asks a neighbour again that refused. alertd asks each neighbour for the first time when the alert is approved."""
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    record = await s.permissions.ask(id, who, body.organisation)
    note(request, record=record, organisation=body.organisation)
    return reply_with_alert(record)


def request_reply(asked: Request) -> PermissionRequest:
    """Returns a request as the API shows it, without its area and messages."""
    record = asked.record
    permission = permission_of(record, asked.permission, counts=True)
    return PermissionRequest(
        id=record.id, asked_by=record.org, asked_by_name=asked.asked_by, kind=record.kind, level=record.level,
        status=record.status, approved=time_of(record.times.start), expires=time_of(record.expires), live=record.state in SHOWN,
        ground=asked.permission.ground, permission=permission,
    )  # fmt: skip


async def _whole(s: Container, asked: Request, language: str) -> PermissionRequest:
    """Returns a request as the API shows it, with its area (names in `language`). If the alert is live, adds its
    messages and the current estimate of people. If the alert was purged, adds no area, messages or estimate.
    """
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
