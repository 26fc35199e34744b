"""Records of planning, leases, settlements and late reports, and their packed forms for the scripts."""

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
    """Returns a reference of 6 bytes: subscriber number (40 bits, little endian), address number."""
    return number.to_bytes(5, "little") + bytes((address,))


def unpack_refs(blob: bytes) -> list[tuple[int, int]]:
    """Returns the (subscriber number, address number) pairs in packed references."""
    return [(int.from_bytes(blob[i : i + 5], "little"), blob[i + 5]) for i in range(0, len(blob), REF_BYTES)]


def subscribers_in(blob: bytes) -> NDArray[np.uint64]:
    """Returns the subscriber numbers in packed references, shape (rows,). Vectorised, for many rows."""
    padded = np.zeros((len(blob) // REF_BYTES, 8), np.uint8)
    padded[:, :5] = np.frombuffer(blob, np.uint8).reshape(-1, REF_BYTES)[:, :5]
    return padded.view("<u8")[:, 0]


#: Flags of a `BatchKey` that the header of a batch stores.
_MARKS = ("again", "unheard", "muted")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchKey:
    """What all references (subscriber and address) of a batch have in common."""

    channel: str
    language: str
    format: str = "text"
    ring: int = 0  # number of the ring (part of the target with its own delay); 0: none
    again: bool = False  # the recipients got an earlier version and are notified of its change
    unheard: bool = False  # send only to recipients who have not acknowledged the alert on a screen
    muted: bool = False  # recipients who opted out of this kind: the message removes the alert silently
    shown: bool = False  # an earlier version was planned for them; used only during planning, never stored

    @property
    def words(self) -> str:
        """Returns the properties as stored in the header of a batch: language, format, ring, and the flags that are set."""
        marks = "".join(f" {mark}" for mark in _MARKS if getattr(self, mark))
        return f"{self.language} {self.format} {self.ring}{marks}"


@dataclass(frozen=True, slots=True)
class Pace:
    """Limit of the send rate, shared by all messages whose pace has the same `name`."""

    name: str
    per_min: int

    @property
    def words(self) -> str:
        """Returns the pace as the scripts read it: its name, and the ms between two messages."""
        return f"{self.name} {60_000 / self.per_min:.3f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """When to send each ring's batches: delays (ms from when sending may begin) and paces, by ring number. `unheard`
    batches wait `late_ms` more. `since_ms`: how long before this version the one that it continues began to be sent;
    `of` subtracts it from the ring's delay, and from `late_ms` if an earlier version is on a screen (`shown`). `again`
    batches wait for no ring.
    """

    delays_ms: Mapping[int, int] = field(default_factory=dict)
    paces: Mapping[int, Pace] = field(default_factory=dict)
    late_ms: int = 0
    since_ms: int = 0

    def of(self, alike: BatchKey) -> tuple[int, str]:
        """Returns for a batch how many ms to wait before it is sent, and its pace as the scripts read it ("" for none). Recipients who are
        notified of a change of an earlier version do not wait for their ring.
        """
        late_ms = self.late_ms * alike.unheard
        if alike.again:
            return late_ms, ""
        pace, delay_ms = self.paces.get(alike.ring), self.delays_ms.get(alike.ring, 0)
        left_ms = delay_ms + late_ms - self.since_ms if alike.shown else max(0, delay_ms - self.since_ms) + late_ms
        return max(0, left_ms), pace.words if pace else ""


AT_ONCE = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Ledger rows, with their references (subscriber and address number), that one worker alone may send now."""

    name: str
    alert_id: str
    batch: str
    alike: BatchKey
    rows: list[int]
    refs: list[tuple[int, int]]
    tries: list[int]  # for each row, the number of earlier attempts
    doubted: list[bool]  # for each row, whether an earlier attempt may have arrived
    carriers: list[int]  # for each row, the number of the carrier that last got the message, 0 if none


class Settlement(NamedTuple):
    """Outcome of one attempt to send one row. `state` QUEUED: try again after `delay_ms`."""

    row: int
    state: State
    reason: int
    carrier: int
    delay_ms: int = 0
    doubt: bool = False  # this or an earlier attempt may have arrived, although the row is tried again
    unsent: bool = False  # nothing was written, so the attempt does not count


def pack_outcomes(outcomes: Sequence[Settlement]) -> bytes:
    """Returns the outcomes packed for `gate.lua`. Consecutive rows with the same outcome become one entry."""
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
    """Returns row numbers packed for `gate.lua`. Consecutive rows become one entry."""
    starts = [i for i, row in enumerate(rows) if not i or row != rows[i - 1] + 1]
    return b"".join(_RUN.pack(rows[i], end - i) for i, end in pairwise([*starts, len(rows)]))


@dataclass(frozen=True, slots=True)
class LateReport:
    """A carrier's report about a message that it accepted earlier. It applies only if the row's state is one of `old`."""

    alert_id: str
    row: int
    channel: str
    state: State
    reason: int
    old: Sequence[State]


class Reported(NamedTuple):
    """Result of storing a late report."""

    old: int  # state of the row before the report, 0 if the row does not exist
    took_ms: int  # ms from sending to delivery, if this report marks the row delivered, else -1


class Gate(StrEnum):
    """Answer of `gate.lua` (the permission to send) to a worker that asks for rows of one version."""

    GO = "go"
    LOST = "lost"  # another worker has the work
    CLOSED = "closed"  # the version ended: nothing more is sent
    HELD = "held"  # sending is on hold


def leased(name: str, channel: str, given: Sequence[Any]) -> Lease:
    """Makes the lease `name` from the answer of `lease.lua` for the channel."""
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
