"""HTTP operations on the suppression list: addresses that get no messages, for all present and later subscribers.
Addresses appear in bodies only, never in a URL or the audit. SMS carriers (STOP) and mail programs add to the list as
well.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import note, services
from alertd.api.http.operations import Act, Operations
from alertd.api.people.subscribers import Lookup, address_of
from alertd.common.errors import Problem
from alertd.model.fields import Document
from alertd.model.kinds import LiftReason
from alertd.model.registration import AddressDocument
from alertd.model.states import CHANNELS

#: Maximum addresses in one call. Even if each has a language, the body stays within the general limit of JSON members.
MAX_SUPPRESSED = 5_000


class Suppression(Document):
    """Addresses to suppress, in the form of a registration."""

    addresses: Annotated[
        tuple[AddressDocument, ...],
        Field(min_length=1, max_length=MAX_SUPPRESSED, examples=[[{"channel": "sms", "number": "+34600000000"}]]),
    ]


class SuppressionReply(BaseModel):
    listed: int = Field(description="How many were not on the list before.")
    stopped: int = Field(description="Number of subscribers' addresses that were active until now.")


class Since(BaseModel):
    since: datetime


class Lift(Lookup):
    """One address to remove from the suppression list, and the reason."""

    reason: Annotated[LiftReason, Field(strict=False)]


class LiftReply(BaseModel):
    lifted: bool = Field(description="Whether it was on the list.")
    active: int = Field(description="How many subscribers' addresses may be used again: one, or none.")


OPERATIONS = Operations()


@OPERATIONS.add("POST", "/v1/suppressions", "Suppress addresses", "subscribers:write", act=Act("suppression.add"))
async def suppress_addresses(request: web.Request, *, body: Suppression) -> SuppressionReply:
    """Puts addresses on the suppression list, for instance those that opted out at another provider. They get no more
    messages, for subscribers who have one now or register one later. Repeating the call changes nothing. START does not
    remove these addresses.
    """
    addresses = [(CHANNELS.index(address.channel), address.value) for address in body.addresses]
    done = await services(request).suppression.hold(addresses)
    note(request, addresses=len(addresses), listed=done.listed, stopped=done.changed)
    return SuppressionReply(listed=done.listed, stopped=done.changed)


@OPERATIONS.add(
    "POST", "/v1/suppressions/lookup", "Since when an address is suppressed", "subscribers:read",
    problems=("not-found",), essential=True, act=Act("suppression.lookup"),
)  # fmt: skip
async def lookup_suppression(request: web.Request, *, body: Lookup) -> Since:
    """Returns since when an address is on the suppression list. The answer is 404 if it is not on the list."""
    address = address_of(body)
    note(request, object_=services(request).audit.hidden(address[1]))
    since = await services(request).suppression.since(address)
    if since is None:
        raise Problem("not-found", "This address is not on the list.")
    return Since(since=datetime.fromtimestamp(since, UTC))


@OPERATIONS.add("POST", "/v1/suppressions/lift", "Lift a suppression", "subscribers:write", act=Act("suppression.lift"))
async def lift_suppression(request: web.Request, *, body: Lift) -> LiftReply:
    """Removes an address from the suppression list: its subscriber, or one who registers it later, gets messages again.
    A person who sent STOP undoes that with START. Use this for people who cannot, and for addresses that were added by
    hand.
    """
    address = address_of(body)
    note(request, object_=services(request).audit.hidden(address[1]), reason=str(body.reason))
    done = await services(request).suppression.lift([address])
    return LiftReply(lifted=bool(done.listed), active=done.changed)
