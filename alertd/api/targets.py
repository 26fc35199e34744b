"""Targets and regions over HTTP: what would this reach, and what is this place called."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import shapely
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.alerts import CHANNELS
from alertd.api.operations import Operation
from alertd.api.services import services
from alertd.api.shapes import AreaReply, AudienceReply, Query, area_reply, audience_reply, eta
from alertd.documents import Policy, Target
from alertd.errors import Fault, Problem
from alertd.kinds import Kind
from alertd.rules import not_honoured
from alertd.service.intake import Look
from geofences.errors import UnknownRegion
from geofences.regions import Region

#: Degrees: about 500 m, what a map of a whole region shows.
SIMPLE_DEGREES = 0.005


class PreviewRequest(BaseModel):
    """A target and whose places count."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    target: Target
    kind: Kind = Kind.MISSING_CHILD
    policy: Policy = Policy()


class PreviewReply(BaseModel):
    area: AreaReply
    geometry: dict[str, Any] = Field(description="The area as GeoJSON MultiPolygon.")
    audience: AudienceReply
    eta: dict[str, float] = Field(description="Seconds each channel needs at its carrier's rate.")


class RegionReply(BaseModel):
    code: str
    name: str
    kind: str
    parent: str | None
    country: str
    source: str
    licence: str
    geometry: dict[str, Any] | None = None


class RegionList(BaseModel):
    regions: list[RegionReply]


class RegionsQuery(Query):
    q: str | None = Field(None, description="Name or code, without regard to accents.", max_length=200)
    kind: Literal["country", "province", "county", "city"] | None = None
    parent: str | None = Field(None, max_length=32)
    at: str | None = Field(None, description="lon,lat: the regions at this point, smallest first.", max_length=64)
    limit: int = Field(20, ge=1, le=200)


class RegionQuery(Query):
    geometry: Literal["full", "simple", "none"] = "simple"


RegionCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9._+~-]{1,32}$", examples=["41091"])]


async def preview_target(request: web.Request, *, body: PreviewRequest) -> PreviewReply:
    """The area of a target, its regions, and how many people and addresses are in it. Counts below 20 are hidden, and of an
    area or an audience below the least every count.
    """
    s = services(request)
    if faults := (*not_honoured(body.target, "target"), *not_honoured(body.policy, "policy")):
        raise Problem("invalid-request", "The target asks for what is not done yet.", faults=faults)
    area = await s.targeting.area(body.target)
    shares = await s.targeting.shares(area.geometry)
    found = await s.targeting.find(area.geometry, body.kind, body.policy, shares)
    ringed = await s.targeting.find_rings(area.geometry, body.target, found, body.kind, body.policy)
    look = Look(area=area, shares=shares, found=found, ringed=ringed)
    audience = audience_reply(s, look, body.target, lambda ring: body.target.rings[ring - 1].loudness if ring else None)
    return PreviewReply(
        area=area_reply(look),
        geometry=json.loads(shapely.to_geojson(area.geometry)),
        audience=audience,
        eta=eta(s, audience.addresses, CHANNELS),
    )


async def list_regions(request: web.Request, *, query: RegionsQuery) -> RegionList:
    """Regions by name or code (`q`), or those at a point (`at`)."""
    library = services(request).library
    if query.at is not None:
        found = list(library.at(*_point(query.at)))
    elif query.q is not None:
        found = library.search(query.q, query.kind, query.parent, query.limit)
    else:
        found = [r for r in library.regions if query.kind in {None, r.kind} and query.parent in {None, r.parent}]
    return RegionList(regions=[_region(region) for region in found[: query.limit]])


async def show_region(request: web.Request, *, code: RegionCode, query: RegionQuery) -> RegionReply:
    """One region, with its outline as GeoJSON."""
    library = services(request).library
    try:
        region = library.get(code)
    except UnknownRegion as error:
        raise Problem("not-found", error.why, nearest=error.nearest) from None
    if query.geometry == "none":
        return _region(region)
    outline = library.geometry(code)
    if query.geometry == "simple":
        outline = shapely.simplify(outline, SIMPLE_DEGREES)
    return _region(region).model_copy(update={"geometry": json.loads(shapely.to_geojson(outline))})


def _point(text: str) -> tuple[float, float]:
    try:
        lon, lat = (float(part) for part in text.split(","))
    except ValueError:
        fault = Fault("", "Give a point as lon,lat in degrees.", "at")
        raise Problem("invalid-request", "The point cannot be read.", faults=(fault,)) from None
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        fault = Fault("", "Longitude is within 180 degrees and latitude within 90; the order is lon,lat.", "at")
        raise Problem("invalid-request", "The point is not on Earth.", faults=(fault,))
    return lon, lat


def _region(region: Region) -> RegionReply:
    return RegionReply(
        code=region.code, name=region.name, kind=region.kind, parent=region.parent, country=region.country,
        source=region.source, licence=region.licence,
    )  # fmt: skip


OPERATIONS = (
    Operation(
        method="POST", path="/v1/targets/preview", handler=preview_target, summary="Preview a target",
        scope="alerts:read", group="Targets", problems=("unknown-region", "invalid-geometry"), essential=True,
    ),
    Operation(
        method="GET", path="/v1/regions", handler=list_regions, summary="Find regions", scope="regions:read", group="Targets"
    ),
    Operation(
        method="GET", path="/v1/regions/{code}", handler=show_region, summary="Show a region", scope="regions:read",
        group="Targets", problems=("not-found",),
    ),
)  # fmt: skip
