"""What became of single messages, over HTTP: sending again what may not have arrived, and why somebody was told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.api.shapes import AlertId, Query
from alertd.common.clock import time_or_none
from alertd.model.kinds import Channel
from alertd.model.registration import SubscriberId
from alertd.model.states import AlertState, State
from alertd.service.alerts.progress import Delivery
from alertd.service.delivery.expand_addresses import Standing
from alertd.service.delivery.explanations import Told, Why

Resendable = Literal["unknown", "failed"]
EVERY: tuple[Resendable, ...] = ("unknown", "failed")


class Resend(BaseModel):
    """Which messages are sent again."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    states: Annotated[tuple[Resendable, ...], Field(min_length=1)] = Field(
        EVERY,
        description="`unknown`: it may have arrived, and then arrives twice; `failed`: a carrier refused it or it ran out of tries.",
    )
    channel: Channel | None = Field(None, description="Of one channel; default: of all.")


ALL = Resend()


class ResendReply(BaseModel):
    id: str
    state: AlertState
    resent: int | None = Field(
        description="Messages queued by this call; null where the same call was answered before."
    )
    channels: dict[str, dict[str, int]] = Field(description="By channel: targeted, and how many are in each state now.")


OPERATIONS, EXPLANATIONS = Operations("Alerts"), Operations("Subscribers")


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/deliveries/resend", "Send again", "alerts:approve",
    problems=("precondition-failed", "stop-active"), act=Act("alert.resend", once=True),
)  # fmt: skip
async def resend_deliveries(request: web.Request, *, id: AlertId, body: Resend = ALL) -> ResendReply:
    """Sends again what may not have arrived. Each goes to the address that the person has now, and to nobody who left meanwhile.
    Refused once the alert is stood down, cancelled or at its end, and of a version once what it tells is no longer true.
    Sent twice it queues nothing more.
    """
    s, who = services(request), credential(request)
    record, resent = await s.approval.get(id, who), None
    if not is_replay(request):
        states = {State[word.upper()] for word in body.states}
        resent = await s.resending.resend(record, who, states, body.channel)
        note(request, record=record, resent=resent, states=" ".join(sorted(body.states)), channel=body.channel or "all")
    now = await s.approval.get(id, who)
    return ResendReply(id=id, state=now.state, resent=resent, channels=await s.reports.counts(id))


class ExplainQuery(Query):
    alert: AlertId = Field(description="Id of the alert, or of one of its versions.")


class PlaceReply(BaseModel):
    name: str
    kind: str
    standing: Standing = Field(description="`not-asked-for`: the alert's policy does not name its kind of place.")


class AddressReply(BaseModel):
    number: int
    channel: str
    active: bool = Field(description="False: its owner said STOP.")
    asked_for: bool = Field(description="The alert goes over its channel.")


class MessageReply(BaseModel):
    address: int
    channel: str
    state: str
    reason: str
    carrier: str
    attempts: int
    doubled: bool
    first: datetime | None = Field(description="When it was first given to a carrier.")
    last: datetime | None
    receipt: datetime | None


class ExplainReply(BaseModel):
    subscriber: str
    alert: str
    told: Told = Field(description="`maybe`: a carrier never answered.")
    why: Why = Field(
        description="`has-messages`: each has its own state and reason. Else the first that holds: it was not approved; "
        "no consent to this kind; no tester; no place inside; a place inside now, but not when the audience was frozen; no address "
        "on its channels; not planned yet, or no longer inside when it was."
    )
    in_audience: bool = Field(description="When it was frozen. The rest, messages aside, is as it is now.")
    consents: bool | None = Field(description="Null where the alert is a guest's.")
    tester: bool | None = Field(description="Null where the alert is a guest's.")
    places: list[PlaceReply] = Field(
        description="Empty before the alert is approved, and of a Test or an Exercise for whoever is no tester; without the place `now` once it is over."
    )
    addresses: list[AddressReply]
    messages: list[MessageReply]


@EXPLANATIONS.add(
    "GET", "/v1/subscribers/{id}/explain", "Explain who was told", "ledger:explain", problems=("gone",),
    act=Act("subscriber.explain", of_person=True),
)  # fmt: skip
async def explain_subscriber(request: web.Request, *, id: SubscriberId, query: ExplainQuery) -> ExplainReply:
    """Why somebody was told of an alert, or was not. No address and no position is in the answer. Subscribers are of whoever runs the service: another
    organisation sees its own messages to them alone, and nobody whom none has left for.
    """
    s, who = services(request), credential(request)
    record = await s.approval.get(query.alert, who)
    note(request, alert=record.id)
    if s.organisations.is_host(who):
        found = await s.explanations.explain(await s.registry.get(id), record)
    else:
        found = await s.explanations.to_guest(id, record)
    return ExplainReply(
        subscriber=id, alert=record.id, told=found.told, why=found.why, in_audience=found.in_audience,
        consents=found.consents, tester=found.tester,
        places=[PlaceReply(name=one.name, kind=one.kind, standing=one.standing) for one in found.places],
        addresses=[
            AddressReply(number=one.number, channel=one.channel, active=one.active, asked_for=one.asked_for)
            for one in found.addresses
        ],
        messages=[_message(one) for one in found.messages],
    )  # fmt: skip


def _message(one: Delivery) -> MessageReply:
    first, last, receipt = map(time_or_none, (one.first_ms, one.last_ms, one.receipt_ms))
    return MessageReply(
        address=one.address, channel=one.channel, state=one.state, reason=one.reason, carrier=one.carrier,
        attempts=one.attempts, doubled=one.doubled, first=first, last=last, receipt=receipt,
    )  # fmt: skip
