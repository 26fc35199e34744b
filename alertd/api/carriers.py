"""Carriers over HTTP: which there are, and one message to see that one works."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.addresses import as_kept
from alertd.api.call import credential, is_replay, note, prepared_id
from alertd.api.operations import Act, Operation
from alertd.api.services import services
from alertd.errors import Problem
from alertd.ids import new_id
from alertd.kinds import Channel
from channels.base import Subscribed

CarrierName = Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,64}$", examples=["relay"])]


class CarrierReply(BaseModel):
    name: str
    channel: str
    rate: float | None = Field(description="Permits a second.")
    weight: float = Field(description="Its share of the channel; 0 stands by for the others.")
    ramp_s: float = Field(description="After an idle spell the rate grows for so long.")
    application_server_key: str | None = Field(
        None, description="Of web push: the public key that pages subscribe browsers with, in base64url."
    )
    breaker_open: bool = Field(description="It failed again and again, and rests until it takes messages again.")
    at_work: bool = Field(
        description="A worker sends by its channel. Where none does, what is queued waits until one is started."
    )


class CarrierList(BaseModel):
    carriers: list[CarrierReply]


class CarrierTestRequest(BaseModel):
    """Where a test goes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    to: str = Field(
        description="One of your own: a push token, a number or a mailbox, as the carrier's channel has them.",
        min_length=1, max_length=4096, examples=["me@centre.example"],
    )  # fmt: skip
    language: Literal["en", "es", "fr", "ar"] = "en"


class CarrierTestReply(BaseModel):
    carrier: str
    channel: str
    answer: Literal["accepted", "retry", "never", "unknown", "withheld"] = Field(
        description="`accepted`: the carrier has it; `retry`: not now; `never`: not this message, or not this address; `unknown`: no answer "
        "came; `withheld`: it was not sent."
    )
    reason: str = Field(description="Why, as in a ledger; `no_worker` where nobody sent it in time.")
    took_ms: int


async def list_carriers(request: web.Request) -> CarrierList:
    """The carriers, their limits, which of them rest because they failed, and whether workers send by them."""
    s = services(request)
    resting, at_work = await s.fleet.breakers(), await s.attendance.channels()
    return CarrierList(
        carriers=[
            CarrierReply(
                name=c.name, channel=c.channel.name, rate=s.settings.carriers[c.name].rate or None,
                weight=c.weight, ramp_s=c.ramp_s, breaker_open=resting[c.channel.name, c.name],
                at_work=at_work[c.channel.name],
                application_server_key=c.channel.public_key if isinstance(c.channel, Subscribed) else None,
            )
            for c in s.carriers.all()
        ]
    )  # fmt: skip


async def test_carrier(request: web.Request, *, name: CarrierName, body: CarrierTestRequest) -> CarrierTestReply:
    """Sends one message that says in fixed words that it is a test, to an address of your own, by this carrier and no other; answers when
    the carrier has, within half a minute. Only whoever runs the service may, a few times a minute. The audit has that it was done, and no address.
    """
    s, who = services(request), credential(request)
    carrier = s.carrier_tests.carrier(name, who)
    to = _address(carrier.channel.name, body.to)
    test_id = prepared_id(request) or new_id(s.clock.now_ms())
    if is_replay(request):
        found = await s.carrier_tests.answered(test_id)
    else:
        found = await s.carrier_tests.ask(carrier, to, body.language, test_id=test_id, who=who)
    note(request, answer=found.answer, reason=found.reason)
    return CarrierTestReply(
        carrier=name, channel=carrier.channel.name, answer=found.answer, reason=found.reason, took_ms=found.took_ms
    )


def _address(channel: str, text: str) -> str:
    """An address of a channel as it is kept. Raises Problem."""
    if channel == Channel.WEBPUSH:  # nobody types a subscription
        raise Problem("channel-unavailable", f"A carrier of {channel} is tested by an alert of the status Test.")
    return as_kept(channel, text, "/to")


OPERATIONS = (
    Operation(
        method="GET", path="/v1/carriers", handler=list_carriers, summary="List carriers", scope="alerts:read", group="Service"
    ),
    Operation(
        method="POST", path="/v1/carriers/{name}/test", handler=test_carrier, summary="Test a carrier", scope="admin",
        group="Service", problems=("not-found", "stop-active", "rate-limited", "channel-unavailable"), act=Act("carrier.test", once=True),
    ),
)  # fmt: skip
