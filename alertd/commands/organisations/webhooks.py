"""`alertd webhooks`: who is told of events as they happen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import RefusedError, segment
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell, tell_facts, tell_json, tell_list, tell_some, tell_table

app = typer.Typer(
    no_args_is_help=True, add_completion=False,
    help="Webhooks: add, list, show, test, replay, rotate, resume, remove.",
)  # fmt: skip

COLUMNS = ("id", "url", "state", "why", "failing_since", "answered", "waiting", "given_up")
Hook = Annotated[str, typer.Argument(help="As `list` shows it.")]


@app.command()
def add(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Where events are posted to: https.")],
    event: Annotated[
        list[str] | None, typer.Option(help="A type of event, such as alert.sent; may be given again. Default: all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell a URL what happens from now on. Its secret, which checks the signatures, is told once and never again."""
    made = common(ctx).client().post("/v1/webhooks", {"url": url, "types": event or []})
    tell_some(made, ("id", "url", "types", "secret"), as_json=as_json)


@app.command("list")
def list_webhooks(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Your organisation's webhooks: whether each is told, since when it takes nothing, and what waits for it."""
    found = common(ctx).client().get("/v1/webhooks")
    tell_list(found, "webhooks", COLUMNS, as_json=as_json)


@app.command()
def show(ctx: typer.Context, webhook: Hook, as_json: JsonOption = False) -> None:
    """One webhook, and the latest events that it never took."""
    found = common(ctx).client().get(f"/v1/webhooks/{segment(webhook)}")
    if as_json:
        tell_json(found)
        return
    tell_facts({name: value for name, value in found.items() if name != "latest_given_up"})
    columns = ("event", "type", "cursor", "given_up_at")
    if found["latest_given_up"]:
        tell_table(columns, ([one[name] for name in columns] for one in found["latest_given_up"]))


@app.command("test")
def try_webhook(ctx: typer.Context, webhook: Hook, as_json: JsonOption = False) -> None:
    """Post a `ping` to it, now and once."""
    answer = common(ctx).client().post(f"/v1/webhooks/{segment(webhook)}/test")
    tell_taken(webhook, answer, as_json=as_json)


@app.command()
def replay(
    ctx: typer.Context,
    webhook: Hook,
    cursor: Annotated[str | None, typer.Option(help="All that follows this cursor.")] = None,
    event: Annotated[str | None, typer.Option(help="One event, by its id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell it again: what follows a cursor, one event, or, without both, what was given up."""
    if cursor is not None and event is not None:
        raise typer.BadParameter("it is a cursor or an event", param_hint="--event")
    asked = {name: value for name, value in (("cursor", cursor), ("event", event)) if value is not None}
    tell_some(common(ctx).client().post(f"/v1/webhooks/{segment(webhook)}/replay", asked), COLUMNS, as_json=as_json)


@app.command()
def rotate(ctx: typer.Context, webhook: Hook, as_json: JsonOption = False) -> None:
    """Give it a new secret, which is told once. For a day the one before signs as well."""
    made = common(ctx).client().post(f"/v1/webhooks/{segment(webhook)}/rotate")
    tell_some(made, ("id", "url", "secret"), as_json=as_json)


@app.command()
def resume(ctx: typer.Context, webhook: Hook, as_json: JsonOption = False) -> None:
    """Turn one on again that was turned off."""
    tell_some(common(ctx).client().post(f"/v1/webhooks/{segment(webhook)}/resume"), COLUMNS, as_json=as_json)


@app.command()
def remove(ctx: typer.Context, webhook: Hook, as_json: JsonOption = False) -> None:
    """It is told nothing more."""
    common(ctx).client().delete(f"/v1/webhooks/{segment(webhook)}")
    tell_json({"removed": webhook}) if as_json else tell(f"Webhook {webhook} is removed.")


def tell_taken(host: str, answer: dict[str, Any], *, as_json: bool) -> None:
    """What a host made of what was posted to it; distributors may answer with an Ack. Raises RefusedError where it was not taken."""
    if as_json:
        tell_json(answer)
    elif answer["taken"]:
        tell(f"{host} took it: {answer['answered']}{', with an Ack' if answer.get('acknowledged') else ''}.")
    if not answer["taken"]:
        said = f"It answered {answer['answered']}." if answer["answered"] else "It gave no answer."
        raise RefusedError(f"{host} did not take it. {said}")
