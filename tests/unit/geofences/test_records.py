from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofences import records

ROWS = st.tuples(
    st.integers(0, 2**40 - 1),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**32 - 1),
)


@given(st.lists(ROWS, max_size=40))
def test_round_trip(rows):
    """What is packed is what is unpacked, 16 bytes a record."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = (np.uint64, np.uint16, np.uint16, np.uint32, np.uint32)
    blob = records.pack(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))
    assert blob == b"".join(records.pack_one(*row) for row in rows)
    assert len(blob) == records.SIZE * len(rows)
    found = records.unpack(blob)
    assert (
        list(zip(*(getattr(found, name).tolist() for name in ("numbers", "x", "y", "regions", "flags")), strict=True))
        == rows
    )


def test_the_layout():
    """Number, x, y, region, flags, each little endian, with nothing between."""
    assert records.pack(0x0504030201, 0x0706, 0x0908, 0x0C0B0A, 0x100F0E0D) == bytes(range(1, 17))


def test_leaving_keeps_where_and_who():
    """A record that is being left says where, who, the place kind and that it is in doubt; nothing else."""
    flags = records.make_flags([1, 2, 3, 1], place_kind=3, kinds=1, accuracy_class=2, observed_h=99, tester=True)
    after = records.unpack(records.left(records.pack(77, 5, 6, 8, flags)))
    assert (after.numbers[0], after.x[0], after.y[0], after.regions[0]) == (77, 5, 6, 0)
    assert after.flags[0] == 3 << 8 | records.MOVED
    assert records.moved(after.flags)[0]


def test_flags():
    """Every part of the flags is read back, and three addresses or more are "many"."""
    flags = np.array(
        [
            records.make_flags(
                [0, 1, 2, 7], place_kind=4, kinds=3, accuracy_class=records.accuracy_class(120), observed_h=500_005
            )
        ],
        np.uint32,
    )
    assert records.channel_counts(flags).tolist() == [[0, 1, 2, records.MANY]]
    assert (records.place_kind(flags)[0], records.kinds(flags)[0], flags[0] >> records.ACCURACY_SHIFT & 7) == (4, 3, 2)
    assert not records.moved(flags)[0]
    assert not records.tester(flags)[0]
    assert records.age_h(flags, 500_011)[0] == 6


@pytest.mark.parametrize(
    ("metres", "expected"), [(None, 0), (0, 0), (50, 1), (51, 2), (200, 2), (1000, 3), (5000, 4), (5001, 5)]
)
def test_accuracy_classes(metres, expected):
    """The classes are those of the table, their limits included."""
    assert records.accuracy_class(metres) == expected


def test_a_clock_an_hour_behind_does_not_age_a_place():
    """A place observed in the hour that has not begun here is fresh, and an untimed one has no age."""
    flags = np.array([records.make_flags([1, 0, 0, 0], place_kind=0, observed_h=501), 0], np.uint32)
    assert records.age_h(flags, 500).tolist() == [0, 0]


@pytest.mark.parametrize("wrap", [0, 4095 * 119, 4095 * 120, 4096 * 120])
def test_every_hour_around_the_wrap_has_its_age(wrap):
    """An observation of any hour is as old as it is, in that hour and later, and never looks untimed."""
    for observed_h in range(max(0, wrap - 5), wrap + 6):
        flags = np.array([records.make_flags([1, 0, 0, 0], place_kind=0, observed_h=observed_h)], np.uint32)
        assert flags[0] >> records.HOUR_SHIFT
        ages = [*range(12), 24, 720, records.HOURS - 2]
        assert [int(records.age_h(flags, observed_h + age)[0]) for age in ages] == ages


def test_nothing_is_cut_silently():
    """Numbers that do not fit and torn strings are refused."""
    with pytest.raises(OverflowError):
        records.pack(2**40, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="multiple"):
        records.unpack(bytes(17))
