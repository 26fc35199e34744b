"""HTTP operations on carriers: list them with their state, and send one test message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.http.call import PREPARED_ID, credential, is_replay, note, services
from alertd.api.http.operations import Act, Operations
from alertd.api.people.subscribers import as_kept
from alertd.common.ids import new_id
from alertd.model.kinds import Channel
from alertd.service.carriers.states import STATES, CarrierState, Cause
from channels.base import Subscribed

CarrierName = Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,64}$", examples=["relay"])]


class CauseReply(BaseModel):
    """Why a carrier cannot send, why its state is not known, or why a test failed."""

    code: str = Field(
        description="The cause as a word: a state of a carrier, or the reason of a test.", examples=["login_refused"]
    )
    server: str = Field(
        description='Host and port of the carrier; "" where no server is at fault.',
        examples=["smtp.centre.example:587"],
    )
    said: str = Field(
        description="The words of the carrier or the system, without mailboxes and numbers.",
        examples=["535 5.7.8 authentication failed"],
    )
    settings: list[str] = Field(description="The settings of alertd.toml to check.", examples=[["carriers.relay.user"]])
    sentence: str = Field(
        description="All of it in one English sentence.",
        examples=[
            "smtp.centre.example:587 refused the login: 535 5.7.8 authentication failed. Check carriers.relay.user."
        ],
    )

    @classmethod
    def of(cls, cause: Cause | None) -> Self | None:
        """Returns the reply for a cause; None without a cause."""
        if cause is None:
            return None
        return cls(
            code=cause.code, server=cause.server, said=cause.said, settings=list(cause.settings), sentence=cause.sentence
        )  # fmt: skip


class CarrierReply(BaseModel):
    name: str
    channel: str
    rate: float | None = Field(description="Permits a second.")
    weight: float = Field(description="Its share of the channel; 0: only a fallback for the others.")
    ramp_s: float = Field(description="After an idle spell the rate grows for so long.")
    application_server_key: str | None = Field(
        None, description="Of web push: the public key that pages subscribe browsers with, in base64url."
    )
    breaker_open: bool = Field(description="It failed repeatedly; alertd pauses it until it accepts messages again.")
    at_work: bool = Field(
        description="A worker sends on its channel. Without one, queued messages wait until a worker starts."
    )
    state: str = Field(
        json_schema_extra={"enum": list(STATES)},
        description="Whether it can send, in one word. `works`: a worker logged in, or it accepted a message a moment ago. `not_known`: no worker "
        "has logged in yet, the carrier has no call that checks an account, or no browser has subscribed to web push yet. `no_worker`: see `at_work`. `rests`: see `breaker_open`. `waits`: the carrier asked alertd to wait. "
        "`refuses_recipients`: workers log in, but the carrier refused more than 20 new recipients in a row and accepted none since. "
        "Any other word says why workers cannot connect or log in.",
    )
    since: datetime | None = Field(None, description="Since when the workers' logins find this state.")
    cause: CauseReply | None = Field(
        None, description="Why it cannot send, or why its state is `not_known`, where that is known; else null."
    )


class CarrierList(BaseModel):
    carriers: list[CarrierReply]


class CarrierTestRequest(BaseModel):
    """The address that gets the test message."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    to: str = Field(
        description="One of your own: a push token, a number or a mailbox, as the carrier's channel has them; for web push the id of a "
        "tester among your subscribers, with a browser.",
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
    reason: str = Field(description="Why, as in a ledger; `no_worker` if no worker sent it in time.")
    took_ms: int
    cause: CauseReply | None = Field(
        None, description="Why it failed and what to check; null when the carrier accepted it."
    )


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/carriers", "List carriers", "alerts:read")
async def list_carriers(request: web.Request) -> CarrierList:
    """Returns the carriers, their limits, and the state of each: whether it can send, and if not, why and which
    settings to check.
    """
    s = services(request)
    states, at_work = await s.carrier_states.all(), await s.channel_coverage.channels()
    return CarrierList(
        carriers=[
            CarrierReply(
                name=c.name, channel=c.channel.name, rate=s.settings.carriers[c.name].rate or None,
                weight=c.weight, ramp_s=c.ramp_s, breaker_open=states[c.name].rests,
                at_work=at_work[c.channel.name], **_shown(states[c.name]),
                application_server_key=c.channel.public_key if isinstance(c.channel, Subscribed) else None,
            )
            for c in s.carriers.all()
        ]
    )  # fmt: skip


@OPERATIONS.add(
    "POST", "/v1/carriers/{name}/test", "Test a carrier", "admin", problems=("stop-active", "rate-limited"),
    act=Act("carrier.test", once=True),
)  # fmt: skip
async def test_carrier(request: web.Request, *, name: CarrierName, body: CarrierTestRequest) -> CarrierTestReply:
    """Sends one test message with a fixed text, to an address of your own, through this carrier only. Waits up to 40
    seconds for the carrier's answer. A failure names its cause and the settings to check. Only for the organisation
    that runs the service; limited to a few a minute. The audit records the act without the address.
    """
    s, who = services(request), credential(request)
    carrier = s.carrier_tests.carrier(name, who)
    if carrier.channel.name == Channel.WEBPUSH:
        to = await s.carrier_tests.browser(body.to)
    else:
        to = as_kept(carrier.channel.name, body.to, "/to")
    test_id = request.get(PREPARED_ID) or new_id(s.clock.now_ms())
    if is_replay(request):
        found = await s.carrier_tests.answered(test_id)
    else:
        found = await s.carrier_tests.ask(carrier, to, body.language, test_id=test_id, who=who)
    note(request, answer=found.answer, reason=found.reason)
    return CarrierTestReply(
        carrier=name, channel=carrier.channel.name, answer=found.answer, reason=found.reason, took_ms=found.took_ms,
        cause=CauseReply.of(Cause(found.code, found.server, found.said, found.settings) if found.code else None),
    )  # fmt: skip


def _shown(state: CarrierState) -> dict[str, Any]:
    """Returns the members `state`, `since` (a datetime in UTC, or None) and `cause` of a carrier's reply."""
    since = None if state.since_ms is None else datetime.fromtimestamp(state.since_ms // 1000, UTC)
    return {"state": state.state, "since": since, "cause": CauseReply.of(state.cause)}
