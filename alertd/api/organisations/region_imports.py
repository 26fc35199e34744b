"""HTTP operations on imports of region files: upload a file, and show the progress of its import."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from msgspec.structs import asdict
from pydantic import BaseModel, Field

from alertd.api.http.bodies import pieces_of
from alertd.api.http.call import credential, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import Query
from alertd.store.areas.region_imports import Import
from geofences.additions import STEPS, Order

FILE = "application/octet-stream"
_ALL, _ONE = "/v1/regions/import", "/v1/regions/imports/{id}"

Column = Annotated[str, Field(min_length=1, max_length=200)]
ImportId = Annotated[str, Field(pattern="^[0-9A-HJKMNP-TV-Z]{26}$", examples=["01M8AXPN5MSWKNT840269650J6"])]


class ImportQuery(Query):
    """The contents of the file, and how its regions fit into the library."""

    format: Literal["geojson", "geojson.gz", "topojson", "topojson.gz", "gpkg", "gpkg.gz", "fgb", "fgb.gz", "zip"] = (
        Field(description="Of the file; `zip` is a zipped shapefile, or one of the others zipped.")
    )
    name: str = Field(
        description="The name of the import; the same name replaces an earlier one.",
        pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        examples=["districts"],
    )
    kind: Literal["country", "province", "county", "city"]
    code_field: Column = Field(description="The column with each region's code.")
    name_field: Column = Field(description="The column with its name.")
    parent_field: Column | None = Field(None, description="The column with the code it is part of.")
    parent_digits: int = Field(
        0,
        ge=0,
        le=32,
        description="Number of leading characters of a code that form its parent's code: 2 if 26347 is part of FR-26.",
    )
    guess_parents: bool = Field(
        False, description="Takes the region that contains it as the parent, if the parent is unknown."
    )
    exclaves: str | None = Field(
        None,
        description="Codes, separated by commas, of regions that legally belong to a parent but lie outside it.",
        max_length=2_000,
    )
    country: str | None = Field(None, description="ISO 3166-1 alpha-2, of all of them.", pattern="^[A-Z]{2}$")
    layer: Column | None = Field(None, description="Which layer, if there are several.")
    encoding: str | None = Field(
        None, description="Of the texts, if the file does not say.", pattern="^[A-Za-z0-9_.:-]{1,40}$"
    )
    source: str = Field("", description="Who made the data.", max_length=200)
    licence: str = Field("", description="Its licence.", max_length=200)
    replace: bool = Field(False, description="Also replaces regions that have the same code but lie elsewhere.")
    dry_run: bool = Field(False, description="Check everything, store nothing.")


class ImportProblem(BaseModel):
    row: int = Field(description="Of the file, from 1.")
    code: str | None
    what: str


class ReplacedRegion(BaseModel):
    row: int
    code: str
    was: str
    now: str
    shared: float = Field(description="Ground in common, of the larger of the two.")


class CoveredRegion(BaseModel):
    code: str
    name: str
    by: str = Field(description="The code of the new one.")


class RegionsReport(BaseModel):
    """The result of an import, or of a dry run. Each list has the first 200; `counts` has the totals."""

    regions: int
    layer: str
    codes: list[str] = Field(description="The first and the last.")
    country_put_before_codes: int
    reprojected_from: str | None
    assumed_lon_lat: bool = Field(
        description="The file does not say its coordinate system; its numbers were taken as longitude and latitude."
    )
    repaired: list[str] = Field(description="Codes of regions with a self-crossing outline that alertd repaired.")
    renamed: list[str]
    put_below_by_ground: int = Field(description="Had no parent, and are below the region they lie in.")
    without_parent: int
    replaced: list[ReplacedRegion] = Field(
        description="Regions that replaced one with the same code but another name or outline."
    )
    covered: list[CoveredRegion] = Field(
        default=[],
        description="Those of the library that stay beside the new ones, on their ground and of their kind: an alert may name either.",
    )
    gone: list[str] = Field(description="Codes of the earlier import with this name that are not in the file.")
    dry_run: bool
    counts: dict[str, int]


class ImportReply(BaseModel):
    id: str
    name: str
    dry_run: bool
    state: Literal["running", "done", "stored", "refused"] = Field(
        description="`stored`: its regions are kept, and this service has not taken them in; no alert can name them yet."
    )
    step: Literal["reading", "checking", "trying", "storing"] = Field(description=f"In this order: {', '.join(STEPS)}.")
    regions: int = Field(description="How many the file has; 0 until that is known.")
    why: str | None = Field(
        description="It was refused and nothing of it is stored, or else this says so; or why it is only `stored`."
    )
    faults: int = Field(description="How many features cannot be regions.")
    problems: list[ImportProblem] = Field(description="The first hundred of them.")
    report: RegionsReport | None


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", _ALL, "Import regions", "admin", status=202, takes=(FILE,), reads={FILE: bytes}, streams=True,
    tells=("Location",), problems=("too-large", "rate-limited"), step_up=True, act=Act("region.import"),
)  # fmt: skip
async def import_regions(request: web.Request, *, query: ImportQuery) -> Reply[ImportReply]:
    """Imports a file of regions, sent as the body, completely or not at all. The import runs in the background; read
    its progress with `GET`. Only for the organisation that runs the service, one file at a time, because alerts of all
    organisations can name the regions. Repeating the same file under the same name changes nothing. The regions are
    stored in alertd's data directory; each machine with its own data directory needs the same import.
    """
    named = query.model_dump(exclude={"name", "format", "exclaves"})
    codes = (code.strip() for code in (query.exclaves or "").split(","))
    order = Order(**named, exclaves=tuple(filter(None, codes)))
    one = await services(request).region_imports.take(
        credential(request), query.name, f".{query.format}", order, pieces_of(request)
    )
    note(request, object_=one.id, dry_run=query.dry_run)
    return Reply(_reply(one), headers={"Location": f"/v1/regions/imports/{one.id}"})


@OPERATIONS.add("GET", _ONE, "Show an import of regions", "admin")
async def show_import(request: web.Request, *, id: ImportId) -> ImportReply:
    """Returns the progress of an import, and its report at the end. alertd keeps the report for a week."""
    return _reply(await services(request).region_imports.show(id, credential(request)))


def _reply(one: Import) -> ImportReply:
    return ImportReply.model_validate({**asdict(one), "why": one.why or None, "report": one.report or None})
