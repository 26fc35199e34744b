"""`alertd regions`: find one's code, look at it; `import` and `remove` are on their own, for they need much more."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.on_demand import OnDemand, Place
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell_facts, tell_json, tell_list


class Commands(OnDemand):
    places: ClassVar[dict[str, Place]] = {
        "search": Place(
            "alertd.commands.organisations.regions:searching",
            "Find regions by name in any language or by code; a slip is forgiven.",
        ),
        "show": Place("alertd.commands.organisations.regions:showing", "One region; with --json and its outline."),
        "list": Place(
            "alertd.commands.organisations.regions:listing", "Regions of a kind, below a region, at a point, or in a box."
        ),
        "import": Place("alertd.commands.organisations.region_import:app", "Add regions of your own to the data directory."),
        "remove": Place(
            "alertd.commands.organisations.region_import:removing",
            "Take regions that were imported out of the data directory. Their numbers are given to no other region.",
        ),
    }  # fmt: skip


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, help="Regions: search, show, list, import, remove."
)
searching = typer.Typer(add_completion=False)
showing = typer.Typer(add_completion=False)
listing = typer.Typer(add_completion=False)

KindOption = Annotated[str | None, typer.Option("--kind", help="country, province, county, city or drawn.")]
ParentOption = Annotated[str | None, typer.Option("--parent", help="Only those below the region of this code.")]
LimitOption = Annotated[int | None, typer.Option("--limit", help="At most so many.")]
COLUMNS = ("code", "name", "kind", "parent", "country", "source", "licence")


@app.callback()
def _group() -> None: ...


@searching.command()
def search(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="Name or code, without regard to accents.")],
    kind: KindOption = None,
    parent: ParentOption = None,
    near: Annotated[str | None, typer.Option(help="lon,lat: those nearer to this point first.")] = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find regions by name in any language or by code; a slip is forgiven."""
    _tell(ctx, {"q": text, "kind": kind, "parent": parent, "at": near, "limit": limit}, as_json=as_json)


@listing.command("list")
def list_regions(
    ctx: typer.Context,
    kind: KindOption = None,
    parent: ParentOption = None,
    at: Annotated[str | None, typer.Option(help="lon,lat: those at this point, smallest first.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north: those that touch this box.")] = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Regions of a kind, below a region, at a point, or in a box."""
    _tell(ctx, {"kind": kind, "parent": parent, "at": at, "bbox": bbox, "limit": limit}, as_json=as_json)


@showing.command()
def show(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(help="The region's code.")],
    geometry: Annotated[str | None, typer.Option(help="With --json: the outline full, simple or none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One region; with --json and its outline."""
    wanted = geometry if as_json else "none"
    region = common(ctx).client().get(f"/v1/regions/{segment(code)}", {"geometry": wanted})
    tell_json(region) if as_json else tell_facts(region)


def _tell(ctx: typer.Context, query: dict[str, Any], *, as_json: bool) -> None:
    found = common(ctx).client().get("/v1/regions", query)
    tell_list(found, "regions", COLUMNS, as_json=as_json)
