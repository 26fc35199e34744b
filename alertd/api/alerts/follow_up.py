"""HTTP operations that change a submitted alert: updates, stand-down, reopening, closing, restriction, extension and
purge, and the legal hold that prevents a purge.

Each operation's description says which people alertd notifies of the change.
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
    """The outcome. alertd stores it with the case and never publishes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    outcome: str = Field(min_length=1, max_length=500, examples=["Found, well"])
    notify: Literal["full", "none"] = Field(
        "full",
        description="`none` sends no notice, for instance until the family knows. To notify later, close again with `full`.",
    )


class Extend(Decide):
    expires: Instant = Field(description="The new end: later than the old one, and at most 30 days away.")


class CaseReply(BaseModel):
    alerts: list[AlertReply] = Field(description="All alerts of the case in your organisation, as they stand now.")
    others: int | None = Field(
        description="How many alerts of the case in other organisations were stood down or returned. Null if those organisations were only asked:"
        " the answer does not reveal whether they have any.",
    )
    asked: bool = Field(
        description="True if other organisations were asked to stand down their alerts of the case. It does not say that they have any."
    )


class Purge(BaseModel):
    """A reason as a code. Free text is not accepted, because it might name a person."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    reason: Annotated[PurgeReason, Field(strict=False)]


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/stand-down", "Stand down", "alerts:write", or_scope="alerts:approve",
    act=Act("alert.stand-down", stops_harm=True, once=True),
)  # fmt: skip
async def stand_down_alert(
    request: web.Request, *, id: AlertId, headers: Conditions, body: Decide
) -> Reply[AlertReply]:
    """Hides an alert within seconds and stops sending it. Its photos are no longer shown. Phones that received it by
    push are notified, without a name, that it is no longer active. The alert can be reopened until its end; alertd then
    sends its queued messages. Recipients by SMS and mail, which cannot be recalled, are notified when the alert is
    closed.
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
    """Stands down every alert of a case that is shown, and returns pending and scheduled ones to their authors. Use it
    when the child was found, because the call needs no alert ids. The call reaches your organisation's own alerts. If
    you are an administrator of the organisation that runs the service, the call reaches those of all organisations, and
    each organisation's audit names you.

    Otherwise alertd asks the other organisations (202), if they have such a case; the answer does not say whether they
    do. Their operators see the request at the alert (`stand_down_asked`), in the console and as the event
    `alert.stand_down_asked`, and decide. Each organisation may ask at most 30 times an hour. A repeated call with no
    Idempotency-Key, or a new one, also covers alerts that were added to the case since.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return _hidden(await s.case_stand_down.of(number, who))
    done = await s.case_stand_down.stand_down(number, who, body.reason)
    note(request, alerts=str(len(done.own) + (done.others or 0)), asked=done.others is None)
    return _hidden(done)


def _hidden(found: Hidden) -> Reply[CaseReply]:
    """Returns the reply for a stood-down case: 200 if the caller reaches all organisations, 202 if the others were only
    asked.
    """
    alerts = [alert_reply(one.record).model_copy(update={"told_by": one.told_by}) for one in found.own]
    asked = found.others is None
    return Reply(CaseReply(alerts=alerts, others=found.others, asked=asked), status=202 if asked else None)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/reopen", "Reopen", "alerts:approve", problems=("stop-active", "expired"),
    act=Act("alert.reopen", once=True),
)  # fmt: skip
async def reopen_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Shows an alert again that was stood down. Sending resumes, and everyone who was notified of the stand-down is
    notified that the alert is active again.
    """
    return await followed(request, id, lambda s, who: s.follow_ups.reopen(id, who, body.reason, rev=headers.version))


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/close", "Close", "alerts:write", or_scope="alerts:approve",
    act=Act("alert.close", stops_harm=True, once=True),
)  # fmt: skip
async def close_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Close) -> Reply[AlertReply]:
    """Closes an alert. Every possible recipient is notified that the alert is over, on every channel of the original
    message and at their current address. The notice contains neither the outcome nor a name. An alert past its end can
    be closed, too.
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
    """Closes an alert because the child was found. Does the same as `close`, from every state that `close` accepts: the
    alert need not be stood down before.
    """
    return await close_alert(request, id=id, headers=headers, body=body)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/restrict", "Remove identity and photos", "alerts:write", or_scope="alerts:approve",
    problems=("expired",), act=Act("alert.restrict", stops_harm=True, once=True),
)  # fmt: skip
async def restrict_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Removes the children's facts and photos from an alert that is live or stood down, everywhere and permanently.
    alertd keeps each child's age and sex, the place and time, the contacts and the internal facts. It also removes free
    texts, because they may name a person. Photos answer 410. Within a second, messages still to be sent contain only
    the remaining facts. On phones that have the alert by push, the restricted version replaces it without a sound. SMS
    and mail that were sent cannot be recalled.
    """
    reply = await followed(request, id, lambda s, who: s.amendment.restrict(id, who, body.reason, rev=headers.version))
    s = services(request)
    reply.body.still_named = await s.amendment.still_named(await s.approval.get(id, credential(request)))
    return reply


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/extend", "Extend", "alerts:approve",
    problems=("expired", "same-person", "photo-unreadable"), act=Act("alert.extend", once=True),
)  # fmt: skip
async def extend_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Extend) -> Reply[AlertReply]:
    """Extends an alert that is live or stood down. Queued messages live longer, and alertd keeps the photos longer. No
    recipient is notified, and messages that were sent show the earlier end. The new end was not part of the approval,
    so an Actual alert needs a person who may approve it, other than its author.
    """
    return await followed(
        request, id, lambda s, who: s.amendment.extend(id, who, body.expires, body.reason, rev=headers.version)
    )


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/purge", "Purge the case", "admin", essential=True, step_up=True,
    act=Act("alert.purge", once=True),
)  # fmt: skip
async def purge_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Purge) -> Reply[AlertReply]:
    """Destroys the key of the alert's case, permanently. The documents, texts and photos of all alerts of the case
    become unreadable, here and in restored backups. All alerts of the case must be over; the alert named here may be
    stood down. A legal hold prevents the purge. alertd keeps the states, the times, the people who decided, and the
    ledger with numbers in place of subscribers. alertd purges drafts of the case, too. If another organisation uses the
    same case number, its case has its own key and is unaffected.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(id, who))
    record = await s.purging.purge(id, who, body.reason, rev=headers.version)
    note(request, record=record, reason=str(body.reason))
    return reply_with_alert(record)


class HoldReply(BaseModel):
    id: str
    held: bool = Field(description="True if a legal hold prevents the purge of the alert's case and all its alerts.")
    by: str | None
    by_org: str | None = Field(description="The organisation of `by`.")
    at: datetime | None
    reason: str | None


_PATH = "/v1/alerts/{id}/hold"


@OPERATIONS.add("GET", _PATH, "Show a legal hold", "alerts:read")
async def show_hold(request: web.Request, *, id: AlertId) -> HoldReply:
    """Returns whether a legal hold is on an alert's case, and who placed it, when and why. An administrator of the
    organisation that runs the service sees the holds of all organisations.
    """
    s = services(request)
    return await _shown(s.legal_holds, await s.legal_holds.seen(id, credential(request)))


@OPERATIONS.add(
    "POST", _PATH, "Put a case under a legal hold", "alerts:approve", problems=("precondition-failed",), essential=True,
    act=Act("alert.hold", once=True),
)  # fmt: skip
async def hold_alert(request: web.Request, *, id: AlertId, body: Decide) -> HoldReply:
    """Places a legal hold on an alert's case. Until another person of the organisation releases the hold, the case's
    alerts cannot be purged, and alertd keeps their photos and ledgers past the age limit. The hold does not change
    which people are notified. A case has one hold: a second call keeps the first. The hold covers your organisation's
    case only; another organisation with the same case number places its own.
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
    """Releases a legal hold. The person who placed it cannot release it. Neither can a person who made that person's
    key, or who uses a key made by that person. alertd then keeps photos and ledgers for at least 90 more days. An
    administrator of the organisation that runs the service may release the hold of any organisation: that
    organisation's audit and the event `alert.hold_released` record it. Without a hold, the call changes nothing.
    """
    s, who = services(request), credential(request)
    if not is_replay(request):
        note(request, record=await s.legal_holds.release(id, who))
    return await _shown(s.legal_holds, await s.legal_holds.seen(id, who))


async def _shown(holds: LegalHolds, record: AlertRecord) -> HoldReply:
    """Returns the legal hold on an alert's case as the API shows it; `held` is false without one."""
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
    """Submits an update: the complete new content of a live alert, of the same kind, status and case, on the same
    channels or more. The update is a version of the alert with its own id. It is `pending` until another person
    approves it under that id; an update of a Test or Exercise is sent at once. Only one update may be pending: a second
    is refused. A new update replaces a returned one.

    On approval, the update replaces the alert's content in the API, in CAP and in the messages still to be sent: queued
    messages are cancelled (`superseded`) and planned anew. `notify` decides which recipients are notified of the
    change. `full`: every possible recipient, on the channels of the original message, at their current address, inside
    the area or not, with the alert's loudness; on a phone the update replaces the earlier message. `silent`: the same
    by push and web push only, without a sound; SMS and mail, which cannot be recalled, are not sent again. `none`: no
    recipient. Exception: if a restriction or reopening is still being sent at the approval, the update replaces it and
    is sent as `silent`. People in the update's area who were not notified get the alert itself with `full` and
    `silent`. With `none`, only those still in the queue get it.
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
