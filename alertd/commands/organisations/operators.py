"""`alertd operators`: adds, lists, invites and removes the people who sign in to the console."""

from __future__ import annotations

from typing import Annotated

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import connect
from alertd.commands.base.output import tell, tell_list, tell_some, told_in_json
from alertd.model.operator import Role

app = typer.Typer(no_args_is_help=True, add_completion=False)

COLUMNS = ("id", "subject", "name", "roles", "passkeys", "identities", "disabled", "keys")
TOLD_ONCE = ("id", "subject", "name", "roles", "url", "code", "invited_until")
Operator = Annotated[str, typer.Argument(help="As `list` shows it.")]


@app.command()
def add(
    subject: Annotated[str, typer.Option(help="The person, as the author of an alert is named.")],
    name: Annotated[str, typer.Option(help="The displayed name.")],
    role: Annotated[list[Role], typer.Option(help="What they may do; may be given again.")],
) -> None:
    """Add an operator. Shows, only once, the one-time URL at which their browser registers a passkey or their identity
    at the provider.
    """
    body = {"subject": subject, "name": name, "roles": [one.value for one in role]}
    tell_some(connect().post("/v1/operators", body), TOLD_ONCE)


@app.command("list")
def list_operators() -> None:
    """List your organisation's operators."""
    tell_list(connect().get("/v1/operators"), "operators", COLUMNS)


@app.command()
def invite(
    operator: Operator,
    replace: Annotated[
        bool, typer.Option("--replace", help="Revoke their present passkeys and identities, for instance after a loss.")
    ] = False,
) -> None:
    """Create a new one-time URL at which an operator registers a further passkey or identity. The previous URL stops
    working. With --replace, all present passkeys and identities stop working at once, too.
    """
    path = f"/v1/operators/{segment(operator)}/code"
    tell_some(connect().post(path, {"replace": replace}), TOLD_ONCE)


@app.command()
def remove(operator: Operator) -> None:
    """Remove an operator, which signs them out everywhere. Lists the API keys that are theirs or that they
    made: these stay valid until you revoke them.
    """
    client = connect()
    keys = [key for one in client.get("/v1/operators")["operators"] if one["id"] == operator for key in one["keys"]]
    client.delete(f"/v1/operators/{segment(operator)}")
    if told_in_json({"removed": operator, "keys": keys}):
        return
    tell(f"Operator {operator} is removed.")
    if keys:
        tell(
            f"API keys that they have or made stay valid until you revoke them: {', '.join(keys)} (alertd keys revoke)"
        )
