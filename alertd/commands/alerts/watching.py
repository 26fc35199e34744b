"""Prints the progress of an alert until its send is complete, across restarts of the service."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from alertd.commands.alerts.review import is_on_hold, standing, waits
from alertd.commands.base.client import Client, NobodyError, RefusedError, UnreachableError, segment
from alertd.commands.base.output import console, harmless, tell, tell_json
from alertd.model.states import UNWATCHED, AlertState

#: Seconds before the command requests an event stream again that ended too early.
AGAIN_S = 1.0
#: States of a message that is still to be sent.
NOT_YET = ("queued", "in_flight")
STALLS = "it stalls: no message was sent for a minute"


def watch(client: Client, alert_id: str, *, as_json: bool) -> None:
    """Prints every change of the progress until the send is complete: as JSON lines, bars on a terminal, or lines.
    Raises RefusedError if the alert ended in another state than sent, NobodyError if there was no one to notify.
    """
    tell_all = _as_json if as_json else _bars if sys.stdout.isatty() else _lines
    last: dict[str, Any] = {}

    def changes() -> Iterator[dict[str, Any]]:
        for progress in _changes(client, alert_id):
            last.update(progress)
            yield progress

    tell_all(changes())
    if last["state"] != AlertState.SENT:
        raise RefusedError(f"alert {alert_id} ended as {last['state']}")
    if last.get("nobody"):
        raise NobodyError(_nobody(client.get(f"/v1/alerts/{segment(alert_id)}")))


def _nobody(alert: dict[str, Any]) -> str:
    """Returns the text that explains why there was no one to notify. For a Test or an Exercise, adds the commands that
    register a tester.
    """
    if alert["status"] == "Actual":
        return f"There was no one to notify: no subscriber of kind {alert['kind']} in the area has an address for its channels."
    tester = {
        "id": "tester-1", "tester": True, "languages": ["en"], "kinds": [alert["kind"]],
        "places": {"home": {"point": ["LONGITUDE", "LATITUDE"]}}, "addresses": [{"channel": "mail", "mailbox": "YOU@EXAMPLE.ORG"}],
        "consent": {"at": "2026-01-01T00:00:00Z", "source": "own"},
    }  # fmt: skip
    line = json.dumps(tester).replace('"LONGITUDE", "LATITUDE"', "LONGITUDE, LATITUDE")
    return (
        f"There was no one to notify. A {alert['status']} notifies testers only, and no tester is in its area. Register one there:\n"
        f"  echo '{line}' >tester.ndjson\n"
        "  alertd subscribers import tester.ndjson"
    )


def _changes(client: Client, alert_id: str) -> Iterator[dict[str, Any]]:
    """Yields the progress after each change until the send is complete. Requests the stream again if it ends earlier or
    breaks off. Raises UnreachableError if it breaks off before the first progress.
    """
    path, last = f"/v1/alerts/{segment(alert_id)}/progress", None
    while True:
        try:
            for progress in client.events(path):
                if progress != last:
                    last = progress
                    yield progress
        except UnreachableError:
            if last is None:
                raise
        if last is not None and AlertState(last["state"]) in UNWATCHED:
            return
        time.sleep(AGAIN_S)  # the service is stopping, and ends its streams first


def _as_json(changes: Iterator[dict[str, Any]]) -> None:
    """Prints a line of JSON for each change."""
    for progress in changes:
        tell_json(progress)


def _lines(changes: Iterator[dict[str, Any]]) -> None:
    """Prints a line for each change: the state, the messages done of all by channel, and what the send waits for."""
    for progress in changes:
        channels = progress["channels"].items()
        parts = [f"{name} {_over(c):,} of {c.get('targeted', 0):,}{_outcomes(c)}" for name, c in channels]
        parts += [f"{name} not shown" for name in progress.get("few", ())]
        state = standing(progress)
        tell(": ".join([state, "; ".join(parts)] if parts else [state]) + _seconds(progress) + _waits(progress))


def _bars(changes: Iterator[dict[str, Any]]) -> None:
    """Shows a progress bar for each channel on the terminal, and prints a line for each change of the state."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    stands, bars = ("", ""), dict[str, TaskID]()
    with Progress(*columns, console=console()) as progress_bars:
        for progress in changes:
            if stands != (stands := (standing(progress), _waits(progress))):
                progress_bars.console.print(harmless(stands[0] + _seconds(progress) + stands[1]))
            for name, counts in progress["channels"].items():
                if name not in bars:
                    bars[name] = progress_bars.add_task(name, told="")
                total, done = counts.get("targeted", 0), _over(counts)
                progress_bars.update(bars[name], total=total, completed=done, told=_outcomes(counts))


def _over(counts: dict[str, int]) -> int:
    """Returns the number of messages of a channel that are done: neither queued nor being sent."""
    return counts.get("targeted", 0) - sum(counts.get(state, 0) for state in NOT_YET)


def _outcomes(counts: dict[str, int]) -> str:
    """Returns the counts of the messages that are done, by state and in brackets; "" if there are none."""
    parts = [f"{state} {n:,}" for state, n in counts.items() if n and state not in {"targeted", *NOT_YET}]
    return f" ({', '.join(parts)})" if parts else ""


def _waits(progress: dict[str, Any]) -> str:
    """Returns what the send waits for (neighbours, a pause, a stall) as text that begins with "; "; "" for nothing."""
    said = waits(progress.get("permissions", []))
    if is_on_hold(progress):
        said.append(f"to go on: alertd alerts resume {progress['id']}")
    elif progress.get("stalled"):
        said.append(STALLS)
    return f"; {'; '.join(said)}" if said else ""


def _seconds(progress: dict[str, Any]) -> str:
    """Returns the seconds from the alert's start to the last hand-over to a carrier as text; "" before the first."""
    last = progress["last_send_s"]
    return f"; last hand-over {last:.1f} s after approval" if last is not None else ""
