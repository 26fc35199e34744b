"""`alertd check`: finds faults that would keep the service from starting or sending; or asks if it is ready."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from alertd.commands.base.client import Client, RefusedError
from alertd.commands.base.options import Common, address_of, common
from alertd.commands.base.output import tell, tell_table, told_in_json
from alertd.common import logs

if TYPE_CHECKING:
    from alertd.commands.installation.inspection import Finding


def check(
    ready: Annotated[bool, typer.Option("--ready", help="Ask the running service alone: 0 ready, 1 not.")] = False,
) -> None:
    """Look at configuration, store and carriers; with --ready at the running service.

    Ends with 1 if anything is at fault. Logs in at each carrier, and sends nothing.
    """
    if ready:
        _ask(common())
        return
    said = common()
    settings = said.settings()
    logs.set_up(settings.log_level)
    from alertd.commands.installation.inspection import inspected  # noqa: PLC0415  a second that --ready need not wait

    findings: list[Finding] = inspected(settings, said.config_file, contact=True)
    if not told_in_json({"findings": [asdict(finding) for finding in findings]}):
        tell_table(("", "part", "says"), ((_verdict(f), f.part, f.says) for f in findings))
    faults = sum(not finding.ok for finding in findings)
    if faults:
        raise RefusedError(f"{faults} of {len(findings)} are at fault")


def _verdict(finding: Finding) -> str:
    """Returns the first column of a finding's row: "FAULT", "warning" or "ok"."""
    if not finding.ok:
        return "FAULT"
    return "warning" if finding.warns else "ok"


def _ask(said: Common) -> None:
    """Asks the running service whether it is ready, and prints its answer. Raises RefusedError if it is not ready."""
    is_ready, words = Client(said.url or address_of(said.settings()), None).is_ready()
    is_told = told_in_json({"ready": is_ready, "says": words})
    if not is_ready:
        raise RefusedError(words)
    if not is_told:
        tell(words)
