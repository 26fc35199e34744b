"""`alertd evidence`: an alert's signed evidence into a file, and whether such a file is what was signed, which asks nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from alertd.commands.base.client import RefusedError, segment
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import remark, tell, tell_json
from alertd.service.records.evidence import EvidenceError, verified

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Signed evidence: export, key, verify.")


@app.command()
def export(
    ctx: typer.Context,
    alert_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOption = False,  # noqa: ARG001  evidence is JSON in any case
) -> None:
    """An alert with all that proves what was decided and told, on standard output. It holds what the case holds."""
    tell_json(common(ctx).client().get(f"/v1/alerts/{segment(alert_id)}/evidence"))


@app.command()
def key(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The public half of the key that signs, in PEM: keep it with the case system, before you need it."""
    found = common(ctx).client().get("/v1/evidence/key")
    if as_json:
        tell_json(found)
        return
    tell(found["pem"].rstrip())


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    key_file: Annotated[
        Path, typer.Option("--key", exists=True, dir_okay=False, help="The public half that you kept, in PEM.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Offline: whether it is what was signed. With --json tells what that is."""
    try:
        found = verified(json.loads(file.read_bytes()), key_file.read_text(encoding="ascii"))
    except (EvidenceError, ValueError) as error:
        raise RefusedError(str(error) if isinstance(error, EvidenceError) else "It is no signed evidence.") from None
    if as_json:
        tell_json(found)
        return
    tell(f"As it was signed: alert {found['alert']['id']}, made {found['made']} for {found['by']}.")
    remark(f"Entry {found['audit']['entries']} of the audit had the link {found['audit']['head']}.")
