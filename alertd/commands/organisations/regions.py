"""`alertd regions`: searches and shows regions. `import` and `remove` have a module of their own, which loads much
more.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.on_demand import OnDemand, Place
from alertd.commands.base.options import common, connect
from alertd.commands.base.output import tell_answer, tell_facts, tell_list


class Commands(OnDemand):
    """The commands of `alertd regions`, in the order of the help."""

    places: ClassVar[dict[str, Place]] = {
        "search": Place(
            "alertd.commands.organisations.regions:search",
            "Find regions by name in any language or by code. Small spelling mistakes are allowed.",
        ),
        "show": Place("alertd.commands.organisations.regions:show", "One region; with --json and its outline."),
        "list": Place(
            "alertd.commands.organisations.regions:list_regions", "Regions of a kind, below a region, at a point, or in a box."
        ),
        "import": Place("alertd.commands.organisations.region_import:import_regions", "Add regions of your own to the data directory."),
        "remove": Place(
            "alertd.commands.organisations.region_import:remove_regions",
            "Take regions that were imported out of the data directory. Their numbers are given to no other region.",
        ),
    }  # fmt: skip


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False)

KindOption = Annotated[str | None, typer.Option("--kind", help="country, province, county, city or drawn.")]
ParentOption = Annotated[str | None, typer.Option("--parent", help="Only those below the region of this code.")]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Maximum number of regions.")]
COLUMNS = ("code", "name", "kind", "parent", "country", "source", "licence")


@app.callback()
def _group() -> None: ...


def search(
    text: Annotated[str, typer.Argument(help="Name or code, without regard to accents.")],
    kind: KindOption = None,
    parent: ParentOption = None,
    near: Annotated[str | None, typer.Option(help="lon,lat: those nearer to this point first.")] = None,
    limit: LimitOption = None,
) -> None:
    """Find regions by name in any language or by code. Small spelling mistakes are allowed."""
    _tell({"q": text, "kind": kind, "parent": parent, "at": near, "limit": limit})


def list_regions(
    kind: KindOption = None,
    parent: ParentOption = None,
    at: Annotated[str | None, typer.Option(help="lon,lat: those at this point, smallest first.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north: those that touch this box.")] = None,
    limit: LimitOption = None,
) -> None:
    """Regions of a kind, below a region, at a point, or in a box."""
    _tell({"kind": kind, "parent": parent, "at": at, "bbox": bbox, "limit": limit})


def show(
    code: Annotated[str, typer.Argument(help="The region's code.")],
    geometry: Annotated[str | None, typer.Option(help="With --json: the outline full, simple or none.")] = None,
) -> None:
    """One region; with --json and its outline."""
    wanted = geometry if common().as_json else "none"
    region = connect().get(f"/v1/regions/{segment(code)}", {"geometry": wanted})
    tell_answer(region, tell_facts)


def _tell(query: dict[str, Any]) -> None:
    """Prints the regions that the API finds for a query as a table."""
    tell_list(connect().get("/v1/regions", query), "regions", COLUMNS)
