"""Which stop counts for whom."""

from __future__ import annotations

import pytest

from alertd.store.organisations.organisations import SERVICE, StandingStops, Stop, of_key, of_org


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        (SERVICE, True), (of_org("one"), True), (of_org("two"), False), (of_key("one", "a"), True), (of_key("two", "a"), False),
        (of_key("two", "b"), True), (of_key("one", "b"), False),
    ],
)  # fmt: skip
def test_a_stop_of_any_key_that_it_is_sent_by_counts(scope: str, *, counts: bool):
    """An organisation's own, and a neighbour's, which has its organisation's name before it."""
    standing = StandingStops(generation=1, stops={scope: Stop(by="x", org="a", at=1, reason="")})
    assert (standing.of("one", ["a", "two:b"]) is not None) is counts
