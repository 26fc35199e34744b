"""Regions of one's own beside the shipped ones: a folder of region files that `Library.load(added=...)` reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences import files
from geofences.errors import LibraryError
from geofences.regions import Kind, Library


def install(
    folder: Path,
    name: str,
    *,
    source: files.Source,
    rows: Sequence[files.Row],
    geometries: NDArray[np.object_],
    library: Library,
) -> Path:
    """Stores regions in a folder as one file, whole or not at all; a file of that name is replaced.

    `library` is what they will be added to: every parent must be there or among them, and be wider. `geometries` are as
    `importer.read` gives them. Takes effect when the library is loaded again. Raises LibraryError before anything is written.
    """
    _check_parents(rows, library)
    folder.mkdir(parents=True, exist_ok=True)
    path, unfinished = folder / f"{name}{files.SUFFIX}", folder / f"{name}.unfinished"
    _check_owners(folder, path, rows)
    files.give_numbers(folder, [row.code for row in rows])
    files.write(unfinished, source, rows, geometries, files.OWN_GRID)
    unfinished.replace(path)
    return path


def placed(rows: Sequence[files.Row], geometries: NDArray[np.object_], library: Library) -> tuple[files.Row, ...]:
    """The rows, those without a parent put below the smallest wider region that they lie in, with its country if they have none."""
    spots = shapely.get_coordinates(shapely.point_on_surface(geometries))
    numbers = library.leaf_numbers(spots[:, 0], spots[:, 1]).tolist()
    return tuple(row if row.parent else _below(row, number, library) for row, number in zip(rows, numbers, strict=True))


def _below(row: files.Row, number: int, library: Library) -> files.Row:
    leaf = library.by_number(number)
    chain = () if leaf is None else (leaf, *library.ancestors(leaf.code))
    wider = next((region for region in chain if region.kind.depth < Kind(row.kind).depth), None)
    if wider is None:
        return row
    return dataclasses.replace(row, parent=wider.code, country=row.country or wider.country)


def _check_parents(rows: Sequence[files.Row], library: Library) -> None:
    kinds = {row.code: Kind(row.kind) for row in rows}
    for row in rows:
        if row.parent is None:
            continue
        parent = kinds.get(row.parent) or library.get(row.parent).kind
        if parent.depth >= Kind(row.kind).depth:
            raise LibraryError(f"Region {row.code} is a {row.kind} and cannot be part of {row.parent}, a {parent}.")


def _check_owners(folder: Path, path: Path, rows: Sequence[files.Row]) -> None:
    """A code belongs to one file of a folder."""
    codes = {row.code for row in rows}
    for other in sorted(folder.glob(f"*{files.SUFFIX}")):
        if other != path:
            for row in files.read(other).rows:
                if row.code in codes:
                    raise LibraryError(
                        f"Region {row.code} is already in {other.name}. Import under that name to replace it."
                    )
