"""HTTP operations for break-glass: an author approves their own alert alone, and another operator reviews that
later.
"""

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
    """What the author saw, and why no second person can review the alert."""

    reason: Remark = Field(examples=["No colleague on call answers; the child was seen at the station"])


class Review(BaseModel):
    model_config = Saw.model_config
    verdict: Annotated[Verdict, Field(strict=False)]
    note: Remark = Field(examples=["Two were called and did not answer; the alert was right"])


class ReviewList(BaseModel):
    alerts: list[AlertReply] = Field(description="The oldest first.")


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/break-glass", "Approve alone", "alerts:approve",
    problems=(
        "version-required", "same-person", "review-pending", "protection-review-required", "audience-changed",
        "audience-too-small", "approval-stale", "expired", "stop-active", "outside-jurisdiction", "over-budget",
    ),
    step_up=True, act=Act("alert.break_glass", once=True),
)  # fmt: skip
async def break_glass(request: web.Request, *, id: AlertId, headers: Conditions, body: Break) -> Reply[AlertReply]:
    """Approves your own Actual alert alone, because no second person can be reached. The call needs an operator's
    session with a fresh step-up; a key cannot do it. The organisation must allow it (`break_glass`), another person
    must have set that, and the alert must have waited `after_min` minutes. All other checks of an approval apply.
    alertd sends an event of its own (`alert.break_glass`), and records the approval in the audit, the history, the
    report and the alert. Until another operator has reviewed it, the same author cannot break the glass for another
    alert.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    rev = await looked_at(request, id, headers, body)
    record = await s.break_glass.approve(id, who, body.reason, people=seen(body.people), plates=body.plates, rev=rev)
    note(request, record=record)
    return reply_with_alert(record)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/review", "Review a break-glass alert", "alerts:approve",
    problems=("precondition-failed", "same-person"), step_up=True, act=Act("alert.review", once=True),
)  # fmt: skip
async def review_alert(request: web.Request, *, id: AlertId, body: Review) -> Reply[AlertReply]:
    """Records another operator's review of an alert that its author approved alone. An alert has one review; the same
    person may repeat it. The review does not change the send: cancel the alert or stand it down as usual.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    record = await s.break_glass.review(id, who, body.verdict, body.note)
    note(request, record=record, verdict=body.verdict)
    return reply_with_alert(record)


@OPERATIONS.add("GET", "/v1/reviews", "List pending reviews", "alerts:read")
async def list_reviews(request: web.Request) -> ReviewList:
    """Returns the organisation's break-glass alerts that have no review yet, oldest first."""
    found = await services(request).break_glass.awaiting(credential(request).org)
    return ReviewList(alerts=[alert_reply(one) for one in found])
