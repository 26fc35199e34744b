"""Whoever was found, in order and each once, however many places they were found at."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofences import records

Words = NDArray[np.uint64]
#: Numbers of subscribers, and the other halves of their records: flags and leaf region; never 0, for who counts consented to a kind.
Part = tuple[Words, Words]
#: Numbers that leave more room than this between them, on average, are sorted; closer ones are ticked off in a list of all.
SPARSE = 4
_NOBODY: Part = (np.empty(0, np.uint64), np.empty(0, np.uint64))


@dataclass(frozen=True)
class Matches:
    """People, sorted by number, each once. What the first of the parts that has them says of them is put into that order only
    when it is asked for: whom to tell is known without.
    """

    numbers: Words
    parts: Sequence[Part] = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def flags(self) -> NDArray[np.uint32]:
        """Of each, the flags."""
        return self._said.flags

    @property
    def regions(self) -> NDArray[np.uint32]:
        """Of each, the number of the leaf region."""
        return self._said.regions

    @functools.cached_property
    def _said(self) -> records.Records:
        return records.Records(self.numbers, merge_words(self.parts))


def found(parts: Sequence[Part]) -> Matches:
    """Everyone of these parts."""
    return Matches(in_order([numbers for numbers, _ in parts]), parts)


def in_order(parts: Sequence[Words]) -> Words:
    """The numbers of all parts ascending, each once."""
    most = max((int(numbers.max()) for numbers in parts if len(numbers)), default=0)
    if most > SPARSE * sum(map(len, parts)):
        short = np.uint32 if most < 1 << 32 else np.uint64  # sorted in half the time
        numbers = np.sort(np.concatenate(parts, dtype=short, casting="same_kind"))
        return numbers[_firsts(numbers)].astype(np.uint64)
    ticked = np.zeros(most + 1, bool)
    for numbers in parts:
        ticked[numbers.view(np.int64)] = True
    return np.flatnonzero(ticked).view(np.uint64)


def merge_words(parts: Sequence[Part]) -> Words:
    """What belongs to each number of `in_order`: what the first part that has it says."""
    numbers, whats = (np.concatenate(half) for half in zip(_NOBODY, *parts, strict=True))
    # Sorted with its index below it, each stays where it was among its equals: four times faster than `np.unique`.
    shift = np.uint64(len(numbers).bit_length())  # 40 bits of a number leave room for 16 million
    both = np.sort(numbers << shift | np.arange(len(numbers), dtype=np.uint64))
    of_each = both[_firsts(both >> shift)] & ((np.uint64(1) << shift) - np.uint64(1))
    return whats.take(of_each.view(np.int64))


def _firsts(ascending: NDArray[Any]) -> NDArray[np.bool_]:
    """Which are not equal to the one before."""
    firsts: NDArray[np.bool_] = np.r_[True, ascending[1:] != ascending[:-1]][: len(ascending)]
    return firsts
