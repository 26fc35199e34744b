"""Legal holds over HTTP: a case is kept from being purged, that is shown, and another person lets it go."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.alerts.alerts import Decide
from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.api.shapes import AlertId
from alertd.common.clock import time_of
from alertd.service.retention.legal_holds import LegalHolds
from alertd.store.alerts.records import AlertRecord


class HoldReply(BaseModel):
    id: str
    held: bool = Field(description="The alert's case, and with it every alert of it, cannot be purged.")
    by: str | None
    by_org: str | None = Field(description="The organisation of `by`.")
    at: datetime | None
    reason: str | None


_PATH = "/v1/alerts/{id}/hold"
OPERATIONS = Operations("Alerts")


@OPERATIONS.add("GET", _PATH, "Show a legal hold", "alerts:read")
async def show_hold(request: web.Request, *, id: AlertId) -> HoldReply:
    """Whether a legal hold keeps an alert's case, and who put it there, when and why. An administrator of the organisation that runs the service sees
    those of all organisations.
    """
    s = services(request)
    return await _shown(s.legal_holds, await s.legal_holds.seen(id, credential(request)))


@OPERATIONS.add(
    "POST", _PATH, "Put a case under a legal hold", "alerts:approve", problems=("precondition-failed",), essential=True,
    act=Act("alert.hold", once=True),
)  # fmt: skip
async def hold_alert(request: web.Request, *, id: AlertId, body: Decide) -> HoldReply:
    """Puts a legal hold on an alert's case: none of its alerts is purged and none of its photos and ledgers goes by its age until another person
    of the organisation releases it. It does not change who is notified. A case has one hold: a second call leaves the first. It binds your organisation's case
    alone: another that uses the same number holds a case of its own.
    """
    s, who = services(request), credential(request)
    if not is_replay(request):
        note(request, record=await s.legal_holds.hold(id, who, body.reason))
    return await _shown(s.legal_holds, await s.approval.get(id, who))


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/release", "Release a legal hold", "admin",
    problems=("precondition-failed", "same-person", "not-allowed"), step_up=True, act=Act("alert.release", once=True),
)  # fmt: skip
async def release_alert(request: web.Request, *, id: AlertId) -> HoldReply:
    """Releases a legal hold. The person who put it there cannot, and neither can a person whose key they made. Photos and ledgers are kept for 90 days from then at least.
    An administrator of the organisation that runs the service may release the hold of any organisation: that one's audit and the event
    `alert.hold_released` say so.
    """
    s, who = services(request), credential(request)
    if not is_replay(request):
        note(request, record=await s.legal_holds.release(id, who))
    return await _shown(s.legal_holds, await s.legal_holds.seen(id, who))


async def _shown(holds: LegalHolds, record: AlertRecord) -> HoldReply:
    hold = await holds.of(record)
    if hold is None:
        return HoldReply(id=record.id, held=False, by=None, by_org=None, at=None, reason=None)
    return HoldReply(id=record.id, held=True, by=hold.by, by_org=hold.org, at=time_of(hold.at), reason=hold.reason)
