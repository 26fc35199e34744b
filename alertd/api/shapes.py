"""What several groups of calls ask for and answer: alerts, areas and audiences as they are told."""

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

#: For paths beside `{id}.cap`: an id has no dot, and what has one is no alert.
ALERT_PATH = r"/v1/alerts/{id:[\w-]+}"
AlertId = Annotated[
    str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}(-[1-9][0-9]*)?$", examples=["01M882R9G938BE2P8KXNZ55750"])
]
#: What an act is said with, and kept with it.
Remark = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: Of each member that names a person: two organisations may have people of the same name.
BY_ORG = "The organisation of that person."
HAD_NOBODY = (
    "Whether the alert was sent and there was nobody to notify: no subscriber was in its audience, or none had an address for its channels."
    " False until it is `sent`. A Test or Exercise notifies testers only (subscribers with `tester`)."
)
REV = "Another with each change of the alert, its state included. The ETag of the alert is the same number."


class UpdateFacts(BaseModel):
    """An update, as it was seen at its submission."""

    of: str = Field(description="The alert whose place it takes.")
    notify: Notify
    told_again: Estimate = Field(description="People who may have been told before, and are told again; an estimate.")
    newly_inside: Estimate = Field(description="People where its area is not the alert's; an estimate.")


class ReviewReply(BaseModel):
    verdict: Verdict
    note: str | None
    by: str
    by_org: str = Field(description=BY_ORG)
    at: datetime


class BreakGlassReply(BaseModel):
    """That its author approved it alone."""

    by: str
    by_org: str = Field(description=BY_ORG)
    at: datetime
    reason: str | None
    review: ReviewReply | None = Field(description="What another operator thinks of it; null: it awaits that.")


class PermissionReply(BaseModel):
    """What a neighbouring organisation is asked for: the part of the target that lies in its jurisdiction."""

    organisation: str
    name: str
    state: PermissionState = Field(
        description="It is asked when the alert is approved; `lapsed`: it had not answered when the alert was over, or an update left"
        " out what it was asked for besides the ground that it had permitted."
    )
    km2: float
    people: Estimate | None = Field(
        description="An estimate of the people in that part at the submission. Null for the organisation that asks, until it is permitted."
    )
    answered: datetime | None
    by: str | None = Field(description="Who answered.")
    by_org: str | None = Field(description=BY_ORG)
    reason: str | None = Field(description="Why it refused.")
    told_by: str | None = Field(description="The version by which its people are told.")


class StandDownAsked(BaseModel):
    """Another organisation asks to stand the alert down, because it knows that the child was found."""

    organisation: str
    name: str
    by: str = Field(description="Its person, who asked.")
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
    """Which alert it is, how it stands, and who wrote it."""

    id: str
    state: AlertState
    rev: int = Field(description=REV)
    kind: str
    level: str
    status: str
    author: str
    author_org: str = Field(description="The organisation of `author`, which alerts.")


class AlertReply(AlertIdentity):
    approver: str | None = Field(
        description="After `policy: ` whoever allowed that nobody looks; after `break-glass: ` the author, who approved it alone."
    )
    approver_org: str | None = Field(
        description="The organisation of `approver`: another one where a neighbour permitted its part, or an administrator of the service allowed that nobody looks."
    )
    break_glass: BreakGlassReply | None = Field(None, description="Null: nobody approved it alone.")
    reason: str | None
    created: datetime
    approved: datetime | None
    expires: datetime
    starts: datetime | None = Field(None, description="When it is to start, or was; null: once it was approved.")
    restricted: bool = Field(description="Its facts and photos were taken out of it.")
    still_named: list[str] = Field(
        [],
        description="Of one alert that was restricted: others of its case, and of your organisation, that still tell such facts, or will.",
    )
    paused: bool = Field(
        description="Nothing more of it, or of another version of the same alert, is sent until one of them is resumed."
    )
    occasion: Occasion = Field(
        description="Why this version is told: it is the alert, or tells what followed. What was taken out is an `update`, too."
    )
    update: UpdateFacts | None = Field(None, description="Of an update: whose place it takes, and whom it tells.")
    exact: bool = Field(
        description="Whether `people` is exact. It is an estimate before the approval, and after it as long as nobody but the author answers"
        " for the alert: of a Test or Exercise, of one that went out without a second person, and of a break-glass alert until its review."
    )
    people: Shown | Estimate = Field(
        description="In the frozen audience, exact from 20 up; the estimate at submission where `exact` is false."
    )
    nobody: bool = Field(description=HAD_NOBODY)
    permissions: list[PermissionReply] = Field(
        [], description="Of neighbours, where the target leaves the jurisdiction: none of their part is told before."
    )
    stand_down_asked: list[StandDownAsked] = Field(
        [], description="Other organisations that ask to stand it down, until somebody does."
    )
    similar: list[SimilarReply] = Field(
        [],
        description="Other living alerts of the same case, kind and status. Compare them before you approve this one. Only in the answer to"
        " `GET /v1/alerts/{id}`.",
    )
    notice: str | None = Field(None, description="What this did not do.")
    told_by: str | None = Field(
        None,
        description="The last version that tells those who were told: of an update, of what was taken out, of an end.",
    )
    alert: dict[str, Any] | None = Field(None, description="As it was sent.")


def similar_replies(records: Iterable[AlertRecord]) -> list[SimilarReply]:
    """Returns the other living alerts of a case as replies show them."""
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


def untold_reply(look: AreaReach) -> dict[str, Estimate]:
    """By region, the people who named it instead of a point and are not notified: too little of it lies in the area."""
    return by_code(look.reach.unnotified, codes(look)) if look.reach else {}


def alert_reply(record: AlertRecord, *, whole: bool = False) -> AlertReply:
    """An alert as it is told; `whole` with its document."""
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
    """A person and their organisation, as a reply names them, from what a record of `org` keeps; None for nobody."""
    return signer(kept, org) if kept else (None, None)


def permission_replies(record: AlertRecord) -> list[PermissionReply]:
    """Where the permissions of an alert stand, for the organisation that asks."""
    return [permission_of(record, one) for one in parse_permissions(record.neighbours.permissions)]


def permission_of(record: AlertRecord, one: Permission, *, counts: bool = False) -> PermissionReply:
    """Where one of them stands; with its count of people if it `counts`, or was permitted."""
    by, why = words_of(record.neighbours.answered_by).get(one.org), words_of(record.neighbours.reasons).get(one.org)
    state = one.state(record.state)
    reply = permission_reply(one, state, by if one.at else None, why if one.at else None)
    return reply if counts or state is PermissionState.GRANTED else reply.model_copy(update={"people": None})


def permission_reply(
    one: Permission, state: PermissionState = PermissionState.UNASKED, by: str | None = None, why: str | None = None
) -> PermissionReply:
    """One of them."""
    return PermissionReply(
        organisation=one.org, name=one.name, state=state, km2=one.km2, people=cast("Estimate", one.people),
        answered=time_or_none(one.at), by=by, by_org=one.org if by else None, reason=why, told_by=one.version or None,
    )  # fmt: skip


def break_glass_reply(record: AlertRecord) -> BreakGlassReply | None:
    """That its author approved it alone, if they did, and what another thinks of it."""
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
    """Whom an update tells, as it was seen at its submission; None for what is none."""
    if (update := record.update) is None:
        return None
    return UpdateFacts(
        of=chain_of(record.id),
        notify=update.notify,
        told_again=reach.about(update.again),
        newly_inside=reach.about(update.newly),
    )
