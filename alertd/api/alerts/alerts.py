"""HTTP operations on alerts: submit, show, change, decide, cancel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, RootModel

from alertd.api.area_shapes import ETA, AreaReply, AudienceReply, area_reply, audience_reply, eta
from alertd.api.http.call import ORG_POLICY, PREPARED_ID, Conditions, credential, etag, is_replay, note, services
from alertd.api.http.idempotency import REPLAYED
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import (
    ALERT_PATH,
    REV,
    AlertId,
    AlertReply,
    PermissionReply,
    Query,
    SimilarReply,
    alert_reply,
    permission_replies,
    similar_replies,
)
from alertd.common.errors import Problem
from alertd.model.alert import Alert, AlertRequest, Status, loudness
from alertd.model.kinds import KINDS, CancelReason, Kind
from alertd.model.states import AlertState
from alertd.rendering.catalogue import REFERENCE
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval, submit, submitted
from alertd.service.alerts.follow_up import Followed
from alertd.service.alerts.intake import Taken
from alertd.service.alerts.stops import check_key_in
from alertd.service.areas.reach_audit import facts_of
from alertd.service.areas.targeting import REST
from alertd.service.container import Container
from alertd.service.reach import Few, stored_estimate
from alertd.store.alerts.records import AlertRecord


class SubmitQuery(Query):
    dry_run: bool = Field(False, description="Dry run: gives the same answer, but stores and sends nothing.")


#: An estimate of people, as the API showed it.
Seen = Annotated[int, Field(ge=0)] | Few


def seen(people: Seen | None) -> int | None:
    """Returns the estimate that the approver saw, as a record stores it: 0 for "<100", None without an estimate."""
    return None if people is None else stored_estimate(people)


class Saw(BaseModel):
    """What the approver saw before the approval."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    people: Seen | None = Field(None, description="The estimate that was shown. Default: the estimate at submission.")
    rev: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The `rev` of the alert that the approver looked at. Required without If-Match (its ETag)."
    )
    plates: Annotated[tuple[Annotated[str, Field(max_length=20)], ...], Field(max_length=10, strict=False)] = Field(
        (),
        description="The licence plates, typed again, if an Actual alert names vehicles. Spaces and hyphens are ignored.",
    )


class Approve(Saw):
    """What the approver saw, and the reason for an overspend."""

    overspend: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None,
        description="Why this alert may cost more than your organisation's budget. Needs scope `alerts:overspend`. May be given again during the send.",
    )


AS_SUBMITTED = Approve(people=None, rev=None, plates=(), overspend=None)


class Decide(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    reason: str = Field(min_length=1, max_length=500, examples=["Wrong area"])


class Cancel(Decide):
    code: CancelReason = Field(
        CancelReason.WITHDRAWN, description="The reason that recipients read, in a prepared text."
    )
    notify: Literal["full", "none"] = Field(
        "full", description="`full` notifies the recipients of the cancellation; `none` does not."
    )


class AlertPatch(RootModel[dict[str, Any]]):
    """Members to change, at any depth; null removes one (JSON merge patch, RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": {"regions": ["ES-CA"]}}]})


#: Takes a decision on an alert on behalf of a caller, and returns the changed alert.
Decision = Callable[[Approval, Credential], Awaitable[AlertRecord]]
#: Takes a follow-up (update, end, restriction) on behalf of a caller, and returns its result.
Follow = Callable[[Container, Credential], Awaitable[Followed]]
NOBODY_TOLD = "The public does not learn of this."


class Outlook(BaseModel):
    area: AreaReply
    audience: AudienceReply
    eta: dict[str, float] = Field(description=ETA)


class Submitted(Outlook):
    id: str
    state: AlertState
    rev: int = Field(description=REV)
    permissions: list[PermissionReply] = Field(
        [],
        description="With `target.beyond`: the neighbours that must permit the alert. `area` and `audience` leave their parts out.",
    )
    similar: list[SimilarReply] = Field(
        [],
        description="Other living alerts of the same case, kind and status, if this alert has no `external_id` to tell them apart. Check that"
        " you want this alert in addition to them.",
    )
    unknown_references: list[str] = Field(
        [],
        description="References of a CAP Update or Cancel that name no alert of this organisation. alertd acted on the others only: check"
        " that no alert is still active under these.",
    )


async def _read_stance(request: web.Request) -> None:
    """Stores the organisation's rules for alerts in the request. Raises Problem if the caller's key is stopped."""
    request[ORG_POLICY] = org_policy = await services(request).organisations.get_policy(credential(request).org)
    check_key_in(org_policy.standing, credential(request))


class KindReply(BaseModel):
    kind: str
    levels: dict[str, dict[str, str]] = Field(description="The meaning of each level.")
    languages: list[str] = Field(description="Languages with reviewed templates.")
    codes: dict[str, dict[str, dict[str, str]]] = Field(description="Coded values: fact, code, language.")
    json_schema: dict[str, Any]


REFUSED = (
    "case-not-verified", "expired", "channel-unavailable", "translation-unreviewed", "language-missing",
    "duplicate-case", "photo-unreadable", "message-impossible", "audience-too-small", "unknown-region", "invalid-geometry",
    "contact-unreachable-from-area", "contact-voice-only", "outside-jurisdiction",
)  # fmt: skip
OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/alerts", "Submit an alert", "alerts:write", status=202, also=(200,), tells=("ETag", "Location"),
    problems=(*REFUSED, "stop-active"), act=Act("alert.create", once=True), stop_check=_read_stance,
)  # fmt: skip
async def create_alert(request: web.Request, *, query: SubmitQuery, body: AlertRequest) -> Reply[Submitted]:
    """Checks an alert, resolves its target, counts its audience and stores it.

    An Actual alert is then `pending` until another person approves it. A Test or Exercise reaches testers only and is
    approved at once. With `"state": "draft"` alertd stores the alert and does nothing more.

    An organisation has at most one living alert for each `external_id`, kind and status, counting all of its keys.
    Submitting the same alert again stores nothing: the answer is 200 with the header `Idempotent-Replayed` and the
    first alert's id and state. A different alert under that `external_id` is refused (`duplicate-case`). Without an
    `external_id`, `similar` lists the other living alerts of the case.
    """
    s, who, alert = services(request), credential(request), body.alert()
    # `turn` limits these counts like previews, because no second person reviews their target.
    asks = query.dry_run or body.state == "draft" or alert.status is not Status.ACTUAL
    async with s.reach_audit.turn(who) if asks else nullcontext():
        if is_replay(request) and not query.dry_run:
            taken = await submitted(s.intake, s.approval, request.get(PREPARED_ID) or "", alert, who)
        else:
            taken = await submit(
                s.intake, s.approval, alert, who, request[ORG_POLICY],
                alert_id=request.get(PREPARED_ID), dry_run=query.dry_run, draft=body.state == "draft",
            )  # fmt: skip
    note_taken(request, taken, dry_run=query.dry_run)
    return await submitted_reply(s, taken, alert)


def note_taken(request: web.Request, taken: Taken, *, dry_run: bool) -> None:
    """Notes the submitted alert for the audit entry of the call. For an alert that its organisation had submitted
    before, also sets the first alert's id as the one that the middleware stores under an Idempotency-Key.
    """
    note(request, record=taken.record, box=taken.box, dry_run=dry_run)
    note_reach(request, taken, dry_run=dry_run)
    if taken.is_repeat:
        note(request, repeat=True)
        request[PREPARED_ID] = taken.record.id


def note_reach(request: web.Request, taken: Taken, *, dry_run: bool) -> None:
    """For a dry run, adds the counted area (digest and bounds) and the alert's kind to the call's audit entry."""
    if dry_run:
        facts = facts_of(taken.area.geometry, taken.record.kind)
        note(request, digest=facts["digest"], bounds=facts["bounds"], kind=facts["kind"])


@OPERATIONS.add("GET", ALERT_PATH, "Show an alert", "alerts:read", tells=("ETag",))
async def show_alert(request: web.Request, *, id: AlertId) -> Reply[AlertReply]:
    """Returns one alert, as submitted and as it stands now. Send its ETag as If-Match with a decision, to bind the
    decision to the version that you saw.
    """
    s = services(request)
    record = await s.approval.get(id, credential(request))
    reply = reply_with_alert(record, whole=True)
    reply.body.still_named = await s.amendment.still_named(record)
    reply.body.told_by = await s.reports.told_by(id)
    reply.body.similar = similar_replies(await s.reports.similar(record))
    if record.document:
        reply.body.page = s.renderer.link(record.alert, record.chain.public_id)
    return reply


@OPERATIONS.add("PATCH", ALERT_PATH, "Change a draft", "alerts:write", problems=REFUSED, act=Act("alert.change"))
async def patch_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: AlertPatch) -> Reply[Submitted]:
    """Changes some members of a draft or a returned alert (JSON merge patch, RFC 7396). Only its author may do so."""
    s, who = services(request), credential(request)
    record = await s.approval.get(id, who)
    async with s.reach_audit.turn(who):
        taken = await s.intake.amend(record, body.root, who, rev=headers.version)
    note(request, record=taken.record)
    return await submitted_reply(s, taken, taken.record.alert)


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/submit", "Submit a draft", "alerts:write",
    problems=(
        "case-not-verified", "contact-voice-only", "duplicate-case", "expired", "stop-active", "outside-jurisdiction",
        "unknown-region", "invalid-geometry", "contact-unreachable-from-area", "audience-too-small",
    ),
    act=Act("alert.submit", once=True),
)  # fmt: skip
async def submit_alert(request: web.Request, *, id: AlertId, headers: Conditions) -> Reply[AlertReply]:
    """Submits a draft or returned alert for approval by a second person. alertd sends a Test or Exercise at once."""
    return await _decided(request, id, lambda decide, who: decide.submit(id, who, rev=headers.version))


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/approve", "Approve and send", "alerts:approve",
    problems=(
        "same-person", "case-not-verified", "protection-review-required", "audience-changed", "audience-too-small",
        "approval-stale", "expired", "stop-active", "outside-jurisdiction", "over-budget", "version-required",
    ),
    step_up=True, act=Act("alert.approve", once=True),
)  # fmt: skip
async def approve_alert(
    request: web.Request, *, id: AlertId, headers: Conditions, body: Approve = AS_SUBMITTED
) -> Reply[AlertReply]:
    """Approves an alert as the second person: freezes the audience and starts sending, at the alert's start time if it
    has one. The author of an Actual alert cannot approve it. Idempotent: the same person may approve the same or the
    current version again. Name the version that you looked at, by If-Match or `rev`; else the answer is 428.
    """
    rev = await looked_at(request, id, headers, body)
    return await _decided(
        request,
        id,
        lambda decide, who: decide.approve(
            id, who, people=seen(body.people), plates=body.plates, overspend=body.overspend or "", rev=rev
        ),
    )


async def looked_at(request: web.Request, alert_id: str, headers: Conditions, saw: Saw) -> int | None:
    """Returns the version of the alert that the approver looked at (If-Match or `rev`). Raises Problem if the request
    names none (428; RFC 6585, section 3) or if there is no such alert. In a repeated call it may return None instead.
    """
    rev = saw.rev if headers.version is None else headers.version
    if rev is None and not is_replay(request):
        await services(request).approval.get(alert_id, credential(request))
        raise Problem(
            "version-required",
            "Name the version that you looked at: its ETag as If-Match, or its `rev`. This keeps you from approving a version that you have not seen.",
        )
    return rev


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/return", "Return to the author", "alerts:approve", act=Act("alert.return", once=True)
)
async def return_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Returns a pending alert to its author, who can change it and submit it again."""
    return await _decided(request, id, lambda decide, who: decide.give_back(id, who, body.reason, rev=headers.version))


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/reject", "Reject", "alerts:approve", act=Act("alert.reject", stops_harm=True, once=True)
)
async def reject_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Decide) -> Reply[AlertReply]:
    """Rejects an alert that is not approved: alertd never sends it."""
    return await _decided(request, id, lambda decide, who: decide.reject(id, who, body.reason, rev=headers.version))


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/cancel", "Cancel", "alerts:write", act=Act("alert.cancel", stops_harm=True, once=True)
)
async def cancel_alert(request: web.Request, *, id: AlertId, headers: Conditions, body: Cancel) -> Reply[AlertReply]:
    """Cancels an alert that should not have been sent. The gate closes within a second; queued messages are not sent.
    Every possible recipient is notified on the channel of the original message, with the prepared text for `code`,
    which names no person, unless `notify` is `none`. `reason` stays internal. alertd cancels a scheduled alert without
    a message, and rejects an undecided one.
    """
    return await followed(
        request, id, lambda s, who: s.follow_ups.cancel(
            id, who, body.reason, code=body.code, notify=body.notify == "full", rev=headers.version
        )
    )  # fmt: skip


async def followed(request: web.Request, alert_id: str, follow: Follow) -> Reply[AlertReply]:
    """Carries out a follow-up, adds it to the audit entry, and returns the alert after it. `told_by` is the version
    that notifies recipients; without one, `notice` says so. A repeated call only returns the alert.
    """
    s, who = services(request), credential(request)
    if is_replay(request):
        return reply_with_alert(await s.approval.get(alert_id, who))
    done = await follow(s, who)
    note(request, record=done.record, told_by=done.told_by or "")
    reply = reply_with_alert(done.record)
    said = {"told_by": done.told_by, "notice": None if done.told_by else NOBODY_TOLD}
    return replace(reply, body=reply.body.model_copy(update=said))


async def _decided(request: web.Request, alert_id: str, decide: Decision) -> Reply[AlertReply]:
    """Carries out a decision, adds it to the audit entry, and returns the alert. A repeat only returns the alert."""
    approval, who = services(request).approval, credential(request)
    if is_replay(request):
        return reply_with_alert(await approval.get(alert_id, who))
    record = await decide(approval, who)
    note(request, record=record)
    return reply_with_alert(record)


def reply_with_alert(record: AlertRecord, *, whole: bool = False) -> Reply[AlertReply]:
    return Reply(alert_reply(record, whole=whole), headers=etag(record.rev))


async def submitted_reply(s: Container, taken: Taken, alert: Alert) -> Reply[Submitted]:
    """Returns the alert and its estimated reach. Submissions that share a reach count share the JSON of the reach."""
    language = next(iter(s.renderer.languages(alert)), REFERENCE)
    how_loud = {ring: loudness(alert, ring) for ring in taken.rings}
    louds = tuple(how_loud.values()) or (loudness(alert, REST),)

    async def outlook() -> bytes:
        audience = audience_reply(taken, alert.target, how_loud.__getitem__)
        look = Outlook(
            area=await area_reply(s, taken.area, taken.shares, language),
            audience=audience,
            eta=eta(s, audience, (alert.target, alert.policy), alert.channels, louds),
        )
        return look.model_dump_json(by_alias=True).encode()

    record = taken.record
    own: dict[str, Any] = {
        "id": record.id,
        "state": record.state,
        "rev": record.rev,
        "permissions": permission_replies(record),
        "similar": similar_replies(taken.similar),
        "unknown_references": list(taken.unknown_references),
    }
    made = await taken.answers.once(None, (alert.channels, louds, language), outlook)
    headers = {"Location": f"/v1/alerts/{record.id}", **etag(record.rev)}
    if taken.is_repeat:
        headers |= {REPLAYED: "true"}
    return Reply(
        Submitted.model_construct(**own),
        status=HTTPStatus.OK if taken.is_repeat else None,
        headers=headers,
        made=made,
    )


@OPERATIONS.add("GET", "/v1/kinds/{kind}", "Show a kind of alert", "alerts:read")
async def show_kind(request: web.Request, *, kind: Kind) -> KindReply:
    """Returns the facts that alerts of this kind may have: JSON Schema, levels, and coded values with translations."""
    renderer = services(request).renderer
    languages = renderer.all_languages
    facts = ("hair", "eyes", "sex", "person", "criterion")
    codes = {fact: {language: dict(renderer.words(language).codes(fact)) for language in languages} for fact in facts}
    return KindReply(
        kind=kind,
        levels={
            level: {"loudness": f.loudness, "urgency": f.urgency, "severity": f.severity, "certainty": f.certainty}
            for level, f in KINDS[kind].items()
        },
        languages=list(languages),
        codes=codes,
        json_schema=Alert.model_json_schema(),
    )
