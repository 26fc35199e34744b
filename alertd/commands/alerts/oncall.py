"""`alertd oncall`: the on-call rota, the pages for each waiting alert, and who took the alert."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import connect, whole
from alertd.commands.base.output import tell, tell_answer, tell_table

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def show() -> None:
    """Show the people on duty now, step by step; with --json also the rota, as `set` takes it."""
    found = connect().get("/v1/oncall")
    tell_answer(found, _tell)


@app.command("set")
def set_rota(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(help="The complete rota as JSON, or the output of `show --json`; - is standard input."),
    ],
) -> None:
    """Replace your organisation's rota, and show the people on duty now."""
    written = connect().put("/v1/oncall", whole(file.read(), "rota"))
    tell_answer(written, _tell)


@app.command()
def alerts() -> None:
    """List the alerts that wait for a decision: how many pages alertd sent, who took the alert, and when the next page
    is due.
    """
    found = connect().get("/v1/oncall/alerts")
    columns = ("alert", "called", "last", "taken by", "next")
    tell_answer(found, lambda _: tell_table(columns, map(_line, found["calls"])))


@app.command()
def take(alert_id: Annotated[str, typer.Argument(help="The alert's id.")]) -> None:
    """Take a waiting alert, so that alertd pages no other person for some minutes. You must still decide about it."""
    call = connect().post(f"/v1/alerts/{segment(alert_id)}/take", None)
    until = call["taken"]["until"]
    tell_answer(call, f"Nobody else is called{f' until {until}' if until else ''}.")


def _tell(found: dict[str, Any]) -> None:
    """Prints a table of the people on duty now, with the step of the rota and their channels."""
    steps = enumerate(found["now"], 1)
    rows = [
        (str(n), one["name"], ", ".join(one["channels"]))
        for n, step in steps
        for one in step["people"] or [{"name": "nobody at this hour", "channels": []}]
    ]
    tell_table(("step", "on duty", "by"), rows) if rows else tell("Nobody is on call.")


def _line(call: dict[str, Any]) -> tuple[str, ...]:
    """Returns the table row of one waiting alert: id, number of pages, name of the last person paged, who took it, and
    the time of the next page or else why there is none.
    """
    last = call["pages"][-1]["name"] if call["pages"] else ""
    taken = call["taken"]["by"] if call["taken"] else ""
    return call["alert"]["id"], str(len(call["pages"])), last, taken, call["next"] or call["unanswered"] or ""
