"""What became of single messages, over HTTP: sending again what may not have arrived."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.alerts import AlertState, State
from alertd.api.call import credential, is_replay, note
from alertd.api.operations import Act, Operation
from alertd.api.services import services
from alertd.api.shapes import AlertId
from alertd.kinds import Channel

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


async def resend_deliveries(request: web.Request, *, id: AlertId, body: Resend = ALL) -> ResendReply:
    """Sends again what may not have arrived. Each goes to the address that the person has now, and to nobody who left meanwhile.
    Refused once the alert is stood down, cancelled or at its end. Sent twice it queues nothing more.
    """
    s, who = services(request), credential(request)
    record, resent = await s.approval.get(id, who), None
    if not is_replay(request):
        states = {State[word.upper()] for word in body.states}
        resent = await s.resending.resend(record, who, states, body.channel)
        note(request, record=record, resent=resent, states=" ".join(sorted(body.states)), channel=body.channel or "all")
    now = await s.approval.get(id, who)
    return ResendReply(id=id, state=now.state, resent=resent, channels=await s.reports.counts(id))


OPERATIONS = (
    Operation(
        method="POST", path="/v1/alerts/{id}/deliveries/resend", handler=resend_deliveries, summary="Send again",
        scope="alerts:approve", group="Alerts", problems=("not-found", "precondition-failed", "stop-active"),
        act=Act("alert.resend"),
    ),
)  # fmt: skip
