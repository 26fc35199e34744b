"""`alertd regions import`: regions of one's own into the data directory, where a running service finds them within seconds.

Works on the directory, not over the API. Tried on a copy first: what could not be loaded is refused before anything is
written, and a dry run is that trial alone.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from alertd.commands.client import RefusedError
from alertd.commands.options import JsonOption, common
from alertd.commands.output import tell, tell_facts, tell_json
from geofences import files, importer
from geofences.additions import Problem, gone, install, placed, problems, qualified
from geofences.belonging import replaced
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
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Also put them in the place of regions of the same code that lie elsewhere."),
    ] = False,
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
            raise RefusedError(_problems(file, report.problems))
        folder, kept_as = settings.store.regions, name or _name_of(file)
        with _alone(folder, dry_run=dry_run):
            facts = _imported(file, folder, kept_as, origin, report, replace=replace, dry_run=dry_run)
    except GeofenceError as error:
        raise RefusedError(str(error)) from None
    tell_json(facts) if as_json else _tell(facts)


def _alone(folder: Path, *, dry_run: bool) -> AbstractContextManager[None]:
    """Nobody else imports from what is checked until it is stored. A dry run makes no folder."""
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    return files.alone(folder) if folder.is_dir() else nullcontext()


def _imported(
    file: Path, folder: Path, name: str, source: files.Source, report: ImportReport, *, replace: bool, dry_run: bool
) -> dict[str, Any]:
    """Stores the regions and answers what was done. Raises LibraryError, and RefusedError for faults of single features."""
    library = Library.load(added=folder)
    rows = placed(qualified(report.regions, library), report.geometries, library)
    if found := problems(rows, report.geometries, library, replace=replace):
        raise RefusedError(_problems(file, found))
    codes = {read.code: row.code for row, read in zip(rows, report.regions, strict=True)}
    facts = {
        "regions": len(rows),
        "file": str(folder / f"{name}{files.SUFFIX}"),
        "layer": report.layer,
        "codes": [rows[0].code, rows[-1].code],
        "country_put_before_codes": sum(new != old for old, new in codes.items()),
        "reprojected_from": report.reprojected_from,
        "assumed_lon_lat": report.assumed_lon_lat,
        "repaired": [codes[code] for code in report.repaired],
        "without_parent": sum(row.parent is None for row in rows),
        "replaced": [dataclasses.asdict(one) for one in replaced(rows, report.geometries, library)],
        "gone": list(gone(folder, name, rows)),
        "dry_run": dry_run,
    }
    _install(folder, name, source, dataclasses.replace(report, regions=rows), library, dry_run=dry_run)
    return facts


def _install(
    folder: Path, name: str, source: files.Source, report: ImportReport, library: Library, *, dry_run: bool
) -> None:
    """Stores the regions, after a trial on a copy of the folder. Raises LibraryError."""

    def into(where: Path) -> None:
        rows, geometries = report.regions, report.geometries
        install(where, name, source=source, rows=rows, geometries=geometries, library=library)

    with tempfile.TemporaryDirectory(prefix="alertd-regions-") as directory:
        trial = Path(directory) / "regions"
        if folder.is_dir():
            shutil.copytree(folder, trial)
        into(trial)
        Library.load(added=trial)
    if not dry_run:
        into(folder)


def _name_of(file: Path) -> str:
    """`town.geojson.gz` is kept as `town`."""
    return file.name.partition(".")[0] or "regions"


def _problems(file: Path, found: Sequence[Problem]) -> str:
    lines = [f"{file.name} was not imported, for it has {len(found)} faults:"]
    for problem in found[:PROBLEMS_TOLD]:
        code = f" ({problem.code})" if problem.code else ""
        lines.append(f"  row {problem.row}{code} {problem.what}")
    if len(found) > PROBLEMS_TOLD:
        lines.append(f"  and {len(found) - PROBLEMS_TOLD} more")
    return "\n".join(lines)


def _tell(facts: dict[str, Any]) -> None:
    tell_facts({name: value for name, value in facts.items() if name not in {"dry_run", "replaced"}})
    for one in facts["replaced"]:
        tell(f"{one['code']} was {one['was']} and is {one['now']}, with {one['shared']:.0%} of its ground in common.")
    if facts["assumed_lon_lat"]:
        tell("The file does not say its coordinate system; its numbers were taken as longitude and latitude (WGS84).")
    if facts["gone"]:
        tell("Whoever is registered in a region that is gone is not told by region any more: register them elsewhere.")
    if facts["dry_run"]:
        tell("Nothing was written: this was a dry run.")
    else:
        tell("A running service finds them within seconds; those of other machines need the same import.")
