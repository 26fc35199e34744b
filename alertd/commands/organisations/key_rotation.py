"""`alertd keys rotate-master`: starts a rotation of the master key, or joins the one that runs, and
shows its progress.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from alertd.commands.base.client import Client, RefusedError
from alertd.commands.base.options import common, connect
from alertd.commands.base.output import console, remark, tell, tell_json

PATH = "/v1/master-key/rotation"
POLL_S = 0.5
STEPS = {
    "spreading": "1/5 Every process loads the new master key (store.next_master_key_file); {waiting_for} still to do so",
    "sealing": "2/5 Sealing all values again under the new master key",
    "joining": "3/5 Every process loads the new hashing secret; {waiting_for} still to do so",
    "naming": "4/5 Hashing the ids and addresses of people again",
    "finishing": "5/5 Destroying the old master key and the old hashing secret",
    "done": "The master key and the hashing secret are rotated",
}
BLOCKED = (
    "The rotation has stopped, and the old master key still exists: {unreadable} values do not open under it. The first of them, by their keys in the "
    "store: {first}. If you repair them, run the command again. To lose them and finish: alertd keys rotate-master --give-up-unreadable"
)
OLD_COPIES = (
    "Backups that were made before open with their old keys alone. Delete those backups, and every copy of the old key: from "
    "backup --keys, from a vault, from other machines. Make a backup with the new keys in five minutes: the append-only file "
    "is rewritten by then, unless a loud alert is being sent. Before that, a backup still holds values that the old key opens."
)


def rotate_master(
    give_up_unreadable: Annotated[
        bool,
        typer.Option(
            "--give-up-unreadable",
            help="Finish although some values do not open under the old master key. alertd then loses them.",
        ),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it and return.")] = False,
) -> None:
    """Rotate the master key and the hashing secret while the service runs. Run it again to follow the rotation, or to
    continue one that stopped. Ends with 1 if the rotation stops.
    """
    client = connect()
    first = client.post(PATH, {"give_up_unreadable": give_up_unreadable})
    show = _as_json if common().as_json else _bar if sys.stdout.isatty() else _lines
    last = show(iter([first]) if no_wait else _changes(client, first))
    if last["blocked"]:
        raise RefusedError(BLOCKED.format(**last, first=", ".join(last["unreadable_keys"])))
    if last["state"] == "done" and not common().as_json:
        remark(OLD_COPIES)


def _changes(client: Client, first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields `first`, then the state of the rotation after each change, until it is done or has stopped."""
    standing, last = first, None
    while True:
        if standing != last:
            last = standing
            yield standing
        if standing["state"] in {"done", "none"} or standing["blocked"]:
            return
        time.sleep(POLL_S)
        standing = client.get(PATH)


def _as_json(changes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Prints each state as a line of JSON, and returns the last one."""
    last: dict[str, Any] = {}
    for last in changes:
        tell_json(last)
    return last


def _lines(changes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Prints each state as a line of text, and returns the last one."""
    last: dict[str, Any] = {}
    for last in changes:
        tell(
            f"{_step(last)}: looked at {last['done']:,} of {last['total']:,} keys of the store, sealed {last['resealed']:,} values again, hashed {last['renamed']:,} names again"
        )
    return last


def _bar(changes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Shows each state as a progress bar on the terminal, and returns the last one."""
    last: dict[str, Any] = {}
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console()) as bars:
        bar = bars.add_task("", total=None)
        for last in changes:
            bars.update(bar, description=_step(last), completed=last["done"], total=last["total"] or None)
    return last


def _step(standing: dict[str, Any]) -> str:
    """Returns the sentence for the current step of the rotation. Raises KeyError for the state `none`."""
    return STEPS[standing["state"]].format(**standing)
