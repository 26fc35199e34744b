"""`alertd evidence`: an alert's signed evidence into a file, and whether such a file is what was signed, which asks nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from alertd.commands.base.client import RefusedError, segment
from alertd.commands.base.options import connect
from alertd.commands.base.output import remark, tell, tell_answer, tell_json, told_in_json
from alertd.service.records.evidence import EvidenceError, verified

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def export(alert_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """An alert with all that proves what was decided and told, on standard output. It holds what the case holds."""
    tell_json(connect().get(f"/v1/alerts/{segment(alert_id)}/evidence"))


@app.command()
def key() -> None:
    """The public half of the key that signs, in PEM: keep it with the case system, before you need it."""
    found = connect().get("/v1/evidence/key")
    tell_answer(found, found["pem"].rstrip())


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    key_file: Annotated[
        Path, typer.Option("--key", exists=True, dir_okay=False, help="The public half that you kept, in PEM.")
    ],
) -> None:
    """Offline: whether it is what was signed. With --json tells what that is."""
    try:
        found = verified(json.loads(file.read_bytes()), key_file.read_text(encoding="ascii"))
    except (EvidenceError, ValueError) as error:
        raise RefusedError(str(error) if isinstance(error, EvidenceError) else "It is no signed evidence.") from None
    if told_in_json(found):
        return
    tell(f"As it was signed: alert {found['alert']['id']}, made {found['made']} for {found['by']}.")
    remark(f"Entry {found['audit']['entries']} of the audit had the link {found['audit']['head']}.")
