"""`alertd keys`: each for one person."""

from __future__ import annotations

from typing import Annotated

import typer

from alertd.commands.client import segment
from alertd.commands.options import JsonOption, common
from alertd.commands.output import tell, tell_facts, tell_json, tell_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys: make, list, revoke.")

COLUMNS = ("key", "subject", "scopes", "test")


@app.command()
def create(
    ctx: typer.Context,
    subject: Annotated[str, typer.Option(help="The person the key belongs to.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as alerts:write; may be given again.")],
    test: Annotated[bool, typer.Option("--test", help="It cannot send Actual alerts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key. Its token is told once and never again."""
    made = common(ctx).client().post("/v1/keys", {"subject": subject, "scopes": scope, "test": test})
    tell_json(made) if as_json else tell_facts({**{name: made[name] for name in COLUMNS}, "token": made["token"]})


@app.command("list")
def list_keys(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The organisation's keys, without their secrets."""
    found = common(ctx).client().get("/v1/keys")
    tell_json(found) if as_json else tell_table(COLUMNS, ([key[name] for name in COLUMNS] for key in found["keys"]))


@app.command()
def revoke(
    ctx: typer.Context, key: Annotated[str, typer.Argument(help="As `list` shows it.")], as_json: JsonOption = False
) -> None:
    """The key is known no more."""
    common(ctx).client().delete(f"/v1/keys/{segment(key)}")
    tell_json({"revoked": key}) if as_json else tell(f"Key {key} is revoked.")
