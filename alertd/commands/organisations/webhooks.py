"""`alertd webhooks`: URLs to which alertd posts events as they happen."""

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
    """Post events to a URL from now on. The webhook's secret, which verifies the signatures, is shown only once."""
    made = connect().post("/v1/webhooks", {"url": url, "types": event or []})
    tell_some(made, ("id", "url", "types", "secret"))


@app.command("list")
def list_webhooks() -> None:
    """List your organisation's webhooks: whether each is on, since when it accepts no event, and its waiting events."""
    tell_list(connect().get("/v1/webhooks"), "webhooks", COLUMNS)


@app.command()
def show(webhook: Hook) -> None:
    """Show one webhook, and the latest events that alertd gave up because the webhook did not accept them."""
    found = connect().get(f"/v1/webhooks/{segment(webhook)}")
    if told_in_json(found):
        return
    tell_facts({name: value for name, value in found.items() if name != "latest_given_up"})
    columns = ("event", "type", "cursor", "given_up_at")
    if found["latest_given_up"]:
        tell_table(columns, ([one[name] for name in columns] for one in found["latest_given_up"]))


@app.command("test")
def try_webhook(webhook: Hook) -> None:
    """Post one event of the type `ping` to a webhook now. Ends with 1 if the webhook does not accept it."""
    answer = connect().post(f"/v1/webhooks/{segment(webhook)}/test")
    tell_taken(webhook, answer)


@app.command()
def replay(
    webhook: Hook,
    cursor: Annotated[str | None, typer.Option(help="All that follows this cursor.")] = None,
    event: Annotated[str | None, typer.Option(help="One event, by its id.")] = None,
) -> None:
    """Send events again: all after a cursor, one event, or by default those that alertd gave up."""
    if cursor is not None and event is not None:
        raise typer.BadParameter("it is a cursor or an event", param_hint="--event")
    asked = {name: value for name, value in (("cursor", cursor), ("event", event)) if value is not None}
    tell_some(connect().post(f"/v1/webhooks/{segment(webhook)}/replay", asked), COLUMNS)


@app.command()
def rotate(webhook: Hook) -> None:
    """Create a new secret, which is shown only once. The previous one also signs for one day."""
    made = connect().post(f"/v1/webhooks/{segment(webhook)}/rotate")
    tell_some(made, ("id", "url", "secret"))


@app.command()
def resume(webhook: Hook) -> None:
    """Turn on a webhook that was turned off. It also gets the events since then."""
    tell_some(connect().post(f"/v1/webhooks/{segment(webhook)}/resume"), COLUMNS)


@app.command()
def remove(webhook: Hook) -> None:
    """Remove a webhook: it gets no more events."""
    connect().delete(f"/v1/webhooks/{segment(webhook)}")
    tell_answer({"removed": webhook}, f"Webhook {webhook} is removed.")


def tell_taken(host: str, answer: dict[str, Any]) -> None:
    """Prints how a webhook or distributor, named by `host`, answered a test. Raises RefusedError if it did not accept
    it.
    """
    if not told_in_json(answer) and answer["taken"]:
        tell(f"{host} took it: {answer['answered']}{', with an Ack' if answer.get('acknowledged') else ''}.")
    if not answer["taken"]:
        said = f"It answered {answer['answered']}." if answer["answered"] else "It gave no answer."
        raise RefusedError(f"{host} did not take it. {said}")
