"""Legal holds over HTTP: a case is kept from being purged, that is shown, and another person lets it go."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.alerts import Decide
from alertd.api.call import credential, is_replay, note
from alertd.api.operations import Act, Operation
from alertd.api.services import services
from alertd.api.shapes import AlertId
from alertd.clock import time_of
from alertd.service.legal_holds import LegalHolds
from alertd.store.alerts import AlertRecord


class HoldReply(BaseModel):
    id: str
    held: bool = Field(description="The alert's case, and with it every alert of it, cannot be purged.")
    by: str | None = Field(description="Null, as what follows, where only other organisations hold it.")
    at: datetime | None
    reason: str | None


async def show_hold(request: web.Request, *, id: AlertId) -> HoldReply:
    """Whether a legal hold keeps an alert's case, and who put it there, when and why."""
    s = services(request)
    return await _shown(s.legal_holds, await s.approval.get(id, credential(request)))


async def hold_alert(request: web.Request, *, id: AlertId, body: Decide) -> HoldReply:
    """Puts a legal hold on an alert's case: none of its alerts is purged and none of its photos and ledgers goes by its age until another person
    of the organisation releases it. It changes nothing of who is told. While your organisation has one, it stays as it is.
    """
    s, who = services(request), credential(request)
    if not is_replay(request):
        note(request, record=await s.legal_holds.hold(id, who, body.reason))
    return await _shown(s.legal_holds, await s.approval.get(id, who))


async def release_alert(request: web.Request, *, id: AlertId) -> HoldReply:
    """Releases your organisation's legal hold: another's keeps the case still. Whoever put it there cannot, nor whose key that person made. Photos and ledgers are kept for 90 days from then at least."""
    s, who = services(request), credential(request)
    if not is_replay(request):
        note(request, record=await s.legal_holds.release(id, who))
    return await _shown(s.legal_holds, await s.approval.get(id, who))


async def _shown(holds: LegalHolds, record: AlertRecord) -> HoldReply:
    kept, hold = await holds.is_kept(record), await holds.of(record)
    at = time_of(hold.at) if hold else None
    return HoldReply(id=record.id, held=kept, by=hold.by if hold else None, at=at, reason=hold.reason if hold else None)


_GROUP = "Alerts"
_PROBLEMS = ("not-found", "precondition-failed")
_PATH = "/v1/alerts/{id}/hold"
OPERATIONS = (
    Operation(
        method="GET", path=_PATH, handler=show_hold, summary="Show a legal hold", scope="alerts:read", group=_GROUP,
        problems=("not-found",),
    ),
    Operation(
        method="POST", path=_PATH, handler=hold_alert, summary="Put a case under a legal hold", scope="alerts:approve",
        group=_GROUP, problems=_PROBLEMS, essential=True, act=Act("alert.hold", once=True),
    ),
    Operation(
        method="POST", path="/v1/alerts/{id}/release", handler=release_alert, summary="Release a legal hold", scope="admin",
        group=_GROUP, problems=(*_PROBLEMS, "same-person", "not-allowed"), step_up=True, act=Act("alert.release", once=True),
    ),
)  # fmt: skip
