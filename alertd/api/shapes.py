"""Models of requests and replies that several groups of operations share, chiefly those of alerts, and the functions
that fill them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field

from alertd.api.area_shapes import codes
from alertd.common.clock import time_of, time_or_none
from alertd.common.ids import chain_of
from alertd.model.kinds import Notify, Occasion, PermissionState, Verdict
from alertd.model.permission import Permission, parse_permissions, parse_requests, words_of
from alertd.model.states import AlertState
from alertd.service import reach
from alertd.service.access import signer
from alertd.service.alerts.break_glass import broken_by
from alertd.service.areas.reach_preview import AreaReach
from alertd.service.reach import Estimate, Shown, by_code, had_nobody_to_notify, is_exact, people_shown
from alertd.store.alerts.records import AlertRecord

#: The path of one alert. An id contains no dot, so that the path does not match `{id}.cap`.
ALERT_PATH = r"/v1/alerts/{id:[\w-]+}"
AlertId = Annotated[
    str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}(-[1-9][0-9]*)?$", examples=["01M882R9G938BE2P8KXNZ55750"])
]
#: A remark of a person that alertd stores with an act.
Remark = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: Description of `*_org` members: two organisations may have people of the same name.
BY_ORG = "The organisation of that person."
HAD_NOBODY = (
    "Whether the alert was sent without a recipient: no subscriber was in its audience, or none had an address for its channels."
    " False until it is `sent`. A Test or Exercise notifies testers only (subscribers with `tester`)."
)
REV = "Changes with each change of the alert, including its state. The ETag of the alert is the same number."


class UpdateFacts(BaseModel):
    """The reach of an update, as shown at its submission."""

    of: str = Field(description="The alert that it replaces.")
    notify: Notify
    told_again: Estimate = Field(
        description="People who may have received the alert and are notified again; an estimate."
    )
    newly_inside: Estimate = Field(
        description="People in the part of its area that the alert did not have; an estimate."
    )


class ReviewReply(BaseModel):
    verdict: Verdict
    note: str | None
    by: str
    by_org: str = Field(description=BY_ORG)
    at: datetime


class BreakGlassReply(BaseModel):
    """The approval of an alert by its author alone (break-glass), and its review."""

    by: str
    by_org: str = Field(description=BY_ORG)
    at: datetime
    reason: str | None
    review: ReviewReply | None = Field(description="Another operator's review; null while it is awaited.")


class PermissionReply(BaseModel):
    """A request for the permission of a neighbouring organisation: the part of the target in its jurisdiction, and its
    answer.
    """

    organisation: str
    name: str
    state: PermissionState = Field(
        description="alertd asks when the alert is approved. `lapsed`: the neighbour had not answered when the alert was over, or an update"
        " left out the requested part beyond what the neighbour had permitted."
    )
    km2: float
    people: Estimate | None = Field(
        description="Estimated people in that part at submission. Null for the asking organisation until it is permitted."
    )
    answered: datetime | None
    by: str | None = Field(description="Who answered.")
    by_org: str | None = Field(description=BY_ORG)
    reason: str | None = Field(description="Why the neighbour refused.")
    told_by: str | None = Field(description="The version that notifies the people of that part.")


class StandDownAsked(BaseModel):
    """A request of another organisation to stand the alert down, because it knows that the child was found."""

    organisation: str
    name: str
    by: str = Field(description="The person who asked.")
    by_org: str = Field(description=BY_ORG)
    at: datetime
    reason: str


class SimilarReply(BaseModel):
    """Another living alert of the same case, kind and status."""

    id: str = Field(description="The other alert.")
    state: AlertState
    author: str = Field(description="The person who submitted it.")
    author_org: str = Field(description=BY_ORG)
    created: datetime = Field(description="When it was submitted.")


class AlertIdentity(BaseModel):
    """An alert's id, state, revision, kind, level, status and author."""

    id: str
    state: AlertState
    rev: int = Field(description=REV)
    kind: str
    level: str
    status: str
    author: str
    author_org: str = Field(description="The organisation of `author`, which sends the alert.")


class AlertReply(AlertIdentity):
    approver: str | None = Field(
        description="After `policy: `: the person who allowed sending without a second person. After `break-glass: `: the author, who approved alone."
    )
    approver_org: str | None = Field(
        description="The organisation of `approver`. It is another one if a neighbour permitted its part, or if an administrator of the service allowed sending without a second person."
    )
    break_glass: BreakGlassReply | None = Field(None, description="Null: the author did not approve it alone.")
    reason: str | None
    created: datetime
    approved: datetime | None
    expires: datetime
    starts: datetime | None = Field(None, description="The scheduled start; null: at the approval.")
    restricted: bool = Field(description="Its facts and photos were removed.")
    still_named: list[str] = Field(
        [],
        description="Of a restricted alert: your organisation's other alerts of the case that still contain such facts, now or once sent.",
    )
    paused: bool = Field(description="Sending is paused, for all versions of the alert, until one of them is resumed.")
    occasion: Occasion = Field(
        description="The purpose of this version: the alert itself, or a follow-up. A restriction is an `update`, too."
    )
    update: UpdateFacts | None = Field(None, description="Of an update: the alert that it replaces, and its reach.")
    exact: bool = Field(
        description="Whether `people` is exact. It is an estimate before the approval. It stays one while only the author has approved the"
        " alert: a Test or Exercise, an alert sent without a second person, and a break-glass alert until its review."
    )
    people: Shown | Estimate = Field(
        description="People in the frozen audience, exact from 20 up; the estimate at submission if `exact` is false."
    )
    nobody: bool = Field(description=HAD_NOBODY)
    permissions: list[PermissionReply] = Field(
        [],
        description="Permissions of neighbours, if the target leaves the jurisdiction. People there are notified only after the grant.",
    )
    stand_down_asked: list[StandDownAsked] = Field(
        [], description="Requests of other organisations to stand the alert down, until it is stood down."
    )
    similar: list[SimilarReply] = Field(
        [],
        description="Other living alerts of the same case, kind and status. Compare them before you approve this one. Only in the answer to"
        " `GET /v1/alerts/{id}`.",
    )
    page: str | None = Field(
        None,
        description="The alert's public page; null without `publish.page`, and for a Test or Exercise. Only in the answer to `GET /v1/alerts/{id}`.",
    )
    notice: str | None = Field(None, description="An effect that this call did not have.")
    told_by: str | None = Field(
        None,
        description="The last version that notifies the recipients: of an update, a restriction or an end.",
    )
    alert: dict[str, Any] | None = Field(None, description="The document as submitted.")


def similar_replies(records: Iterable[AlertRecord]) -> list[SimilarReply]:
    """Returns other living alerts of a case, given as records, as replies show them."""
    return [
        SimilarReply(
            id=one.id,
            state=one.state,
            author=one.author.subject,
            author_org=one.org,
            created=time_of(one.times.created),
        )
        for one in records
    ]


def untold_reply(preview: AreaReach) -> dict[str, Estimate]:
    """Returns estimates, by region code, of the people who chose a region instead of a point and are not notified,
    because too little of the region lies in the area.
    """
    return by_code(preview.reach.unnotified, codes(preview)) if preview.reach else {}


def alert_reply(record: AlertRecord, *, whole: bool = False) -> AlertReply:
    """Returns an alert as the API shows it; with `whole`, including its document. Leaves the members of the single
    alert (`still_named`, `similar`, `page`) and `told_by` empty.
    """
    approver, approver_org = signed(record.approval.by, record.org)
    return AlertReply(
        id=record.id,
        state=record.state,
        rev=record.rev,
        kind=record.kind,
        level=record.level,
        status=record.status,
        author=record.author.subject,
        author_org=record.org,
        approver=approver,
        approver_org=approver_org,
        break_glass=break_glass_reply(record),
        reason=record.last_step.reason or None,
        created=time_of(record.times.created),
        approved=time_or_none(record.times.start),
        expires=time_of(record.expires),
        starts=time_or_none(record.times.starts),
        restricted=record.times.restricted > 0,
        paused=record.chain.paused,
        exact=is_exact(record),
        people=people_shown(record),
        nobody=had_nobody_to_notify(record),
        occasion=record.occasion,
        update=update_facts(record),
        permissions=permission_replies(record),
        stand_down_asked=[
            StandDownAsked(
                organisation=one.org, name=one.name, by=one.by, by_org=one.org, at=time_of(one.at), reason=one.reason
            )
            for one in parse_requests(record.neighbours.stand_down_asked)
        ],
        alert=json.loads(record.document) if whole and record.document else None,
    )


def signed(kept: str, org: str) -> tuple[str, str] | tuple[None, None]:
    """Returns the name and the organisation of a person in the form that records store. `org` is the organisation of a
    person stored without one. Returns (None, None) for an empty text.
    """
    return signer(kept, org) if kept else (None, None)


def permission_replies(record: AlertRecord) -> list[PermissionReply]:
    """Returns the permissions that an alert needs, for the organisation that alerts: without the number of people
    unless the neighbour granted the permission.
    """
    return [permission_of(record, one) for one in parse_permissions(record.neighbours.permissions)]


def permission_of(record: AlertRecord, one: Permission, *, counts: bool = False) -> PermissionReply:
    """Returns one permission of an alert as the API shows it, with its answer. Hides the number of people unless
    `counts` is set or the neighbour granted the permission.
    """
    by, why = words_of(record.neighbours.answered_by).get(one.org), words_of(record.neighbours.reasons).get(one.org)
    state = one.state(record.state)
    reply = permission_reply(one, state, by if one.at else None, why if one.at else None)
    return reply if counts or state is PermissionState.GRANTED else reply.model_copy(update={"people": None})


def permission_reply(
    one: Permission, state: PermissionState = PermissionState.UNASKED, by: str | None = None, why: str | None = None
) -> PermissionReply:
    """Returns one permission with its number of people. `by` is the person who answered, `why` the reason of a
    refusal.
    """
    return PermissionReply(
        organisation=one.org, name=one.name, state=state, km2=one.km2, people=cast("Estimate", one.people),
        answered=time_or_none(one.at), by=by, by_org=one.org if by else None, reason=why, told_by=one.version or None,
    )  # fmt: skip


def break_glass_reply(record: AlertRecord) -> BreakGlassReply | None:
    """Returns the approval that the author gave alone, and its review; None if there was no such approval."""
    glass = record.approval.glass
    if not glass:
        return None
    review = glass.review and ReviewReply(
        verdict=glass.review.verdict, note=glass.review.note or None, by=glass.review.by, by_org=record.org,
        at=time_of(glass.review.at),
    )  # fmt: skip
    return BreakGlassReply(
        by=broken_by(record), by_org=record.org, at=time_of(glass.at), reason=glass.why or None, review=review
    )


def update_facts(record: AlertRecord) -> UpdateFacts | None:
    """Returns the reach of an update, as shown at its submission, in estimates; None if the record is not an update."""
    if (update := record.update) is None:
        return None
    return UpdateFacts(
        of=chain_of(record.id),
        notify=update.notify,
        told_again=reach.about(update.renotify_count),
        newly_inside=reach.about(update.new_recipients),
    )
