"""`alertd keys`: makes, lists, rotates, revokes and recovers API keys, each of which belongs to one person."""

from __future__ import annotations

from typing import Annotated

import typer

from alertd.commands.base.client import segment
from alertd.commands.base.options import common, connect
from alertd.commands.base.output import remark, tell, tell_answer, tell_list, tell_some, told_in_json
from alertd.commands.organisations.key_rotation import rotate_master
from alertd.common import logs

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(rotate_master)

COLUMNS = (
    "key",
    "subject",
    "scopes",
    "test",
    "made_by",
    "made_by_org",
    "expires",
    "rate_per_min",
    "last_used",
    "recovered",
)
MADE = ("key", "organisation", "subject", "scopes", "test", "expires", "rate_per_min", "old_secret_until", "token")
Key = Annotated[str, typer.Argument(help="As `list` shows it.")]


@app.command()
def create(
    subject: Annotated[str, typer.Option(help="The person the key belongs to.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as alerts:write; may be given again.")],
    test: Annotated[bool, typer.Option("--test", help="It cannot send Actual alerts.")] = False,
    organisation: Annotated[
        str | None, typer.Option(help="Another organisation than yours; for administrators of the service.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it expires, such as 2027-01-31T00:00:00Z.")] = None,
    rate_per_min: Annotated[int | None, typer.Option(help="Maximum requests per minute.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Region that limits its alerts; may be given again.")] = None,
) -> None:
    """Make an API key. Its token, the secret, is shown only once."""
    body = {
        "subject": subject, "scopes": scope, "test": test, "organisation": organisation, "expires": expires,
        "rate_per_min": rate_per_min, "jurisdiction": {"regions": region} if region else None,
    }  # fmt: skip
    tell_some(connect().post("/v1/keys", body), MADE)


@app.command("list")
def list_keys() -> None:
    """List your organisation's keys, without their secrets."""
    tell_list(connect().get("/v1/keys"), "keys", COLUMNS)


@app.command()
def rotate(
    key: Key,
    overlap_s: Annotated[int, typer.Option(help="Seconds for which the old secret stays valid.")] = 3600,
) -> None:
    """Create a new secret for a key, which is shown only once. The key keeps everything else."""
    tell_some(connect().post(f"/v1/keys/{segment(key)}/rotate", {"overlap_s": overlap_s}), MADE)


@app.command()
def recover(subject: Annotated[str, typer.Option(help="The person the key is for.")] = "administrator") -> None:
    """Make an administrator's key on the machine of the store, for the case that no administrator has one any more.

    This command needs no key, but the files of the data directory, or store.url and its keys, and the store must run.
    The audit records the new key, webhooks get the event key.recovered, and the console shows the key to all
    administrators until it is revoked.
    """
    from alertd.commands.organisations.key_recovery import recovered  # noqa: PLC0415  loads the service in a second

    settings = common().settings()
    logs.set_up(settings.log_level)
    made, token = recovered(settings, subject)
    if told_in_json({"key": made.key_id, "subject": made.subject, "scopes": sorted(made.scopes), "token": token}):
        return
    tell(f"Key {made.key_id} of {made.subject}, told this once; to use it: export ALERTD_KEY={token}")
    remark(
        f"Make a key for each person with it, then: alertd keys revoke {made.key_id}. Until then the console shows it to all administrators."
    )


@app.command()
def revoke(key: Key) -> None:
    """Revoke a key: the service refuses the next call with it."""
    connect().delete(f"/v1/keys/{segment(key)}")
    tell_answer({"revoked": key}, f"Key {key} is revoked.")
