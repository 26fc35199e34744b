"""What changes an alert over HTTP: updates, stand-down, reopening, closing, restriction, purge, and the legal hold that prevents a purge.

People who received the alert are notified of each change that its operation names.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.alerts.alerts import (
    REFUSED,
    Decide,
    SubmitQuery,
    Submitted,
    followed,
    note_reach,
    reply_with_alert,
    submitted_reply,
)
from alertd.api.http.call import Conditions, credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import AlertId, AlertReply, UpdateFacts, alert_reply, update_facts
from alertd.common.clock import time_of
from alertd.model.alert import UpdateRequest
from alertd.model.fields import Instant
from alertd.model.kinds import PurgeReason
from alertd.service.alerts.case_stand_down import Hidden
from alertd.service.retention.legal_holds import LegalHolds
from alertd.store.alerts.records import AlertRecord


class Close(BaseModel):
    """What came of it is kept with the case and told to nobody."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    outcome: str = Field(min_length=1, max_length=500, examples=["Found, well"])
    notify: Literal["full", "none"] = Field(
        "full", description="`none` holds the notice, as until the family knows: close it again with `full` to tell."
    )


class Extend(Decide):
    expires: Instant = Field(description="The new end: later than the old one, and at most 30 days away.")


class CaseReply(BaseModel):
    alerts: list[AlertReply] = Field(description="All that your organisation has of the case, as they stand now.")
    others: int | None = Field(
        description="How many alerts other organisations have of it: they were stood down, or returned, too. Null where their people were only asked:"
        " whether there are any is theirs to know."
    )
    asked: bool = Field(
        description="Other organisations were asked to stand down what they have of the case, if they have any."
    )


class Purge(BaseModel):
    """A code and no words: words might name somebody."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    reason: Annotated[PurgeReason, Field(strict=False)]


OPERATIONS = Operations("Alerts")


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/stand-down", "Stand down", "alerts:write", or_scope="alerts:approve",
    act=Act("alert.stand-down", stops_harm=True, once=True),
)  # fmt: skip
async def stand_down_alert(
    request: web.Request, *, id: AlertId, headers: Conditions, body: Decide
) -> Reply[AlertReply]:
    """Hides an alert within seconds and sends nothing more of it: its photos are gone, and phones that had it by push are told
    that it is no longer active, without a name. It can be reopened until its end; then, what was queued goes out. Text
    messages and mails, which nothing takes back, speak when it is closed.
    """
    return await followed(
        request, id, lambda s, who: s.follow_ups.stand_down(id, who, body.reason, rev=headers.version)
    )


@OPERATIONS.add(
    "POST", "/v1/cases/{number}/stand-down", "Stand a case down", "alerts:write", or_scope="alerts:approve",
    problems=("precondition-failed",), also=(202,),
    act=Act("case.stand-down", of_person=True, stops_harm=True, once=True),
)  # fmt: skip
async def stand_down_case(
    request: web.Request, *, number: Annotated[str, Field(min_length=1, max_length=64)], body: Decide
) -> Reply[CaseReply]:
    """Stands down every alert of a case that is shown, and returns those that wait for their second person: the child was found,
    so no time is lost on ids. It reaches your organisation's own alerts, and those of all organisations if you are an administrator of the
    organisation that runs the service; their audit has who did so.

    Otherwise the other organisations are asked (202), if they have such a case: the answer does not say whether they do. Their people find the
    request at the alert (`stand_down_asked`), in the console and as the event `alert.stand_down_asked`, and decide. An organisation asks 30 times an hour at most.
    Said again, under no or another Idempotency-Key, it does the same to what came to the case since.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return _hidden(await s.case_stand_down.of(number, who))
    done = await s.case_stand_down.stand_down(number, who, body.reason)
    note(request, alerts=str(len(done.own) + (done.others or 0)), asked=done.others is None)
    return _hidden(done)


def _hidden(found: Hidden) -> Reply[CaseReply]:
    alerts = [alert_reply(one.record).model_copy(update={"told_by": one.told_by}) for one in found.own]
    asked = found.others is None
    return Reply(CaseReply(alerts=alerts, others=found.others, asked=asked), status=202 if asked else None)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/reopen", "Reopen", "alerts:approve", problems=("stop-active", "expired"),
    act=Act("alert.reopen", once=True),
)  # fmt: skip
async def reopen_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Shows an alert again that was stood down: it goes on where it was, and who was told of that is told that it is back."""
    return await followed(request, id, lambda s, who: s.follow_ups.reopen(id, who, body.reason, rev=headers.version))


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/close", "Close", "alerts:write", or_scope="alerts:approve",
    act=Act("alert.close", stops_harm=True, once=True),
)  # fmt: skip
async def close_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Close) -> Reply[AlertReply]:
    """It is over. Everyone who may have been told is told so, on every channel they were told on and at the address they have
    now: that it is over, not how it ended, and nobody's name. An alert that has passed its end can be closed, too.
    """
    return await followed(
        request, id,
        lambda s, who: s.follow_ups.close(id, who, body.outcome, notify=body.notify == "full", rev=headers.version),
    )  # fmt: skip


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/found", "Close: the child was found", "alerts:write", or_scope="alerts:approve",
    act=Act("alert.found", stops_harm=True, once=True),
)  # fmt: skip
async def found_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Close) -> Reply[AlertReply]:
    """The child was found: stands the alert down and closes it in one step, as `close` does."""
    return await close_alert(request, id=id, headers=headers, body=body)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/restrict", "Take facts and photos out", "alerts:write", or_scope="alerts:approve",
    problems=("expired",), act=Act("alert.restrict", stops_harm=True, once=True),
)  # fmt: skip
async def restrict_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Takes the facts and photos of the children out of an alert that is told or stood down, everywhere and for good: of each
    child age and sex are left, of the rest the place and time, the contacts and what is internal. Free texts go, for they may name
    anybody. Photos answer 410. What is still to be sent says no more than that within a second, and phones that have it by push
    get it so in its place, without a sound. Text messages and mails that were sent cannot be taken back.
    """
    reply = await followed(request, id, lambda s, who: s.amendment.restrict(id, who, body.reason, rev=headers.version))
    s = services(request)
    reply.body.still_named = await s.amendment.still_named(await s.approval.get(id, credential(request)))
    return reply


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/extend", "Put the end off", "alerts:approve",
    problems=("expired", "same-person", "photo-unreadable"), act=Act("alert.extend", once=True),
)  # fmt: skip
async def extend_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Extend) -> Reply[AlertReply]:
    """Puts the end of an alert off that is told or stood down. What is queued lives on, its photos are kept for longer, and nobody
    hears of it; what was told before bears the end of then. It is told for longer than was approved, so an Actual alert takes
    somebody who might have approved it: not its author.
    """
    return await followed(
        request, id, lambda s, who: s.amendment.extend(id, who, body.expires, body.reason, rev=headers.version)
    )


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/purge", "Purge the case", "admin", essential=True, step_up=True,
    act=Act("alert.purge", once=True),
)  # fmt: skip
async def purge_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Purge) -> Reply[AlertReply]:
    """Destroys the key of the alert's case, for good: of all alerts of the case neither document nor texts nor photos can be read
    any more, here or in a backup that is put back. All of them must be over; the one that is named may be stood down. What stays
    are states, times, who decided, and who was told when, under numbers. Drafts of the case go with it. Another organisation that uses the
    same number has a case and a key of its own, which stay as they are.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    record = await s.purging.purge(id, who, body.reason, rev=headers.version)
    note(request, record=record, reason=str(body.reason))
    return reply_with_alert(record)


class HoldReply(BaseModel):
    id: str
    held: bool = Field(description="The alert's case, and with it every alert of it, cannot be purged.")
    by: str | None
    by_org: str | None = Field(description="The organisation of `by`.")
    at: datetime | None
    reason: str | None


_PATH = "/v1/alerts/{id}/hold"


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


class Updated(Submitted):
    update: UpdateFacts


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/updates", "Update an alert", "alerts:write", status=202, tells=("ETag", "Location"),
    problems=(*REFUSED, "stop-active"), act=Act("alert.update", once=True),
)  # fmt: skip
async def update_alert(
    request: web.Request, *, id: AlertId, query: SubmitQuery, headers: Conditions, body: UpdateRequest
) -> Reply[Updated]:
    """What an alert that is told is to say from now on, whole: of the same kind, status and case, on its channels or more. It is a
    version of the alert with an id of its own, and `pending` until another person approves it under that id, as an alert; of
    a Test or an Exercise it goes out at once. One waits at a time: another is refused, and takes the place of one that was returned.

    From the approval on, the alert says what its update says, in the API, in CAP and in what is still to be sent: what is queued is
    cancelled (`superseded`) and planned anew. `notify` says who is told that it was changed. `full`: whoever may have been told,
    on the channels they were told on, at the address they have now, inside the area or not, as loud as the alert is; on a phone in
    place of what was there. `silent`: the same by push and web push alone, without a sound; text messages and mails, which
    nothing takes back, are not sent twice for it. `none`: nobody; but where people are still being told that the alert was
    restricted or goes on when it is approved, it takes the place of that, and is told as `silent` is. Whoever is in its area and was
    not told is told the alert itself, with `full` and `silent` alike; with `none`, only those of them who were still to be told.
    """
    s, who = services(request), credential(request)
    alert = body.alert()
    async with s.reach_audit.turn(who) if query.dry_run else nullcontext():
        taken = await s.update_proposals.submit(
            id, alert, body.notify, who, rev=headers.version, dry_run=query.dry_run, again=is_replay(request)
        )
    note(request, record=taken.record, notify=str(body.notify), dry_run=query.dry_run)
    note_reach(request, taken, dry_run=query.dry_run)
    reply = await submitted_reply(s, taken, alert)
    own = {**dict(reply.body), "update": update_facts(taken.record)}
    return Reply(Updated.model_construct(**own), headers=reply.headers, made=reply.made)
