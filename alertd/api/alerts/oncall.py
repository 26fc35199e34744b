"""HTTP operations for on-call duty: an organisation's rota, the pages about waiting alerts, and the person who took
each alert.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import Conditions, credential, etag, is_replay, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import BY_ORG, AlertId, AlertReply, alert_reply
from alertd.common.clock import time_of, time_or_none
from alertd.model.kinds import Channel
from alertd.model.oncall import OnCall
from alertd.service.oncall.rota import Call, KnownRota
from alertd.store.organisations.paging import Page


class OnDutyPerson(BaseModel):
    name: str
    channels: list[Channel] = Field(description="The channels to page this person, in the order of attempts.")


class OnDutyStep(BaseModel):
    people: list[OnDutyPerson] = Field(description="The people on duty now. An empty step is skipped.")


class OnCallReply(BaseModel):
    rev: int = Field(description="0 if the organisation has no rota yet.")
    rota: OnCall | None = Field(description="The complete rota with addresses, for administrators; null for others.")
    now: list[OnDutyStep] = Field(description="The people that alertd would page now, step by step.")
    by: str | None = Field(description="The person who wrote the rota last.")
    by_org: str | None = Field(description=BY_ORG)
    at: datetime | None


class PageReply(BaseModel):
    at: datetime
    step: int = Field(description="Of the rota, from 1.")
    name: str
    channel: Channel
    taken: bool = Field(
        description="True: a carrier accepted the page. False: no carrier accepted any of the addresses."
    )


class TakenReply(BaseModel):
    by: str
    by_org: str = Field(description=BY_ORG)
    at: datetime
    until: datetime | None = Field(
        description="alertd pages no other person before this time, and then the next people if the alert still waits. Null after a request to "
        "stand the alert down: alertd pages no other person, because the alert may stay live."
    )


class CallReply(BaseModel):
    alert: AlertReply
    pages: list[PageReply] = Field(description="The pages that were sent, oldest first; the last 200.")
    taken: TakenReply | None = Field(description="The person who took the alert last.")
    next: datetime | None = Field(
        description="When alertd pages the next step or checks the duty again; null: no more."
    )
    unanswered: Literal["nobody", "in_vain"] | None = Field(
        description="`nobody`: no person is on duty. `in_vain`: all were paged without a result, as often as the rota says."
    )


class CallList(BaseModel):
    calls: list[CallReply] = Field(description="The alert that has waited longest comes first.")


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/oncall", "Show the rota", "alerts:read", tells=("ETag",))
async def show_oncall(request: web.Request) -> Reply[OnCallReply]:
    """Returns your organisation's rota (in full for administrators only) and the people who are on duty now."""
    return _reply(request, await services(request).rota.get(credential(request).org))


@OPERATIONS.add(
    "PUT", "/v1/oncall", "Replace the rota", "admin", tells=("ETag",), problems=("channel-unavailable",),
    step_up=True, act=Act("oncall.write"),
)  # fmt: skip
async def put_oncall(request: web.Request, *, headers: Conditions, body: OnCall) -> Reply[OnCallReply]:
    """Replaces your organisation's rota. When an alert becomes `pending`, alertd pages every person on duty in the
    first step, each at the first of their addresses that a carrier accepts. After `after_min` minutes it pages the next
    step. It goes through all steps up to `times` times, and stops once the alert no longer waits. It pages by the same
    rota if another organisation asks to stand an alert of yours down. A page names your organisation and the alert's
    id, and nothing of its content. Without steps, alertd pages no one.
    """
    known = await services(request).rota.put(body, credential(request), rev=headers.version)
    people = sum(len(step.people) for step in body.steps)
    note(request, rev=known.rev, steps=len(body.steps), people=people)
    return _reply(request, known)


@OPERATIONS.add("GET", "/v1/oncall/alerts", "List waiting alerts and their pages", "alerts:read")
async def list_calls(request: web.Request) -> CallList:
    """Returns the organisation's alerts that wait for approval, or that another organisation asks to stand down,
    longest wait first. Each has its pages and the person who took it.
    """
    return CallList(calls=[_call(one) for one in await services(request).rota.calls(credential(request).org)])


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/take", "Take a waiting alert", "alerts:approve",
    problems=("precondition-failed", "same-person"), act=Act("alert.take", once=True),
)  # fmt: skip
async def take_alert(request: web.Request, *, id: AlertId) -> CallReply:
    """Takes responsibility for a waiting alert: alertd pages no other person for `hold_min` minutes. Taking an alert is
    no decision; if the alert still waits then, alertd pages the next people. You can take an Actual alert that waits
    for approval only if you could approve it. If another organisation asks to stand the alert down, alertd pages no
    other person for that request.
    """
    s, who = services(request), credential(request)
    call = await (s.rota.call if is_replay(request) else s.rota.take)(id, who)
    note(request, record=call.record)
    return _call(call)


def _reply(request: web.Request, known: KnownRota) -> Reply[OnCallReply]:
    """Returns a rota and the people on duty now as the API shows them; only an administrator gets the addresses."""
    rota = known.rota
    now = services(request).rota.now(rota) if rota else []
    steps = [
        OnDutyStep(
            people=[
                OnDutyPerson(name=one.name, channels=[Channel(each.channel) for each in one.addresses])
                for one in people
            ]
        )
        for people in now
    ]
    who = credential(request)
    whole, by_org = rota if who.may("admin") else None, who.org if known.by else None
    body = OnCallReply(
        rev=known.rev, rota=whole, now=steps, by=known.by or None, by_org=by_org, at=time_or_none(known.at)
    )
    return Reply(body, headers=etag(known.rev))


def _call(call: Call) -> CallReply:
    """Returns an alert, its pages and the person who took it as the API shows them."""
    paged = call.paged
    if paged is None:
        return CallReply(alert=alert_reply(call.record), pages=[], taken=None, next=None, unanswered=None)
    taken = None
    if paged.taken:
        taken = TakenReply(
            by=paged.by, by_org=call.record.org, at=time_of(paged.taken), until=time_or_none(paged.until)
        )
    return CallReply(
        alert=alert_reply(call.record), pages=[_page(one) for one in paged.pages], taken=taken,
        next=None if paged.over or paged.is_settled else time_of(paged.due),
        unanswered="in_vain" if paged.over else "nobody" if paged.alone else None,
    )  # fmt: skip


def _page(one: Page) -> PageReply:
    return PageReply(at=time_of(one.at), step=one.step, name=one.name, channel=Channel(one.channel), taken=one.taken)
