"""The region library: named polygons from countries down to municipalities, found by code, by name and by place."""

from __future__ import annotations

import difflib
import enum
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geofences import files
from geofences.errors import LibraryError, UnknownRegion
from geofences.index import NOWHERE, RegionIndex

SHIPPED = Path(__file__).parent / "library"
OFFERS = 3  # codes offered for an unknown one

# Letters that Unicode does not take apart, as people without them on their keyboard write them.
PLAIN_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ı": "i",
        "ʻ": "",
        "'": " ",
        "’": " ",
        "-": " ",
    }
)


class Kind(enum.StrEnum):
    """What a region is, from the widest to the narrowest."""

    COUNTRY = "country"
    PROVINCE = "province"
    COUNTY = "county"
    CITY = "city"

    @property
    def depth(self) -> int:
        return list(Kind).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    code: str
    name: str
    kind: Kind
    parent: str | None  # code of the region it is part of
    country: str  # ISO 3166-1 alpha-2, empty where nobody agrees
    number: int  # what tile records hold: 24 bits, given once, never reused
    km2: float  # true area
    source: str
    licence: str
    names: Mapping[str, str]  # by language, where they differ from the name


class Library:
    """All regions that are known. Immutable; safe to use from several threads."""

    def __init__(self, regions: list[Region], geometries: NDArray[np.object_]) -> None:
        """Raises LibraryError if codes or numbers are not unique, or a parent is missing or no wider than its child."""
        self.regions = tuple(regions)
        self._position = {region.code: i for i, region in enumerate(regions)}
        self._by_number = {region.number: region for region in regions}
        if not len(self._position) == len(self._by_number) == len(regions):
            raise LibraryError("Two regions have the same code or number.")
        self._geometries = geometries
        self._check_parents()
        parents = np.array([NOWHERE if r.parent is None else self._position[r.parent] for r in regions], np.int64)
        depths = np.array([r.kind.depth for r in regions], np.int64)
        self._index = RegionIndex(geometries, km2=np.array([r.km2 for r in regions]), depths=depths, parents=parents)
        self._words = [_search_words(region) for region in regions]

    @classmethod
    def load(cls, path: Path | None = None, *, added: Path | None = None) -> Library:
        """The library of a folder, by default the shipped one, with that of a second folder added.

        Where both know a code, the added one holds. Takes about a second. Raises LibraryError for files that are damaged.
        """
        found: dict[str, tuple[Region, shapely.Geometry]] = {}
        for folder in (path or SHIPPED, added):
            if folder is not None:
                found.update(_read_folder(folder))
        geometries = np.empty(len(found), dtype=object)
        geometries[:] = [geometry for _, geometry in found.values()]
        return cls([region for region, _ in found.values()], geometries)

    def __len__(self) -> int:
        return len(self.regions)

    def __contains__(self, code: object) -> bool:
        return code in self._position

    def get(self, code: str) -> Region:
        """Raises UnknownRegion, with the codes nearest by name or spelling, for a code that is not here."""
        return self.regions[self._at(code)]

    def geometry(self, code: str) -> shapely.MultiPolygon:
        """The outline of a region, WGS84 lon/lat. It is shared: do not prepare it. Raises UnknownRegion."""
        geometry: shapely.MultiPolygon = self._geometries[self._at(code)]
        return geometry

    def by_number(self, number: int) -> Region | None:
        return self._by_number.get(number)

    def ancestors(self, code: str) -> tuple[Region, ...]:
        """What a region is part of, from its parent to its country. Raises UnknownRegion."""
        return tuple(self.regions[i] for i in self._index.chain(self._at(code))[1:])

    def search(self, text: str, kind: str | None = None, parent: str | None = None, limit: int = 20) -> list[Region]:
        """Regions by code or by name in any language known, without regard to case and accents.

        Whole names first, then names that start with the text, then the rest; of equals, the bigger. `parent` takes the regions
        anywhere below that code.
        """
        wanted = fold(text)
        found = []
        for i, words in enumerate(self._words):
            match = min((_closeness(word, wanted) for word in words), default=None)
            if match is not None and match < _NO_MATCH and self._fits(i, kind, parent):
                found.append((match, -self.regions[i].km2, i))
        return [self.regions[i] for _, _, i in sorted(found)[:limit]]

    def at(self, lon: float, lat: float) -> tuple[Region, ...]:
        """The regions at a point (degrees), from the smallest to its country; empty at sea."""
        leaf = int(self._index.leaves([lon], [lat])[0])
        return tuple(self.regions[i] for i in self._index.chain(leaf))

    def leaf_numbers(self, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.uint32]:
        """The number of the smallest region at each point (degrees), of the nearest within 0.1 degree at a coast, else 0."""
        numbers = np.array([*(region.number for region in self.regions), 0], np.uint32)  # NOWHERE is the last
        return numbers[self._index.leaves(lon, lat)]

    def overlapping(self, geometry: shapely.Geometry, minimum_share: float = 0.0) -> list[tuple[Region, float]]:
        """The regions an area shares ground with and the share of each region's true area, largest share first.

        The geometry is prepared in place.
        """
        found = self._index.overlaps(geometry, minimum_share)
        return [(self.regions[i], float(share)) for i, share in zip(found.regions, found.shares, strict=True)]

    def _at(self, code: str) -> int:
        position = self._position.get(code)
        if position is None:
            near = self.nearest(code)
            raise UnknownRegion("", code, tuple(r.code for r in near), tuple(r.name for r in near))
        return position

    def nearest(self, code: str) -> list[Region]:
        """Up to three regions whose name or code is like this text."""
        named = self.search(code, limit=OFFERS) if fold(code) else []
        alike = [
            known for known in self._position if known[:2] == code[:2].upper()
        ]  # comparing with all takes too long
        spelled = difflib.get_close_matches(code.upper(), alike, n=OFFERS, cutoff=0.7)
        codes = dict.fromkeys([*(region.code for region in named), *spelled])
        return [self.get(near) for near in codes][:OFFERS]

    def _fits(self, position: int, kind: str | None, parent: str | None) -> bool:
        region = self.regions[position]
        if kind is not None and region.kind != kind:
            return False
        return parent is None or parent in (self.regions[i].code for i in self._index.chain(position)[1:])

    def _check_parents(self) -> None:
        for region in self.regions:
            if region.parent is None:
                continue
            parent = self._position.get(region.parent)
            if parent is None:
                raise LibraryError(f"Region {region.code} is part of {region.parent}, which is not in the library.")
            if self.regions[parent].kind.depth >= region.kind.depth:
                raise LibraryError(
                    f"Region {region.code} is a {region.kind} and cannot be part of {region.parent}, which is no wider."
                )


def fold(text: str) -> str:
    """A text as it is compared: no case, accents, hyphens or apostrophes."""
    apart = unicodedata.normalize("NFKD", text.casefold().translate(PLAIN_LETTERS))
    return " ".join("".join(letter for letter in apart if not unicodedata.combining(letter)).split())


_NO_MATCH = 4


def _closeness(word: str, wanted: str) -> int:
    """0 for the same, then: starts with, has a word that starts with, contains."""
    if not wanted or wanted not in word:
        return _NO_MATCH
    if word.startswith(wanted):
        return 0 if word == wanted else 1
    return 2 if f" {wanted}" in word else 3


def _search_words(region: Region) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fold(text) for text in (region.name, region.code, *region.names.values())))


def _read_folder(folder: Path) -> dict[str, tuple[Region, shapely.Geometry]]:
    """Every region of every file of a folder, by code."""
    numbers = files.read_numbers(folder)
    found: dict[str, tuple[Region, shapely.Geometry]] = {}
    for path in sorted(folder.glob(f"*{files.SUFFIX}")):
        content = files.read(path)
        for row, geometry in zip(content.rows, content.geometries, strict=True):
            if row.code in found or row.code not in numbers:
                raise LibraryError(f"Region {row.code} of {path.name} is there twice or has no number.")
            found[row.code] = (_region(row, numbers[row.code], content.source), geometry)
    return found


def _region(row: files.Row, number: int, source: files.Source) -> Region:
    return Region(
        code=row.code,
        name=row.name,
        kind=Kind(row.kind),
        parent=row.parent,
        country=row.country,
        number=number,
        km2=row.km2,
        source=source.name,
        licence=source.licence,
        names=row.names,
    )
