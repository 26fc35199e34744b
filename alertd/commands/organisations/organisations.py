"""`alertd organisations`: who alerts here, and where each may."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell_facts, tell_json, tell_list
from alertd.commands.base.whole import WholeFile, whole

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Organisations: list, show, set.")

Organisation = Annotated[str, typer.Argument(help="Its id, such as police.")]


@app.command("list")
def list_organisations(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """All there are: your own whole, the others by name."""
    found = common(ctx).client().get("/v1/organisations")
    tell_list(found, "organisations", ("id", "name"), as_json=as_json)


@app.command()
def show(ctx: typer.Context, organisation: Organisation, as_json: JsonOption = False) -> None:
    """One organisation; with --json as `set` takes it."""
    found = common(ctx).client().get(f"/v1/organisations/{segment(organisation)}")
    tell_json(found) if as_json else _tell(found)


@app.command("set")
def set_organisation(
    ctx: typer.Context,
    organisation: Organisation,
    file: WholeFile,
    as_json: JsonOption = False,
) -> None:
    """Make an organisation, or change it."""
    written = common(ctx).client().put(f"/v1/organisations/{segment(organisation)}", whole(file.read(), "organisation"))
    tell_json(written) if as_json else _tell(written)


def _tell(found: dict[str, Any]) -> None:
    whole = found["organisation"] or {}
    ground = whole.get("jurisdiction") or {}
    drawn = len(ground.get("polygons", []))
    tell_facts(
        {
            "id": found["id"],
            "name": found["name"],
            "CAP sender": whole.get("cap_sender"),
            "languages": whole.get("languages"),
            "may alert in": (ground.get("regions", []) + [f"{drawn} polygons"] * (drawn > 0)) or "everywhere",
            "without a second person": whole.get("unattended") or "nothing",
            "allowed by": found["unattended_by"],
            "approved alone": whole.get("break_glass") or "nothing",
            "alone allowed by": found["break_glass_by"],
            "answered without a voice": whole.get("contact") or "as each alert says",
            "verified besides": whole.get("verification") or "as the service asks",
        }
        if found["organisation"]
        else {"id": found["id"], "name": found["name"]}
    )
