"""`alertd regions import`: imports regions into the data directory, where a running service finds them within seconds.

Works on the directory, not over the API. The import first tries everything on a copy, so that it refuses a file with
faults before it writes anything. A dry run is only that trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from alertd.commands.base.client import RefusedError
from alertd.commands.base.options import common
from alertd.commands.base.output import remark, tell, tell_answer, tell_facts
from geofences import files
from geofences.additions import Order, Problem, gone
from geofences.errors import GeofenceError
from geofences.importing import FaultyFileError, import_file
from geofences.regions import Kind

COVERED_TOLD = 3
PROBLEMS_TOLD = 20
GONE = "Subscribers registered in a removed region are no longer notified by it: register them elsewhere."
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


def import_regions(  # noqa: PLR0913, PLR0917  each is an option of the command
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="GeoJSON, GeoPackage, FlatGeobuf, Shapefile or TopoJSON."),
    ],
    kind: Annotated[Kind, typer.Option(help="What they are.")],
    code_field: Annotated[str, typer.Option(help="The column with each region's code.")],
    name_field: Annotated[str, typer.Option(help="The column with its name.")],
    parent_field: Annotated[str | None, typer.Option(help="The column with the code it is part of.")] = None,
    parent_digits: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of leading characters of a code that form its parent's code: 2 if 26347 is part of FR-26.",
        ),
    ] = 0,
    guess_parents: Annotated[
        bool,
        typer.Option(
            "--guess-parents", help="Take the region that contains it as the parent, if the parent is unknown."
        ),
    ] = False,
    exclave: Annotated[
        list[str] | None,
        typer.Option(help="Code of a region that legally belongs to a parent but lies outside it; may be repeated."),
    ] = None,
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, of all of them.")] = None,
    layer: Annotated[str | None, typer.Option(help="Which layer, if there are several.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the texts, if the file does not say.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The name of the import; the same name replaces an earlier one.")
    ] = None,
    source: Annotated[str, typer.Option(help="Who made the data.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence.")] = "",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Also replace regions that have the same code but lie elsewhere."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
) -> None:
    """Add regions of your own to the data directory.

    Imports all regions of the file or none. A file with the same import name replaces the earlier one.
    """
    settings = common().settings()
    folder, kept_as = settings.store.regions, name or _name_of(file)
    order = Order(
        kind=kind, code_field=code_field, name_field=name_field, parent_field=parent_field, parent_digits=parent_digits,
        guess_parents=guess_parents, exclaves=tuple(exclave or ()), country=country, layer=layer, encoding=encoding,
        source=source, licence=licence, replace=replace, dry_run=dry_run,
    )  # fmt: skip
    try:
        facts = import_file(file, folder, kept_as, order, lambda step, regions: _tell_step(file, step, regions))
    except FaultyFileError as error:
        raise RefusedError(_problems(file, error.problems)) from None
    except GeofenceError as error:
        raise RefusedError(str(error)) from None
    facts = {"regions": facts.pop("regions"), "file": str((folder / f"{kept_as}{files.SUFFIX}").resolve()), **facts}
    tell_answer(facts, _tell)
    if not (settings.store.directory / "master.key").exists():
        remark(
            f"No alertd has its data in {settings.store.directory.resolve()} yet: one that keeps it elsewhere does not see these."
        )


def remove_regions(
    name: Annotated[str, typer.Argument(help="What they are kept under: `wrong` of regions/wrong.regions.")],
) -> None:
    """Take regions that were imported out of the data directory. Their numbers are given to no other region."""
    folder = common().settings().store.regions
    kept = sorted(path.name.removesuffix(files.SUFFIX) for path in folder.glob(f"*{files.SUFFIX}"))
    if name not in kept:
        raise RefusedError(
            f"Nothing is kept under {name} in {folder.resolve()}; there is {', '.join(kept) or 'nothing'}."
        )
    with files.alone(folder):
        codes = gone(folder, name, ())
        (folder / f"{name}{files.SUFFIX}").unlink()
    facts = {"regions": len(codes), "codes": [codes[0], codes[-1]]}
    tell_answer(facts, _tell_gone)


def _tell_gone(facts: dict[str, Any]) -> None:
    """Prints how many regions were removed, and what that means for subscribers."""
    tell_facts({LABELS.get(name, name): value for name, value in facts.items()})
    tell(GONE)


def _tell_step(file: Path, step: str, regions: int) -> None:
    """Prints to standard error which step of the import begins. Steps other than reading and checking print nothing."""
    if step == "reading":
        remark(f"Reading {file.name}…")
    if step == "checking":
        remark(f"Checking {regions:,} regions against the library (of thousands, minutes)…")


def _name_of(file: Path) -> str:
    """Returns the name of an import from its file: `town` for `town.geojson.gz`."""
    return file.name.partition(".")[0] or "regions"


def _problems(file: Path, found: Sequence[Problem]) -> str:
    """Returns the text that lists the faults of a file by row, at most 20 of them."""
    lines = [f"{file.name} was not imported, for it has {len(found)} fault{'s' * (len(found) > 1)}:"]
    for problem in found[:PROBLEMS_TOLD]:
        code = f" ({problem.code})" if problem.code else ""
        lines.append(f"  row {problem.row}{code} {problem.what}")
    if len(found) > PROBLEMS_TOLD:
        lines.append(f"  and {len(found) - PROBLEMS_TOLD} more")
    return "\n".join(lines)


def _tell(facts: dict[str, Any]) -> None:
    """Prints the report of an import, with what the operator should check."""
    tell_facts(
        {
            LABELS.get(name, name): value
            for name, value in facts.items()
            if name not in {"dry_run", "replaced", "covered"}
        }
    )
    for one in facts["replaced"]:
        tell(f"{one['code']} was {one['was']} and is {one['now']}, with {one['shared']:.0%} of its ground in common.")
    if facts["covered"]:
        some = ", ".join(f"{one['code']} {one['name']} by {one['by']}" for one in facts["covered"][:COVERED_TOLD])
        tell(
            f"{len(facts['covered'])} regions of the library stay beside them on the same ground, as {some}: an alert may name either."
        )
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
