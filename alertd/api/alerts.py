"""Alerts over HTTP: submit, look, decide."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, RootModel

from alertd.alerts import AlertState
from alertd.api.call import credential, is_replay, prepared_id
from alertd.api.conditions import Conditions, etag
from alertd.api.operations import Operation, Reply
from alertd.api.services import Services, services
from alertd.documents import Alert, AlertRequest
from alertd.service.access import Credential
from alertd.service.approval import Approval, changed_since
from alertd.service.intake import Look, Taken
from alertd.service.targeting import SMALL_COUNT, Shown, shown
from alertd.store.alerts import AlertRecord

AlertId = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}(-\d+)?$", examples=["01M882R9G938BE2P8KXNZ55750"])]


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SubmitQuery(Query):
    dry_run: bool = Field(False, description="Answer the same and do nothing.")


class Approve(BaseModel):
    """What the approver saw."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    people: Annotated[int, Field(ge=0)] | None = Field(
        None, description="The count that was shown. Default: that of the submission."
    )


AS_SUBMITTED = Approve(people=None)


class Decide(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    reason: str = Field(min_length=1, max_length=500, examples=["Wrong area"])


class AlertPatch(RootModel[dict[str, Any]]):
    """Members to replace; null removes one (JSON merge patch, RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": {"regions": ["ES-CA"]}}]})


#: A use case of approval, asked for by somebody.
Decision = Callable[[Approval, Credential], Awaitable[AlertRecord]]


class RegionShare(BaseModel):
    code: str
    name: str
    share: float = Field(description="Part of the region's ground that lies in the area.")


class AreaReply(BaseModel):
    km2: float
    regions: list[RegionShare]
    repairs: list[str] = Field(description="What was mended in the shapes as they were sent.")


class AudienceReply(BaseModel):
    """Counts below 20 read "<20", so that nobody is found by them; of an area or audience below the least, all are hidden."""

    people: Shown
    addresses: dict[str, Shown] = Field(description="By channel; counts of 3 and more for one person count as 3.")
    regions: dict[str, Shown] = Field(description="People by the smallest region they are in.")


class Submitted(BaseModel):
    id: str
    state: AlertState
    area: AreaReply
    audience: AudienceReply
    eta: dict[str, float] = Field(description="Seconds each channel needs at its carrier's rate.")


class AlertReply(BaseModel):
    id: str
    state: AlertState
    kind: str
    level: str
    status: str
    author: str
    approver: str | None
    reason: str | None
    created: datetime
    approved: datetime | None
    expires: datetime
    people: Shown = Field(description="In the frozen audience; before approval, as seen at submission.")
    notice: str | None = Field(None, description="What this did not do.")
    alert: dict[str, Any] | None = Field(None, description="As it was sent.")


async def create_alert(request: web.Request, *, query: SubmitQuery, body: AlertRequest) -> Reply[Submitted]:
    """Takes an alert in: checks it, resolves its target, counts its audience and keeps it.

    An Actual alert is then `pending` until another person approves it. Test and Exercise reach only testers and are
    approved at once. With `"state": "draft"` it is kept and goes no further.
    """
    s, who, alert = services(request), credential(request), body.alert()
    if is_replay(request) and not query.dry_run:
        record = await s.approval.get(prepared_id(request) or "", who)
        look = await s.intake.look(alert)
        return _submitted(s, Taken(record=record, area=look.area, shares=look.shares, found=look.found), alert)
    taken = await s.intake.submit(
        alert, who, alert_id=prepared_id(request), dry_run=query.dry_run, draft=body.state == "draft"
    )
    if not query.dry_run:
        taken = replace(taken, record=await s.approval.begin(taken.record, who))
    return _submitted(s, taken, alert)


async def show_alert(request: web.Request, *, id: AlertId) -> Reply[AlertReply]:
    """One alert, as it was sent and as it stands. Its ETag, sent as If-Match with a decision, binds that to what was seen."""
    return _told(await services(request).approval.get(id, credential(request)), whole=True)


async def patch_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: AlertPatch) -> Reply[Submitted]:
    """Changes members of a draft or a returned alert and leaves the rest (JSON merge patch, RFC 7396). Only its author may."""
    s, who = services(request), credential(request)
    record = await s.approval.get(id, who)
    if headers.version not in {None, record.rev}:
        raise changed_since()
    taken = await s.intake.amend(record, body.root, who)
    return _submitted(s, taken, Alert.model_validate_json(taken.record.document))


async def submit_alert(request: web.Request, *, id: AlertId, headers: Conditions) -> Reply[AlertReply]:
    """A draft, or an alert that was returned, asks for its second person; a Test or Exercise needs none and goes out."""
    return await _decided(request, id, lambda decide, who: decide.submit(id, who, rev=headers.version))


async def approve_alert(
    request: web.Request, *, id: AlertId, headers: Conditions, body: Approve = AS_SUBMITTED
) -> Reply[AlertReply]:
    """The second person's word: freezes the audience and sends. The author of an Actual alert cannot give it. The same person
    may say it again and gets the same answer.
    """
    return await _decided(
        request, id, lambda decide, who: decide.approve(id, who, people=body.people, rev=headers.version)
    )


async def return_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Gives a pending alert back to its author."""
    return await _decided(request, id, lambda decide, who: decide.give_back(id, who, body.reason, rev=headers.version))


async def reject_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """It will not be sent."""
    return await _decided(request, id, lambda decide, who: decide.reject(id, who, body.reason, rev=headers.version))


async def cancel_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Closes the gate within a second: what is queued is not sent. Whoever was told already is told nothing yet."""
    reply = await _decided(request, id, lambda decide, who: decide.cancel(id, who, body.reason, rev=headers.version))
    notice = "People who were told already have not been told of this."
    return replace(reply, body=reply.body.model_copy(update={"notice": notice}))


async def _decided(request: web.Request, alert_id: str, decide: Decision) -> Reply[AlertReply]:
    approval, who = services(request).approval, credential(request)
    if is_replay(request):
        return _told(await approval.get(alert_id, who))
    return _told(await decide(approval, who))


def _told(record: AlertRecord, *, whole: bool = False) -> Reply[AlertReply]:
    return Reply(alert_reply(record, whole=whole), headers=etag(record.rev))


def _submitted(s: Services, taken: Taken, alert: Alert) -> Reply[Submitted]:
    counts = s.targeting.counts(taken.found, taken.shares, taken.area.km2)
    body = Submitted(
        id=taken.record.id,
        state=taken.record.state,
        area=area_reply(taken),
        audience=AudienceReply(**counts),
        eta=eta(s, counts["addresses"], alert.channels),
    )
    return Reply(body, headers={"Location": f"/v1/alerts/{body.id}", **etag(taken.record.rev)})


def area_reply(look: Look) -> AreaReply:
    """The area of a target as it is shown."""
    return AreaReply(
        km2=round(look.area.km2, 3),
        regions=[RegionShare(code=r.code, name=r.name, share=round(r.share, 4)) for r in look.shares[:100]],
        repairs=[f"{repair.pointer}: {repair.what}" for repair in look.area.repairs],
    )


def eta(s: Services, addresses: dict[str, Shown], channels: Collection[str]) -> dict[str, float]:
    """Seconds by channel at the carriers' rates; a hidden count is taken at its largest."""
    return {
        channel: round((count if isinstance(count, int) else SMALL_COUNT) / s.carriers.of(channel).rate, 3)
        for channel, count in addresses.items()
        if channel in s.carriers.channels.intersection(channels)
    }


def alert_reply(record: AlertRecord, *, whole: bool = False) -> AlertReply:
    """An alert as it is told; `whole` with its document."""
    return AlertReply(
        id=record.id,
        state=record.state,
        kind=record.kind,
        level=record.level,
        status=record.status,
        author=record.author,
        approver=record.approver or None,
        reason=record.reason or None,
        created=_time(record.created),
        approved=_time(record.start) if record.start else None,
        expires=_time(record.expires),
        people=shown(record.people if record.start else record.seen),
        alert=json.loads(record.document) if whole and record.document else None,
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


_GROUP = "Alerts"
_STATES = ("not-found", "precondition-failed")
_REFUSED = (
    "case-not-verified", "expired", "channel-unavailable", "translation-unreviewed", "language-missing",
    "duplicate-case", "message-impossible", "audience-too-small", "unknown-region", "invalid-geometry",
)  # fmt: skip
OPERATIONS = (
    Operation(
        method="POST", path="/v1/alerts", handler=create_alert, summary="Submit an alert", scope="alerts:write",
        group=_GROUP, status=202, problems=_REFUSED,
    ),
    Operation(
        method="GET", path="/v1/alerts/{id}", handler=show_alert, summary="Show an alert", scope="alerts:read",
        group=_GROUP, problems=("not-found",),
    ),
    Operation(
        method="PATCH", path="/v1/alerts/{id}", handler=patch_alert, summary="Change a draft", scope="alerts:write",
        group=_GROUP, problems=(*_STATES, *_REFUSED),
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/submit", handler=submit_alert, summary="Submit a draft",
        scope="alerts:write", group=_GROUP, problems=_STATES,
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/approve", handler=approve_alert, summary="Approve and send",
        scope="alerts:approve", group=_GROUP,
        problems=(*_STATES, "same-person", "audience-changed", "audience-too-small", "approval-stale", "expired"),
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/return", handler=return_alert, summary="Return to the author",
        scope="alerts:approve", group=_GROUP, problems=_STATES,
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/reject", handler=reject_alert, summary="Reject",
        scope="alerts:approve", group=_GROUP, problems=_STATES, essential=True,
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/cancel", handler=cancel_alert, summary="Cancel",
        scope="alerts:write", group=_GROUP, problems=_STATES, essential=True,
    ),
)  # fmt: skip
