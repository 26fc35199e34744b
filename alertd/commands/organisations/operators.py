"""`alertd operators`: people who sign in to the console."""

from __future__ import annotations

from typing import Annotated

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell, tell_json, tell_list, tell_some
from alertd.model.operator import Role

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operators: add, list, invite, remove.")

COLUMNS = ("id", "subject", "name", "roles", "passkeys", "identities", "disabled", "keys")
TOLD_ONCE = ("id", "subject", "name", "roles", "url", "code", "invited_until")
Operator = Annotated[str, typer.Argument(help="As `list` shows it.")]


@app.command()
def add(
    ctx: typer.Context,
    subject: Annotated[str, typer.Option(help="The person, as the author of an alert is named.")],
    name: Annotated[str, typer.Option(help="As others read it.")],
    role: Annotated[list[Role], typer.Option(help="What they may do; may be given again.")],
    as_json: JsonOption = False,
) -> None:
    """Let somebody sign in. The address for their browser is told once, and registers a passkey, or who they are at the provider, once."""
    body = {"subject": subject, "name": name, "roles": [one.value for one in role]}
    tell_some(common(ctx).client().post("/v1/operators", body), TOLD_ONCE, as_json=as_json)


@app.command("list")
def list_operators(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The organisation's operators."""
    found = common(ctx).client().get("/v1/operators")
    tell_list(found, "operators", COLUMNS, as_json=as_json)


@app.command()
def invite(
    ctx: typer.Context,
    operator: Operator,
    replace: Annotated[
        bool, typer.Option("--replace", help="Their passkeys and identities count no more: one was lost.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Give an operator another one-time address, for a passkey or an identity more, or in place of all."""
    path = f"/v1/operators/{segment(operator)}/code"
    tell_some(common(ctx).client().post(path, {"replace": replace}), TOLD_ONCE, as_json=as_json)


@app.command()
def remove(ctx: typer.Context, operator: Operator, as_json: JsonOption = False) -> None:
    """They are signed out everywhere and cannot sign in any more."""
    client = common(ctx).client()
    keys = [key for one in client.get("/v1/operators")["operators"] if one["id"] == operator for key in one["keys"]]
    client.delete(f"/v1/operators/{segment(operator)}")
    if as_json:
        tell_json({"removed": operator, "keys": keys})
        return
    tell(f"Operator {operator} is removed.")
    if keys:
        tell(f"Keys that went through their hands go on until you revoke them: {', '.join(keys)} (alertd keys revoke)")
