"""Counts of the parts of a whole: none that is hidden can be worked out from those that are told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.service.counts import SMALL_COUNT, Shown, by_region

CODES = {n: f"R{n}" for n in range(1, 6)}


def told(*counts: int) -> list[Shown]:
    """What is told of regions that have so many people."""
    found = by_region(np.repeat(np.arange(1, len(counts) + 1), counts), CODES)
    return [found[CODES[n]] for n in range(1, len(counts) + 1)]


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((41, 30), [41, 30]),
        ((41, 1), ["hidden", "<20"]),  # 42 people, of whom 41 would leave one
        ((60, 41, 3, 5), [60, "hidden", "<20", "<20"]),
        ((41, 12, 11), [41, "<20", "<20"]),
        ((41, 20, 1), ["hidden", "hidden", "<20"]),  # 21 are one and the least that "hidden" can be
        ((41, 19, 19), ["hidden", "<20", "<20"]),
        ((15, 15), ["<20", "<20"]),
        ((20, 1), ["hidden", "hidden"]),  # there is no other to hide: neither says which of them is small
    ],
)
def test_a_region_of_few_cannot_be_worked_out_from_the_others(counts: tuple[int, ...], shown: list[Shown]):
    """Nor how few the hidden ones are together: as many of the others are hidden as that takes, the smallest first, and no more."""
    assert told(*counts) == shown


@given(st.lists(st.sampled_from([1, 2, 7, 18, 19, 20, 21, 39, 40, 90]), min_size=2, max_size=5))
def test_whoever_adds_up_finds_no_number_below_twenty(counts: list[int]):
    """What is told of the regions and of the whole fits several numbers of each that is said to be small, while the whole is told."""
    shown = told(*counts)
    numbers = [one for one in shown if isinstance(one, int)]
    few, many = shown.count("<20"), shown.count("hidden")
    if not few or sum(counts) < SMALL_COUNT:
        return
    left = sum(counts) - sum(numbers)
    assert left >= SMALL_COUNT
    fitting = [
        one
        for one in itertools.combinations_with_replacement(range(1, SMALL_COUNT), few)
        if (left - sum(one) >= SMALL_COUNT * many if many else sum(one) == left)
    ]
    assert len(fitting) > 1
    assert not many or len({sum(one) for one in fitting}) > 1


def test_a_region_that_is_none_of_the_area_is_not_told():
    """Whoever has the label of another region is in the whole alone."""
    assert by_region(np.repeat([1, 9], [30, 30]), CODES) == {"R1": 30}
