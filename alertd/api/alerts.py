"""Alerts over HTTP: submit, look, decide."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.alerts import AlertState
from alertd.api.call import credential, is_replay, prepared_id
from alertd.api.operations import Operation, Reply
from alertd.api.services import Services, services
from alertd.documents import Alert, AlertRequest, Status
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


class RegionShare(BaseModel):
    code: str
    name: str
    share: float = Field(description="Part of the region's ground that lies in the area.")


class AreaReply(BaseModel):
    km2: float
    regions: list[RegionShare]
    repairs: list[str] = Field(description="What was mended in the shapes as they were sent.")


class AudienceReply(BaseModel):
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
    if is_replay(request):
        record = await s.approval.get(prepared_id(request) or "", who)
        look = await s.intake.look(alert)
        taken = Taken(record=record, area=look.area, shares=look.shares, found=look.found)
    else:
        taken = await s.intake.submit(
            alert, who, alert_id=prepared_id(request), dry_run=query.dry_run, draft=body.state == "draft"
        )
        if not query.dry_run and alert.status is not Status.ACTUAL and body.state is None:
            record = await s.approval.approve(taken.record.id, who)
            taken = Taken(record=record, area=taken.area, shares=taken.shares, found=taken.found)
    return Reply(_submitted(s, taken, alert), headers={"Location": f"/v1/alerts/{taken.record.id}"})


async def show_alert(request: web.Request, *, id: AlertId) -> AlertReply:
    """One alert, as it was sent and as it stands."""
    record = await services(request).approval.get(id, credential(request))
    return alert_reply(record, whole=True)


async def submit_alert(request: web.Request, *, id: AlertId) -> AlertReply:
    """A draft, or an alert that was returned, asks for its second person."""
    return await _decided(request, id, AlertState.PENDING)


async def approve_alert(request: web.Request, *, id: AlertId, body: Approve = AS_SUBMITTED) -> AlertReply:
    """The second person's word: freezes the audience and sends. The author of an Actual alert cannot give it."""
    s, who = services(request), credential(request)
    if is_replay(request):
        return alert_reply(await s.approval.get(id, who))
    return alert_reply(await s.approval.approve(id, who, people=body.people))


async def return_alert(request: web.Request, *, id: AlertId, body: Decide) -> AlertReply:
    """Gives a pending alert back to its author."""
    return await _decided(request, id, AlertState.RETURNED, body.reason)


async def reject_alert(request: web.Request, *, id: AlertId, body: Decide) -> AlertReply:
    """It will not be sent."""
    return await _decided(request, id, AlertState.REJECTED, body.reason)


async def cancel_alert(request: web.Request, *, id: AlertId, body: Decide) -> AlertReply:
    """Closes the gate within a second: what is queued is not sent. Whoever was told already is told nothing yet."""
    reply = await _decided(request, id, AlertState.CANCELLED, body.reason)
    return reply.model_copy(update={"notice": "People who were told already have not been told of this."})


async def _decided(request: web.Request, alert_id: str, new: AlertState, reason: str = "") -> AlertReply:
    s, who = services(request), credential(request)
    if is_replay(request):
        return alert_reply(await s.approval.get(alert_id, who))
    match new:
        case AlertState.PENDING:
            record = await s.approval.submit(alert_id, who)
        case AlertState.RETURNED:
            record = await s.approval.give_back(alert_id, who, reason)
        case AlertState.REJECTED:
            record = await s.approval.reject(alert_id, who, reason)
        case _:
            record = await s.approval.cancel(alert_id, who, reason)
    return alert_reply(record)


def _submitted(s: Services, taken: Taken, alert: Alert) -> Submitted:
    counts = s.targeting.counts(taken.found, taken.shares)
    return Submitted(
        id=taken.record.id,
        state=taken.record.state,
        area=area_reply(taken),
        audience=AudienceReply(**counts),
        eta=eta(s, counts["addresses"], alert.channels),
    )


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
OPERATIONS = (
    Operation(
        method="POST", path="/v1/alerts", handler=create_alert, summary="Submit an alert", scope="alerts:write",
        group=_GROUP, status=202,
        problems=(
            "case-not-verified", "expired", "channel-unavailable", "translation-unreviewed", "language-missing",
            "audience-too-small", "unknown-region", "invalid-geometry",
        ),
    ),
    Operation(
        method="GET", path="/v1/alerts/{id}", handler=show_alert, summary="Show an alert", scope="alerts:read",
        group=_GROUP, problems=("not-found",),
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/submit", handler=submit_alert, summary="Submit a draft",
        scope="alerts:write", group=_GROUP, problems=_STATES,
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/approve", handler=approve_alert, summary="Approve and send",
        scope="alerts:approve", group=_GROUP, problems=(*_STATES, "same-person", "audience-changed", "expired"),
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
