"""Follows an alert until its send is complete, across restarts of the service."""

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

#: Seconds before a broken stream is requested again.
AGAIN_S = 1.0
NOT_YET = ("queued", "in_flight")
STALLS = "it stalls: no message was sent for a minute"


def watch(client: Client, alert_id: str, *, as_json: bool) -> None:
    """Prints every change until the alert is over. Raises RefusedError if it ended otherwise than sent, NobodyError if there was nobody to
    notify.
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
    """Returns a text which explains that there was no one to notify. For a Test or an Exercise it also says how to
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
        time.sleep(AGAIN_S)  # the service is shutting down; it ends its streams first


def _as_json(changes: Iterator[dict[str, Any]]) -> None:
    for progress in changes:
        tell_json(progress)


def _lines(changes: Iterator[dict[str, Any]]) -> None:
    for progress in changes:
        channels = progress["channels"].items()
        parts = [f"{name} {_over(c):,} of {c.get('targeted', 0):,}{_outcomes(c)}" for name, c in channels]
        parts += [f"{name} not shown" for name in progress.get("few", ())]
        state = standing(progress)
        tell(": ".join([state, "; ".join(parts)] if parts else [state]) + _seconds(progress) + _waits(progress))


def _bars(changes: Iterator[dict[str, Any]]) -> None:
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
    """Returns the number of targeted messages that are neither queued nor being sent."""
    return counts.get("targeted", 0) - sum(counts.get(state, 0) for state in NOT_YET)


def _outcomes(counts: dict[str, int]) -> str:
    told = [f"{state} {n:,}" for state, n in counts.items() if n and state not in {"targeted", *NOT_YET}]
    return f" ({', '.join(told)})" if told else ""


def _waits(progress: dict[str, Any]) -> str:
    said = waits(progress.get("permissions", []))
    if is_on_hold(progress):
        said.append(f"to go on: alertd alerts resume {progress['id']}")
    elif progress.get("stalled"):
        said.append(STALLS)
    return f"; {'; '.join(said)}" if said else ""


def _seconds(progress: dict[str, Any]) -> str:
    last = progress["last_send_s"]
    return f"; last hand-over {last:.1f} s after approval" if last is not None else ""
