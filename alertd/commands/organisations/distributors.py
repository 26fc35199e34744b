"""`alertd distributors`: broadcast gateways and partners that get alerts as CAP, and what each has of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell, tell_facts, tell_json, tell_list, tell_some, tell_table
from alertd.commands.base.whole import WholeFile, whole
from alertd.commands.organisations.webhooks import tell_taken

app = typer.Typer(
    no_args_is_help=True, add_completion=False,
    help="Distributors: list, add, show, set, rotate, test, remove; of an alert: having, confirm, resend.",
)  # fmt: skip

COLUMNS = ("id", "name", "host", "enabled", "failing_since", "answered", "alerts", "takedowns_open")
#: As `why_not` of a share says it.
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
def list_distributors(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Your organisation's distributors: since when each takes nothing, and how many take-downs it has not confirmed."""
    found = common(ctx).client().get("/v1/distributors")
    tell_list(found, "distributors", COLUMNS, as_json=as_json)


@app.command()
def add(
    ctx: typer.Context,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="A distributor as JSON; - is standard input.")],
    as_json: JsonOption = False,
) -> None:
    """Register a distributor. Its secret, which checks what is posted to it, is told once and never again."""
    made = common(ctx).client().post("/v1/distributors", file.read())
    tell_some(made, ("id", "name", "host", "receipts", "secret"), as_json=as_json)


@app.command()
def show(ctx: typer.Context, distributor: Distributor, as_json: JsonOption = False) -> None:
    """One distributor, whole; with --json as `set` takes it."""
    found = common(ctx).client().get(f"/v1/distributors/{segment(distributor)}")
    if as_json:
        tell_json(found)
        return
    whole = found.pop("distributor") or {}
    tell_facts({**found, **{name: value for name, value in whole.items() if name not in found}})


@app.command("set")
def set_distributor(
    ctx: typer.Context,
    distributor: Distributor,
    file: WholeFile,
    as_json: JsonOption = False,
) -> None:
    """Change a distributor. With `"enabled": false` it gets no new alert, and is still told the end of those that it has."""
    written = common(ctx).client().put(f"/v1/distributors/{segment(distributor)}", whole(file.read(), "distributor"))
    tell_some(written, COLUMNS, as_json=as_json)


@app.command()
def rotate(ctx: typer.Context, distributor: Distributor, as_json: JsonOption = False) -> None:
    """Give it a new secret, which is told once, and another address for its Acks. For a day the secret before signs as well."""
    made = common(ctx).client().post(f"/v1/distributors/{segment(distributor)}/rotate")
    tell_some(made, ("id", "name", "receipts", "secret"), as_json=as_json)


@app.command("test")
def try_distributor(ctx: typer.Context, distributor: Distributor, as_json: JsonOption = False) -> None:
    """Post a CAP message of status System to it, now and once."""
    answer = common(ctx).client().post(f"/v1/distributors/{segment(distributor)}/test")
    tell_taken(distributor, answer, as_json=as_json)


@app.command()
def remove(ctx: typer.Context, distributor: Distributor, as_json: JsonOption = False) -> None:
    """It is sent nothing more. Refused while it has an alert."""
    common(ctx).client().delete(f"/v1/distributors/{segment(distributor)}")
    tell_json({"removed": distributor}) if as_json else tell(f"Distributor {distributor} is removed.")


@app.command()
def having(ctx: typer.Context, alert: Alert, as_json: JsonOption = False) -> None:
    """Which distributors have an alert, what became of each message, and who has not confirmed the take-down."""
    found = common(ctx).client().get(f"/v1/alerts/{segment(alert)}/distribution")
    tell_json(found) if as_json else _tell(found)


@app.command()
def confirm(ctx: typer.Context, alert: Alert, distributor: Distributor, as_json: JsonOption = False) -> None:
    """You asked, and this distributor shows the alert no more."""
    found = common(ctx).client().post(f"/v1/alerts/{segment(alert)}/distribution/{segment(distributor)}/confirm")
    tell_json(found) if as_json else _tell(found)


@app.command()
def resend(ctx: typer.Context, alert: Alert, distributor: Distributor, as_json: JsonOption = False) -> None:
    """Send a distributor once more what it refused, or did not take in time."""
    found = common(ctx).client().post(f"/v1/alerts/{segment(alert)}/distribution/{segment(distributor)}/resend")
    tell_json(found) if as_json else _tell(found)


def _tell(found: dict[str, Any]) -> None:
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
