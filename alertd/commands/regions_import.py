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
from alertd.commands.output import remark, tell, tell_facts, tell_json
from geofences import files, importer
from geofences.additions import Problem, gone, install, orphaned, placed, prefixed, problems, qualified
from geofences.belonging import replaced
from geofences.errors import GeofenceError
from geofences.importer import ImportReport
from geofences.regions import Kind, Library

app = typer.Typer(add_completion=False)
removing = typer.Typer(add_completion=False)

PROBLEMS_TOLD = 20
GONE = "Whoever is registered in a region that is gone is not told by region any more: register them elsewhere."
LABELS = {
    "codes": "first and last code",
    "country_put_before_codes": "codes that got the country in front",
    "reprojected_from": "reprojected from",
    "assumed_lon_lat": "taken as longitude and latitude",
    "repaired": "outlines repaired",
    "renamed": "names repaired",
    "put_below_by_ground": "put below the region they lie in",
    "without_parent": "without a parent",
}


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
    parent_digits: Annotated[
        int, typer.Option(min=0, help="So many characters of a code are its parent's: 2 where 26347 is part of FR-26.")
    ] = 0,
    guess_parents: Annotated[
        bool, typer.Option("--guess-parents", help="A parent that is not known is the region it lies in.")
    ] = False,
    exclave: Annotated[
        list[str] | None, typer.Option(help="Code of one that lies outside of its parent, as by law; may be repeated.")
    ] = None,
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
    folder, kept_as = settings.store.regions, name or _name_of(file)
    origin = files.Source(name=source or file.name, licence=licence or "not stated", attribution=source or file.name)
    try:
        if country is not None:
            _check_country(country, Library.load(added=folder))
        remark(f"Reading {file.name}…")
        report = importer.read(
            file, kind=kind, code_field=code_field, name_field=name_field, parent_field=parent_field, country=country,
            encoding=encoding, layer=layer,
        )  # fmt: skip
        if report.problems:
            raise RefusedError(_problems(file, report.problems))
        remark(f"Checking {len(report.regions):,} regions against the library (of thousands, minutes)…")
        choices = _Choices(
            parent_digits, frozenset(exclave or ()), guess_parents=guess_parents, replace=replace, dry_run=dry_run
        )
        with _alone(folder, dry_run=dry_run):
            facts = _imported(file, folder, kept_as, origin, report, choices)
    except GeofenceError as error:
        raise RefusedError(str(error)) from None
    tell_json(facts) if as_json else _tell(facts)
    if not (settings.store.directory / "master.key").exists():
        remark(
            f"No alertd has its data in {settings.store.directory.resolve()} yet: one that keeps it elsewhere does not see these."
        )


@removing.command("remove")
def remove_regions(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What they are kept under: `wrong` of regions/wrong.regions.")],
    as_json: JsonOption = False,
) -> None:
    """Take regions that were imported out of the data directory. Their numbers are given to no other region."""
    folder = common(ctx).settings().store.regions
    kept = sorted(path.name.removesuffix(files.SUFFIX) for path in folder.glob(f"*{files.SUFFIX}"))
    if name not in kept:
        raise RefusedError(
            f"Nothing is kept under {name} in {folder.resolve()}; there is {', '.join(kept) or 'nothing'}."
        )
    with files.alone(folder):
        codes = gone(folder, name, ())
        (folder / f"{name}{files.SUFFIX}").unlink()
    facts = {"regions": len(codes), "codes": [codes[0], codes[-1]]}
    tell_json(facts) if as_json else _tell_gone(facts)


def _tell_gone(facts: dict[str, Any]) -> None:
    tell_facts({LABELS.get(name, name): value for name, value in facts.items()})
    tell(GONE)


@dataclasses.dataclass(frozen=True)
class _Choices:
    parent_digits: int
    exclaves: frozenset[str]
    guess_parents: bool
    replace: bool
    dry_run: bool


def _check_country(country: str, library: Library) -> None:
    known = {region.country for region in library.regions} - {""}
    if country not in known:
        near = country.upper()[:2]
        hint = f" Did you mean {near}?" if near in known else ""
        raise RefusedError(f"{country} is no country: two letters are asked for, as ISO 3166-1 has them.{hint}")


def _alone(folder: Path, *, dry_run: bool) -> AbstractContextManager[None]:
    """Nobody else imports from what is checked until it is stored. A dry run makes no folder."""
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    return files.alone(folder) if folder.is_dir() else nullcontext()


def _imported(
    file: Path, folder: Path, name: str, source: files.Source, report: ImportReport, choices: _Choices
) -> dict[str, Any]:
    """Stores the regions and answers what was done. Raises LibraryError, and RefusedError for faults of single features."""
    library = Library.load(added=folder)
    named = qualified(report.regions, library)
    if choices.guess_parents:
        named = orphaned(named, library)
    if choices.parent_digits:
        named = prefixed(named, choices.parent_digits, library)
    rows = placed(named, report.geometries, library)
    if found := problems(rows, report.geometries, library, replace=choices.replace, exclaves=choices.exclaves):
        raise RefusedError(_problems(file, found))
    codes = {read.code: row.code for row, read in zip(rows, report.regions, strict=True)}
    facts = {
        "regions": len(rows),
        "file": str((folder / f"{name}{files.SUFFIX}").resolve()),
        "layer": report.layer,
        "codes": [rows[0].code, rows[-1].code],
        "country_put_before_codes": sum(new != old for old, new in codes.items()),
        "reprojected_from": report.reprojected_from,
        "assumed_lon_lat": report.assumed_lon_lat,
        "repaired": [codes[code] for code in report.repaired],
        "renamed": [codes[code] for code in report.renamed],
        "put_below_by_ground": sum(row.parent is None for row in named),
        "without_parent": sum(row.parent is None for row in rows),
        "replaced": [dataclasses.asdict(one) for one in replaced(rows, report.geometries, library)],
        "gone": list(gone(folder, name, rows)),
        "dry_run": choices.dry_run,
    }
    _install(folder, name, source, dataclasses.replace(report, regions=rows), library, dry_run=choices.dry_run)
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
    lines = [f"{file.name} was not imported, for it has {len(found)} fault{'s' * (len(found) > 1)}:"]
    for problem in found[:PROBLEMS_TOLD]:
        code = f" ({problem.code})" if problem.code else ""
        lines.append(f"  row {problem.row}{code} {problem.what}")
    if len(found) > PROBLEMS_TOLD:
        lines.append(f"  and {len(found) - PROBLEMS_TOLD} more")
    return "\n".join(lines)


def _tell(facts: dict[str, Any]) -> None:
    tell_facts({LABELS.get(name, name): value for name, value in facts.items() if name not in {"dry_run", "replaced"}})
    for one in facts["replaced"]:
        tell(f"{one['code']} was {one['was']} and is {one['now']}, with {one['shared']:.0%} of its ground in common.")
    if facts["assumed_lon_lat"]:
        tell("The file does not say its coordinate system; its numbers were taken as longitude and latitude (WGS84).")
    if facts["put_below_by_ground"]:
        tell(
            "Who has no parent in the file was put below the region they lie in. Its outline may be kilometres off: along a border "
            "only --parent-field or --parent-digits is certain."
        )
    if facts["gone"]:
        tell(GONE)
    if facts["dry_run"]:
        tell("Nothing was written: this was a dry run.")
    else:
        tell("A running service finds them within seconds; those of other machines need the same import.")
