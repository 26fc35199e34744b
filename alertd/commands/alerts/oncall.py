"""`alertd oncall`: who is called about an alert, who was, and who has it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell, tell_json, tell_table
from alertd.commands.base.whole import whole

app = typer.Typer(no_args_is_help=True, add_completion=False, help="People on call: show, set, alerts, take.")


@app.command()
def show(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Who would be called now; with --json as `set` takes it."""
    found = common(ctx).client().get("/v1/oncall")
    tell_json(found) if as_json else _tell(found)


@app.command("set")
def set_rota(
    ctx: typer.Context,
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(help="The whole rota as JSON, or what `show --json` told; - is standard input."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write your organisation's rota, whole."""
    written = common(ctx).client().put("/v1/oncall", whole(file.read(), "rota"))
    tell_json(written) if as_json else _tell(written)


@app.command()
def alerts(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Alerts that people are called for, how often, and who took each."""
    found = common(ctx).client().get("/v1/oncall/alerts")
    tell_json(found) if as_json else tell_table(
        ("alert", "called", "last", "taken by", "next"), (_line(one) for one in found["calls"])
    )


@app.command()
def take(
    ctx: typer.Context,
    alert_id: Annotated[str, typer.Argument(help="The alert's id.")],
    as_json: JsonOption = False,
) -> None:
    """Say that you see to it: nobody else is called for a while."""
    call = common(ctx).client().post(f"/v1/alerts/{segment(alert_id)}/take", None)
    until = call["taken"]["until"]
    tell_json(call) if as_json else tell(f"Nobody else is called{f' until {until}' if until else ''}.")


def _tell(found: dict[str, Any]) -> None:
    steps = enumerate(found["now"], 1)
    rows = [
        (str(n), one["name"], ", ".join(one["channels"]))
        for n, step in steps
        for one in step["people"] or [{"name": "nobody at this hour", "channels": []}]
    ]
    tell_table(("step", "on duty", "by"), rows) if rows else tell("Nobody is on call.")


def _line(call: dict[str, Any]) -> tuple[str, ...]:
    last = call["pages"][-1]["name"] if call["pages"] else ""
    taken = call["taken"]["by"] if call["taken"] else ""
    return call["alert"]["id"], str(len(call["pages"])), last, taken, call["next"] or call["unanswered"] or ""
