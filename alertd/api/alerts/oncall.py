"""On call over HTTP: an organisation's rota, who was told of what waits, and who has it."""

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
    channels: list[Channel] = Field(description="By which they are told, in the order in which they are tried.")


class OnDutyStep(BaseModel):
    people: list[OnDutyPerson] = Field(description="Who is on duty at this moment; empty: the step is passed over.")


class OnCallReply(BaseModel):
    rev: int = Field(description="0 before anybody wrote a rota.")
    rota: OnCall | None = Field(description="The whole of it, with its addresses, for administrators; null for others.")
    now: list[OnDutyStep] = Field(description="Who would be called now, step by step.")
    by: str | None = Field(description="Who wrote it last.")
    by_org: str | None = Field(description=BY_ORG)
    at: datetime | None


class PageReply(BaseModel):
    at: datetime
    step: int = Field(description="Of the rota, from 1.")
    name: str
    channel: Channel
    taken: bool = Field(description="A carrier took it. False: none of their addresses could be told.")


class TakenReply(BaseModel):
    by: str
    by_org: str = Field(description=BY_ORG)
    at: datetime
    until: datetime | None = Field(
        description="alertd calls nobody else before that, and then the next people if the alert still waits. Null after a request to stand the "
        "alert down: alertd calls nobody else, because the person may let the alert go on."
    )


class CallReply(BaseModel):
    alert: AlertReply
    pages: list[PageReply] = Field(description="Who was called, the oldest first; the last 200.")
    taken: TakenReply | None = Field(description="Who said last that they have it.")
    next: datetime | None = Field(
        description="When the next are called, or it is looked who is on duty; null: no more."
    )
    unanswered: Literal["nobody", "in_vain"] | None = Field(
        description="Nobody is on duty, or all were called in vain, as often as the rota says."
    )


class CallList(BaseModel):
    calls: list[CallReply] = Field(description="What waits longest first.")


OPERATIONS = Operations("On call")


@OPERATIONS.add("GET", "/v1/oncall", "Show who is on call", "alerts:read", tells=("ETag",))
async def show_oncall(request: web.Request) -> Reply[OnCallReply]:
    """Who is on call in your organisation: the rota, and who would be called now."""
    return _reply(request, await services(request).rota.get(credential(request).org))


@OPERATIONS.add(
    "PUT", "/v1/oncall", "Write who is on call", "admin", tells=("ETag",), problems=("channel-unavailable",),
    step_up=True, act=Act("oncall.write"),
)  # fmt: skip
async def put_oncall(request: web.Request, *, headers: Conditions, body: OnCall) -> Reply[OnCallReply]:
    """Writes your organisation's rota, whole. When an alert becomes `pending`, everybody of the first step who is on duty is told by the
    first of their addresses that a carrier takes it for; after `after_min` minutes the next step is, and so on, `times` times, until the
    alert waits no more. The same happens if another organisation asks to stand an alert down. A page names your organisation and the alert's id, and
    nothing of what it is about. No steps: nobody is called.
    """
    known = await services(request).rota.put(body, credential(request), rev=headers.version)
    people = sum(len(step.people) for step in body.steps)
    note(request, rev=known.rev, steps=len(body.steps), people=people)
    return _reply(request, known)


@OPERATIONS.add("GET", "/v1/oncall/alerts", "List who was called for what waits", "alerts:read")
async def list_calls(request: web.Request) -> CallList:
    """The organisation's alerts that wait for their second person, or that another organisation asks to stand down: who was called, and who has each."""
    return CallList(calls=[_call(one) for one in await services(request).rota.calls(credential(request).org)])


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/take", "Say that you have it", "alerts:approve",
    problems=("precondition-failed", "same-person"), act=Act("alert.take", once=True),
)  # fmt: skip
async def take_alert(request: web.Request, *, id: AlertId) -> CallReply:
    """You see to an alert that waits: nobody else is called for `hold_min` minutes. It decides nothing; if it still waits then, the
    next are called. Whoever could not approve it cannot take it. If another organisation asks to stand the alert down, alertd calls nobody else for
    that request.
    """
    s, who = services(request), credential(request)
    call = await (s.rota.call if is_replay(request) else s.rota.take)(id, who)
    note(request, record=call.record)
    return _call(call)


def _reply(request: web.Request, known: KnownRota) -> Reply[OnCallReply]:
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
