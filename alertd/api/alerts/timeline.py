"""The course of an alert over HTTP: who did what with it, and when its messages left and arrived."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import credential, services
from alertd.api.http.operations import Operations
from alertd.api.shapes import BY_ORG, AlertId
from alertd.common.clock import time_of
from alertd.service.access import LEDGER
from alertd.service.alerts.timeline import History


class ActReply(BaseModel):
    entry: int = Field(description="Its number in the audit.")
    at: datetime
    act: str = Field(examples=["alert.approve"])
    outcome: str = Field(
        description="`done`; `failed`: it may have come through; `begun`: nobody knows yet, or ever will."
    )
    by: str
    by_org: str = Field(description=BY_ORG)
    state: str | None = Field(description="That of the alert after it.")
    object: str = Field(description="The version it was about; empty where that is not known.")


class HistoryReply(BaseModel):
    id: str
    acts: list[ActReply] = Field(description="Oldest first. What was refused changed nothing and is not in it.")
    whole: bool = Field(description="False: there is too much in the audit since, and older acts are not in this list.")


class CurveReply(BaseModel):
    """Counts at each step after the start: the first number of a list is that after one step."""

    id: str
    step_s: float = Field(description="Between two numbers.")
    handed_over: dict[str, list[int]] = Field(
        description="By channel: messages that a carrier had taken by then, of those that it has not given back since."
    )
    delivered: dict[str, list[int]] = Field(description="By channel: messages with a receipt by then.")


OPERATIONS = Operations("Alerts")


@OPERATIONS.add("GET", "/v1/alerts/{id}/history", "Show who did what", "alerts:read")
async def alert_history(request: web.Request, *, id: AlertId) -> HistoryReply:
    """Who did what with an alert and its later versions, as the audit has it."""
    s = services(request)
    found = await s.course.history(await s.approval.get(id, credential(request)))
    return history_reply(id, found)


def history_reply(alert_id: str, found: History) -> HistoryReply:
    """The acts as they are told."""
    acts = [
        ActReply(
            entry=one.number,
            at=time_of(one.at),
            act=one.act,
            outcome=one.outcome,
            by=one.by,
            by_org=one.by_org,
            state=str(one.facts["state"]) if "state" in one.facts else None,
            object=one.object,
        )
        for one in found.acts
    ]
    return HistoryReply(id=alert_id, acts=acts, whole=found.whole)


@OPERATIONS.add("GET", "/v1/alerts/{id}/curve", "Show when it was told", "alerts:read")
async def alert_curve(request: web.Request, *, id: AlertId) -> CurveReply:
    """How many messages were handed over and delivered, and when, from the ledger: up to 128 points, however long it took."""
    s, who = services(request), credential(request)
    record = await s.approval.get(id, who)
    curve = await s.course.curve(record, reads_ledger=who.may(LEDGER))
    return CurveReply(
        id=id,
        step_s=curve.step_ms / 1000,
        handed_over={channel: list(counts) for channel, counts in curve.handed_over.items()},
        delivered={channel: list(counts) for channel, counts in curve.delivered.items()},
    )
