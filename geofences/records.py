"""Packs and unpacks the 16-byte record of a subscriber's place in a tile, and the 32 bits of flags in the record.

| bytes | holds |
|---|---|
| 0-4 | subscriber number (40 bits, little endian, as all of it); 0 is a tombstone |
| 5-6, 7-8 | x and y inside the tile |
| 9-11 | number of the leaf region (24 bits); 0 is none |
| 12-15 | flags |

| bits of the flags | hold |
|---|---|
| 0-7 | addresses by channel, two bits each in channel order; 3 is "three or more: ask the authority" |
| 8-10 | place kind |
| 11-13 | accuracy class, see `ACCURACY_LIMITS_M` |
| 14 | tester |
| 15 | moved: the record is in doubt, ask the authority |
| 16-19 | kinds of alert consented to |
| 20-31 | hour of the observation, mod 4095, plus 1; 0 is "not timed" |
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]
Flags = NDArray[np.uint32]

SIZE = 16
NUMBER_BYTES = 5
NUMBER_LIMIT = 1 << 40  # numbers are never reused; a trillion lasts
REGION_LIMIT = 1 << 24
CHANNELS = 4
MANY = 3  # the largest count that two bits hold
PLACE_SHIFT, ACCURACY_SHIFT, KIND_SHIFT, HOUR_SHIFT = 8, 11, 16, 20
FLAGS_SHIFT = 32  # of the high word, at which the flags begin
TESTER, MOVED = 1 << 14, 1 << 15
#: The hour in a record wraps after this many hours (170 days): an older observation would look new again.
HOURS = (1 << 12) - 1

# Class 0 is an exact point or an unknown accuracy; class n is "at most ACCURACY_LIMITS_M[n - 1] metres"; class 5 is
# worse than all.
ACCURACY_LIMITS_M = (50, 200, 1_000, 5_000)


@dataclass(frozen=True, slots=True)
class Records:
    """Many records as two arrays of 64-bit halves. Each property extracts one field of all records, because a query
    needs few fields.
    """

    low: Words
    high: Words

    def __len__(self) -> int:
        return len(self.low)

    @property
    def numbers(self) -> Words:
        return self.low & np.uint64(NUMBER_LIMIT - 1)

    @property
    def x(self) -> NDArray[np.uint16]:
        return (self.low >> np.uint64(40)).astype(np.uint16)

    @property
    def y(self) -> NDArray[np.uint16]:
        return ((self.low >> np.uint64(56)) | ((self.high & np.uint64(0xFF)) << np.uint64(8))).astype(np.uint16)

    def squares(self, depth: int) -> NDArray[np.int64]:
        """Returns for each record the number of its square within its tile, at `depth` (at most 8) levels below the tile. Squares are
        counted row by row from the north-west.
        """
        row = (self.high & np.uint64(0xFF)) >> np.uint64(8 - depth)
        column = (self.low >> np.uint64(56 - depth)) & np.uint64((1 << depth) - 1)
        return (row << np.uint64(depth) | column).view(np.int64)

    @property
    def regions(self) -> NDArray[np.uint32]:
        return ((self.high >> np.uint64(8)) & np.uint64(REGION_LIMIT - 1)).astype(np.uint32)

    @property
    def flags(self) -> Flags:
        return (self.high >> np.uint64(FLAGS_SHIFT)).astype(np.uint32)

    def where(self, mask: NDArray[np.bool_]) -> Records:
        """Returns the records for which the mask is true."""
        return self if mask.all() else Records(self.low[mask], self.high[mask])


def together(parts: Sequence[Records]) -> Records:
    """Returns the records of all parts, one part after another."""
    nothing = np.empty(0, np.uint64)
    return Records(
        np.concatenate([nothing, *(part.low for part in parts)]),
        np.concatenate([nothing, *(part.high for part in parts)]),
    )


def pack(numbers: ArrayLike, x: ArrayLike, y: ArrayLike, regions: ArrayLike, flags: ArrayLike) -> bytes:
    """Returns the records packed, 16 bytes each. A scalar argument is used for all records. Raises OverflowError if a number or region is
    too large.
    """
    number, east, south, region, flag = np.broadcast_arrays(
        *(np.atleast_1d(a) for a in (numbers, x, y, regions, flags))
    )
    number, region = number.astype(np.uint64), region.astype(np.uint64)
    if len(number) and (number.max() >= NUMBER_LIMIT or region.max() >= REGION_LIMIT):
        raise OverflowError("a subscriber number has 40 bits and a region number 24")
    low = south.astype(np.uint64)
    words = np.empty((len(number), 2), "<u8")
    words[:, 0] = number | (east.astype(np.uint64) << np.uint64(40)) | (low << np.uint64(56))
    words[:, 1] = (low >> np.uint64(8)) | (region << np.uint64(8)) | (flag.astype(np.uint64) << np.uint64(32))
    return words.tobytes()


def pack_one(number: int, x: int, y: int, region: int, flags: int) -> bytes:
    """Returns one packed record; ten times as fast as `pack`. Raises OverflowError if the number or region is too
    large. Does not check `x` and `y`, which must have at most 16 bits each.
    """
    if number >= NUMBER_LIMIT or region >= REGION_LIMIT:
        raise OverflowError("a subscriber number has 40 bits and a region number 24")
    return (number | x << 40 | y << 56 | region << 72 | flags << 96).to_bytes(SIZE, "little")


def unpack(blob: bytes | memoryview) -> Records:
    """Returns the records in packed bytes, with tombstones. Raises ValueError if the length is no multiple of 16."""
    if len(blob) % SIZE:
        raise ValueError(f"a tile holds records of {SIZE} bytes; {len(blob)} is no multiple of that")
    words = np.frombuffer(blob, "<u8").reshape(-1, 2)
    return Records(words[:, 0], words[:, 1])


def left(record: bytes) -> bytes:
    """Returns the record that replaces this one when its subscriber leaves the place. It has the same number, position
    and place kind, and is marked as in doubt. Raises ValueError for a wrong length.
    """
    if len(record) != SIZE:
        raise ValueError(f"a record has {SIZE} bytes, not {len(record)}")
    flags = int.from_bytes(record[12:], "little")
    doubt = (flags & (0b111 << PLACE_SHIFT)) | MOVED
    return record[:9] + bytes(3) + doubt.to_bytes(4, "little")


def identity(record: bytes) -> bytes:
    """Returns the bytes that identify one spot of one subscriber in its cell: number, position, place kind."""
    return record[:9] + bytes((record[13] & 0b111,))


def deciding(record: bytes) -> bytes:
    """Returns the bytes of a record that decide whether an alert matches it: all but the leaf region (only used for
    counts) and the accuracy.
    """
    return record[:9] + bytes((record[12], record[13] & ~(0b111 << (ACCURACY_SHIFT - 8)))) + record[14:]


def make_flags(
    counts: Sequence[int],
    *,
    place_kind: int,
    kinds: int = 0,
    accuracy_class: int = 0,
    observed_h: int | None = None,
    tester: bool = False,
) -> int:
    """Returns the flags of one record.

    `counts`: number of addresses in channel order (values above 3 are stored as 3). `kinds`: bits of the alert kinds consented to.
    `observed_h`: hour of the observation, in whole hours since 1970, None for a place without a time. Raises ValueError for values out of
    range.
    """
    if len(counts) != CHANNELS or not (0 <= place_kind < 8 and 0 <= kinds < 16 and 0 <= accuracy_class < 8):
        raise ValueError("flags need four counts, a place kind and an accuracy class below 8, and kinds below 16")
    hour = 0 if observed_h is None else observed_h % HOURS + 1
    flags = 0
    for count in reversed(counts):  # not `sum`, which takes five times as long
        flags = flags << 2 | min(count, MANY)
    flags |= place_kind << PLACE_SHIFT | accuracy_class << ACCURACY_SHIFT | kinds << KIND_SHIFT | hour << HOUR_SHIFT
    return flags | (TESTER if tester else 0)


def accuracy_class(accuracy_m: float | None) -> int:
    """Returns the accuracy class for an accuracy in metres; 0, an exact point, for None or 0."""
    return 0 if not accuracy_m else bisect_left(ACCURACY_LIMITS_M, accuracy_m) + 1


def channel_counts(flags: Flags) -> NDArray[np.uint8]:
    """Returns the number of addresses of each record by channel, shape (records, 4); 3 means three or more."""
    shifts = np.arange(0, 2 * CHANNELS, 2, dtype=np.uint32)
    return ((flags[:, None] >> shifts) & 3).astype(np.uint8)


def place_kind(flags: Flags) -> NDArray[np.uint8]:
    return ((flags >> PLACE_SHIFT) & 7).astype(np.uint8)


def kinds(flags: Flags) -> NDArray[np.uint8]:
    """Returns for each record the bits of the alert kinds consented to."""
    return ((flags >> KIND_SHIFT) & 15).astype(np.uint8)


def tester(flags: Flags) -> NDArray[np.bool_]:
    return (flags & TESTER).astype(np.bool_)


def moved(flags: Flags) -> NDArray[np.bool_]:
    """Returns which records are in doubt: only the subscriber's own record shows whether the subscriber is there."""
    return (flags & MOVED).astype(np.bool_)


def age_h(flags: Flags, now_h: int) -> NDArray[np.int32]:
    """Returns the hours since each observation, 0 for a place without a time. An observation up to an hour ahead of the clock has age 0,
    not 170 days.
    """
    hour = (flags >> HOUR_SHIFT).astype(np.int32)
    age = (now_h % HOURS + 1 - hour) % HOURS
    return np.where((hour == 0) | (age == HOURS - 1), 0, age).astype(np.int32)
