"""Targets over HTTP: what would this reach, and what is the place called."""

from __future__ import annotations

import json
from typing import Any

import shapely
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.area_shapes import ETA, AreaReply, AudienceReply, RegionShare, area_reply, audience_reply, eta
from alertd.api.http.call import credential, services
from alertd.api.http.operations import Operations
from alertd.api.shapes import PermissionReply, permission_reply, untold_reply
from alertd.common.errors import Problem
from alertd.model.alert import Policy, Target
from alertd.model.fields import Language
from alertd.model.kinds import Kind
from alertd.model.rules import not_honoured
from alertd.model.states import CHANNELS
from alertd.service.areas.jurisdiction import facts
from alertd.service.reach import Estimate


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
NOBODY_ACKNOWLEDGES = "No app has acknowledged a message in the last month, so everyone with a number will get the SMS, only later. See ops/docs/integrate/apps.md."


class PreviewReply(BaseModel):
    area: AreaReply
    geometry: dict[str, Any] = Field(description="The area as GeoJSON MultiPolygon.")
    audience: AudienceReply
    untold: dict[str, Estimate] = Field(
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


OPERATIONS = Operations("Targets")


@OPERATIONS.add(
    "POST", "/v1/targets/preview", "Preview a target", "alerts:write", or_scope="alerts:approve",
    problems=("unknown-region", "invalid-geometry", "rate-limited"), essential=True,
)  # fmt: skip
async def preview_target(request: web.Request, *, body: PreviewRequest) -> PreviewReply:
    """The area of a target, its regions, and about how many people and addresses are in it: estimates, only of ground in your
    jurisdiction. A key gets 60 previews and dry runs a minute unless the configuration says otherwise.
    """
    s, who = services(request), credential(request)
    if faults := not_honoured(body.target, "target"):
        raise Problem("invalid-request", "The target asks for what is not done yet.", faults=tuple(faults))
    s.targeting.check_own(body.target, who.org)
    async with s.reach_audit.turn(who):
        area, look, beyond, neighbours = await s.jurisdiction_split.previewed(body.target, body.kind, who)
        shown = await area_reply(s, area, await s.targeting.shares(area.geometry), body.language)
    if look.reach:
        await s.reach_audit.enter(who, look.area.geometry, body.kind)
    loudness = [None, *(ring.loudness for ring in body.target.rings)]
    audience = audience_reply(look, body.target, loudness.__getitem__)
    return PreviewReply(
        area=shown,
        geometry=json.loads(shapely.to_geojson(area.geometry)),
        audience=audience,
        untold=untold_reply(look),
        eta=eta(s, audience, (body.target, body.policy), CHANNELS, (ring.loudness for ring in audience.rings)),
        outside=OutsideReply.model_validate(facts(beyond)) if beyond else None,
        neighbours=[permission_reply(one).model_copy(update={"people": None}) for one in neighbours],
        notice=NOBODY_ACKNOWLEDGES
        if body.policy.escalates and not await s.acknowledgement_store.lately(s.clock.now_ms())
        else None,
    )
