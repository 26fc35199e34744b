"""`alertd audit`: lists the audit's entries, and verifies that no entry was changed or removed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import RefusedError
from alertd.commands.base.options import connect
from alertd.commands.base.output import remark, tell, tell_table, told_in_json

app = typer.Typer(no_args_is_help=True, add_completion=False)

COLUMNS = ("entry", "at", "act", "outcome", "by", "by_org", "object")


@app.command("list")
def list_entries(
    limit: Annotated[int | None, typer.Option(help="Maximum number of entries.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Continue after the previous page.")] = None,
) -> None:
    """List your organisation's entries, newest first."""
    page = connect().get("/v1/audit", {"limit": limit, "cursor": cursor})
    if told_in_json(page):
        return
    tell_table(COLUMNS, ([entry[name] for name in COLUMNS] for entry in page["entries"]))
    if page["next"] is not None:
        remark(f"There are older ones: --cursor {page['next']}")


@app.command()
def verify(
    noted: Annotated[
        str | None, typer.Option(metavar="ENTRY:LINK", help="A head that you noted before: it must still be there.")
    ] = None,
) -> None:
    """Verify the chain of entries from the first one. Ends with 1 and names the first entry that was changed or is
    missing.
    """
    verdict = connect().get("/v1/audit/verify", _query(noted))
    is_told = told_in_json(verdict)
    if verdict["broken"] is not None:
        raise RefusedError(f"the audit is broken at entry {verdict['broken']}: {verdict['why']}")
    if not is_told:
        head = f" Note its head elsewhere: {verdict['entries']}:{verdict['head']}" if verdict["head"] else ""
        tell(f"All {verdict['entries']} entries are as they were written.{head}")


def _query(noted: str | None) -> dict[str, Any]:
    """Returns the query for --noted, ENTRY:LINK. Raises BadParameter for another form."""
    entry, colon, link = (noted or "").partition(":")
    if noted is not None and not (colon and entry.isdigit()):
        raise typer.BadParameter("it looks like 12:9f86d081…, as verify told it", param_hint="--noted")
    return {"entry": entry or None, "link": link or None}
