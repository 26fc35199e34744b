"""Which language a reader gets. Language tags are BCP 47."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from babel.core import get_global
from babel.languages import get_official_languages


def base_language(tag: str) -> str:
    """`pt` of `pt-BR`."""
    return tag.split("-", 1)[0].lower()


def matching(tag: str, available: Iterable[str]) -> str | None:
    """The available tag that serves `tag`: the same one, else the first of the same base language."""
    tags = list(available)
    if tag in tags:
        return tag
    return next((other for other in tags if base_language(other) == base_language(tag)), None)


def choose_language(wanted: Sequence[str], available: Sequence[str]) -> str:
    """The language for someone who reads `wanted`, best first.

    For each wanted tag the exact one, then its base language; then the first available, which is the alert's own first
    language where it has one, else English (`Renderer.languages` orders them so). Raises `ValueError` if none is available.
    """
    return _chosen(tuple(wanted), tuple(available))


@lru_cache(maxsize=4_096)  # asked for everybody in an audience, who read a few languages
def _chosen(wanted: tuple[str, ...], available: tuple[str, ...]) -> str:
    if not available:
        raise ValueError("The alert can be told in no language.")
    return next((found for tag in wanted if (found := matching(tag, available)) is not None), available[0])


_WANTED = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")


def accepted(header: str) -> list[str]:
    """The language tags of an Accept-Language header, best first (RFC 9110 section 12.5.4); what is not well formed is passed over."""
    found = filter(None, map(_WANTED.fullmatch, header[:1_000].split(",")))
    wanted = [(float(one[2] or 1), one[1]) for one in found]
    return [tag for quality, tag in sorted(wanted, key=lambda one: -one[0]) if quality > 0]


def spoken_at(time_zone: str) -> tuple[str, ...]:
    """The languages of the country whose clocks these are, as Unicode CLDR has them: what signs are written in there."""
    zone = get_global("zone_aliases").get(time_zone, time_zone)
    country = get_global("zone_territories").get(zone)
    return get_official_languages(country, de_facto=True) if country else ()


def told_in(texts: Mapping[str, str], language: str) -> str:
    """The text in this language, or nothing: another language's words would only puzzle the reader."""
    found = matching(language, texts)
    return "" if found is None else texts[found]


def told_in_any(texts: Mapping[str, str], language: str, first: Sequence[str]) -> str:
    """The text in this language, else in that of `first`, English or any: for names of places, which serve in any language."""
    return texts[choose_language((language, *first, "en"), tuple(texts))] if texts else ""
