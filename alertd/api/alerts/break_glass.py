"""Breaking the glass over HTTP: an alert that its author approves alone, and the review that follows."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.alerts.alerts import Saw, looked_at, reply_with_alert, seen
from alertd.api.http.call import Conditions, credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import AlertId, AlertReply, Remark, alert_reply
from alertd.model.kinds import Verdict


class Break(Saw):
    """What its author saw, and why nobody else can see it."""

    reason: Remark = Field(examples=["Nobody on call answers; the child was seen at the station"])


class Review(BaseModel):
    model_config = Saw.model_config
    verdict: Annotated[Verdict, Field(strict=False)]
    note: Remark = Field(examples=["Two were called and did not answer; the alert was right"])


class ReviewList(BaseModel):
    alerts: list[AlertReply] = Field(description="The oldest first.")


OPERATIONS = Operations("Alerts")


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/break-glass", "Approve alone", "alerts:approve",
    problems=(
        "version-required", "same-person", "review-pending", "protection-review-required", "audience-changed",
        "audience-too-small", "approval-stale", "expired", "stop-active", "outside-jurisdiction", "over-budget",
    ),
    step_up=True, act=Act("alert.break_glass", once=True),
)  # fmt: skip
async def break_glass(request: web.Request, *, id: AlertId, headers: Conditions, body: Break) -> Reply[AlertReply]:
    """Its author approves an Actual alert alone, because no second person can be reached. It takes a session whose operator has just
    shown that it is they, and an organisation that allows it (`break_glass`) by the word of another person; a key never may. All else that
    an approval checks is checked. It is an event of its own (`alert.break_glass`), stands in the audit, the history, the report and the
    alert, and until another operator has reviewed it, the same one does it with no other alert.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    rev = await looked_at(request, id, headers, body)
    record = await s.break_glass.approve(id, who, body.reason, people=seen(body.people), plates=body.plates, rev=rev)
    note(request, record=record)
    return reply_with_alert(record)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/review", "Review what was approved alone", "alerts:approve",
    problems=("precondition-failed", "same-person"), step_up=True, act=Act("alert.review", once=True),
)  # fmt: skip
async def review_alert(request: web.Request, *, id: AlertId, body: Review) -> Reply[AlertReply]:
    """What another operator thinks of an alert that its author approved alone. It is said once; the same person may say it again. It
    changes nothing of what is sent: that is cancelled or stood down as ever.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    record = await s.break_glass.review(id, who, body.verdict, body.note)
    note(request, record=record, verdict=body.verdict)
    return reply_with_alert(record)


@OPERATIONS.add("GET", "/v1/reviews", "List what awaits its review", "alerts:read")
async def list_reviews(request: web.Request) -> ReviewList:
    """The organisation's alerts that were approved alone, and that nobody has reviewed."""
    found = await services(request).break_glass.awaiting(credential(request).org)
    return ReviewList(alerts=[alert_reply(one) for one in found])
