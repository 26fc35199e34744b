"""What an alert's record says of the regions whose people are told: all of them, in few words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alertd.store.alerts.records import numbers_of, runs_of


@given(st.sets(st.integers(1, 60) | st.integers(1, 2**31)))
def test_what_is_written_of_regions_is_what_is_read(numbers: set[int]):
    """Neither is one lost nor one told that was not named, however they follow one another."""
    assert numbers_of(runs_of(numbers)) == sorted(numbers)


def test_a_country_takes_few_words():
    """Its municipalities have numbers in a row."""
    assert runs_of([84, 69, *range(4706, 12945)]) == "69 84 4706-12944"


def test_an_alert_that_was_written_number_by_number_reads_as_it_did():
    """Those of a store that an earlier program wrote stay what they were."""
    assert numbers_of("69 84 4706 4707 4709") == [69, 84, 4706, 4707, 4709]
