"""HTTP operations on regions: find them by name, code, point and box, show one with its outline, and draw and delete
your own.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any, Literal

import shapely
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.area_shapes import RepairReply, repair_members
from alertd.api.http.call import Conditions, NewOrSeen, credential, etag, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import Query
from alertd.common.errors import Fault, Problem
from alertd.model.alert import Shape
from alertd.model.fields import Language, Line
from alertd.service.areas.jurisdiction import refused
from alertd.service.areas.regions import check_live
from alertd.store.areas.custom_regions import NOTHING
from geofences.errors import UnknownRegion
from geofences.regions import SCHEME, Library, Region
from geofences.simplifying import simple

#: A code of the library's own, or a foreign one with its scheme.
RegionCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+:~-]{0,31}$", examples=["41091", "NUTS:ES618"])]
#: Code of a drawn region. It cannot look like a code of a foreign scheme.
DrawnCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$", examples=["PATROL-1"])]


#: The pattern of a number of degrees, as programs write it: at most three digits before the point.
_DEGREES = r"-?[0-9]{1,3}(?:\.[0-9]{1,17})?(?:[eE]-[0-9]{1,2})?"


def _degrees(form: str) -> dict[str, Any]:
    """Returns the JSON schema of a text with as many numbers, separated by commas, as `form` has names, such as
    "lon,lat".
    """
    count = form.count(",") + 1
    return {"pattern": f"^{','.join([_DEGREES] * count)}$"}


class RegionReply(BaseModel):
    code: str
    name: str
    names: dict[str, str] = Field(description="By language, where they differ from the name.")
    kind: str
    parent: str | None
    country: str
    km2: float
    bbox: list[float] = Field(description="West, south, east, north, in degrees.", min_length=4, max_length=4)
    source: str
    licence: str
    geometry: dict[str, Any] | None = None


class OneRegion(RegionReply):
    aliases: list[str] = Field(description="Foreign codes that stand for this region alone.")
    repairs: list[str] = Field([], description="Repairs that alertd made to the submitted shape.")
    mended: list[RepairReply] = Field([], description="The same repairs in parts, in the same order.")


class RegionList(BaseModel):
    regions: list[RegionReply]
    next: str | None = Field(description="Send it as `cursor` to get the next page; null at the end.")


class RegionsQuery(Query):
    q: str | None = Field(
        None, description="Name in any language or code, ignoring accents; tolerates a typing error.", max_length=200
    )
    kind: Literal["country", "province", "county", "city", "drawn"] | None = None
    parent: str | None = Field(None, description="Only those anywhere below the region of this code.", max_length=32)
    at: str | None = Field(
        None,
        description="lon,lat: the regions at this point, smallest first; with `q`, those nearer to it come first.",
        max_length=64,
        json_schema_extra=_degrees("lon,lat"),
        examples=["-5.9756,37.3919"],
    )
    bbox: str | None = Field(
        None,
        description="west,south,east,north: only those that touch this box.",
        max_length=128,
        json_schema_extra=_degrees("west,south,east,north"),
        examples=["-6.1,37.3,-5.8,37.5"],
    )
    limit: int = Field(20, ge=1, le=200)
    cursor: str | None = Field(None, description="`next` of the previous page.", pattern=r"^\d{1,7}$")


class RegionQuery(Query):
    geometry: Literal["full", "simple", "none"] = Field(
        "simple", description="`simple` is a few kB, for a map; `full` is the outline that people are matched against."
    )


class Seen(BaseModel):
    """The header of a conditional GET."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    if_none_match: str | None = Field(None, alias="If-None-Match", description="ETag of your copy.", max_length=64)


class DrawnRegion(BaseModel):
    """A region of your own: its name, and its outline as GeoJSON."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True,
        json_schema_extra={"examples": [{
            "name": "Our patrol area",
            "geometry": {"type": "Polygon", "coordinates": [[[-6, 37.3], [-5.9, 37.3], [-5.9, 37.4], [-6, 37.3]]]},
        }]},
    )  # fmt: skip
    name: Line
    names: dict[Language, Line] = {}
    geometry: Shape


#: The path of one region. It does not match /v1/regions/import, which imports files.
_ONE = r"/v1/regions/{code:(?!import$)[^/]+}"
OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/regions", "Find regions", "regions:read")
async def list_regions(request: web.Request, *, query: RegionsQuery) -> RegionList:
    """Returns regions by name or code (`q`), at a point (`at`), in a box (`bbox`), of a kind, or below another. Of the
    drawn regions, returns only those of your organisation.
    """
    regions, start = services(request).regions, int(query.cursor or 0)
    library, org = regions.library, credential(request).org
    point = _numbers(query.at, "at", "lon,lat", 2) if query.at is not None else None
    box = _numbers(query.bbox, "bbox", "west,south,east,north", 4) if query.bbox is not None else None
    try:
        found = await asyncio.to_thread(_found, library, query, point, box)
    except UnknownRegion as error:
        raise Problem("invalid-request", "The parent is unknown.", faults=(Fault("", error.why, "parent"),)) from None
    found = [region for region in found if not regions.is_anothers(region.code, org)]
    end = start + query.limit
    page = [RegionReply(**_told(library, region)) for region in found[start:end]]
    return RegionList(regions=page, next=str(end) if end < len(found) else None)


def _found(library: Library, query: RegionsQuery, point: Any, box: Any) -> list[Region]:
    """Returns the regions that match a query: without `q` but with a point, those at the point, smallest first; else
    the best match first. `point` is longitude, latitude, and `box` is west, south, east, north, in degrees. Raises
    UnknownRegion for an unknown parent.
    """
    if query.q is None and point is not None:
        chain = library.at(*point)
        below = {region.code for region in library.find(kind=query.kind, parent=query.parent, bbox=box)}
        return [region for region in chain if region.code in below]
    return library.find(text=query.q, kind=query.kind, parent=query.parent, bbox=box, near=point)


@OPERATIONS.add("GET", _ONE, "Show a region", "regions:read", also=(304,), tells=("ETag",))
async def show_region(
    request: web.Request, *, code: RegionCode, query: RegionQuery, headers: Seen
) -> Reply[OneRegion | None]:
    """Returns one region, by its code or by a foreign one (`NUTS:ES618`) that stands for it alone, with its outline as
    GeoJSON: simplified, full or none (`geometry`). The answer is 304 if your copy (`If-None-Match`) is current.
    """
    regions = services(request).regions
    library = regions.library
    region = library.get(_known(library, code))
    if regions.is_anothers(region.code, credential(request).org):
        raise Problem("not-found", f"There is no region {code}.")
    version = etag(library.revision(region.code))
    if headers.if_none_match in {"*", version["ETag"], f"W/{version['ETag']}"}:
        return Reply(None, status=304, headers=version)
    return Reply(await _shown(library, region, query.geometry), headers=version)


def _known(library: Library, code: str) -> str:
    """Returns the library's code of the region that `code` stands for. Raises Problem if there is none, with similar
    codes, or if there are several, with their codes.
    """
    try:
        codes = library.codes(code)
    except UnknownRegion as error:
        raise Problem("not-found", error.why, nearest=error.nearest) from None
    if len(codes) > 1:
        detail = f"{code} is {len(codes)} regions together: target it, or look at each."
        raise Problem("not-found", detail, nearest=codes)
    return codes[0]


@OPERATIONS.add(
    "PUT", _ONE, "Draw a region", "regions:write", also=(201,), tells=("ETag",),
    problems=("not-allowed", "invalid-geometry", "outside-jurisdiction", "too-large"), act=Act("region.draw"),
)  # fmt: skip
async def draw_region(
    request: web.Request, *, code: DrawnCode, headers: NewOrSeen, body: DrawnRegion
) -> Reply[OneRegion]:
    """Draws or redraws a region under a code of your own ("our patrol area"). Only your organisation can see, target
    and change it. Alerts keep the area that they were submitted with. Send the region's ETag as If-Match so that you do
    not overwrite a change that you have not seen, or `If-None-Match: *` to overwrite nothing. The region must lie
    within your jurisdiction. An organisation has at most 200 drawn regions, with 500,000 positions together.
    """
    who = credential(request)
    check_live(who)
    regions = services(request).regions
    known = code in regions.library
    outline = await regions.outline(body.geometry.model_dump())
    if beyond := await services(request).organisations.beyond(outline.shape, who):
        raise refused(beyond, "/geometry", "region")
    made = await regions.draw(
        code, body.name, body.names, outline, org=who.org,
        seen=NOTHING if headers.if_none_match else headers.version,
    )  # fmt: skip
    library = regions.library
    shown = await _shown(library, made.region, "simple")
    return Reply(
        shown.model_copy(update=repair_members(made.repairs)),
        status=200 if known else 201,
        headers=etag(library.revision(code)),
    )


@OPERATIONS.add(
    "DELETE", _ONE, "Delete a drawn region", "regions:write", status=204, problems=("not-allowed",),
    act=Act("region.delete"),
)  # fmt: skip
async def delete_region(request: web.Request, *, code: DrawnCode, headers: Conditions) -> None:
    """Deletes a region that your organisation drew; administrators of the organisation that runs the service delete any
    drawn region. Alerts that name it keep the area that they were submitted with; a draft that names it needs another
    target. An ETag sent as If-Match keeps you from deleting what you have not seen.
    """
    who = credential(request)
    check_live(who)
    s = services(request)
    org = None if s.organisations.administers_host(who) else who.org
    await s.regions.delete(code, org=org, seen=headers.version)


async def _shown(library: Library, region: Region, geometry: str) -> OneRegion:
    """Returns a region as the API shows it. `geometry` is "full", "simple" (made simpler in a thread) or "none"."""
    answer = OneRegion(
        **_told(library, region),
        aliases=sorted(f"{alias.scheme}{SCHEME}{alias.value}" for alias in library.aliases.of(region.code)),
    )
    if geometry == "none":
        return answer
    outline = library.geometry(region.code)
    if geometry == "simple":
        outline = await asyncio.to_thread(simple, outline)
    return answer.model_copy(update={"geometry": json.loads(await asyncio.to_thread(shapely.to_geojson, outline))})


def _told(library: Library, region: Region) -> dict[str, Any]:
    """Returns the values of the members of `RegionReply` without the outline, by name."""
    return {
        "code": region.code, "name": region.name, "names": dict(region.names), "kind": region.kind,
        "parent": region.parent, "country": region.country, "km2": round(region.km2, 3),
        "bbox": list(library.geometry(region.code).bounds), "source": region.source, "licence": region.licence,
    }  # fmt: skip


def _numbers(text: str, parameter: str, form: str, count: int) -> tuple[float, ...]:
    """Reads `count` numbers, separated by commas: longitude and latitude in degrees, in turn. Raises Problem, with a
    fault at `parameter`, unless they are a point or a box (west, south, east, north) on Earth that does not cross the
    180th meridian. `form` names their order in the fault's text.
    """
    parts = text.split(",")
    numbers = tuple(float(part) for part in parts if re.fullmatch(_DEGREES, part))
    if len(numbers) != len(parts) or len(numbers) != count:
        fault = Fault("", f"Give {form} in degrees.", parameter)
    elif not all(abs(number) <= (90 if i % 2 else 180) for i, number in enumerate(numbers)):
        fault = Fault("", f"Longitude is within 180 degrees and latitude within 90; the order is {form}.", parameter)
    elif count == 4 and (numbers[0] > numbers[2] or numbers[1] > numbers[3]):
        fault = Fault("", "West comes before east and south before north; ask twice for a box across 180.", parameter)
    else:
        return numbers
    raise Problem("invalid-request", "That is no place on Earth.", faults=(fault,))
