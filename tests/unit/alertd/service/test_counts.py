"""Exact counts: which alerts show them, and from how many people up."""

from __future__ import annotations

import pytest

from alertd.service.reach import Shown, exactly_shown


@pytest.mark.parametrize(("count", "word"), [(0, "<20"), (1, "<20"), (19, "<20"), (20, 20), (1_000, 1_000)])
def test_a_count_is_shown_from_twenty_up(count: int, word: Shown):
    """Nobody and a few read the same."""
    assert exactly_shown(count) == word
