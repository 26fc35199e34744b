"""`alertd carriers`."""

from __future__ import annotations

import typer

from alertd.commands.options import JsonOption, common
from alertd.commands.output import tell_json, tell_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Carriers: list.")

COLUMNS = ("name", "channel", "rate", "state")


@app.callback()
def _group() -> None: ...


@app.command("list")
def list_carriers(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The carriers, how many messages a second each may be given, and whether it rests because it failed."""
    found = common(ctx).client().get("/v1/carriers")
    rows = (
        (one["name"], one["channel"], one["rate"] or "no limit", "fails, rests" if one["breaker_open"] else "works")
        for one in found["carriers"]
    )
    tell_json(found) if as_json else tell_table(COLUMNS, rows)
