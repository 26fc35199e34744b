"""Numbers in order, each once, however far they are apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.store.audience import ascending_once
from geofences.records import NUMBER_LIMIT


@pytest.mark.parametrize("most", [20, 70_000, NUMBER_LIMIT - 1])
@given(data=st.data())
def test_each_number_once_where_it_stands_first(most: int, data: st.DataObject):
    """Whoever was found at two places is told once, with the flags of the first."""
    numbers = np.array(data.draw(st.lists(st.integers(1, most), max_size=60)), np.uint64)
    values, first = np.unique(numbers, return_index=True)
    order = ascending_once(numbers)
    assert order.tolist() == first.tolist()
    assert numbers[order].tolist() == values.tolist()
