"""How many leases a worker takes at once, never more rows than its lanes could have under way, and of which alerts."""

from __future__ import annotations

from alertd.service.delivery.active_alerts import FairQueue
from alertd.service.delivery.feeder import Slots
from alertd.store.delivery.work_records import BatchKey, Lease


def test_small_leases_share_a_lane():
    """Leases of 25 rows go on being asked for until not even a chunk would fit; a large one takes one lane, and no more."""
    lanes, taken = Slots(4, 100), 0
    while lanes.room(loud=True):
        lanes.take(25, loud=True)
        taken += 25
    assert taken == 325
    lanes.free(25, loud=True)
    lanes.take(500, loud=True)
    assert lanes.room(loud=True) == 0


def test_what_is_not_loud_leaves_a_lane():
    """However small its leases are, what is loud finds room."""
    lanes = Slots(2, 100)
    while lanes.room(loud=False):
        lanes.take(10, loud=False)
    assert lanes.room(loud=True) == 1


def test_what_is_loud_has_a_lane_where_there_is_only_one():
    """What is not loud has it for as long as its carrier takes; what is loud never waits for that, and takes no more than one beside it."""
    lanes = Slots(1, 100)
    assert lanes.room(loud=False) == 1
    lanes.take(500, loud=False)
    assert (lanes.room(loud=False), lanes.room(loud=True)) == (0, 1)
    lanes.take(500, loud=True)
    assert (lanes.room(loud=False), lanes.room(loud=True)) == (0, 0)


def lease(chain: str, name: str, rows: int) -> Lease:
    """So many rows of a chain."""
    return Lease(
        name=name, alert_id=chain, batch="0", alike=BatchKey(channel="push", language="en"), rows=list(range(rows)), refs=[],
        tries=[], doubted=[], carriers=[],
    )  # fmt: skip


def test_a_turn_is_a_chunk():
    """Who had less stays first, however many batches that takes; who had a chunk or more stands last, and who is new behind them."""
    turns = FairQueue(8, 100)
    assert turns.order(["a", "b"]) == ["a", "b"]
    turns.take(lease("a", "1", 40))
    assert turns.order(["a", "b"]) == ["a", "b"]
    turns.take(lease("a", "2", 60))
    assert turns.order(["a", "b"]) == ["b", "a"]
    turns.take(lease("b", "3", 500))
    assert turns.order(["a", "aa", "b"]) == ["a", "b", "aa"]


def test_who_had_nothing_keeps_its_place():
    """It is told before those who came later, once there is something of it."""
    turns = FairQueue(8, 100)
    turns.order(["b"])
    turns.nothing("b")
    assert turns.order(["a", "b"]) == ["b", "a"]


def test_an_alert_has_all_lanes_until_others_wait():
    """Then its share of them, and one at least; what it has above that is given up. It has them again when the others have nothing."""
    turns = FairQueue(4, 100)
    turns.order(["big"])
    leases = [lease("big", str(n), 500) for n in range(4)]
    for one in leases:
        assert turns.order(["big"]) == ["big"]
        turns.take(one)
    assert [turns.over(one) for one in leases] == [False] * 4
    others = [f"small{n}" for n in range(9)]
    assert turns.order(["big", *others]) == others
    assert [turns.over(one) for one in leases] == [False, True, True, True]
    for one in leases[1:]:
        turns.free(one)
    for other in others:
        turns.nothing(other)
    assert turns.order(["big", *others]) == ["big", *others]
    turns.expect("small0")
    turns.take(lease("big", "5", 500))
    assert turns.order(["big", "small0"]) == ["small0"]
