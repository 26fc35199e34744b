"""The suppression list over HTTP: addresses whose owners want nothing more, whoever has them or will. They are named in bodies alone,
never in an address or the audit; whose words the list is made of are text message centres and mail programs as well.
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

#: With a language each, a body of them has no more members than any may have.
MAX_SUPPRESSED = 5_000


class Suppression(Document):
    """Addresses as in a registration."""

    addresses: Annotated[
        tuple[AddressDocument, ...],
        Field(min_length=1, max_length=MAX_SUPPRESSED, examples=[[{"channel": "sms", "number": "+34600000000"}]]),
    ]


class SuppressionReply(BaseModel):
    listed: int = Field(description="How many were not on the list before.")
    stopped: int = Field(description="How many subscribers' addresses were in use until now.")


class Since(BaseModel):
    since: datetime


class Lift(Lookup):
    """One address, and why it may be used again."""

    reason: Annotated[LiftReason, Field(strict=False)]


class LiftReply(BaseModel):
    lifted: bool = Field(description="Whether it was on the list.")
    active: int = Field(description="How many subscribers' addresses may be used again: one, or none.")


OPERATIONS = Operations("Subscribers")


@OPERATIONS.add("POST", "/v1/suppressions", "Suppress addresses", "subscribers:write", act=Act("suppression.add"))
async def suppress_addresses(request: web.Request, *, body: Suppression) -> SuppressionReply:
    """Puts addresses on the suppression list, such as those that another provider was told STOP by. Nothing more goes to them: whoever has
    one is stopped, and whoever comes with one later. Sent again it changes nothing. No START takes these off again.
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
    """Since when an address is on the suppression list."""
    address = address_of(body)
    note(request, object_=services(request).audit.hidden(address[1]))
    since = await services(request).suppression.since(address)
    if since is None:
        raise Problem("not-found", "This address is not on the list.")
    return Since(since=datetime.fromtimestamp(since, UTC))


@OPERATIONS.add("POST", "/v1/suppressions/lift", "Lift a suppression", "subscribers:write", act=Act("suppression.lift"))
async def lift_suppression(request: web.Request, *, body: Lift) -> LiftReply:
    """Takes an address off the suppression list: whoever has it is told by it again, and whoever comes with it. A person who answered STOP
    undoes that with START; this is for whoever cannot, and for what was put there by hand.
    """
    address = address_of(body)
    note(request, object_=services(request).audit.hidden(address[1]), reason=str(body.reason))
    done = await services(request).suppression.lift([address])
    return LiftReply(lifted=bool(done.listed), active=done.changed)
