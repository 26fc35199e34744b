"""`alertd distributors`: broadcast gateways and partners that get alerts as CAP; and for one alert, what each got."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import WholeFile, connect, whole
from alertd.commands.base.output import tell, tell_answer, tell_facts, tell_list, tell_some, tell_table, told_in_json
from alertd.commands.organisations.webhooks import tell_taken

app = typer.Typer(no_args_is_help=True, add_completion=False)

COLUMNS = ("id", "name", "host", "enabled", "failing_since", "answered", "alerts", "takedowns_open")
#: Why a distributor does not get an alert: the text for each code in `why_not`.
WHY_NOT = {
    "off": "it is turned off",
    "status": "it takes no alert of this status",
    "level": "it takes no alert of this level",
    "scope": "the alert is not for the public",
    "elsewhere": "the alert is for another area than its own",
    "unresolved": "a region of its jurisdiction is gone: give it another",
    "later": "it was registered after the alert, and gets the next change",
    "over": "the alert is over",
    "removed": "it is no distributor any more",
}
MESSAGES = ("distributor", "message", "state", "tries", "last", "answered", "note")
Distributor = Annotated[str, typer.Argument(help="As `list` shows it.")]
Alert = Annotated[str, typer.Argument(help="Id of the alert.")]


@app.command("list")
def list_distributors() -> None:
    """List your organisation's distributors: since when each accepts no message, and its unconfirmed take-downs."""
    tell_list(connect().get("/v1/distributors"), "distributors", COLUMNS)


@app.command()
def add(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="A distributor as JSON; - is standard input.")],
) -> None:
    """Register a distributor, which gets your alerts from now on. Its secret, which verifies the messages, is shown
    only once.
    """
    made = connect().post("/v1/distributors", file.read())
    tell_some(made, ("id", "name", "host", "receipts", "secret"))


@app.command()
def show(distributor: Distributor) -> None:
    """Show one distributor in full; with --json as `set` takes it."""
    found = connect().get(f"/v1/distributors/{segment(distributor)}")
    if told_in_json(found):
        return
    whole = found.pop("distributor") or {}
    tell_facts({**found, **{name: value for name, value in whole.items() if name not in found}})


@app.command("set")
def set_distributor(distributor: Distributor, file: WholeFile) -> None:
    """Replace a distributor's document. With `"enabled": false` it gets no new alerts, but follow-ups of those that it
    has.
    """
    written = connect().put(f"/v1/distributors/{segment(distributor)}", whole(file.read(), "distributor"))
    tell_some(written, COLUMNS)


@app.command()
def rotate(distributor: Distributor) -> None:
    """Create a new secret, which is shown only once, and a new address for Acks. The previous secret also signs for one
    day; the previous address stops working at once.
    """
    made = connect().post(f"/v1/distributors/{segment(distributor)}/rotate")
    tell_some(made, ("id", "name", "receipts", "secret"))


@app.command("test")
def try_distributor(distributor: Distributor) -> None:
    """Post one CAP message of status System to a distributor now. Ends with 1 if it does not accept the message."""
    answer = connect().post(f"/v1/distributors/{segment(distributor)}/test")
    tell_taken(distributor, answer)


@app.command()
def remove(distributor: Distributor) -> None:
    """Remove a distributor. Refused while it has an alert whose take-down is outstanding."""
    connect().delete(f"/v1/distributors/{segment(distributor)}")
    tell_answer({"removed": distributor}, f"Distributor {distributor} is removed.")


@app.command()
def having(alert: Alert) -> None:
    """Show the distributors that have an alert or will get it, the result of each message, and the unconfirmed
    take-downs.
    """
    found = connect().get(f"/v1/alerts/{segment(alert)}/distribution")
    tell_answer(found, _tell)


@app.command()
def confirm(alert: Alert, distributor: Distributor) -> None:
    """Confirm, on behalf of a distributor, that it no longer shows the alert. Ask the distributor first."""
    found = connect().post(f"/v1/alerts/{segment(alert)}/distribution/{segment(distributor)}/confirm")
    tell_answer(found, _tell)


@app.command()
def resend(alert: Alert, distributor: Distributor) -> None:
    """Send a distributor again the message that it refused or did not accept in time."""
    found = connect().post(f"/v1/alerts/{segment(alert)}/distribution/{segment(distributor)}/resend")
    tell_answer(found, _tell)


def _tell(found: dict[str, Any]) -> None:
    """Prints a table of the messages to each distributor, and a line for each open take-down or missing message."""
    rows = [
        [one["name"], each["type"], *(each[name] for name in MESSAGES[2:])]
        for one in found["distributors"]
        for each in one["messages"]
    ]
    if rows:
        tell_table(MESSAGES, rows)
    for one in found["distributors"]:
        if one["takedown"]["state"] == "open":
            tell(f"{one['name']} has not confirmed the take-down ({one['distributor']}).")
        elif not one["messages"]:
            tell(
                f"{one['name']} gets nothing of it: {WHY_NOT[one['why_not']]}."
                if one["why_not"]
                else f"{one['name']} will get it."
            )
