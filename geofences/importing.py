"""Imports a file of regions into a folder: reads it, checks it against the library, tries it on a copy, then stores it.

An import stores all regions of the file or none. A process that serves requests must not load geopandas, so an import
can run in a process of its own: `python -m geofences.importing FILE FOLDER NAME`. This process reads the order as a
line of JSON from its standard input, and ends when the caller closes that. It writes a line of JSON for each step to
its standard output, and a last one with the report or the refusal.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from geofences import files, importer
from geofences.additions import Order, Problem, gone, install, orphaned, placed, prefixed, problems, qualified
from geofences.belonging import covered, replaced
from geofences.errors import GeofenceError, LibraryError
from geofences.importer import ImportReport
from geofences.regions import Library

#: Function that is called at the beginning of each of `STEPS`, with the step's name and the number of regions (0 while unknown).
Step = Callable[[str, int], None]

#: The import has a lower priority than the senders. The kernel kills it first if memory runs out: a file at its limit
#: takes some gigabytes.
NICENESS, FIRST_TO_GO = 10, "1000"
MEMORY_BYTES = 8 * 1024**3
#: Maximum size of a file that the import may write. The regions from 1 GB of GeoJSON take a tenth of this.
FILE_BYTES = 1 << 30
STDIN = 0
PROBLEMS_TOLD = 100  # maximum number of problems in the refusal


class FaultyFileError(LibraryError):
    """Some features of a file cannot become regions, so nothing of the file was imported."""

    def __init__(self, found: tuple[Problem, ...]) -> None:
        super().__init__(f"It has {len(found)} fault{'s' * (len(found) > 1)}.")
        self.problems = found


def import_file(
    file: Path, folder: Path, name: str, order: Order, step: Step = lambda _step, _regions: None
) -> dict[str, Any]:
    """Imports a file into a folder under a name, and returns the report. Replaces an earlier import of that name. With `order.dry_run`,
    only checks it.

    No other import can change the folder between the check and the storing. Raises FaultyFileError for faults of single features, and other
    GeofenceErrors.
    """
    if order.country is not None:
        _check_country(order.country, Library.load(added=folder))
    step("reading", 0)
    report = importer.read_regions(
        file, kind=order.kind, code_field=order.code_field, name_field=order.name_field, parent_field=order.parent_field,
        country=order.country, encoding=order.encoding, layer=order.layer,
    )  # fmt: skip
    if report.problems:
        raise FaultyFileError(report.problems)
    step("checking", len(report.regions))
    with _alone(folder, dry_run=order.dry_run):
        return _imported(file.name, folder, name, order, report, step)


def _check_country(country: str, library: Library) -> None:
    """Raises LibraryError unless the library has regions of this country."""
    known = {region.country for region in library.regions} - {""}
    if country not in known:
        near = country.upper()[:2]
        hint = f" Did you mean {near}?" if near in known else ""
        raise LibraryError(f"{country} is no country: give its two letters of ISO 3166-1.{hint}")


def _alone(folder: Path, *, dry_run: bool) -> AbstractContextManager[None]:
    """Returns a context that locks the folder. Makes the folder first, except for a dry run, which locks nothing if there is no folder."""
    if not dry_run:
        files.make(folder)
    return files.alone(folder) if folder.is_dir() else nullcontext()


def _imported(told_as: str, folder: Path, name: str, order: Order, report: ImportReport, step: Step) -> dict[str, Any]:
    """Checks the regions of a file that was read, stores them and returns the report. `told_as`: the file's name, which
    is used if the order names no source. Raises FaultyFileError and LibraryError.
    """
    library = Library.load(added=folder)
    named = qualified(report.regions, library)
    if order.guess_parents:
        named = orphaned(named, library)
    if order.parent_digits:
        named = prefixed(named, order.parent_digits, library)
    rows = placed(named, report.geometries, library)
    if found := problems(rows, report.geometries, library, replace=order.replace, exclaves=order.exclaves):
        raise FaultyFileError(found)
    codes = {read.code: row.code for row, read in zip(rows, report.regions, strict=True)}
    left = gone(folder, name, rows)
    facts = {
        "regions": len(rows),
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
        "covered": [dataclasses.asdict(one) for one in covered(rows, report.geometries, library, left)],
        "gone": list(left),
        "dry_run": order.dry_run,
    }
    source = files.Source(
        name=order.source or told_as, licence=order.licence or "not stated", attribution=order.source or told_as
    )
    _store(folder, name, source, dataclasses.replace(report, regions=rows), library, order, step)
    return facts


def _store(
    folder: Path, name: str, source: files.Source, report: ImportReport, library: Library, order: Order, step: Step
) -> None:
    """Stores the regions in a copy of the folder and loads the library from there. If that works and the import is no
    dry run, stores them in the folder. Raises LibraryError.
    """

    def into(where: Path) -> None:
        rows, geometries = report.regions, report.geometries
        install(where, name, source=source, rows=rows, geometries=geometries, library=library)

    step("trying", len(report.regions))
    with tempfile.TemporaryDirectory(prefix="alertd-regions-") as directory:
        trial = Path(directory) / "regions"
        if folder.is_dir():
            shutil.copytree(folder, trial)
        into(trial)
        Library.load(added=trial)
    if not order.dry_run:
        step("storing", len(report.regions))
        into(folder)


def main() -> None:
    """Runs the import that command line and standard input describe, with limits on memory and file size. Writes its
    steps and its result to standard output.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
    file, folder, name = sys.argv[1:]
    document = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = Order(**{**document, "exclaves": tuple(document["exclaves"])})
    try:
        report = import_file(
            Path(file), Path(folder), name, order, lambda step, regions: _tell(step=step, regions=regions)
        )
    except FaultyFileError as error:
        problems = [dataclasses.asdict(one) for one in error.problems[:PROBLEMS_TOLD]]
        _tell(refused=str(error), faults=len(error.problems), problems=problems)
    except GeofenceError as error:  # GDAL's words name the file by where it lies
        _tell(refused=str(error).replace(f"{Path(file).resolve().parent}/", ""), faults=0, problems=[])
    except MemoryError:
        why = "There is not memory enough to read it. Split it, or simplify its outlines."
        _tell(refused=why, faults=0, problems=[])
    else:
        _tell(report=report)


def _end_with_parent() -> None:
    """Ends this process when the caller closes standard input, because then no process waits for the result."""
    while os.read(STDIN, 1):  # not through `sys.stdin`, whose lock Python would want at its end
        pass
    os._exit(1)


def _tell(**line: Any) -> None:
    """Writes a line of JSON to standard output."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
