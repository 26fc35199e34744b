"""HTTP operations on distributors: register, change, test and remove them, and show their state for an alert."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.api.shapes import BY_ORG, AlertId
from alertd.api.sharing.events import MADE_AND_TOLD, Pinged, SubscriptionReply, refuse_replay, subscription_facts
from alertd.common.clock import time_or_none
from alertd.common.errors import Problem
from alertd.model.cap.messages import MsgType
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.model.distribution import Entry, MessageState, Track
from alertd.model.distributor import Distributor
from alertd.service.access import Credential
from alertd.service.decision_checks import check_key
from alertd.service.sharing.distributor_acknowledgements import opened_note
from alertd.service.sharing.distributors import MOST_AUTHORIZATION, Registered, Share
from alertd.store.alerts.records import AlertRecord

#: Maximum number of open take-downs that a reply lists by id.
MOST_TAKEDOWNS = 50
DistributorId = Annotated[str, Field(pattern="^dis_[0-9a-f]{16}$", examples=["dis_0123456789abcdef"])]


class WrittenDistributor(Distributor):
    """All settings of a distributor."""

    authorization: str | None = Field(
        None, max_length=MOST_AUTHORIZATION, examples=["Bearer 5f0c…"],
        description='Value of the header Authorization of each message. It is never shown. In a change, omit it to keep it; "" removes it.',
    )  # fmt: skip

    def parts(self) -> tuple[Distributor, str | None]:
        """Returns the settings without the Authorization, and the Authorization; None keeps the stored one."""
        plain = {name: getattr(self, name) for name in Distributor.model_fields}
        return Distributor.model_construct(**plain), self.authorization


class DistributorReply(SubscriptionReply):
    name: str
    host: str = Field(description="The host that its messages are posted to.")
    distributor: Distributor | None = Field(
        description="The whole of it, for administrators; its URL may hold a secret."
    )
    receipts: str | None = Field(
        description="It posts its Acks and Errors here; each message names the address, too, as its header `Alertd-Receipts`. For administrators."
    )
    authorized: bool = Field(description="Messages are sent with an Authorization.")
    enabled: bool
    alerts: int = Field(description="Live alerts that it has.")
    takedowns_open: int = Field(description="Alerts that are over, without its confirmation of the take-down.")
    takedowns: list[str] = Field(description=f"Their ids, the longest open first, {MOST_TAKEDOWNS} at most.")


class DistributorMade(DistributorReply):
    secret: str = Field(
        description="Signs each post, as for a webhook, in addition to the signature in the document. Shown once and never again.",
        examples=["whsec_…"],
    )


class DistributorList(BaseModel):
    distributors: list[DistributorReply]


class Tested(Pinged):
    acknowledged: bool = Field(description="There was a CAP Ack of the message in its answer.")


class DistributedMessage(BaseModel):
    identifier: str = Field(description="The identifier of its CAP document.")
    type: Literal["Alert", "Update", "Cancel"]
    state: MessageState
    may_have_arrived: bool = Field(description="It was posted, and no answer says that it was not taken.")
    tries: int
    first: datetime | None = Field(description="When it was first posted.")
    last: datetime | None
    answered: int | None = Field(description="Status of the last answer.")
    receipt: str | None = Field(description="Identifier of the CAP Ack or Error.")
    note: str | None = Field(
        description="Why it was refused, in the distributor's words or ours; null once the case is purged."
    )


class TakedownReply(BaseModel):
    state: Literal["none", "open", "confirmed"] = Field(
        description="`open`: the alert is over, and the distributor has not confirmed that it shows it no more."
    )
    since: datetime | None
    confirmed_at: datetime | None
    confirmed_by: str | None = Field(description="The person who asked; null where the distributor itself said so.")
    confirmed_by_org: str | None = Field(description=BY_ORG)


class ShareReply(BaseModel):
    distributor: str
    name: str
    has_it: bool = Field(description="It has the alert, or may have it, and has not received its end.")
    why_not: (
        Literal["off", "status", "level", "scope", "elsewhere", "unresolved", "later", "over", "removed"] | None
    ) = Field(
        description="Why it has nothing of this alert. `unresolved`: a region of its `jurisdiction` is gone, and it gets the alert once it has another; `later`: it was registered after the alert was sent, and gets the next change; `over`: so is the alert; `removed`: it was a distributor once. Null where it has, or will."
    )
    takedown: TakedownReply
    messages: list[DistributedMessage] = Field(description="Oldest first.")


class DistributionReply(BaseModel):
    id: str
    distributors: list[ShareReply]


class ReceiptsTaken(BaseModel):
    taken: int = Field(description="Number of messages that it named.")


_ALL, _ONE = "/v1/distributors", "/v1/distributors/{id}"
_OF_ALERT = "/v1/alerts/{id}/distribution"
_CAP = (MEDIA_TYPE, "application/xml", "text/xml")
OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", _ALL, "Register a distributor", "admin", status=201,
    problems=("precondition-failed", "unknown-region", "invalid-geometry"), step_up=True, act=Act("distributor.create"),
)  # fmt: skip
async def create_distributor(request: web.Request, *, body: WrittenDistributor) -> DistributorMade:
    """Registers a distributor. From now on it gets your alerts as CAP 1.2, signed if `cap.key` is configured: each
    alert at its approval, an Update with each change, and a Cancel when it is stood down, closed or cancelled. alertd
    retries messages that the distributor does not accept: an alert until its end, a Cancel for three days.
    """
    refuse_replay(request, "The distributor was registered and its secret told.")
    s, (new, authorization) = services(request), body.parts()
    made, secret = await s.distributors.create(_live(request), new, authorization or "")
    note(request, object_=made.hook.id)
    return DistributorMade(**_facts(request, made), secret=secret)


@OPERATIONS.add("GET", _ALL, "List distributors", "alerts:read")
async def list_distributors(request: web.Request) -> DistributorList:
    """Returns the organisation's distributors, oldest first. Only administrators get their URLs."""
    found = await services(request).distributors.of_org(credential(request).org)
    return DistributorList(distributors=[DistributorReply(**_facts(request, one)) for one in found])


@OPERATIONS.add("GET", _ONE, "Show a distributor", "alerts:read")
async def get_distributor(request: web.Request, *, id: DistributorId) -> DistributorReply:
    """Returns one distributor and its state. Only administrators get its URL."""
    return DistributorReply(**_facts(request, await services(request).distributors.get(credential(request).org, id)))


@OPERATIONS.add(
    "PUT", _ONE, "Write a distributor", "admin", problems=("unknown-region", "invalid-geometry", "precondition-failed"),
    step_up=True, act=Act("distributor.write"),
)  # fmt: skip
async def put_distributor(request: web.Request, *, id: DistributorId, body: WrittenDistributor) -> DistributorReply:
    """Replaces a distributor's settings. The change applies to later messages; a distributor that has an alert gets all
    follow-ups of it. `url` and `acknowledges` cannot change while the Cancel of an alert that it has, or its
    confirmation of a take-down, is outstanding.
    """
    new, authorization = body.parts()
    changed = await services(request).distributors.change(_live(request).org, id, new, authorization)
    return DistributorReply(**_facts(request, changed))


@OPERATIONS.add(
    "DELETE", _ONE, "Remove a distributor", "admin", status=204, problems=("precondition-failed",), step_up=True,
    act=Act("distributor.remove"),
)  # fmt: skip
async def remove_distributor(request: web.Request, *, id: DistributorId) -> None:
    """Removes a distributor. Refused while the Cancel of an alert that it has, or its confirmation of a take-down, is
    outstanding: until then, turn it off.
    """
    await services(request).distributors.remove(_live(request).org, id)


@OPERATIONS.add(
    "POST", f"{_ONE}/rotate", "Give a distributor a new secret", "admin", problems=("precondition-failed",),
    step_up=True, act=Act("distributor.rotate"),
)  # fmt: skip
async def rotate_distributor(request: web.Request, *, id: DistributorId) -> DistributorMade:
    """Creates a new secret. Each earlier secret still signs until a day after it was replaced. `receipts` changes at
    once; the reply and the next message contain the new address. The old address stops working, so a person who
    obtained it cannot report in the distributor's name.
    """
    refuse_replay(request, MADE_AND_TOLD)
    made, secret = await services(request).distributors.rotate(_live(request).org, id)
    return DistributorMade(**_facts(request, made), secret=secret)


@OPERATIONS.add("POST", f"{_ONE}/test", "Try a distributor", "admin", act=Act("distributor.test"))
async def test_distributor(request: web.Request, *, id: DistributorId) -> Tested:
    """Posts one CAP message of status System, even if the distributor is off, and returns whether it was accepted."""
    status, acknowledged = await services(request).distributors.test(_live(request).org, id)
    return Tested(taken=200 <= status < 300, answered=status or None, acknowledged=acknowledged)


def _live(request: web.Request) -> Credential:
    """Returns the caller. Raises Problem for a test key: distributors receive Actual alerts, which it could redirect or
    block.
    """
    who = credential(request)
    if who.test:
        raise Problem("not-allowed", "A test key registers and changes no distributors: they get Actual alerts.")
    return who


@OPERATIONS.add("GET", _OF_ALERT, "Show which distributors have an alert", "alerts:read")
async def alert_distribution(request: web.Request, *, id: AlertId) -> DistributionReply:
    """Returns each distributor's messages about an alert, its answers and its take-down. For a distributor without
    messages, returns the reason, or null if it will get the alert.
    """
    s = services(request)
    return await _distribution(request, await s.approval.chain(id, credential(request)))


@OPERATIONS.add(
    "POST", f"{_OF_ALERT}/{{distributor}}/confirm", "Confirm a take-down for a distributor", "alerts:write",
    problems=("precondition-failed",), act=Act("alert.takedown-confirm"),
)  # fmt: skip
async def confirm_takedown(request: web.Request, *, id: AlertId, distributor: DistributorId) -> DistributionReply:
    """Confirms, on behalf of a distributor, that it no longer shows the alert. Ask the distributor first."""
    s, who = services(request), credential(request)
    record = await s.approval.chain(id, who)
    check_key(record, who)
    await s.acknowledgements.confirm(record, distributor, who)
    note(request, record=record, distributor=distributor)
    return await _distribution(request, record)


@OPERATIONS.add(
    "POST", f"{_OF_ALERT}/{{distributor}}/resend", "Send a distributor its message again", "alerts:write",
    problems=("precondition-failed",), act=Act("alert.distribute-again", once=True),
)  # fmt: skip
async def resend_distribution(request: web.Request, *, id: AlertId, distributor: DistributorId) -> DistributionReply:
    """Sends a distributor again the message that it refused or did not accept in time; with the current content, if the
    alert has changed.
    """
    s, who = services(request), credential(request)
    record = await s.approval.chain(id, who)
    if not is_replay(request):
        check_key(record, who)
        await s.acknowledgements.send_again(record, distributor, who)
        note(request, record=record, distributor=distributor)
    return await _distribution(request, record)


@OPERATIONS.add(
    "POST", "/v1/receipts/distributors/{token}", "A distributor's Ack or Error", None, takes=_CAP,
    problems=("too-large", "wrong-content-type"), essential=True,
)  # fmt: skip
async def take_distributor_receipt(request: web.Request, *, token: str) -> ReceiptsTaken:
    """Records a CAP Ack or Error from a distributor. Its `references` name the messages; the `note` of an Error gives
    the reason. The address is secret to that distributor, so no key is needed.
    """
    return ReceiptsTaken(taken=await services(request).acknowledgements.take(token, await request.read()))


async def _distribution(request: web.Request, record: AlertRecord) -> DistributionReply:
    """Returns an alert's messages at each distributor as the API shows them."""
    shares = await services(request).distributors.of_alert(record)
    return DistributionReply(id=record.id, distributors=[_share(one, record) for one in shares])


def _share(share: Share, record: AlertRecord) -> ShareReply:
    """Returns one alert's state at one distributor as the API shows it."""
    track = share.track or Track()
    return ShareReply(
        distributor=share.id, name=share.name, has_it=track.has and not track.over, why_not=share.why_not or None,
        takedown=TakedownReply(
            state="open" if track.owed else "confirmed" if track.confirmed else "none",
            since=time_or_none(track.owed), confirmed_at=time_or_none(track.confirmed), confirmed_by=track.by or None,
            confirmed_by_org=record.org if track.by else None,
        ),
        messages=[_message(one, record) for one in track.entries],
    )  # fmt: skip


def _message(one: Entry, record: AlertRecord) -> DistributedMessage:
    """Returns one message to a distributor as the API shows it; the note of a refusal is decrypted."""
    return DistributedMessage(
        identifier=one.identifier, type=_TYPES[one.type], state=one.state, may_have_arrived=one.maybe, tries=one.tries,
        first=time_or_none(one.first), last=time_or_none(one.last), answered=one.answered or None, receipt=one.ack or None,
        note=opened_note(record, one) or None,
    )  # fmt: skip


def _facts(request: web.Request, one: Registered) -> dict[str, Any]:
    """Returns the values of the members of `DistributorReply`, by name; URLs only for administrators."""
    is_told = credential(request).may("admin")
    return subscription_facts(one.hook, one.standing) | {
        "name": one.distributor.name, "host": one.host, "distributor": one.distributor if is_told else None,
        "receipts": services(request).distributors.receipts(one) if is_told else None, "authorized": bool(one.hook.authorization),
        "enabled": one.distributor.enabled, "alerts": one.has, "takedowns_open": len(one.owed),
        "takedowns": list(one.owed[:MOST_TAKEDOWNS]),
    }  # fmt: skip


_TYPES: dict[MsgType, Literal["Alert", "Update", "Cancel"]] = {
    MsgType.ALERT: "Alert", MsgType.UPDATE: "Update", MsgType.CANCEL: "Cancel",
}  # fmt: skip
