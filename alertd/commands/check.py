"""`alertd check`: would it start, and is it ready."""

from __future__ import annotations

from typing import Annotated

import typer

from alertd.commands.client import Client, RefusedError
from alertd.commands.options import Common, JsonOption, address_of, common
from alertd.commands.output import tell, tell_json, tell_table

app = typer.Typer(add_completion=False)


@app.command()
def check(
    ctx: typer.Context,
    ready: Annotated[bool, typer.Option("--ready", help="Ask the running service alone: 0 ready, 1 not.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at configuration, store and carriers; with --ready at the running service."""
    if ready:
        _ask(common(ctx), as_json=as_json)
        return
    said = common(ctx)
    settings = said.settings()
    from alertd.commands.inspection import inspected  # noqa: PLC0415  a second that no health check need wait

    findings = inspected(settings, said.config_file)
    if as_json:
        tell_json({"findings": [{"part": f.part, "ok": f.ok, "says": f.says} for f in findings]})
    else:
        tell_table(("", "part", "says"), (("ok" if f.ok else "FAULT", f.part, f.says) for f in findings))
    faults = sum(not finding.ok for finding in findings)
    if faults:
        raise RefusedError(f"{faults} of {len(findings)} are at fault")


def _ask(said: Common, *, as_json: bool) -> None:
    is_ready, words = Client(said.url or address_of(said.settings()), None).is_ready()
    if as_json:
        tell_json({"ready": is_ready, "says": words})
    if not is_ready:
        raise RefusedError(words)
    if not as_json:
        tell(words)
