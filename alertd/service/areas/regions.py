"""The current region library of a process: shipped, imported and drawn regions, reloaded when they change.

An import puts files into the data directory, and a drawing goes into the store. Each API process checks both every few
seconds and replaces the whole library at once. A worker loads the library when it needs it (`ready`). Work in progress
keeps the library that it began with.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import shapely
import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Fault, Problem
from alertd.common.repetition import repeated
from alertd.service.access import Credential
from alertd.store.areas.custom_regions import CustomRegions, Drawing, TooManyDrawingsError
from geofences import drawn, files
from geofences.errors import InvalidGeometry, LibraryError
from geofences.polygons import copy_of
from geofences.regions import Library, Region, revision_of
from geofences.shapes import Repair

#: Seconds between two checks for changed regions. A check costs a directory listing and one command to the store.
POLL_S = 2.0

#: Maximum number of an organisation's drawn regions, and of positions in all of them. Each process holds all drawn
#: regions in memory and reads all after each change: this many take 15 MB and 0.2 s.
MOST_DRAWINGS, MOST_POSITIONS = 200, 500_000

#: The reason for refusing an outline that `Library.is_tangled` finds.
TANGLED = "The outline crosses the borders of regions too often to be worked out. Draw it simpler."

#: Names, modification times (ns) and sizes (bytes) of a folder's files.
_Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A region as it was drawn, and the repairs made to it."""

    region: Region
    repairs: tuple[Repair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The outline of a region to draw, and its repairs."""

    shape: shapely.MultiPolygon
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A drawn region from the store."""

    org: str
    region: Region
    shape: shapely.MultiPolygon


def check_live(who: Credential) -> None:
    """Raises Problem for a test key: a redrawn region would decide which people the next Actual alert reaches."""
    if who.test:
        raise Problem("not-allowed", "A test key cannot change regions, because Actual alerts use them.")


class Regions:
    """Holds the region library of this process. `library` is complete at every moment."""

    def __init__(self, library: Library | None, drawings: CustomRegions, folder: Path, clock: Clock) -> None:
        """`library` has the regions that are in the folder now. None: it is loaded at its first use."""
        if library is not None:
            self._base = library
        self._drawings = drawings
        self._folder = folder
        self._clock = clock
        self._stamp = _stamp(folder)
        self._drawn: dict[str, _Stored] = {}  # by code
        self.is_whole = True  # whether the folder's files are loaded too
        self._edition = 0
        self._changing = asyncio.Lock()
        self._drawing = asyncio.Lock()

    @cached_property
    def library(self) -> Library:
        """Returns the library. The first use may load it, and raises LibraryError if a file is damaged."""
        return self._base

    @cached_property
    def _base(self) -> Library:
        """Returns the library without the drawn regions."""
        return Library.load(added=self._folder)

    async def ready(self) -> None:
        """Loads the current library in a thread. Raises LibraryError if a file is damaged."""
        await asyncio.to_thread(lambda: self._base)
        await self.refresh()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Updates the library now, and regularly inside the block."""
        await self.refresh()
        async with repeated("regions", self.refresh, POLL_S, self._clock):
            yield

    async def refresh(self) -> None:
        """Loads the library again if regions have changed. If files are damaged, the log says so once, and the imported
        regions stay as before. Drawn regions are updated all the same.
        """
        async with self._changing:
            stamp, edition = await asyncio.to_thread(_stamp, self._folder), await self._drawings.edition()
            if (stamp, edition) == (self._stamp, self._edition):
                return
            if stamp != self._stamp:
                self.is_whole = await self._load()
            drawings = await self._drawings.all()
            self.library, self._drawn = await asyncio.to_thread(_with_drawn, self._base, drawings)
            self._stamp = stamp
            self._edition = edition
            structlog.get_logger().info(
                "region_library.loaded" if self.is_whole else "region_library.drawn_loaded",
                regions=len(self.library), drawings=edition,
            )  # fmt: skip

    def is_anothers(self, code: str, org: str) -> bool:
        """Returns whether another organisation drew this region. Then its name and outline are secret, because they may
        show where a child is searched for.
        """
        return code not in self._base and code in self._drawn and self._drawn[code].org != org

    async def agree(self) -> None:
        """Raises LibraryError if the folder's files and the store give one number to different regions. Subscribers who
        named one of them would then get the other region's alerts.
        """
        numbers = await asyncio.to_thread(files.read_numbers, self._folder)
        if clash := await self._drawings.clash(numbers):
            number, theirs, ours = clash
            raise LibraryError(
                f"Number {number} is {theirs}'s in the store, and {ours}'s in {self._folder}: another machine imported the same "
                "regions in another order. Copy its folder here, numbers.csv too."
            )

    async def _load(self) -> bool:
        """Loads the shipped regions and the folder's as the library without drawn regions. If the files are damaged or
        contradict the store, logs why, keeps the previous library and returns False.
        """
        try:
            library = await asyncio.to_thread(partial(Library.load, added=self._folder))
            await self.agree()
        except LibraryError as error:
            structlog.get_logger().error("region_library.load_failed", folder=str(self._folder), why=str(error))
            return False
        self._base = library
        return True

    async def outline(self, geometry: Any) -> Outline:
        """Returns the outline that a GeoJSON geometry draws. Raises Problem if no region can have it."""
        try:
            return await asyncio.to_thread(_outlined, geometry, self._base)
        except InvalidGeometry as error:
            fault = Fault(error.pointer, error.why)
            raise Problem(
                "invalid-geometry", "The outline of the region is invalid; see the fault.", faults=(fault,)
            ) from None

    async def draw(
        self, code: str, name: str, names: Mapping[str, str], outline: Outline, *, org: str, seen: int | None
    ) -> Drawn:
        """Stores a drawn region under its code, new or in place of the old one, and returns it. `seen` is the revision
        that must be there (`NOTHING` for none). Raises Problem.
        """
        if code in self._base:
            raise Problem("not-allowed", f"{code} is {self._base.get(code).name}. Give the drawn region another code.")
        shape = outline.shape
        document = {"name": name, "names": dict(names), "wkb": base64.b64encode(shapely.to_wkb(shape)).decode()}
        revision = revision_of(drawn.region(code, name, names, shape, 0, self._base), shape)
        async with self._drawing:  # one after the other, so that each counts towards the next one's limits
            await self.refresh()
            self._check_room(code, org, shape)
            await self._put(code, org, json.dumps(document).encode(), revision, seen)
            await self.refresh()
        return Drawn(region=self.library.get(code), repairs=outline.repairs)

    def _check_room(self, code: str, org: str, shape: shapely.MultiPolygon) -> None:
        """Raises Problem if the organisation would exceed its limits."""
        others = [one for other, one in self._drawn.items() if one.org == org and other != code]
        if len(others) >= MOST_DRAWINGS:
            raise Problem(
                "too-large", f"Your organisation has {MOST_DRAWINGS} drawn regions, the most allowed. Delete one first."
            )
        positions = sum(_positions(one.shape) for one in others)
        if positions + _positions(shape) > MOST_POSITIONS:
            raise Problem(
                "too-large",
                f"The drawn regions of your organisation would have more than {MOST_POSITIONS:,} positions together."
                " Draw this one simpler, or delete others.",
            )

    async def delete(self, code: str, *, org: str | None, seen: int | None) -> None:
        """Deletes a drawn region of an organisation (None: of any). `seen` is the revision that must be there. Alerts
        that name the region keep their area. Raises Problem.
        """
        word = await self._drawings.delete(code, org, seen=seen)
        if word == "unknown":
            raise Problem("not-found", f"There is no drawn region {code}.")
        if word == "changed":
            raise _changed()
        await self.refresh()

    async def _put(self, code: str, org: str, document: bytes, revision: int, seen: int | None) -> None:
        """Stores a drawn region. `seen`: the revision that it must have now (None: any; `NOTHING`: it must not exist).
        Raises Problem if it has another revision, another organisation drew it, or there are too many.
        """
        try:
            word, _ = await self._drawings.put(code, org, document, revision=revision, seen=seen)
        except TooManyDrawingsError:
            raise Problem("too-large", "The maximum number of drawn regions is reached. Delete one first.") from None
        if word == "changed":
            raise _changed()
        if word == "foreign":
            raise Problem("not-allowed", "Another organisation drew this region.")


def _stamp(folder: Path) -> _Stamp:
    """Returns the names, modification times and sizes of the folder's region files. It changes when an import changes
    them.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix in {".regions", ".csv"}) if folder.is_dir() else []
    found = []
    for path in files:
        with suppress(FileNotFoundError):  # it was replaced just now, and the next check finds it
            status = path.stat()
            found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _with_drawn(base: Library, drawings: list[Drawing]) -> tuple[Library, dict[str, _Stored]]:
    """Returns the library with the drawn regions added, and the drawn regions by code."""
    found = {}
    for drawing in drawings:
        document = json.loads(drawing.document)
        shape = cast("shapely.MultiPolygon", shapely.from_wkb(base64.b64decode(document["wkb"])))
        region = drawn.region(drawing.code, document["name"], document["names"], shape, drawing.number, base)
        found[drawing.code] = _Stored(org=drawing.org, region=region, shape=shape)
    return base.with_drawn([(one.region, one.shape) for one in found.values()]), found


def _outlined(geometry: Any, base: Library) -> Outline:
    """Returns the outline that a GeoJSON geometry draws, with its repairs. Raises InvalidGeometry."""
    shape, repairs = drawn.outline(geometry, "/geometry")
    if base.is_tangled(copy_of(shape)):
        raise InvalidGeometry("/geometry", TANGLED)
    return Outline(shape=shape, repairs=repairs)


def _positions(shape: shapely.MultiPolygon) -> int:
    """Returns the number of positions (corners) in an outline."""
    return int(shapely.get_num_coordinates(shape))


def _changed() -> Problem:
    """Returns the Problem for a region that is no longer at the revision that the caller named."""
    return Problem("version-changed", "The region was changed meanwhile.")
