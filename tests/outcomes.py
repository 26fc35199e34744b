"""Comparing what a real party answered, in words of its own, with what it means."""

from __future__ import annotations

from collections.abc import Iterable

from channels.base import Outcome


def without_words(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Returns the outcomes without the carrier's words."""
    return [outcome._replace(said="") for outcome in outcomes]
