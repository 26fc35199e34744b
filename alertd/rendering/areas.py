"""What an area is called, in a language: "Sevilla, Dos Hermanas and 12 other municipalities of Sevilla province"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alertd.rendering.catalogue import Catalogue
from geofences.area_names import WORLD, Named, Part
from geofences.names import fold
from geofences.region_records import Kind

#: What the provinces of a country are, where that is another word; used only to tell a province from its town.
PROVINCES: Mapping[str, str] = {
    "CH": "canton", "US": "state", "DE": "state", "AT": "state", "BR": "state", "MX": "state", "AU": "state", "IN": "state",
    "FR": "department", "CO": "department", "AR": "province",
}  # fmt: skip
UNITS: Mapping[Kind, str] = {Kind.CITY: "cities", Kind.COUNTRY: "countries"}


def area_name(words: Catalogue, parts: Sequence[Part]) -> str:
    """The name of an area from what `area_names.parts_of` found in it; empty for the high sea."""
    phrases = [_phrase(words, part) for part in parts]
    if any(len(part.named) + bool(part.others) > 1 for part in parts):
        return words.joined(phrases, "people")
    return words.listed(phrases)


def _phrase(words: Catalogue, part: Part) -> str:
    if part == WORLD:
        return str(words.words["area"]["world"])
    names = [_name(words, named) for named in part.named]
    if part.others:
        unit = UNITS.get(part.kind, "regions") if part.parent else "countries"
        names.append(words.counted(unit, part.others, parent=_name(words, part.parent) if part.parent else ""))
    listed = words.listed(names)
    return str(words.words["area"]["parts"]).format(names=listed) if part.partly else listed


def _name(words: Catalogue, named: Named) -> str:
    region = named.region
    name = region.name_in(words.language)
    if named.ambiguous and region.kind is Kind.PROVINCE:
        pattern = str(words.words["area"][PROVINCES.get(region.country, "province")])
        told_already = len(name.split()) > len(region.name.split()) or fold(pattern.format(name="")) in fold(name)
        if not told_already:  # as in "Community of Madrid"
            name = pattern.format(name=name)
    return words.isolate(name)
