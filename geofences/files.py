"""The region file: many named polygons, small on disk and quick to read, with numpy and the standard library alone.

A `.regions` file is a zip (LZMA) of three members:

* `table.json`: `{"source": {...}, "grid": n, "regions": [{"code", "name", "kind", "parent", "country", "km2", "names"}, ...]}`
* `counts`: little endian u32: for each region its number of polygons, for each polygon its rings, for each ring its vertices
* `vertices`: lon, lat of every vertex in steps of 1/n degree. Each is the difference to the vertex before, zigzag coded
  (0, -1, 1, -2, ...) in 32 bits. All first bytes come first, then all second bytes, and so on, which packs to a third

A folder of such files has one `numbers.csv`: the number of each code, given once and never again to another.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geofences.errors import LibraryError
from geofences.polygons import polygons_of

SUFFIX = ".regions"
NUMBERS = "numbers.csv"
UNFINISHED = ".unfinished"  # suffix of a file that is still being written
# First number of an installation's own regions. The shipped library's numbers begin at 1, so within 24 bits the two never meet.
FIRST_OWN_NUMBER = 1 << 23
# Imported outlines are rounded to steps of 1/OWN_GRID degree, about a metre.
OWN_GRID = 100_000

Geometries = NDArray[np.object_]
Steps = NDArray[np.int32]

#: The folders that the current task or thread has locked; see `alone`.
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The origin and licence of the regions in a file."""

    name: str  # who made the data, and which edition
    licence: str
    attribution: str  # text that must accompany every display of the regions
    package: str = ""  # package from which the file was built


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A region as a file stores it, without its geometry and its number."""

    code: str
    name: str
    kind: str
    parent: str | None
    country: str
    km2: float  # true area
    names: dict[str, str] = field(default_factory=dict)  # by language, where they differ from the name


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFile:
    source: Source
    rows: tuple[Row, ...]
    geometries: Geometries  # MultiPolygons, one a row


def quantise(geometries: Geometries, grid: int) -> Geometries:
    """Returns the geometries as a file stores them: on a grid of 1/grid degree, valid, as MultiPolygons.

    Raises LibraryError if a region is smaller than a cell of the grid and would vanish.
    """
    snapped = shapely.set_precision(geometries, 1 / grid)
    for _ in range(4):  # rounding may make edges touch, and a repair moves positions off the grid: repeats both
        steps = np.rint(shapely.get_coordinates(snapped) * grid)
        snapped = shapely.set_coordinates(snapped.copy(), steps / grid)
        invalid = ~shapely.is_valid(snapped)
        if not invalid.any():
            break
        mended = shapely.make_valid(snapped[invalid], method="structure", keep_collapsed=False)
        snapped[invalid] = shapely.set_precision(mended, 1 / grid)
    if shapely.is_empty(snapped).any() or not shapely.is_valid(snapped).all():
        raise LibraryError(f"A region has no valid outline on a grid of 1/{grid} degree; use a finer grid.")
    return np.array([polygons_of(geometry) for geometry in snapped], dtype=object)


def write(path: Path, source: Source, rows: Sequence[Row], geometries: Geometries, grid: int) -> None:
    """Writes a region file. The geometries must come from `quantise` with the same grid.

    The same content always gives the same bytes.
    """
    coordinates, counts = _taken_apart(geometries)
    steps = np.rint(coordinates * grid).astype(np.int32)
    table = {"source": asdict(source), "grid": grid, "regions": [asdict(row) for row in rows]}
    members = {
        "table.json": json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode(),
        "counts": np.concatenate(counts).astype("<u4").tobytes(),
        "vertices": _folded(steps),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_LZMA)


def read_file(path: Path) -> RegionFile:
    """Returns the content of a region file. Raises LibraryError if it is missing, damaged or not a region file."""
    try:
        with zipfile.ZipFile(path) as archive:
            table: dict[str, Any] = json.loads(archive.read("table.json"))
            counts = np.frombuffer(archive.read("counts"), "<u4").astype(np.int64)
            steps = _unfolded(archive.read("vertices"))
        rows = tuple(Row(**row) for row in table["regions"])
        geometries = _put_together(steps / table["grid"], counts, len(rows))
        return RegionFile(source=Source(**table["source"]), rows=rows, geometries=geometries)
    except Exception as error:  # damage shows in every way that a zip, LZMA, JSON or an outline can be wrong
        why = str(error) or type(error).__name__
        raise LibraryError(f"{path.name} cannot be read as a region file: {why}") from error


def read_numbers(folder: Path) -> dict[str, int]:
    """Returns the region number of each code in a folder, also of codes that were removed. Returns {} if the folder has no list.

    Raises LibraryError if the list is damaged, or has a code or a number twice.
    """
    path = folder / NUMBERS
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            given = [(code, int(number)) for number, code in csv.reader(lines, strict=True)]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise LibraryError(f"{path.name} cannot be read as a list of numbers: {error}") from error
    numbers = dict(given)
    if not len(numbers) == len(set(numbers.values())) == len(given):
        raise LibraryError(f"{path.name} has a code or a number twice.")
    return numbers


def give_numbers(folder: Path, codes: Iterable[str], first: int = FIRST_OWN_NUMBER) -> dict[str, int]:
    """Assigns numbers to the codes that have none yet, and stores them in the folder: each the highest number so far
    plus 1; `first` in a folder without numbers. Returns the numbers of all codes of the folder, also of removed ones.
    Never changes or reuses a number.

    Concurrent imports wait for each other.
    """
    with alone(folder):
        numbers = read_numbers(folder)
        following = max(numbers.values(), default=first - 1) + 1
        fresh = [code for code in dict.fromkeys(codes) if code not in numbers]
        numbers.update(zip(fresh, range(following, following + len(fresh)), strict=True))
        with (  # atomic: a number that is lost would be given to another code
            replacing(folder / NUMBERS) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as lines,
        ):
            csv.writer(lines, lineterminator="\n").writerows((number, code) for code, number in numbers.items())
    return numbers


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Context manager. Waits for the lock of this folder, and keeps out all other users of `alone`, in any process of this machine.

    The holder may lock the folder again. The lock ends with the holder's process.
    """
    held, folder = _held.get(), folder.resolve()
    if folder in held:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _held.set(held | {folder})
        yield
    finally:
        _held.set(held)
        os.close(lock)


def make(folder: Path) -> None:
    """Makes a folder and all missing folders above it. For their owner, see `_give`."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        _give(folder)


def _give(made: Path) -> None:
    """Gives a file or folder that this process made to the owner of the folder around it, so that a service can read
    and replace it. Does nothing unless the process runs as root.
    """
    if os.geteuid() == 0:
        whose = made.parent.stat()
        with suppress(PermissionError):  # a root of a container that may give nothing away
            os.chown(made, whose.st_uid, whose.st_gid, follow_symlinks=False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context manager. Yields the path of a new file to write. If the block raises nothing, the new file replaces `path` atomically and is
    on disk; else it is deleted.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    try:
        yield unfinished
        _give(unfinished)
        to_disk(unfinished)
        unfinished.replace(path)
        to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes files that an interrupted writer left in a folder, unless a process is changing it now."""
    if not folder.is_dir():
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in folder.glob(f"*{UNFINISHED}"):
            left.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def to_disk(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _taken_apart(geometries: Geometries) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Returns all vertices in order, and the number of polygons of each region, of rings of each polygon, and of vertices of each ring."""
    polygons, of_region = shapely.get_parts(geometries, return_index=True)
    rings, of_polygon = shapely.get_rings(polygons, return_index=True)
    coordinates, of_ring = shapely.get_coordinates(rings, return_index=True)
    owners = ((of_region, len(geometries)), (of_polygon, len(polygons)), (of_ring, len(rings)))
    return coordinates, [np.bincount(owner, minlength=count) for owner, count in owners]


def _put_together(coordinates: NDArray[np.float64], counts: NDArray[np.int64], regions: int) -> Geometries:
    """Returns the geometries of a number of regions. The reverse of `_taken_apart`, with the counts in one array."""
    offsets = []
    length = regions
    for _ in range(3):
        part, counts = counts[:length], counts[length:]
        offsets.append(np.r_[0, np.cumsum(part)])
        length = int(offsets[-1][-1])
    by_region, by_polygon, by_ring = offsets
    result: Geometries = shapely.from_ragged_array(
        shapely.GeometryType.MULTIPOLYGON, coordinates, (by_ring, by_polygon, by_region)
    )
    return result


def _folded(steps: Steps) -> bytes:
    """Returns positions (in steps of the grid) as the bytes of the member `vertices`."""
    moves = np.diff(steps, axis=0, prepend=np.zeros((1, 2), np.int32))
    zigzag = ((moves << 1) ^ (moves >> 31)).astype("<u4")
    return np.ascontiguousarray(zigzag.view(np.uint8).reshape(-1, 8).T).tobytes()


def _unfolded(content: bytes) -> Steps:
    """Returns the positions in the bytes of the member `vertices`."""
    planes = np.frombuffer(content, np.uint8).reshape(8, -1)
    zigzag = np.ascontiguousarray(planes.T).view("<u4").astype(np.uint32)
    moves = (zigzag >> 1).astype(np.int32) ^ -(zigzag & 1).astype(np.int32)
    return np.cumsum(moves, axis=0, dtype=np.int32)
