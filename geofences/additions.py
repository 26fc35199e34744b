"""Stores an installation's own regions in a folder of region files, which `Library.load(added=...)` reads in addition
to the shipped ones.

`importing` calls `qualified`, then `orphaned` and `prefixed` if its order asks for them, then `placed` and `problems`.
If there are no problems, it calls `install`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import files
from geofences.belonging import astray, doubly_covered, elsewhere
from geofences.errors import LibraryError
from geofences.index import SHORE_DEGREES
from geofences.names import code_fault
from geofences.regions import Kind, Library, Region

#: The steps of an import, in order.
STEPS = ("reading", "checking", "trying", "storing")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An import's instructions: which columns of the file to read, and how to add its regions to the library."""

    kind: str  # country, province, county or city
    code_field: str  # names of the file's columns
    name_field: str
    parent_field: str | None = None
    parent_digits: int = 0  # this many characters of a code are its parent's
    guess_parents: bool = False  # replace an unknown parent by the region in which it lies
    exclaves: tuple[str, ...] = ()  # codes of regions that legally belong to a parent but lie outside of it
    country: str | None = None  # ISO 3166-1 alpha-2 code of all regions
    layer: str | None = None
    encoding: str | None = None
    source: str = ""  # who made the data
    licence: str = ""
    replace: bool = False  # a region may replace one of the same code that lies elsewhere
    dry_run: bool = False  # check the file and store nothing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a feature of a file cannot become a region."""

    row: int  # counted from 1, in the order of the file
    code: str | None
    what: str


def qualified(rows: Sequence[files.Row], library: Library) -> tuple[files.Row, ...]:
    """Returns the rows with codes that cannot be mistaken for codes of another country.

    Codes of digits occur in several countries: 41091 is Sevilla in Spain and Fontaines-en-Sologne in France. If a file of one country has
    such codes, all its codes get the country as a prefix (FR-41091), unless the library already has codes of digits for that country. The
    parents in the file may have the prefix or not.
    """
    bare = {region.country for region in library.regions if region.code.isdigit()}
    own = {row.code for row in rows}
    numbered = any(row.code.isdigit() and row.country for row in rows)

    def code_of(code: str, country: str) -> str:
        fronted = code.startswith(f"{country}-")
        return code if not numbered or not country or country in bare or fronted else f"{country}-{code}"

    def parent_of(row: files.Row) -> str | None:
        if row.parent is None or row.parent in own:
            return row.parent and code_of(row.parent, row.country)
        fronted = f"{row.country}-{row.parent}"  # first: TO is Torino in Italy, and Tonga
        return fronted if fronted in library else row.parent

    return tuple(dataclasses.replace(row, code=code_of(row.code, row.country), parent=parent_of(row)) for row in rows)


def prefixed(rows: Sequence[files.Row], characters: int, library: Library) -> tuple[files.Row, ...]:
    """Returns the rows, with a parent for those without one, found by the first `characters` characters of their code.

    The parent is the wider region of their country that has these as its code: 26347 is part of FR-26. Without such a
    region a row stays unchanged.
    """

    def parent_of(row: files.Row) -> str | None:
        prefix = row.code.removeprefix(f"{row.country}-")[:characters]
        for code in (f"{row.country}-{prefix}", prefix):
            if code in library and library.get(code).country == row.country:
                return code if library.get(code).kind.depth < Kind(row.kind).depth else None
        return None

    return tuple(row if row.parent else dataclasses.replace(row, parent=parent_of(row)) for row in rows)


def orphaned(rows: Sequence[files.Row], library: Library) -> tuple[files.Row, ...]:
    """Returns all rows, in order. Sets a row's parent to None if it is neither among the rows nor in the library."""
    known = {row.code for row in rows}
    return tuple(
        row if row.parent in known or row.parent in library else dataclasses.replace(row, parent=None) for row in rows
    )


def placed(rows: Sequence[files.Row], geometries: NDArray[np.object_], library: Library) -> tuple[files.Row, ...]:
    """Returns the rows with parents. The parent of a row without one becomes the smallest wider region at a point
    inside the row. A row without parent and country also gets that parent's country.

    Outlines of two sources differ by some hundred metres. A row that therefore seems to lie abroad gets the nearest
    region of its own country as its parent. The parent of an island outside all outlines is its country.
    """
    spots = shapely.point_on_surface(geometries)
    numbers = library.leaf_numbers(*shapely.get_coordinates(spots).T).tolist()
    return tuple(
        row if row.parent else _below(row, number, spot, library)
        for row, number, spot in zip(rows, numbers, spots, strict=True)
    )


def problems(
    rows: Sequence[files.Row],
    geometries: NDArray[np.object_],
    library: Library,
    *,
    replace: bool = False,
    exclaves: Collection[str] = (),
) -> tuple[Problem, ...]:
    """Returns the reasons against adding these regions to a library, in the order of the rows.

    `replace`: a region may replace one with the same code in another place. `exclaves`: codes of regions that may lie
    outside of their parent or be larger than it.
    """
    found = [*_parent_problems(rows, library), *_code_problems(rows, library)]
    rows_found = {problem.row for problem in found}
    outside = ((i, what) for i, what in astray(rows, geometries, library) if rows[i].code not in exclaves)
    lying = chain(outside, () if replace else elsewhere(rows, geometries, library))
    amiss = chain(doubly_covered(rows, geometries), ((i, what) for i, what in lying if i + 1 not in rows_found))
    found += [Problem(row=i + 1, code=rows[i].code, what=what) for i, what in amiss]
    return tuple(sorted(found, key=lambda problem: problem.row))


def install(
    folder: Path,
    name: str,
    *,
    source: files.Source,
    rows: Sequence[files.Row],
    geometries: NDArray[np.object_],
    library: Library,
) -> Path:
    """Stores regions in a folder as one file, `name`, and replaces a file of that name. Stores all or nothing. Returns
    the file's path.

    Concurrent calls wait for each other. `library` is the library to extend. `geometries` are those of `ImportReport`.
    Raises LibraryError before it writes anything if a parent does not fit, or if another file of the folder has one of
    the codes.
    """
    for problem in _parent_problems(rows, library):
        raise LibraryError(f"Region {problem.code} {problem.what}.")
    files.make(folder)
    path = folder / f"{name}{files.SUFFIX}"
    with files.alone(folder):
        _check_owners(folder, path, rows)
        files.give_numbers(folder, [row.code for row in rows])
        with files.replacing(path) as unfinished:
            files.write(unfinished, source, rows, geometries, files.OWN_GRID)
    return path


def gone(folder: Path, name: str, rows: Sequence[files.Row]) -> tuple[str, ...]:
    """Returns the codes that the stored file `name` has and the new rows lack. An import under this name removes these
    regions.
    """
    path = folder / f"{name}{files.SUFFIX}"
    if not path.exists():
        return ()
    kept = {row.code for row in rows}
    return tuple(row.code for row in files.read_file(path).rows if row.code not in kept)


def _below(row: files.Row, number: int, spot: shapely.Point, library: Library) -> files.Row:
    """Returns a row with the parent and country that `placed` finds. `number`: the smallest region at `spot`, a point
    in it.
    """
    leaf = library.by_number(number)
    known = () if leaf is None else (leaf, *library.ancestors(leaf.code))
    wider = next((region for region in known if region.kind.depth < Kind(row.kind).depth), None)
    if row.country and (wider is None or wider.country not in {"", row.country}):
        wider = _nearest(row, spot, library) or wider or _country(row, library)
    if wider is None:
        return row
    return dataclasses.replace(row, parent=wider.code, country=row.country or wider.country)


def _nearest(row: files.Row, spot: shapely.Point, library: Library) -> Region | None:
    """Returns the nearest region of a row's country that is wider than the row. Of equally near regions, returns the narrowest. Returns
    None if none is within `SHORE_DEGREES`.
    """
    wider = [
        region
        for region in library.regions
        if region.country == row.country and region.kind.depth < Kind(row.kind).depth
    ]
    away = {region.code: float(library.geometry(region.code).distance(spot)) for region in wider}
    near = [region for region in wider if away[region.code] <= SHORE_DEGREES]
    return min(near, key=lambda region: (round(away[region.code], 3), -region.kind.depth, region.km2), default=None)


def _country(row: files.Row, library: Library) -> Region | None:
    """Returns the region of a row's country, for an island outside all outlines. Returns None if the row is a country itself."""
    countries = (region for region in library.regions if region.kind is Kind.COUNTRY and region.country == row.country)
    return next(countries, None) if Kind(row.kind) is not Kind.COUNTRY else None


def _parent_problems(rows: Sequence[files.Row], library: Library) -> Iterator[Problem]:
    """Yields a problem for each row with a parent that is unknown, no wider than the row, or in another country."""
    own = {row.code: (Kind(row.kind), row.country) for row in rows}
    for i, row in enumerate(rows, start=1):
        if row.parent is None:
            continue
        known = own.get(row.parent)
        if known is None and row.parent in library:
            parent = library.get(row.parent)
            known = parent.kind, parent.country
        if known is None:
            what = f"is part of {row.parent}, which is neither here nor in the library; with --guess-parents it goes by where it lies"
        elif known[0].depth >= Kind(row.kind).depth:
            what = f"is a {row.kind} and cannot be part of {row.parent}, a {known[0]}"
        elif row.country and known[1] not in {"", row.country}:
            what = f"is in {row.country} and cannot be part of {row.parent}, which is in {known[1]}"
        else:
            continue
        yield Problem(row=i, code=row.code, what=what)


def _code_problems(rows: Sequence[files.Row], library: Library) -> Iterator[Problem]:
    """Yields a problem for each code of a wrong form, and for each that could be taken for another region's code.

    An alert that names such a code could notify the wrong people.
    """
    known = {region.code.casefold(): region for region in library.regions}
    for i, row in enumerate(rows, start=1):
        other = known.get(row.code.casefold())
        if fault := code_fault(row.code):
            yield Problem(row=i, code=row.code, what=fault)
        elif other and other.code != row.code:
            what = f"has the code of {other.name} ({other.code}) but for capital letters; give it one of its own"
            yield Problem(row=i, code=row.code, what=what)
        elif other and other.country != row.country:
            what = f"has the code of {other.name} ({other.country}); give the country of the file, or codes of its own"
            yield Problem(row=i, code=row.code, what=what)


def _check_owners(folder: Path, path: Path, rows: Sequence[files.Row]) -> None:
    """Raises LibraryError if another file of the folder has one of these codes: a code belongs to one file."""
    codes = {row.code for row in rows}
    for other in sorted(folder.glob(f"*{files.SUFFIX}")):
        if other != path:
            for row in files.read_file(other).rows:
                if row.code in codes:
                    raise LibraryError(
                        f"Region {row.code} is already in {other.name}. Import under that name to replace it."
                    )
