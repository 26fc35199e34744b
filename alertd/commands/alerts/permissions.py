"""`alertd permissions`: what neighbours ask of your organisation, and what you answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.alerts.review import message_lines, waits
from alertd.commands.base.client import segment
from alertd.commands.base.options import AlertId, JsonOption, PeopleSeen, common, people_seen
from alertd.commands.base.output import estimated, tell, tell_facts, tell_json, tell_table

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Permissions of neighbours: list, show, grant, refuse, ask."
)


@app.command("list")
def list_permissions(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only those in this state: asked await your answer.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What other organisations ask of yours, the latest first."""
    found = common(ctx).client().get("/v1/permissions", {"state": state})
    columns = ("id", "state", "asked by", "level", "people", "expires")
    tell_json(found) if as_json else tell_table(
        columns,
        (
            [one["id"], one["permission"]["state"], one["asked_by_name"], one["level"], estimated(one["permission"]["people"]), one["expires"]]
            for one in found["requests"]
        ),
    )  # fmt: skip


@app.command()
def show(ctx: typer.Context, alert_id: AlertId, as_json: JsonOption = False) -> None:
    """One of them: the ground, the people in it, and what they would read."""
    found = common(ctx).client().get(f"/v1/permissions/{segment(alert_id)}")
    tell_json(found) if as_json else _tell(found)


@app.command()
def grant(
    ctx: typer.Context,
    alert_id: AlertId,
    ground: Annotated[str, typer.Option(help="What `show` says of the ground you looked at.")],
    people: PeopleSeen = None,
    as_json: JsonOption = False,
) -> None:
    """The alert is told in your jurisdiction, too."""
    body = {"ground": ground, "people": people_seen(people)}
    _answered(ctx, alert_id, "grant", body, as_json=as_json)


@app.command()
def refuse(
    ctx: typer.Context,
    alert_id: AlertId,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever alerts reads it.")],
    as_json: JsonOption = False,
) -> None:
    """It is not."""
    _answered(ctx, alert_id, "refuse", {"reason": reason}, as_json=as_json)


@app.command()
def ask(
    ctx: typer.Context,
    alert_id: AlertId,
    organisation: Annotated[str, typer.Argument(help="The neighbour that has refused.")],
    as_json: JsonOption = False,
) -> None:
    """Ask a neighbour again about your own alert."""
    path = f"/v1/alerts/{segment(alert_id)}/permissions"
    alert = common(ctx).client().post(path, {"organisation": organisation})
    tell_json(alert) if as_json else tell(f"Alert {alert['id']} {'; '.join(waits(alert['permissions']))}.")


def _answered(ctx: typer.Context, alert_id: str, answer: str, body: Any, *, as_json: bool) -> None:
    done = common(ctx).client().post(f"/v1/permissions/{segment(alert_id)}/{answer}", body)
    tell_json(done) if as_json else tell(
        f"Alert {done['id']} of {done['asked_by_name']}: {done['permission']['state']}."
    )


def _tell(found: dict[str, Any]) -> None:
    own, area = found["permission"], found["area"] or {}
    tell_facts(
        {
            "alert": found["id"],
            "asked by": found["asked_by_name"],
            "state": own["state"],
            "level": found["level"],
            "status": found["status"],
            "area": f"{area.get('name') or 'an area'}, {own['km2']:,} km2",
            "people": estimated(own["people"]),
            "expires": found["expires"],
            "answered by": own["by"],
            "reason": own["reason"],
            "ground": found["ground"],
        }
    )
    for line in message_lines(found["messages"]) if found["messages"] else ():
        tell(line)
