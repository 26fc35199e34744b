"""`alertd evidence`: exports an alert's signed evidence, and verifies such a file offline."""

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
    """Print the signed evidence of an alert, with all decisions and sends, as JSON. It contains the
    facts of the case.
    """
    tell_json(connect().get(f"/v1/alerts/{segment(alert_id)}/evidence"))


@app.command()
def key() -> None:
    """Print the public key that verifies evidence, in PEM. Store it with the case system before you need it."""
    found = connect().get("/v1/evidence/key")
    tell_answer(found, found["pem"].rstrip())


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    key_file: Annotated[
        Path, typer.Option("--key", exists=True, dir_okay=False, help="The public key that you stored, in PEM.")
    ],
) -> None:
    """Verify the signature of an evidence file, offline; ends with 1 if it is wrong. With --json print the evidence."""
    try:
        found = verified(json.loads(file.read_bytes()), key_file.read_text(encoding="ascii"))
    except (EvidenceError, ValueError) as error:
        raise RefusedError(str(error) if isinstance(error, EvidenceError) else "It is no signed evidence.") from None
    if told_in_json(found):
        return
    tell(f"As it was signed: alert {found['alert']['id']}, made {found['made']} for {found['by']}.")
    remark(f"Entry {found['audit']['entries']} of the audit had the link {found['audit']['head']}.")
