"""Reads the words of each language from `templates/catalogue/<lang>.toml`. A new language begins with such a file.

Also chooses the language for a reader, and makes the name of an area in it: "Sevilla, Dos Hermanas and 12 other
municipalities of Sevilla province". Language tags are BCP 47.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import get_global
from babel.dates import format_date, format_skeleton, get_timezone_name
from babel.languages import get_official_languages
from babel.lists import format_list

from alertd.rendering.plaintext import FSI, PDI
from geofences.area_names import WORLD, Named, Part
from geofences.names import fold
from geofences.regions import Kind


def base_language(tag: str) -> str:
    """Returns the base language of a tag: `pt` for `pt-BR`."""
    return tag.split("-", 1)[0].lower()


def matching(tag: str, available: Iterable[str]) -> str | None:
    """Returns the available tag to use for `tag`: the same tag, else the first with the same base language, else None."""
    tags = list(available)
    if tag in tags:
        return tag
    return next((other for other in tags if base_language(other) == base_language(tag)), None)


@lru_cache(maxsize=4_096)  # called for every recipient, who share a few lists of languages
def choose_language(wanted: tuple[str, ...], available: tuple[str, ...]) -> str:
    """Returns the available language for a reader of the languages `wanted`, best first.

    Takes for each wanted tag the same one, else the first with the same base language (pt-PT for pt-BR). If none is
    available, takes the first available one: the alert's own first language, or English for an alert without languages
    (`Renderer.languages` orders them so). Raises ValueError if the alert has no language at all.
    """
    if not available:
        raise ValueError("The alert is available in no language.")
    return next((found for tag in wanted if (found := matching(tag, available)) is not None), available[0])


_WANTED = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")


def accepted(header: str) -> list[str]:
    """Returns the language tags of an Accept-Language header, best first (RFC 9110 section 12.5.4), without those of quality 0. Skips
    malformed parts.
    """
    found = filter(None, map(_WANTED.fullmatch, header[:1_000].split(",")))
    wanted = [(float(one[2] or 1), one[1]) for one in found]
    return [tag for quality, tag in sorted(wanted, key=lambda one: -one[0]) if quality > 0]


def spoken_at(time_zone: str) -> tuple[str, ...]:
    """Returns the languages of the time zone's country (Unicode CLDR), in which its place names are written."""
    zone = get_global("zone_aliases").get(time_zone, time_zone)
    country = get_global("zone_territories").get(zone)
    return get_official_languages(country, de_facto=True) if country else ()


def text_in(texts: Mapping[str, str], language: str) -> str:
    """Returns the text in this language (or another variant of its base language), or "" if there is none: text in
    another language would confuse the reader.
    """
    found = matching(language, texts)
    return "" if found is None else texts[found]


#: The language against which all catalogues are checked.
REFERENCE = "en"

#: The words of a catalogue that are written with a number, in each plural form. The forms are checked up to `MAX_COUNT`; no age and no
#: number of children is higher.
COUNTED = ("more", "years", "months", "cities", "regions", "countries")
#: Of these words, the ones that are also needed for zero.
NONE_OF = ("years", "months")
#: Abbreviations of time zones that zones with different times share: CST is Chicago's, Havana's and Shanghai's. They
#: are used only in the languages for which CLDR has them.
SHARED = ("CDT", "CST", "IST", "PST")
MAX_COUNT = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """One language's words for messages. `words` is the parsed file; templates read it, and the methods below fill in values."""

    language: str  # tag: es, or the es-MX that these words serve
    words: Mapping[str, Any]
    direction: str  # `ltr` or `rtl`, as HTML names it
    locale: Locale  # for plurals and dates

    def isolate(self, text: str) -> str:
        """Returns `text` between direction isolates if it has characters that run against this language's direction, so that it cannot
        disturb the order of the line. Otherwise returns it unchanged.

        In a line that runs right to left, numbers count too: the plus of a phone number would land at its other end.
        """
        foreign = {"L", "EN"} if self.direction == "rtl" else {"R", "AL", "AN"}
        return f"{FSI}{text}{PDI}" if any(unicodedata.bidirectional(char) in foreign for char in text) else text

    def coded(self, field: str, code: str | None) -> str:
        """Returns the word for a code of a field such as `hair`; "" for None. Raises `KeyError` for a code that the
        catalogue lacks.
        """
        return "" if code is None else str(self.words[field][code])

    def codes(self, field: str) -> Mapping[str, str]:
        """Returns all codes of `sex`, `hair`, `eyes` or `role`, with their words."""
        return dict(self.words[field])

    def counted(self, unit: str, number: int, **values: str) -> str:
        """Returns a number with its unit (one of `COUNTED`) in this language's plural form (Unicode CLDR): "2 years". `values` fill further
        places of the text.
        """
        forms: Mapping[str, str] = self.words[unit]
        text = forms.get(str(number)) or forms[self.locale.plural_form(number)]
        return text.format(n=number, **values)

    def listed(self, parts: Sequence[str]) -> str:
        """Returns "A, B and C", as this language lists parts (Unicode CLDR)."""
        return format_list(list(parts), locale=self.locale)

    def countries(self, codes: Sequence[str]) -> str:
        """Returns the names of countries (ISO 3166-1) as a list in this language (Unicode CLDR)."""
        return self.listed([str(self.locale.territories.get(code, code)) for code in codes])

    def joined(self, parts: Sequence[str], mark: str = "comma") -> str:
        """Returns the parts that are not empty, with this language's `comma`, `dash` or `colon` between them."""
        return str(self.words["punctuation"][mark]).join(filter(None, parts))

    def moment(self, at: datetime, time_zone: str | None, *, form: str) -> str:
        """Returns a time (`form`: `long`, `short`, or `short-with-year`) in `time_zone`, always with the zone's name or
        offset.

        The zone is written as a name such as `CET`. It is written as `UTC-03:00` if the zone has only a number for a
        name, or if readers of this language could mistake its name for another zone's. The text is never "two hours
        ago": the time of reading is unknown.
        """
        local = at if time_zone is None else at.astimezone(ZoneInfo(time_zone))
        zone = local.tzname() or ""
        is_clear = zone not in SHARED or zone == get_timezone_name(local, "short", locale=self.locale.language)
        if not (zone.isalpha() and is_clear):
            zone = f"UTC{local.isoformat()[-6:]}"
        day = (
            format_date(local, "long", self.locale)
            if form == "long"
            else format_skeleton("MMMd" if form == "short" else "yMMMd", local, None, locale=self.locale)
        )
        time = self.isolate(f"{local:%H:%M}\u00a0{zone}")  # never split at the end of a line
        return str(self.words["moment"]["text"]).format(date=day, time=time)


def read_catalogues(directory: Path) -> dict[str, Catalogue]:
    """Reads the catalogue of each language from the directory; returns them by language.

    Raises `ValueError` for one that lacks a word or a plural form, or has a word that the English catalogue lacks.
    """
    files = sorted(directory.glob("*.toml"))
    found = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in files}
    expected = {path for path in _paths(found[REFERENCE]) if path.split(".")[0] not in COUNTED}
    for language, words in found.items():
        differing = (expected | set(_plurals(words))).symmetric_difference(_paths(words))
        if differing:
            raise ValueError(f"The catalogue {language} differs from {REFERENCE} in {', '.join(sorted(differing))}.")
    return {
        language: Catalogue(
            language=language,
            words=words,
            direction=words["direction"],
            locale=Locale.parse(words["moment"]["locale"]),
        )
        for language, words in found.items()
    }


def _plurals(words: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names of the plural forms that a language needs, `unit.form`: CLDR's forms for whole numbers, and zero years and months."""
    forms = _forms(words["moment"]["locale"])
    for unit in COUNTED:
        yield from (f"{unit}.{form}" for form in forms)
        if unit in NONE_OF:
            yield f"{unit}.0"


@cache
def _forms(locale: str) -> frozenset[str]:
    """Returns the names of the plural forms (Babel's) that a language needs for the numbers from 1 to `MAX_COUNT`."""
    plural_form = Locale.parse(locale).plural_form
    return frozenset(plural_form(number) for number in range(1, MAX_COUNT + 1))


def _paths(words: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the path of each text in a catalogue: `hair.brown`."""
    for key, value in words.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield prefix + key


#: By country: the word for its provinces, if it is not "province". Used only to distinguish a province from the town of the same name.
PROVINCES: Mapping[str, str] = {
    "CH": "canton", "US": "state", "DE": "state", "AT": "state", "BR": "state", "MX": "state", "AU": "state", "IN": "state",
    "FR": "department", "CO": "department", "AR": "province",
}  # fmt: skip
UNITS: Mapping[Kind, str] = {Kind.CITY: "cities", Kind.COUNTRY: "countries"}


def area_name(words: Catalogue, parts: Sequence[Part]) -> str:
    """Returns the name of an area in words ("Sevilla and 12 other municipalities of Sevilla province"), from its parts (groups of regions
    with one parent, found by `area_names.parts_of`). "" for the high sea.
    """
    phrases = [_phrase(words, part) for part in parts]
    if any(len(part.named) + bool(part.others) > 1 for part in parts):
        return words.joined(phrases, "people")
    return words.listed(phrases)


def _phrase(words: Catalogue, part: Part) -> str:
    """Returns the words for one part of an area's description: its named regions and the number of the others; "parts
    of …" before them if the area covers these regions only partly. `WORLD` has its own words.
    """
    if part == WORLD:
        return str(words.words["area"]["world"])
    names = [_name(words, named) for named in part.named]
    if part.others:
        unit = UNITS.get(part.kind, "regions") if part.parent else "countries"
        names.append(words.counted(unit, part.others, parent=_name(words, part.parent) if part.parent else ""))
    listed = words.listed(names)
    return str(words.words["area"]["parts"]).format(names=listed) if part.partly else listed


def _name(words: Catalogue, named: Named) -> str:
    """Returns a region's name in the language. An ambiguous province gets its word ("Sevilla province") unless the name has it already."""
    region = named.region
    name = region.name_in(words.language)
    if named.ambiguous and region.kind is Kind.PROVINCE:
        pattern = str(words.words["area"][PROVINCES.get(region.country, "province")])
        told_already = len(name.split()) > len(region.name.split()) or fold(pattern.format(name="")) in fold(name)
        if not told_already:  # as in "Community of Madrid"
            name = pattern.format(name=name)
    return words.isolate(name)
