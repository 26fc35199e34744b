"""HTTP operations on single messages: resend those that may not have arrived, and explain why a subscriber was notified
or not.
"""

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
from alertd.service.delivery.explanations import Notified, Why

Resendable = Literal["unknown", "failed"]
EVERY: tuple[Resendable, ...] = ("unknown", "failed")


class Resend(BaseModel):
    """The messages to send again, by state and channel."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    states: Annotated[tuple[Resendable, ...], Field(min_length=1)] = Field(
        EVERY,
        description="`unknown`: the message may have arrived, and may arrive twice; `failed`: a carrier refused it or its attempts ran out.",
    )
    channel: Channel | None = Field(None, description="Only this channel; default: all channels.")


ALL = Resend()


class ResendReply(BaseModel):
    id: str
    state: AlertState
    resent: int | None = Field(description="Messages queued by this call; null if this repeats an earlier call.")
    channels: dict[str, dict[str, int]] = Field(description="By channel: `targeted`, and the number in each state now.")


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/alerts/{id}/deliveries/resend", "Send again", "alerts:approve",
    problems=("precondition-failed", "stop-active"), act=Act("alert.resend", once=True),
)  # fmt: skip
async def resend_deliveries(request: web.Request, *, id: AlertId, body: Resend = ALL) -> ResendReply:
    """Queues messages again that failed or may not have arrived, each to the person's current address; not to people
    who opted out. Refused once the alert is stood down, cancelled or ended, and for a version that a later one replaced
    or the alert's state outdated. Idempotent: a repeated call does not queue a queued message again.
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
    active: bool = Field(description="False: its owner opted out (STOP).")
    asked_for: bool = Field(description="The alert uses its channel.")


class MessageReply(BaseModel):
    address: int
    channel: str
    state: str
    reason: str
    carrier: str
    attempts: int
    doubled: bool
    first: datetime | None = Field(description="When alertd first handed it to a carrier.")
    last: datetime | None
    receipt: datetime | None


class ExplainReply(BaseModel):
    subscriber: str
    alert: str
    told: Notified = Field(description="`maybe`: a carrier did not answer.")
    why: Why = Field(
        description="`has-messages`: each message has its own state and reason. Otherwise the first that applies: the alert was not approved; "
        "no consent to this kind; not a tester; no place inside; a place inside now, but not when the audience was frozen; no address "
        "on its channels; not planned yet, or no longer inside at planning."
    )
    in_audience: bool = Field(description="At the freeze. All other members except messages describe the present.")
    consents: bool | None = Field(description="Null if the alert is of a guest organisation.")
    tester: bool | None = Field(description="Null if the alert is of a guest organisation.")
    places: list[PlaceReply] = Field(
        description="Empty before the alert is approved, and for a Test or Exercise if the subscriber is not a tester. After the end, without the place `now`."
    )
    addresses: list[AddressReply]
    messages: list[MessageReply]


@OPERATIONS.add(
    "GET", "/v1/subscribers/{id}/explain", "Explain a notification", "ledger:explain", problems=("gone",),
    act=Act("subscriber.explain", of_person=True),
)  # fmt: skip
async def explain_subscriber(request: web.Request, *, id: SubscriberId, query: ExplainQuery) -> ExplainReply:
    """Explains why a subscriber was or was not notified of your alert, without address or position. 410 if its ledger
    was deleted. Subscribers belong to the organisation that runs the service: another one sees only the messages that
    this alert sent to the subscriber; 404 if there are none.
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
    """Returns one row of the ledger as the API shows it."""
    first, last, receipt = map(time_or_none, (one.first_ms, one.last_ms, one.receipt_ms))
    return MessageReply(
        address=one.address, channel=one.channel, state=one.state, reason=one.reason, carrier=one.carrier,
        attempts=one.attempts, doubled=one.doubled, first=first, last=last, receipt=receipt,
    )  # fmt: skip
