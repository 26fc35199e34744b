"""`alertd organisations`: lists, shows, creates and changes the organisations of the service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import WholeFile, connect, whole
from alertd.commands.base.output import tell_answer, tell_facts, tell_list

app = typer.Typer(no_args_is_help=True, add_completion=False)

Organisation = Annotated[str, typer.Argument(help="Its id, such as police.")]


@app.command("list")
def list_organisations() -> None:
    """List all organisations: your own in full, the others by name."""
    tell_list(connect().get("/v1/organisations"), "organisations", ("id", "name"))


@app.command()
def show(organisation: Organisation) -> None:
    """Show one organisation; with --json as `set` takes it."""
    found = connect().get(f"/v1/organisations/{segment(organisation)}")
    tell_answer(found, _tell)


@app.command("set")
def set_organisation(organisation: Organisation, file: WholeFile) -> None:
    """Create an organisation, or replace its document."""
    written = connect().put(f"/v1/organisations/{segment(organisation)}", whole(file.read(), "organisation"))
    tell_answer(written, _tell)


def _tell(found: dict[str, Any]) -> None:
    """Prints an organisation: only id and name if the answer has no more because it is not the caller's own."""
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
