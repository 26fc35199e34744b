"""`alertd regions import`: regions of one's own into the data directory, for the service to find at its next start.

Works on the directory, not over the API. Tried on a copy first: what would stop the next start is refused before anything
is written, and a dry run is that trial alone.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from alertd.commands.client import RefusedError
from alertd.commands.options import JsonOption, common
from alertd.commands.output import tell, tell_facts, tell_json
from geofences import files, importer
from geofences.additions import install, placed
from geofences.errors import GeofenceError
from geofences.importer import ImportReport
from geofences.regions import Kind, Library

app = typer.Typer(add_completion=False)

PROBLEMS_TOLD = 20


@app.command("import")
def import_regions(  # noqa: PLR0913, PLR0917  each is an option of the command
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="GeoJSON, GeoPackage, FlatGeobuf, Shapefile or TopoJSON."),
    ],
    kind: Annotated[Kind, typer.Option(help="What they are.")],
    code_field: Annotated[str, typer.Option(help="The column with each region's code.")],
    name_field: Annotated[str, typer.Option(help="The column with its name.")],
    parent_field: Annotated[str | None, typer.Option(help="The column with the code it is part of.")] = None,
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, of all of them.")] = None,
    layer: Annotated[str | None, typer.Option(help="Which layer, if there are several.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the texts, if the file does not say.")] = None,
    name: Annotated[str | None, typer.Option(help="What to keep them under; the same name replaces.")] = None,
    source: Annotated[str, typer.Option(help="Who made the data.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add regions of your own to the data directory."""
    settings = common(ctx).settings()
    origin = files.Source(name=source or file.name, licence=licence or "not stated", attribution=source or file.name)
    try:
        report = importer.read(
            file, kind=kind, code_field=code_field, name_field=name_field, parent_field=parent_field, country=country,
            encoding=encoding, layer=layer,
        )  # fmt: skip
        if report.problems:
            raise RefusedError(_problems(file, report))
        folder, kept_as = settings.store.regions, name or _name_of(file)
        path = _installed(folder, kept_as, origin, report, Library.load(added=folder), dry_run=dry_run)
    except GeofenceError as error:
        raise RefusedError(str(error)) from None
    facts = _facts(report, path, dry_run=dry_run)
    tell_json(facts) if as_json else _tell(facts)


def _installed(
    folder: Path, name: str, source: files.Source, report: ImportReport, library: Library, *, dry_run: bool
) -> Path:
    """Stores the regions, after a trial on a copy of the folder. Raises LibraryError."""
    rows = placed(report.regions, report.geometries, library)
    with tempfile.TemporaryDirectory(prefix="alertd-regions-") as directory:
        trial = Path(directory) / "regions"
        if folder.is_dir():
            shutil.copytree(folder, trial)
        install(trial, name, source=source, rows=rows, geometries=report.geometries, library=library)
        Library.load(added=trial)
    if dry_run:
        return folder / f"{name}{files.SUFFIX}"
    return install(folder, name, source=source, rows=rows, geometries=report.geometries, library=library)


def _name_of(file: Path) -> str:
    """`town.geojson.gz` is kept as `town`."""
    return file.name.partition(".")[0] or "regions"


def _problems(file: Path, report: ImportReport) -> str:
    lines = [f"{file.name} was not imported, for it has {len(report.problems)} faults:"]
    for problem in report.problems[:PROBLEMS_TOLD]:
        code = f" ({problem.code})" if problem.code else ""
        lines.append(f"  row {problem.row}{code} {problem.what}")
    if len(report.problems) > PROBLEMS_TOLD:
        lines.append(f"  and {len(report.problems) - PROBLEMS_TOLD} more")
    return "\n".join(lines)


def _facts(report: ImportReport, path: Path, *, dry_run: bool) -> dict[str, Any]:
    return {
        "regions": len(report.regions),
        "file": str(path),
        "reprojected_from": report.reprojected_from,
        "repaired": list(report.repaired),
        "dry_run": dry_run,
    }


def _tell(facts: dict[str, Any]) -> None:
    tell_facts({name: value for name, value in facts.items() if name != "dry_run"})
    if facts["dry_run"]:
        tell("Nothing was written: this was a dry run.")
    else:
        tell("A running service finds them after its next start: restart it.")
