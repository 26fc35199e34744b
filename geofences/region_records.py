"""What a region is: its kind, its code and names, and its ground."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry


class Kind(enum.StrEnum):
    """What a region is, from the widest to the narrowest."""

    COUNTRY = "country"
    PROVINCE = "province"
    COUNTY = "county"
    CITY = "city"
    DRAWN = "drawn"  # by an operator, across all others; see `Library.with_drawn`

    @property
    def depth(self) -> int:
        return _DEPTHS[self]


_DEPTHS = {kind: depth for depth, kind in enumerate(Kind)}  # made once: every load asks three times a region


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

    def name_in(self, language: str) -> str:
        """The name in a language (BCP 47), else the one that it has at home."""
        return self.names.get(language, self.names.get(language.partition("-")[0], self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The ground of some regions together. Both are shared: do not prepare them."""

    outline: BaseGeometry
    shore: BaseGeometry  # off their coasts, where places are theirs too; see `shores`
