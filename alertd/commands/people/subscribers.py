"""`alertd subscribers`: imports, counts, shows and removes subscribers, and explains who was notified of an alert."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alertd.commands.base.client import Client, RefusedError, place, segment
from alertd.commands.base.options import common, connect
from alertd.commands.base.output import (
    console,
    estimated,
    remark,
    tell,
    tell_answer,
    tell_facts,
    tell_table,
    told_in_json,
)
from alertd.commands.base.people_files import CsvError, Line, csv_lines, ndjson_lines

app = typer.Typer(no_args_is_help=True, add_completion=False)

#: Lines in one call: as many as the service writes at once, and few enough to repeat after a lost connection.
LINES = 1_000
FAULTS_TOLD = 20
#: Number of calls for each line of progress, without a terminal.
REMARK_EVERY = 10

SubscriberId = Annotated[str, typer.Argument(metavar="ID", help="The subscriber's id.")]


@app.command("import")
def import_people(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="NDJSON, or CSV if its name ends so; - is standard input.")
    ],
    is_csv: Annotated[bool, typer.Option("--csv", help="Read the file as CSV, with any name.")] = False,
) -> None:
    """Create or change many subscribers. Importing the same file again changes nothing. For an existing subscriber, a
    CSV writes only the parts that it has columns for, and an empty cell removes a value. A line of NDJSON replaces the
    whole registration, or with `only` the parts that this names. Ends with 1 if a line is refused; the others are
    written.
    """
    client, read = connect(), csv_lines if is_csv or file.name.lower().endswith(".csv") else ndjson_lines
    telling, counts = _Telling(file), {"written": 0, "refused": 0}
    try:
        with telling:
            for batch in _batches(read(file)):
                faults = sent(client, batch)
                counts["refused"] += len(faults)
                counts["written"] += len(batch) - len(faults)
                telling.step(counts, faults, sum(len(line) for _, line in batch))
    except CsvError as error:
        raise RefusedError(f"{file.name}: {error}; {counts['written']:,} were written before") from None
    tell_answer(counts, f"{counts['written']:,} written, {counts['refused']:,} refused.")
    if counts["refused"]:
        lines = "1 line was" if counts["refused"] == 1 else f"{counts['refused']:,} lines were"
        raise RefusedError(f"{lines} refused; fix them and send the file again")


@app.command()
def count(
    within: Annotated[str, typer.Option("--in", metavar="CODE|GEOJSON", help="A region's code, a file or its text.")],
    kind: Annotated[
        str | None, typer.Option(help="Only subscribers of this kind of alert. Default: missing-child.")
    ] = None,
) -> None:
    """Estimate how many people and addresses are in an area."""
    body = {"target": _target(within)} | ({} if kind is None else {"kind": kind})
    found = connect().post("/v1/targets/preview", body)
    if told_in_json({name: found[name] for name in ("area", "audience", "eta")}):
        return
    area, audience = found["area"], found["audience"]
    tell_facts(
        {"people": estimated(audience["people"]), "addresses": audience["addresses"], "area": f"{area['km2']:,} km2"}
    )
    tell_table(("region", "people"), audience["regions"].items())


@app.command()
def show(subscriber_id: SubscriberId) -> None:
    """Show one subscriber: id and registration."""
    found = connect().get(_path(subscriber_id))
    tell_answer(found, lambda _: tell_facts({"id": found["id"], **found["registration"]}))


@app.command()
def explain(
    subscriber_id: SubscriberId,
    alert: Annotated[str, typer.Option("--alert", metavar="ALERT", help="The alert's id.")],
) -> None:
    """Explain why a subscriber was notified of an alert, or why not."""
    found = connect().get(f"{_path(subscriber_id)}/explain", {"alert": alert})
    if told_in_json(found):
        return
    tell_facts({name: found[name] for name in ("told", "why", "in_audience", "consents", "tester")})
    for many in ("places", "addresses", "messages"):
        if found[many]:
            tell_table(found[many][0].keys(), [row.values() for row in found[many]])


@app.command()
def forget(subscriber_id: SubscriberId) -> None:
    """Remove a subscriber with all places and addresses. This cannot be undone. Queued messages for
    them are not sent.
    """
    connect().delete(_path(subscriber_id))
    tell_answer({"forgotten": subscriber_id}, f"Subscriber {subscriber_id} is forgotten.")


def _path(subscriber_id: str) -> str:
    return f"/v1/subscribers/{segment(subscriber_id)}"


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(itertools.islice(lines, LINES)):
        yield batch


def sent(client: Client, batch: list[Line]) -> list[dict[str, Any]]:
    """Posts a batch of lines and returns the faults, one for each refused line; its `line` is the number in the file.
    Raises RefusedError, also if the answer is incomplete.
    """
    answers = client.post_lines("/v1/subscribers/import", b"\n".join(line for _, line in batch) + b"\n")
    if not answers or answers[-1].get("line") != len(batch):
        raise RefusedError("the answer ended before the lines did; send the file again, which changes nothing twice")
    return [
        {**fault, "line": batch[fault["line"] - 1][0]}  # the service counts the lines of this call
        for answer in answers
        for fault in answer["faults"]
    ]


class _Telling:
    """Shows the progress of an import as a bar on a terminal, else as lines; with --json prints only the faults."""

    def __init__(self, file: IO[bytes]) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console(), disable=common().as_json or not sys.stdout.isatty())
        self._task = self._bar.add_task("0 written", total=_size(file))
        self._calls = self._told = 0

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, counts: dict[str, int], faults: list[dict[str, Any]], size: int) -> None:
        """Shows the counts after a call that sent `size` bytes of lines, and the faults that it brought."""
        said = f"{counts['written']:,} written" + (f", {counts['refused']:,} refused" if counts["refused"] else "")
        self._bar.update(self._task, advance=size, description=said)
        self._calls += 1
        if self._bar.disable and not common().as_json and self._calls % REMARK_EVERY == 0:
            tell(said)
        for fault in faults:
            self._tell_fault(fault)

    def _tell_fault(self, fault: dict[str, Any]) -> None:
        """Prints the first 20 faults to standard error; with --json prints every fault as a line of JSON."""
        if told_in_json(fault):
            return
        self._told += 1
        if self._told <= FAULTS_TOLD:
            remark(f"line {fault['line']}: {fault['detail']}")
            for each in fault.get("errors", ()):
                remark(f"  {place(each)}: {each['detail']}")
        elif self._told == FAULTS_TOLD + 1:
            remark("More lines are refused; --json lists each.")


def _size(file: IO[bytes]) -> int | None:
    """Returns the size of a file in bytes, the end of the progress bar; None for a pipe or an empty file."""
    found = os.fstat(file.fileno())
    return found.st_size or None


def _target(text: str) -> dict[str, Any]:
    """Returns an alert's target for a region's code, GeoJSON as text, or a file of GeoJSON. Raises RefusedError if
    that is no JSON.
    """
    raw = text if text.lstrip().startswith("{") else None
    if raw is None and Path(text).is_file():
        raw = Path(text).read_text(encoding="utf-8-sig")
    if raw is None:
        return {"regions": [text]}
    try:
        return {"polygons": _geometries(json.loads(raw))}
    except ValueError as error:
        raise RefusedError(f"this is not GeoJSON: {error}") from None


def _geometries(document: Any) -> list[Any]:
    """Returns the geometries in a GeoJSON object, and any other value unchanged in a list, for the
    service to refuse.
    """
    match document:
        case {"type": "FeatureCollection", "features": list(features)}:
            return [geometry for feature in features for geometry in _geometries(feature)]
        case {"type": "Feature", "geometry": geometry}:
            return _geometries(geometry)
        case {"type": "GeometryCollection", "geometries": list(geometries)}:
            return [geometry for each in geometries for geometry in _geometries(each)]
        case _:
            return [document]
