"""Which language a reader gets. Language tags are BCP 47."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


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
    if not available:
        raise ValueError("The alert can be told in no language.")
    return next((found for tag in wanted if (found := matching(tag, available)) is not None), available[0])


def told_in(texts: Mapping[str, str], language: str) -> str:
    """The text in this language, or nothing: another language's words would only puzzle the reader."""
    found = matching(language, texts)
    return "" if found is None else texts[found]


def told_in_any(texts: Mapping[str, str], language: str, first: Sequence[str]) -> str:
    """The text in this language, else in the best other one: for names of places, which serve in any language."""
    return texts[choose_language((language, *first, "en"), tuple(texts))] if texts else ""
