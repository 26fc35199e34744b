"""`alertd keys rotate-master`: starts a rotation of the master key, or follows the one that is running, to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from alertd.commands.client import Client, RefusedError
from alertd.commands.options import JsonOption, common
from alertd.commands.output import console, remark, tell, tell_json

PATH = "/v1/master-key/rotation"
LOOK_S = 0.5
STEPS = {
    "spreading": "Waiting for {waiting_for} processes to load the new key (store.next_master_key_file)",
    "sealing": "Sealing anew under the new key",
    "joining": "Waiting for {waiting_for} processes to load the new name key",
    "naming": "Renaming with the new name key",
    "finishing": "Destroying the old key",
    "done": "The master key is rotated",
}
BLOCKED = (
    "{unreadable} values do not open under the old key, so the rotation has stopped: the old key is still there. Look for them in the log. "
    "To lose them and go on: alertd keys rotate-master --give-up-unreadable"
)
OLD_COPIES = (
    "Backups that were made before open with their old keys alone. Delete those backups, and every copy of the old key: from "
    "backup --keys, from a vault, from other machines. Then make a backup with the new keys."
)


def rotate_master(
    ctx: typer.Context,
    give_up_unreadable: Annotated[
        bool,
        typer.Option(
            "--give-up-unreadable", help="Finish although some values do not open under the old key: they are lost."
        ),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it and return.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rotate the master key and the hashing key while the service runs. Run again, it follows the rotation that is running."""
    client = common(ctx).client()
    first = client.post(PATH, {"give_up_unreadable": give_up_unreadable})
    show = _as_json if as_json else _bar if sys.stdout.isatty() else _lines
    last = show(iter([first]) if no_wait else _changes(client, first))
    if last["blocked"]:
        raise RefusedError(BLOCKED.format(**last))
    if last["state"] == "done" and not as_json:
        remark(OLD_COPIES)


def _changes(client: Client, first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """How it stands, each time that it stands otherwise, to its end."""
    standing, last = first, None
    while True:
        if standing != last:
            last = standing
            yield standing
        if standing["state"] in {"done", "none"} or standing["blocked"]:
            return
        time.sleep(LOOK_S)
        standing = client.get(PATH)


def _as_json(changes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in changes:
        tell_json(last)
    return last


def _lines(changes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in changes:
        tell(
            f"{_step(last)}: {last['done']:,} of {last['total']:,}, {last['resealed']:,} sealed anew, {last['renamed']:,} renamed"
        )
    return last


def _bar(changes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console()) as bars:
        bar = bars.add_task("", total=None)
        for last in changes:
            bars.update(bar, description=_step(last), completed=last["done"], total=last["total"] or None)
    return last


def _step(standing: dict[str, Any]) -> str:
    return STEPS[standing["state"]].format(**standing)
