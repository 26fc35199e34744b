"""Targets over HTTP: what would this reach, and what is the place called."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import shapely
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.alerts import CHANNELS
from alertd.api.call import credential, note
from alertd.api.operations import Act, Operation
from alertd.api.services import services
from alertd.api.shapes import (
    ETA,
    AreaReply,
    AudienceReply,
    PermissionReply,
    RegionShare,
    area_reply,
    audience_reply,
    eta,
    permission_reply,
)
from alertd.documents import Policy, Target
from alertd.errors import Problem
from alertd.fields import Language
from alertd.kinds import Kind
from alertd.rules import not_honoured
from alertd.service.counts import Shown
from alertd.service.grounds import facts


class PreviewRequest(BaseModel):
    """A target, whose places count, and the language to name it in."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    target: Target
    kind: Kind = Kind.MISSING_CHILD
    policy: Policy = Policy()
    language: Language = "en"


class OutsideReply(BaseModel):
    whose: str = Field(description="Whose jurisdiction it leaves: your organisation's, or this key's own.")
    share: float = Field(description="Part of the area's ground that lies outside.")
    km2: float
    regions: list[RegionShare] = Field(description="Where that is; of a few regions at most, the largest part first.")


#: Of a policy that escalates, where no app acknowledged anything in a month.
NOBODY_ACKNOWLEDGES = "No app has acknowledged a message in the last month, so everyone with a number will get the SMS, only later. See ops/apps.md."


class PreviewReply(BaseModel):
    area: AreaReply
    geometry: dict[str, Any] = Field(description="The area as GeoJSON MultiPolygon.")
    audience: AudienceReply
    untold: dict[str, Shown] = Field(
        description="People who named a region instead of a point, of which too little lies in the area for them to be told, by region."
    )
    eta: dict[str, float] = Field(description=ETA)
    outside: OutsideReply | None = Field(
        description="What of the area lies outside your jurisdiction, so that an alert to it would be refused; null where nothing does."
    )
    neighbours: list[PermissionReply] = Field(
        description="With `target.beyond` set to `ask`: what other organisations would be asked for; the area and the audience are without it."
        " Otherwise who could be asked for what lies `outside`, where they may permit all of it."
    )
    notice: str | None = Field(description="What the policy asks for and will not get.")


async def preview_target(request: web.Request, *, body: PreviewRequest) -> PreviewReply:
    """The area of a target, its regions, and how many people and addresses are in it. Counts below 20 are hidden, and of an
    area or an audience below the least every count.
    """
    s = services(request)
    if faults := not_honoured(body.target, "target"):
        raise Problem("invalid-request", "The target asks for what is not done yet.", faults=tuple(faults))
    s.targeting.check_own(body.target, credential(request).org)
    look, beyond, neighbours = await s.borders.previewed(body.target, body.kind, body.policy, credential(request))
    loudness = [None, *(ring.loudness for ring in body.target.rings)]
    audience = await asyncio.to_thread(audience_reply, s, look, body.target, loudness.__getitem__)
    note(request, km2=str(round(look.area.km2, 3)), people=audience.people)
    return PreviewReply(
        area=await area_reply(s, look.area, look.shares, body.language),
        geometry=json.loads(shapely.to_geojson(look.area.geometry)),
        audience=audience,
        untold=await s.targeting.untold(body.kind, body.policy, look.shares, look.area.km2, look.found),
        eta=eta(s, audience, (body.target, body.policy), CHANNELS, (ring.loudness for ring in audience.rings)),
        outside=OutsideReply.model_validate(facts(beyond)) if beyond else None,
        neighbours=[permission_reply(one) for one in neighbours],
        notice=NOBODY_ACKNOWLEDGES if body.policy.escalates and not await s.acks.lately(s.clock.now_ms()) else None,
    )


OPERATIONS = (
    Operation(
        method="POST", path="/v1/targets/preview", handler=preview_target, summary="Preview a target",
        scope="alerts:read", group="Targets", problems=("unknown-region", "invalid-geometry"), essential=True,
        act=Act("target.preview"),
    ),
)  # fmt: skip
