"""Follows an alert until nobody more is told of it, over restarts of the service."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from alertd.alerts import UNWATCHED, AlertState
from alertd.commands.client import Client, RefusedError, UnreachableError, segment
from alertd.commands.output import console, harmless, tell, tell_json
from alertd.commands.review import waits

#: Before a stream that broke off is asked for again.
AGAIN_S = 1.0
NOT_YET = ("queued", "in_flight")
STALLS = "it stalls: for a minute nobody more was told"


def watch(client: Client, alert_id: str, *, as_json: bool) -> None:
    """Tells every change until it is over. Raises RefusedError when it ended otherwise than sent."""
    tell_all = _as_json if as_json else _bars if sys.stdout.isatty() else _lines
    last = tell_all(_changes(client, alert_id))
    if last != AlertState.SENT:
        raise RefusedError(f"alert {alert_id} ended as {last}")


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
        time.sleep(AGAIN_S)  # the service goes down; it ends its streams first


def _as_json(changes: Iterator[dict[str, Any]]) -> str:
    state = ""
    for progress in changes:
        tell_json(progress)
        state = progress["state"]
    return state


def _lines(changes: Iterator[dict[str, Any]]) -> str:
    state = ""
    for progress in changes:
        channels = progress["channels"].items()
        parts = [f"{name} {_over(c):,} of {c.get('targeted', 0):,}{_outcomes(c)}" for name, c in channels]
        parts += [f"{name} not shown" for name in progress.get("few", ())]
        state = progress["state"]
        tell(": ".join([state, "; ".join(parts)] if parts else [state]) + _seconds(progress) + _waits(progress))
    return state


def _bars(changes: Iterator[dict[str, Any]]) -> str:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    state, stands, bars = "", ("", False), dict[str, TaskID]()
    with Progress(*columns, console=console()) as progress_bars:
        for progress in changes:
            state = progress["state"]
            if stands != (stands := (state, progress.get("stalled", False))):
                progress_bars.console.print(harmless(state + _seconds(progress) + _waits(progress)))
            for name, counts in progress["channels"].items():
                if name not in bars:
                    bars[name] = progress_bars.add_task(name, told="")
                total, done = counts.get("targeted", 0), _over(counts)
                progress_bars.update(bars[name], total=total, completed=done, told=_outcomes(counts))
    return state


def _over(counts: dict[str, int]) -> int:
    """Of the targeted, those that are neither queued nor on their way."""
    return counts.get("targeted", 0) - sum(counts.get(state, 0) for state in NOT_YET)


def _outcomes(counts: dict[str, int]) -> str:
    told = [f"{state} {n:,}" for state, n in counts.items() if n and state not in {"targeted", *NOT_YET}]
    return f" ({', '.join(told)})" if told else ""


def _waits(progress: dict[str, Any]) -> str:
    said = [*waits(progress.get("permissions", [])), *([STALLS] if progress.get("stalled") else [])]
    return f"; {'; '.join(said)}" if said else ""


def _seconds(progress: dict[str, Any]) -> str:
    last = progress["last_send_s"]
    return f"; last hand-over {last:.1f} s after approval" if last is not None else ""
