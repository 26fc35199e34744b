"""The seal of the cells: what it hides, what it keeps, and that one call seals the records of many cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.store.engine.cell_seal import CellSeal, names_of
from alertd.store.engine.keys import Cell
from geofences import records

SEAL = CellSeal(b"s" * 32)
SEVILLA = Cell("g:1", 256)
#: Cells whose names differ in one part: another tile of the group, the same number in another group, a region's instead of a tile's.
OTHERS = (Cell("g:1", 257), Cell("g:2", 256), Cell("r:1", 256))
RECORD = records.pack_one(77, 5, 6, 8, 0x20101)

blobs = st.lists(st.binary(min_size=records.SIZE, max_size=records.SIZE), max_size=5).map(b"".join)
cells = st.builds(
    Cell,
    st.one_of(st.integers(0, 2**16 - 1).map("g:{}".format), st.integers(0, 2**24 - 1).map("r:{}".format)),
    st.integers(0, 2**26 - 1),
)


@given(of_cells=st.lists(st.tuples(cells, blobs), max_size=6))
def test_what_is_sealed_opens_to_the_same_records(of_cells: list[tuple[Cell, bytes]]):
    """Records keep their length and their order, whether they are opened cell by cell or all at once."""
    names, plain = [cell for cell, _ in of_cells], [blob for _, blob in of_cells]
    sealed = SEAL.seal_each(names, plain)
    assert [len(blob) for blob in sealed] == [len(blob) for blob in plain]
    assert [SEAL.open(cell, blob) for cell, blob in zip(names, sealed, strict=True)] == plain
    blocks = names_of([one.group for one in names], np.arange(len(names)), [one.member for one in names])
    counts = [len(blob) // records.SIZE for blob in sealed]
    assert SEAL.crypted(blocks, counts, b"".join(sealed), opens=True).tobytes() == b"".join(plain)


@pytest.mark.parametrize("other", OTHERS)
def test_the_same_record_in_another_cell_has_other_bytes(other: Cell):
    """Sealed bytes that are moved to another cell do not open to the record."""
    sealed = SEAL.seal(SEVILLA, RECORD)
    assert sealed != RECORD
    assert SEAL.seal(other, RECORD) != sealed
    assert SEAL.open(other, sealed) != RECORD


def test_another_secret_does_not_open_a_record():
    """Whoever has the files and the code has no record."""
    assert CellSeal(b"t" * 32).open(SEVILLA, SEAL.seal(SEVILLA, RECORD)) != RECORD


def test_a_sealed_record_shows_neither_its_number_nor_its_position():
    """Records that differ in one bit have nothing in common: half of all bits differ, on average."""
    near = [records.pack_one(77, x, 6, 8, 0x20101) for x in range(256)]
    sealed = np.frombuffer(SEAL.seal(SEVILLA, b"".join(near)), np.uint8).reshape(-1, records.SIZE)
    differing = np.unpackbits(sealed[1:] ^ sealed[:-1], axis=1).mean(axis=0)
    assert (abs(differing - 0.5) < 0.2).all()


def test_a_tombstone_stays_clear():
    """16 zero bytes are nobody, sealed or not."""
    blob = RECORD + bytes(records.SIZE) + RECORD
    sealed = SEAL.seal(SEVILLA, blob)
    assert sealed[records.SIZE : 2 * records.SIZE] == bytes(records.SIZE)
    assert SEAL.open(SEVILLA, sealed) == blob


@pytest.mark.parametrize("size", [1, 8, 15, 17])
def test_a_broken_record_is_not_opened(size: int):
    """A cell that holds no whole records is refused, or the next cell's records would be read as somebody else's."""
    with pytest.raises(ValueError, match=r".+"):
        SEAL.open(SEVILLA, bytes(range(size)))
