"""How many people there are somewhere, as it may be told: a small number could tell where one person lives."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from alertd.alerts import CHANNELS
from alertd.errors import Problem
from alertd.sections import AudienceSection
from alertd.service import rings
from alertd.store.found import Found
from geofences import records

SMALL_COUNT = 20  # below this a count could tell where one person lives, so it is shown as "<20"

#: A count as it may be told: nothing at all of an area or an audience that is smaller than an alert may have.
Word = Literal["<20", "hidden"]
Shown = int | Word

_Part = TypeVar("_Part", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Counts:
    """What an installation tells of how many there are."""

    settings: AudienceSection

    def shown_people(self, people: int, km2: float) -> Shown:
        """How many people an area has, as it may be told."""
        return self.hidden(people, km2) or shown(people)

    def hidden(self, people: int, km2: float) -> Word | None:
        """The word that stands for all counts, or None. An area that is too small always has the same, whoever is in it."""
        if km2 < self.settings.least_km2 or SMALL_COUNT <= people < self.settings.least_people:
            return "hidden"
        return "<20" if people < SMALL_COUNT else None

    def of_area(self, found: Found, regions: Mapping[int, str], km2: float) -> dict[str, Any]:
        """People and addresses by channel and by region, of an area of `km2` that touches these `regions`: codes by number. Small counts
        are hidden; an area or an audience below the least is told in no number at all, and not as empty either.
        """
        if word := self.hidden(len(found), km2):
            return {"people": word, "addresses": _by_channel(found.flags, word), "regions": {}}
        return {
            "people": shown(len(found)),
            "addresses": _by_channel(found.flags, None),
            "regions": by_region(found.regions, regions),
        }

    def of_rings(self, found: Found, ringed: rings.Ringed, km2: float) -> dict[int, dict[str, Any]]:
        """People and addresses by channel of each ring."""
        of_ring = {ring: ringed.of_each == ring for ring in ringed.km2}
        people = {ring: int(mask.sum()) for ring, mask in of_ring.items()}
        whole = self.hidden(len(found), km2)
        words = _covered(people, {ring: whole or self.hidden(people[ring], ringed.km2[ring]) for ring in people})
        return {
            ring: {"people": word or shown(people[ring]), "addresses": _by_channel(found.flags[of_ring[ring]], word)}
            for ring, word in words.items()
        }


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


def _by_channel(flags: NDArray[np.uint32], word: Word | None) -> dict[str, Shown]:
    """Addresses by channel, or the word that stands for all of them."""
    if word:
        return dict.fromkeys(CHANNELS, word)
    counts = records.channel_counts(flags).sum(axis=0, dtype=np.int64)
    return {channel: _part(int(counts[i])) for i, channel in enumerate(CHANNELS)}


def _part(count: int) -> Shown:
    """A count of some of many, of whom none may be of this kind."""
    return shown(count) if count else 0
