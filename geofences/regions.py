"""The region library: named polygons from countries down to municipalities, found by code, by name and by place."""

from __future__ import annotations

import difflib
import enum
import json
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from weakref import proxy

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from geofences import aliases, files
from geofences.aliases import Alias, Aliases, Own
from geofences.errors import LibraryError, UnknownRegion
from geofences.geodesy import EQUATOR_M
from geofences.index import NOWHERE, RegionIndex
from geofences.names import NameIndex, fold
from geofences.polygons import polygons_of


class Kind(enum.StrEnum):
    """Kind of a region, from the widest to the narrowest."""

    COUNTRY = "country"
    PROVINCE = "province"
    COUNTY = "county"
    CITY = "city"
    DRAWN = "drawn"  # by an operator, across all others; see `Library.with_drawn`

    def __init__(self, _value: str) -> None:
        self.depth = len(type(self).__members__)  # 0 is the widest


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    code: str
    name: str
    kind: Kind
    parent: str | None  # code of the region it is part of
    country: str  # ISO 3166-1 alpha-2, empty if disputed
    number: int  # what tile records hold: 24 bits, given once, never reused
    km2: float  # true area
    source: str
    licence: str
    names: Mapping[str, str]  # by language, where they differ from the name

    def name_in(self, language: str) -> str:
        """Returns the name in a language (BCP 47), else the region's local name."""
        return self.names.get(language, self.names.get(language.partition("-")[0], self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The combined area of some regions. Both geometries are shared: do not prepare them."""

    outline: BaseGeometry
    shore: BaseGeometry  # off their coasts, where places are theirs too; see `index.shore_of`


SHIPPED = Path(__file__).parent / "library"
OFFERS = 3  # codes offered for an unknown one
# Number of combined areas that are cached: an alert is previewed, submitted and shown with the same regions. To combine
# all regions of Canada takes a second, and the result 2 MB.
GROUNDS_KEPT = 16

# Ranks regions of the same name: one that is ten times as large or four times as near comes first. All within this distance (km) count as
# near.
NEAR_KM = 50.0
# Separates the scheme of a foreign code from the code: NUTS:ES618.
SCHEME = ":"


class Library:
    """All known regions. Immutable: threads may share it."""

    def __init__(
        self,
        regions: Sequence[Region],
        geometries: NDArray[np.object_],
        foreign: Sequence[Alias] = (),
        *,
        base: Library | None = None,
        index: RegionIndex | None = None,
        fitted: Container[str] = (),
    ) -> None:
        """`fitted` are the codes of regions with parts that lie inside them and do not overlap. For a library with
        drawn regions, `base` is the library without them and `index` is its index. The regions of `base` come first.

        Raises LibraryError if codes or numbers are not unique, or a parent is missing or no wider than its child.
        """
        self.regions = tuple(regions)
        self._position = {region.code: i for i, region in enumerate(regions)}
        self._by_number = {region.number: region for region in regions}
        if not len(self._position) == len(self._by_number) == len(regions):
            raise LibraryError("Two regions have the same code or number.")
        self._geometries = geometries
        self._foreign = tuple(foreign)
        self._check_parents()
        self._parents = np.array([NOWHERE if r.parent is None else self._position[r.parent] for r in regions], np.int64)
        self._kinds = np.array([r.kind.depth for r in regions], np.int64)
        self._km2 = np.array([r.km2 for r in regions], np.float64)
        self._base = base
        fits = np.array([region.code in fitted for region in regions], np.bool_)
        self._index = index or RegionIndex(
            geometries, km2=self._km2, depths=self._kinds, parents=self._parents, fitted=fits
        )
        # A proxy, because a cache that refers to its library would leave both to the garbage collector.
        self._grounds = lru_cache(GROUNDS_KEPT)(partial(Library._ground, proxy(self)))

    @classmethod
    def load(cls, path: Path | None = None, *, added: Path | None = None) -> Library:
        """Loads the library of a folder, by default the shipped one, and adds that of a second folder. If both have a
        code, the region gets the added outline and keeps its number from the first library. Takes about a second.
        Raises LibraryError for damaged files.
        """
        base = path or SHIPPED
        found = _read_folder(base, {})
        foreign, fitted = aliases.load_aliases(base), set(found)
        if added is not None:
            more = _read_folder(added, files.read_numbers(base))
            found.update(more)
            fitted -= more.keys()
            foreign += aliases.load_aliases(added)
        regions, shapes = zip(*found.values(), strict=True) if found else ((), ())
        return cls(regions, np.array(shapes, dtype=object), foreign, fitted=fitted)

    def with_drawn(self, drawn: Iterable[tuple[Region, shapely.MultiPolygon]]) -> Library:
        """Returns this library with drawn regions added, except those with a code that this library has.

        `get`, `geometry`, `ground` and `find` see drawn regions. `at`, `leaf_numbers`, `overlapping` and `is_tangled`
        do not: no point belongs to a drawing, and drawings of one organisation must not slow the alerts of another.
        """
        fresh = [(region, shape) for region, shape in drawn if region.code not in self._position]
        shapes = np.array([*self._geometries, *(shape for _, shape in fresh)], dtype=object)
        every = [*self.regions, *(region for region, _ in fresh)]
        return Library(every, shapes, self._foreign, base=self.without_drawn, index=self._index)

    @property
    def without_drawn(self) -> Library:
        """Returns the library on which `with_drawn` was called, always the same object; this library if it has no drawn regions."""
        return self if self._base is None else self._base

    def __len__(self) -> int:
        return len(self.regions)

    def __contains__(self, code: object) -> bool:
        return code in self._position

    def get(self, code: str) -> Region:
        """Returns the region with this code. Raises UnknownRegion, with the nearest codes by name or spelling."""
        return self.regions[self._at(code)]

    def codes(self, code: str) -> tuple[str, ...]:
        """Returns the codes of the regions that a code stands for: the code itself, or several for a foreign code with its scheme
        (NUTS:ES618).

        Raises UnknownRegion for an unknown code, and for a foreign code whose area the regions match only roughly.
        """
        if code not in self._position and SCHEME in code and (alias := self.resolve(*code.split(SCHEME, 1))):
            if alias.exact:
                return alias.codes
            about = [self.get(known) for known in alias.codes[:OFFERS]]  # it is for people to say whether that is meant
            raise UnknownRegion(
                "", code, tuple(region.code for region in about), tuple(region.name for region in about)
            )
        return (self.regions[self._at(code)].code,)

    def resolve(self, scheme: str, value: str) -> Alias | None:
        """Returns the regions that a foreign code stands for, or None; see `aliases`."""
        return self.aliases.resolve(scheme, value)

    @cached_property
    def aliases(self) -> Aliases:
        if self._base is not None:
            return self._base.aliases
        return Aliases(self._foreign, {region.code: Own(region.country, region.parent) for region in self.regions})

    def geometry(self, code: str) -> shapely.MultiPolygon:
        """Returns the outline of a code's regions (WGS84, lon/lat), which is shared: do not prepare it. Raises UnknownRegion."""
        positions = [self._at(known) for known in self.codes(code)]
        outline: shapely.MultiPolygon = self._geometries[positions[0]]
        if len(positions) > 1:
            outline = polygons_of(shapely.union_all(self._geometries[positions]))
        return outline

    def ground(self, codes: Iterable[str], *, inwards: bool = False) -> Ground:
        """Returns the combined area of codes; `inwards`: with a slightly narrower shore, for an exclusion. Raises UnknownRegion."""
        known = [own for code in codes for own in self.codes(code)]
        if self._base is not None and all(code in self._base for code in known):
            return self._base.ground(known, inwards=inwards)  # a new drawing does not empty that cache
        return self._grounds(frozenset(map(self._at, known)), inwards)

    def _ground(self, positions: frozenset[int], inwards: bool) -> Ground:
        named = np.array(sorted(positions), np.int64)
        outline = self._geometries[named[0]] if len(named) == 1 else shapely.union_all(self._geometries[named])
        labelled = named[self._kinds[named] != Kind.DRAWN.depth]
        if not len(labelled):
            return Ground(outline=outline, shore=shapely.MultiPolygon())
        theirs = outline if len(labelled) == len(named) else shapely.union_all(self._geometries[labelled])
        return Ground(outline=outline, shore=self._index.shore(labelled, theirs, inwards=inwards))

    def revision(self, code: str) -> int:
        """Returns a number that changes with a region's description or outline. Raises UnknownRegion."""
        return revision_of(self.get(code), self._geometries[self._at(code)])

    @cached_property
    def fingerprint(self) -> str:
        """Returns 8 hexadecimal digits that change if any region changes its code, number, parent, size or `is_filled`,
        as points may then lie in other regions. Ignores drawn regions.
        """
        own = self.without_drawn
        content = sorted((r.code, r.number, r.parent or "", r.km2, own.is_filled(r.code)) for r in own.regions)
        return f"{zlib.crc32(json.dumps(content).encode()):08x}"

    def is_filled(self, code: str) -> bool:
        """Returns whether the parts of a region cover it except for gaps. Raises UnknownRegion."""
        return not self._index.is_leaf[self._at(code)]

    def by_number(self, number: int) -> Region | None:
        return self._by_number.get(number)

    def ancestors(self, code: str) -> tuple[Region, ...]:
        """Returns the regions that a region is part of, from its parent to its country. Raises UnknownRegion."""
        parent = self.get(code).parent
        return (self.get(parent), *self.ancestors(parent)) if parent else ()

    def children(self, code: str) -> tuple[Region, ...]:
        """Returns the regions directly below a region. Raises UnknownRegion."""
        return tuple(self.regions[i] for i in np.flatnonzero(self._parents == self._at(code)).tolist())

    def find(
        self,
        *,
        text: str | None = None,
        kind: str | None = None,
        parent: str | None = None,
        bbox: tuple[float, float, float, float] | None = None,
        near: tuple[float, float] | None = None,
    ) -> list[Region]:
        """Returns regions of a kind, anywhere below `parent`, that touch a box and match `text`, best first. Arguments that are None do not
        restrict.

        `bbox` is west, south, east, north and `near` is longitude, latitude, both in degrees. `text` matches a code, or a name in any known
        language, without regard to case and accents. A name with a typing error matches only if nothing else does. Whole names come first,
        then names that start with the text, then the rest; of equals the larger. With `near`, a near region that starts with the text
        precedes a region of that name on another continent. Without `text`, widest kinds come first, then by code. Raises UnknownRegion.
        """
        allowed = self._allowed(kind, parent, bbox)
        if text is None:
            positions = np.flatnonzero(allowed).tolist()
            return [self.regions[i] for i in sorted(positions, key=lambda i: (self._kinds[i], self.regions[i].code))]
        close = self._names.find(text, allowed)
        for alias in self.aliases.all_of(text):
            close |= {self._position[code]: 0 for code in alias.codes if allowed[self._position[code]]}
        weight = self._weight(list(close), near)

        def rank(i: int) -> tuple[float, float, str]:
            return (close[i] if near is None else close[i] - weight[i] / 2, -weight[i], self.regions[i].code)

        return [self.regions[i] for i in sorted(close, key=rank)]

    def _allowed(
        self, kind: str | None, parent: str | None, bbox: tuple[float, float, float, float] | None
    ) -> NDArray[np.bool_]:
        allowed = np.ones(len(self.regions), np.bool_)
        if kind is not None:
            allowed &= self._kinds == Kind(kind).depth
        if parent is not None:
            above = self._parents
            below = above == (wanted := self._at(parent))
            while (above != NOWHERE).any():
                above = np.where(above == NOWHERE, NOWHERE, self._parents[above])
                below |= above == wanted
            allowed &= below
        if bbox is not None:
            box = shapely.box(*bbox)
            inside = self._kinds == Kind.DRAWN.depth
            inside[inside] = shapely.intersects(box, self._geometries[inside])
            inside[self._index.touching(box)] = True
            allowed &= inside
        return allowed

    def _weight(self, positions: list[int], near: tuple[float, float] | None) -> dict[int, float]:
        """Returns the weight of each region in a ranking: larger for a larger area and, with `near`, for a shorter distance."""
        weight = np.log10(self._km2[positions] + 1e-6)
        if near is not None and positions:
            west, south, east, north = shapely.bounds(self._geometries[positions]).T
            there, here = np.radians([(west + east) / 2, (south + north) / 2]), np.radians(near)
            east_west = ((there[0] - here[0] + np.pi) % (2 * np.pi) - np.pi) * np.cos((there[1] + here[1]) / 2)
            km = np.hypot(east_west, there[1] - here[1]) * EQUATOR_M / 1000
            weight -= 1.7 * np.log10(1 + km / NEAR_KM)
        return dict(zip(positions, weight.tolist(), strict=True))

    @cached_property
    def _names(self) -> NameIndex:
        return NameIndex([(region.name, region.code, *region.names.values()) for region in self.regions])

    def at(self, lon: float, lat: float) -> tuple[Region, ...]:
        """Returns the regions at a point (degrees), from the smallest to its country; () at sea."""
        leaf = int(self._index.leaves([lon], [lat])[0])
        return tuple(self.regions[i] for i in self._index.chain(leaf))

    def leaf_numbers(self, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.uint32]:
        """Returns the number of the smallest region at each point (degrees), else of the nearest within 0.1 degree, else 0."""
        return self._numbers[self._index.leaves(lon, lat)]

    @cached_property
    def _numbers(self) -> NDArray[np.uint32]:
        return np.array([*(region.number for region in self.regions), 0], np.uint32)  # NOWHERE is the last

    def parent_numbers(self) -> dict[int, int]:
        """Returns for each region number the number of the region around it, 0 at the top; wide regions first."""
        order = np.argsort(self._kinds, kind="stable")
        return dict(zip(self._numbers[order].tolist(), self._numbers[self._parents[order]].tolist(), strict=True))

    def overlapping(self, geometry: shapely.Geometry) -> list[tuple[Region, float]]:
        """Returns the regions that overlap an area, and the share (0 to 1) of each region's true area that it covers, largest share first.
        Leaves out drawn regions. Prepares the geometry in place.
        """
        found, shares = self._index.overlaps(geometry)
        return [(self.regions[i], share) for i, share in zip(found.tolist(), shares.tolist(), strict=True)]

    def is_tangled(self, geometry: shapely.Geometry) -> bool:
        """Returns whether `overlapping` would take too long for an area. Prepares the geometry in place."""
        return self._index.is_tangled(geometry)

    def _at(self, code: str) -> int:
        """Returns the position of a code. Raises UnknownRegion."""
        position = self._position.get(code)
        if position is None:
            near = self.nearest(code)
            raise UnknownRegion("", code, tuple(r.code for r in near), tuple(r.name for r in near))
        return position

    def nearest(self, code: str) -> list[Region]:
        """Returns up to three regions spelled like `code`, names first. Omits drawn ones: only their owner sees them."""
        if self._base is not None:
            return self._base.nearest(code)
        named = self.find(text=code) if fold(code) else []
        alike = [
            known for known in self._position if known[:2] == code[:2].upper()
        ]  # comparing with all takes too long
        spelled = difflib.get_close_matches(code.upper(), alike, n=OFFERS, cutoff=0.7)
        codes = dict.fromkeys([*(region.code for region in named), *spelled])
        return list(map(self.get, codes))[:OFFERS]

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


def revision_of(region: Region, shape: shapely.Geometry) -> int:
    """Returns a number that changes with a region's names, kind, parent, country or outline."""
    facts = json.dumps([region.name, region.kind, region.parent, region.country, dict(region.names)])
    return zlib.crc32(shapely.to_wkb(shape), zlib.crc32(facts.encode()))


def _read_folder(folder: Path, given: Mapping[str, int]) -> dict[str, tuple[Region, shapely.Geometry]]:
    """Returns every region of all files of a folder, by code. A code keeps a number that it has in `given`. Raises LibraryError."""
    numbers = files.read_numbers(folder)
    found: dict[str, tuple[Region, shapely.Geometry]] = {}
    for path in sorted(folder.glob(f"*{files.SUFFIX}")):
        content = files.read_file(path)
        for row, geometry in zip(content.rows, content.geometries, strict=True):
            if row.code in found or row.code not in numbers:
                raise LibraryError(f"Region {row.code} of {path.name} is there twice or has no number.")
            number = given.get(row.code, numbers[row.code])
            try:
                region = Region(
                    code=row.code,
                    name=row.name,
                    kind=Kind(row.kind),
                    parent=row.parent,
                    country=row.country,
                    number=number,
                    km2=row.km2,
                    source=content.source.name,
                    licence=content.source.licence,
                    names=row.names,
                )
            except ValueError as error:  # a kind that is none
                raise LibraryError(f"Region {row.code} of {path.name} cannot be one: {error}.") from error
            found[row.code] = region, geometry
    return found
