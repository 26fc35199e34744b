"""How many leases a worker takes at once: never more rows than its lanes could have under way."""

from __future__ import annotations

from alertd.worker import Lanes


def test_small_leases_share_a_lane():
    """Leases of 25 rows go on being asked for until not even a chunk would fit; a large one takes one lane, and no more."""
    lanes, taken = Lanes(4, 100), 0
    while lanes.room(loud=True):
        lanes.take(25, loud=True)
        taken += 25
    assert taken == 325
    lanes.free(25, loud=True)
    lanes.take(500, loud=True)
    assert lanes.room(loud=True) == 0


def test_what_is_not_loud_leaves_a_lane():
    """However small its leases are, what is loud finds room."""
    lanes = Lanes(2, 100)
    while lanes.room(loud=False):
        lanes.take(10, loud=False)
    assert lanes.room(loud=True) == 1
