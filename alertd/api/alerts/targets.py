"""The HTTP operation that previews a target: its area, and how many people are in it."""

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
    """A target, the kinds of place that count, and the language for the area's name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    target: Target
    kind: Kind = Kind.MISSING_CHILD
    policy: Policy = Policy()
    language: Language = "en"


class OutsideReply(BaseModel):
    whose: str = Field(description="The jurisdiction that the area leaves: your organisation's, or this key's own.")
    share: float = Field(description="Part of the area that lies outside, from 0 to 1.")
    km2: float
    regions: list[RegionShare] = Field(description="The regions outside; at most a few, the largest part first.")


#: Notice for an escalating policy if no app acknowledged a message in the last month.
NOBODY_ACKNOWLEDGES = "No app has acknowledged a message in the last month, so everyone with a number will get the SMS, only later. See ops/docs/integrate/apps.md."


class PreviewReply(BaseModel):
    area: AreaReply
    geometry: dict[str, Any] = Field(description="The area as GeoJSON MultiPolygon.")
    audience: AudienceReply
    untold: dict[str, Estimate] = Field(
        description="By region: people who chose a region instead of a point and are not notified, because too little of the region is in the area."
    )
    eta: dict[str, float] = Field(description=ETA)
    outside: OutsideReply | None = Field(
        description="The part of the area outside your jurisdiction, which makes alertd refuse the alert; null if there is none."
    )
    neighbours: list[PermissionReply] = Field(
        description="With `target.beyond` set to `ask`: the organisations that alertd would ask; `area` and `audience` leave their parts out."
        " Otherwise the organisations that could permit all of the area `outside`."
    )
    notice: str | None = Field(description="A part of the policy that has no effect, with the reason.")


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/targets/preview", "Preview a target", "alerts:write", or_scope="alerts:approve",
    problems=("unknown-region", "invalid-geometry", "rate-limited"), essential=True,
)  # fmt: skip
async def preview_target(request: web.Request, *, body: PreviewRequest) -> PreviewReply:
    """Returns the area of a target, its regions, and estimates of the people and addresses in it, only within your
    jurisdiction. Stores no alert, but enters a question that counts people in the audit. A key may make 60 previews and
    dry runs a minute unless the configuration differs.
    """
    s, who = services(request), credential(request)
    if faults := not_honoured(body.target, "target"):
        raise Problem("invalid-request", "The target uses a feature that is not supported yet.", faults=tuple(faults))
    s.targeting.check_own(body.target, who.org)
    async with s.reach_audit.turn(who):
        area, preview, beyond, neighbours = await s.jurisdiction_split.previewed(body.target, body.kind, who)
        shown = await area_reply(s, area, await s.targeting.shares(area.geometry), body.language)
    if preview.reach:
        await s.reach_audit.enter(who, preview.area.geometry, body.kind)
    loudness = [None, *(ring.loudness for ring in body.target.rings)]
    audience = audience_reply(preview, body.target, loudness.__getitem__)
    return PreviewReply(
        area=shown,
        geometry=json.loads(shapely.to_geojson(area.geometry)),
        audience=audience,
        untold=untold_reply(preview),
        eta=eta(s, audience, (body.target, body.policy), CHANNELS, (ring.loudness for ring in audience.rings)),
        outside=OutsideReply.model_validate(facts(beyond)) if beyond else None,
        neighbours=[permission_reply(one).model_copy(update={"people": None}) for one in neighbours],
        notice=NOBODY_ACKNOWLEDGES
        if body.policy.escalates and not await s.acknowledgement_store.lately(s.clock.now_ms())
        else None,
    )
