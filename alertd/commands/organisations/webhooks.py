"""`alertd webhooks`: who is told of events as they happen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import RefusedError, segment
from alertd.commands.base.options import connect
from alertd.commands.base.output import tell, tell_answer, tell_facts, tell_list, tell_some, tell_table, told_in_json

app = typer.Typer(no_args_is_help=True, add_completion=False)

COLUMNS = ("id", "url", "state", "why", "failing_since", "answered", "waiting", "given_up")
Hook = Annotated[str, typer.Argument(help="As `list` shows it.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where events are posted to: https.")],
    event: Annotated[
        list[str] | None, typer.Option(help="A type of event, such as alert.sent; may be given again. Default: all.")
    ] = None,
) -> None:
    """Tell a URL what happens from now on. Its secret, which checks the signatures, is told once and never again."""
    made = connect().post("/v1/webhooks", {"url": url, "types": event or []})
    tell_some(made, ("id", "url", "types", "secret"))


@app.command("list")
def list_webhooks() -> None:
    """Your organisation's webhooks: whether each is told, since when it takes nothing, and what waits for it."""
    tell_list(connect().get("/v1/webhooks"), "webhooks", COLUMNS)


@app.command()
def show(webhook: Hook) -> None:
    """One webhook, and the latest events that it never took."""
    found = connect().get(f"/v1/webhooks/{segment(webhook)}")
    if told_in_json(found):
        return
    tell_facts({name: value for name, value in found.items() if name != "latest_given_up"})
    columns = ("event", "type", "cursor", "given_up_at")
    if found["latest_given_up"]:
        tell_table(columns, ([one[name] for name in columns] for one in found["latest_given_up"]))


@app.command("test")
def try_webhook(webhook: Hook) -> None:
    """Post a `ping` to it, now and once."""
    answer = connect().post(f"/v1/webhooks/{segment(webhook)}/test")
    tell_taken(webhook, answer)


@app.command()
def replay(
    webhook: Hook,
    cursor: Annotated[str | None, typer.Option(help="All that follows this cursor.")] = None,
    event: Annotated[str | None, typer.Option(help="One event, by its id.")] = None,
) -> None:
    """Tell it again: what follows a cursor, one event, or, without both, what was given up."""
    if cursor is not None and event is not None:
        raise typer.BadParameter("it is a cursor or an event", param_hint="--event")
    asked = {name: value for name, value in (("cursor", cursor), ("event", event)) if value is not None}
    tell_some(connect().post(f"/v1/webhooks/{segment(webhook)}/replay", asked), COLUMNS)


@app.command()
def rotate(webhook: Hook) -> None:
    """Give it a new secret, which is told once. For a day the one before signs as well."""
    made = connect().post(f"/v1/webhooks/{segment(webhook)}/rotate")
    tell_some(made, ("id", "url", "secret"))


@app.command()
def resume(webhook: Hook) -> None:
    """Turn one on again that was turned off."""
    tell_some(connect().post(f"/v1/webhooks/{segment(webhook)}/resume"), COLUMNS)


@app.command()
def remove(webhook: Hook) -> None:
    """It is told nothing more."""
    connect().delete(f"/v1/webhooks/{segment(webhook)}")
    tell_answer({"removed": webhook}, f"Webhook {webhook} is removed.")


def tell_taken(host: str, answer: dict[str, Any]) -> None:
    """What a host made of what was posted to it; distributors may answer with an Ack. Raises RefusedError where it was not taken."""
    if not told_in_json(answer) and answer["taken"]:
        tell(f"{host} took it: {answer['answered']}{', with an Ack' if answer.get('acknowledged') else ''}.")
    if not answer["taken"]:
        said = f"It answered {answer['answered']}." if answer["answered"] else "It gave no answer."
        raise RefusedError(f"{host} did not take it. {said}")
