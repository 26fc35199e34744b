"""What flags say of who may count, and numbers in order, each once, however far they are apart."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from alertd.store.people.audience import IN_DOUBT, NO, YES, Matches, MatchFilter, eligible, in_order, table, verdicts
from geofences import records
from geofences.records import NUMBER_LIMIT


@pytest.mark.parametrize("most", [20, 70_000, NUMBER_LIMIT - 1])
@given(data=st.data())
def test_each_number_once_with_what_the_first_part_says(most: int, data: st.DataObject):
    """Whoever was found at two places is told once, by what was said first, however the reads were shared out."""
    drawn = data.draw(st.lists(st.lists(st.integers(1, most), max_size=30), min_size=1, max_size=4))
    first: dict[int, int] = {}
    parts, count = [], 0
    for numbers in drawn:
        whats = np.arange(count + 1, count + 1 + len(numbers), dtype=np.uint64) << np.uint64(32)
        count += len(numbers)
        parts.append((np.array(numbers, np.uint64), whats))
        for number, what in zip(numbers, whats.tolist(), strict=True):
            first.setdefault(number, what)
    people = Matches(in_order([numbers for numbers, _ in parts]), parts)
    assert people.numbers.tolist() == sorted(first)
    assert people.flags.tolist() == [first[number] >> 32 for number in sorted(first)]
    assert len(people.regions) == len(people)


def test_nobody_in_order_is_nobody():
    """An audience of no parts has nobody in it."""
    nobody = Matches(in_order([]), [])
    assert (len(nobody), len(nobody.flags), len(in_order([]))) == (0, 0, 0)


def told(flags, wanted: MatchFilter) -> list[int]:
    high = flags.astype(np.uint64) << np.uint64(records.FLAGS_SHIFT)
    return verdicts(records.Records(np.zeros_like(high), high), wanted, table(wanted)).tolist()


@given(
    flags=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50),
    places=st.frozensets(st.integers(0, 7)),
    kind=st.integers(1, 15),
    testers_only=st.booleans(),
    max_age_h=st.none() | st.integers(0, 4095),
)
def test_a_verdict_is_what_the_flags_say(
    flags: list[int], places: frozenset[int], kind: int, testers_only: bool, max_age_h: int | None
):
    """What is looked up is what working it out for each record gives, and a mark of doubt comes before all else."""
    wanted = MatchFilter(
        area=shapely.MultiPolygon(),
        kind=kind,
        places=places,
        testers_only=testers_only,
        max_age_h=max_age_h,
        now_h=500_000,
    )
    words = np.array(flags, np.uint32)
    expected = np.where(records.moved(words), IN_DOUBT, np.where(eligible(words, wanted), YES, NO))
    assert told(words, wanted) == expected.tolist()


def test_a_tombstone_is_nobody():
    """What was zeroed names nobody, whoever is wanted."""
    everybody = MatchFilter(area=shapely.MultiPolygon(), kind=15, places=frozenset(range(8)))
    assert told(np.zeros(1, np.uint32), everybody) == [NO]
