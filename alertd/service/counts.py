"""Shows the exact counts of an approved alert, without the small ones, which could reveal a home.

Before the approval every count is an estimate (`reach`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from alertd.errors import Problem

SMALL_COUNT = 20  # below this a count could tell where one person lives, so it is shown as "<20"

#: In place of a count: it is small, or a small one beside it could be worked out from it.
Word = Literal["<20", "hidden"]
Shown = int | Word

_Part = TypeVar("_Part", bound=Hashable)


def shown(count: int) -> Shown:
    """A count of people as it may be told: nobody and a few read the same."""
    return count if count >= SMALL_COUNT else "<20"


def by_region(labels: NDArray[np.integer[Any]], regions: Mapping[int, str]) -> dict[str, Shown]:
    """People by the smallest region they are in, as it may be told; `regions` are codes by number, each person has the label of one."""
    counts = np.bincount(labels, minlength=1)
    people = {regions[n]: int(counts[n]) for n in np.flatnonzero(counts).tolist() if n in regions}
    words = _covered(people, {code: "<20" if count < SMALL_COUNT else None for code, count in people.items()})
    return {code: word or people[code] for code, word in words.items()}


def _covered(people: Mapping[_Part, int], words: Mapping[_Part, Word | None]) -> dict[_Part, Word | None]:
    """The words of the parts of a whole. What is hidden of one could be worked out from the others and the whole; so the smallest of
    the others are hidden, too, until it cannot. Where it can be even then, none says that it is small.
    """
    covered = dict(words)

    def is_told() -> bool:
        return _is_told([people[one] for one, word in covered.items() if word])

    for one in sorted((one for one, word in words.items() if not word), key=people.__getitem__):
        if not is_told():
            return covered
        covered[one] = "hidden"
    return dict.fromkeys(people, "hidden") if is_told() and sum(people.values()) >= SMALL_COUNT else covered


def _is_told(hidden: Sequence[int]) -> bool:
    """Whether the sum of hidden counts, which anybody can work out, tells one of them or how few they are together: where it is that of
    one, is small, or can be made up in one way alone, since those below 20 are nearly at their least or most, or those above at their least.
    """
    few = sum(count < SMALL_COUNT for count in hidden)
    many, whole = len(hidden) - few, sum(hidden)
    if len(hidden) < 2 or whole < SMALL_COUNT:
        return bool(hidden)
    if many:
        return whole - SMALL_COUNT * many <= few
    return not few + 1 < whole < few * (SMALL_COUNT - 1) - 1


def too_few_people(least: int) -> Problem:
    """An Actual alert would reach so few that telling them tells who they are."""
    return Problem(
        "audience-too-small", f"Fewer than {least} people are in the area: telling them would tell who they are."
    )
