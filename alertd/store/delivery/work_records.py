"""What is planned, leased, settled and reported late, and how scripts are told and tell it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alertd.model.states import ATTEMPTS_MASK, FLAG_DOUBT, FLAG_UNSENT, State

REF_BYTES = 6
_RUN = struct.Struct("<IH")
_OUTCOME = struct.Struct("<IHBBBBI")


def pack_ref(number: int, address: int) -> bytes:
    """6 bytes: subscriber number (40 bits, little endian), address number."""
    return number.to_bytes(5, "little") + bytes((address,))


def unpack_refs(blob: bytes) -> list[tuple[int, int]]:
    """The (subscriber number, address number) pairs of a blob of references."""
    return [(int.from_bytes(blob[i : i + 5], "little"), blob[i + 5]) for i in range(0, len(blob), REF_BYTES)]


def subscribers_in(blob: bytes) -> NDArray[np.uint64]:
    """The subscriber numbers of a blob of references, (rows,): in one go, where there are many."""
    padded = np.zeros((len(blob) // REF_BYTES, 8), np.uint8)
    padded[:, :5] = np.frombuffer(blob, np.uint8).reshape(-1, REF_BYTES)[:, :5]
    return padded.view("<u8")[:, 0]


#: What a batch's header says of its references where it is so.
_MARKS = ("again", "unheard", "muted")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchKey:
    """What the references of a batch have in common."""

    channel: str
    language: str
    format: str = "text"
    ring: int = 0
    again: bool = False  # they were told the alert before, and are told that it was changed
    unheard: bool = False  # only those who do not acknowledge it on a screen
    muted: bool = False  # they want nothing of its kind any more: what they have of it is taken away without a sound
    shown: bool = False  # where it is since a version before: it only matters when they are planned, and is not kept

    @property
    def words(self) -> str:
        marks = "".join(f" {mark}" for mark in _MARKS if getattr(self, mark))
        return f"{self.language} {self.format} {self.ring}{marks}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast messages may go: all that have the same `name` together."""

    name: str
    per_min: int

    @property
    def words(self) -> str:
        return f"{self.name} {60_000 / self.per_min:.3f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """What rings wait for, by their numbers: so long after the approval, a pace; those who may be heard of wait `late_ms` longer. Of that `since_ms` are
    over already, but for whom it is on no screen yet.
    """

    delays_ms: Mapping[int, int] = field(default_factory=dict)
    paces: Mapping[int, Pace] = field(default_factory=dict)
    late_ms: int = 0
    since_ms: int = 0

    def of(self, alike: BatchKey) -> tuple[int, str]:
        """The delay and the words of the pace of what has this in common. Whoever is told again is told at once."""
        late_ms = self.late_ms * alike.unheard
        if alike.again:
            return late_ms, ""
        pace, delay_ms = self.paces.get(alike.ring), self.delays_ms.get(alike.ring, 0)
        left_ms = delay_ms + late_ms - self.since_ms if alike.shown else max(0, delay_ms - self.since_ms) + late_ms
        return max(0, left_ms), pace.words if pace else ""


AT_ONCE = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """References one worker may try now."""

    name: str
    alert_id: str
    batch: str
    alike: BatchKey
    rows: list[int]
    refs: list[tuple[int, int]]
    tries: list[int]  # attempts made before
    doubted: list[bool]  # whether one of them may have arrived
    carriers: list[int]  # the last that each was given to; 0 is none


class Settlement(NamedTuple):
    """What became of the attempt that a lease made at a row. `state` QUEUED means: again, after `delay_ms`."""

    row: int
    state: State
    reason: int
    carrier: int
    delay_ms: int = 0
    doubt: bool = False  # this or an earlier attempt may have been sent although it will be tried again
    unsent: bool = False  # nothing was written: the attempt does not count


def pack_outcomes(outcomes: Sequence[Settlement]) -> bytes:
    """As `gate.lua` takes them: rows that follow one another, and of which the same became, are one."""
    starts = [
        i
        for i, one in enumerate(outcomes)
        if not i or one.row != outcomes[i - 1].row + 1 or one[1:] != outcomes[i - 1][1:]
    ]
    packed = list[bytes]()
    for i, end in pairwise([*starts, len(outcomes)]):
        row, state, reason, carrier, delay_ms, doubt, unsent = outcomes[i]
        flags = (FLAG_DOUBT if doubt else 0) | (FLAG_UNSENT if unsent else 0)
        packed.append(_OUTCOME.pack(row, end - i, flags, state, reason, carrier, min(delay_ms, 2**32 - 1)))
    return b"".join(packed)


def pack_runs(rows: Sequence[int]) -> bytes:
    """The same of rows alone."""
    starts = [i for i, row in enumerate(rows) if not i or row != rows[i - 1] + 1]
    return b"".join(_RUN.pack(rows[i], end - i) for i, end in pairwise([*starts, len(rows)]))


@dataclass(frozen=True, slots=True)
class LateReport:
    """What became of a row after its carrier took it; `old` are the states it may come from."""

    alert_id: str
    row: int
    channel: str
    state: State
    reason: int
    old: Sequence[State]


class Reported(NamedTuple):
    """What a late report came to."""

    old: int  # the state that the row had; 0 for no such row
    took_ms: int  # from its hand-over, where it is delivered with this; -1 elsewhere


class Gate(StrEnum):
    """What the gate says."""

    GO = "go"
    LOST = "lost"  # someone else has the lease
    CLOSED = "closed"  # nothing of this version is sent any more
    HELD = "held"  # not now


def leased(name: str, channel: str, given: Sequence[Any]) -> Lease:
    """A lease of this name on what a script gave of a channel."""
    version, batch, header, rows, refs, tries, carriers = given
    _, language, form, ring, *marks, _, _ = header.decode().split(" ")
    return Lease(
        name=name,
        alert_id=version.decode(),
        batch=batch.decode(),
        alike=BatchKey(
            channel=channel,
            language=language,
            format=form,
            ring=int(ring),
            **{mark: mark in marks for mark in _MARKS},
        ),
        rows=list(struct.unpack(f"<{len(rows) // 4}I", rows)),
        refs=unpack_refs(refs),
        tries=[tried & ATTEMPTS_MASK for tried in tries],
        doubted=[tried >= FLAG_DOUBT for tried in tries],
        carriers=list(carriers),
    )
