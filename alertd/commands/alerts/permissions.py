"""`alertd permissions`: requests of neighbouring organisations to alert in your jurisdiction, and your answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.alerts.review import message_lines, waits
from alertd.commands.base.client import segment
from alertd.commands.base.options import AlertId, PeopleSeen, connect, people_seen
from alertd.commands.base.output import estimated, tell, tell_answer, tell_facts, tell_table

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command("list")
def list_permissions(
    state: Annotated[str | None, typer.Option(help="Only those in this state: asked await your answer.")] = None,
) -> None:
    """List the requests of other organisations to yours, newest first."""
    found = connect().get("/v1/permissions", {"state": state})
    columns = ("id", "state", "asked by", "level", "people", "expires")
    rows = (
        [one["id"], one["permission"]["state"], one["asked_by_name"], one["level"], estimated(one["permission"]["people"]), one["expires"]]
        for one in found["requests"]
    )  # fmt: skip
    tell_answer(found, lambda _: tell_table(columns, rows))


@app.command()
def show(alert_id: AlertId) -> None:
    """Show one request: the area in your jurisdiction, an estimate of the people in it, and the messages."""
    found = connect().get(f"/v1/permissions/{segment(alert_id)}")
    tell_answer(found, _tell)


@app.command()
def grant(
    alert_id: AlertId,
    ground: Annotated[str, typer.Option(help="The value of ground in the output of `show`.")],
    people: PeopleSeen = None,
) -> None:
    """Grant a request: alertd sends the alert in your jurisdiction, too."""
    body = {"ground": ground, "people": people_seen(people)}
    _answered(alert_id, "grant", body)


@app.command()
def refuse(
    alert_id: AlertId,
    reason: Annotated[str, typer.Option("--reason", help="Why; the requesting organisation reads it.")],
) -> None:
    """Refuse a request: alertd does not send the alert in your jurisdiction."""
    _answered(alert_id, "refuse", {"reason": reason})


@app.command()
def ask(
    alert_id: AlertId,
    organisation: Annotated[str, typer.Argument(help="The neighbour that refused.")],
) -> None:
    """Ask a neighbour that refused your own alert again."""
    path = f"/v1/alerts/{segment(alert_id)}/permissions"
    alert = connect().post(path, {"organisation": organisation})
    tell_answer(alert, f"Alert {alert['id']} {'; '.join(waits(alert['permissions']))}.")


def _answered(alert_id: str, answer: str, body: Any) -> None:
    """Posts the answer to a request (`grant` or `refuse`) and prints the new state of the permission."""
    done = connect().post(f"/v1/permissions/{segment(alert_id)}/{answer}", body)
    tell_answer(done, f"Alert {done['id']} of {done['asked_by_name']}: {done['permission']['state']}.")


def _tell(found: dict[str, Any]) -> None:
    """Prints the facts of a request, then the alert's messages in their first language. Prints no messages once the
    alert is over.
    """
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
