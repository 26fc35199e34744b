"""The verdict after all kills: compares the carriers' records with the ledger, byte for byte, and with brute force."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from alertd.common.clock import SystemClock
from alertd.common.ids import chain_of
from alertd.model.states import FLAG_DOUBT, State
from alertd.runtime.sample_people import Person
from alertd.store.delivery.work import LEDGER, Work
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.people.subscribers import People
from geofences.tiles import locate, position

CHANNELS = ("push", "webpush", "sms", "mail")
#: States in which the ledger admits that the message may be missing.
HONEST = frozenset({State.FAILED, State.EXPIRED, State.UNKNOWN})

Address = tuple[str, str]  # channel, token or number or mailbox


@dataclass(frozen=True, slots=True)
class Row:
    """One address in the ledger."""

    state: State
    is_marked: bool  # the ledger admits a possible duplicate


@dataclass(frozen=True, slots=True)
class Told:
    """Messages that a carrier received for one address: count, first and last time (UNIX seconds)."""

    count: int
    first_s: float
    last_s: float


def wanted_of(sample: Sequence[Person], area: dict[str, Any]) -> set[Address]:
    """Returns every address of the people inside an area, by brute force."""
    geometry = shapely.from_geojson(json.dumps(area))
    tile, x, y = locate([p.lon for p in sample], [p.lat for p in sample])
    inside = shapely.intersects_xy(geometry, *position(tile, x, y))  # positions are stored to 0.15 m
    return {
        (channel, value)
        for person, is_in in zip(sample, inside, strict=True)
        if is_in
        for channel in CHANNELS
        if (value := getattr(person, channel)) is not None
    }


async def ledger_of(store: Connection, alert_id: str, sample: Sequence[Person]) -> tuple[dict[Address, Row], bool]:
    """Returns every row of the ledger by address, and whether the counters match its bytes. Reads again if a carrier's report
    came meanwhile.
    """
    counted = None
    while (counts := await Work(store).counts(alert_id)) != counted:
        counted = counts
        rows, found = await _read(store, alert_id, sample)
    return rows, {channel: Counter(states) for channel, states in counts.items()} == found


async def _read(
    store: Connection, alert_id: str, sample: Sequence[Person]
) -> tuple[dict[Address, Row], dict[str, Counter[str]]]:
    """Returns its rows, and their number by channel and state."""
    work, people = Work(store), People(store, SystemClock())
    rows: dict[Address, Row] = {}
    found: dict[str, Counter[str]] = {}
    async for first, records, refs in work.ledger(alert_id):
        names = [person.id if person else "" for person in await people.get_many([number for number, _ in refs])]
        for row, (record, name) in enumerate(zip(records, names, strict=True), first):
            channel, state = await work.channel_of(alert_id, row) or "", State(record["state"])
            person = sample[int(re.sub(r".*-", "", name))]
            marked = bool(record["tries"] & FLAG_DOUBT)
            assert (channel, getattr(person, channel)) not in rows, "an address has two rows"
            rows[channel, getattr(person, channel)] = Row(state, marked)
            found.setdefault(channel, Counter()).update({state.word: 1, "targeted": 1, "doubled": int(marked)})
    return rows, found


async def open_intents(store: Connection, alert_id: str) -> set[tuple[int, int]]:
    """Returns the rows with an open send intent, each with the id of the attempt."""
    name = keys.of_chain(chain_of(alert_id), "ledger", alert_id)
    records = np.frombuffer(await store.execute("GETRANGE", name, 0, -1), LEDGER)
    rows = np.flatnonzero(records["state"] == State.IN_FLIGHT)
    return set(zip(rows.tolist(), records["receipt"][rows].tolist(), strict=True))


def verdict(wanted: set[Address], rows: dict[Address, Row], told: dict[Address, Told]) -> dict[str, int]:
    """Returns lost and duplicate messages, and differences from the ledger."""
    twice = {address for address, got in told.items() if got.count > 1}
    states = Counter(row.state for row in rows.values())
    return {
        "addresses": len(wanted),
        "lost": sum(_is_lost(rows.get(address), address in told) for address in wanted),
        "doubled": sum(told[address].count - 1 for address in twice),
        "marked": sum(row.is_marked for row in rows.values()),
        "unmarked": sum(address not in rows or not rows[address].is_marked for address in twice),
        "unknown": states[State.UNKNOWN],
        "failed": states[State.FAILED],
        "outside": len((rows.keys() | told.keys()) - wanted),
        "texts_repeated": sum(channel == "sms" for channel, _ in twice),  # the policy of SMS carriers is to hold
        "not_over": states[State.QUEUED] + states[State.IN_FLIGHT],
    }


def _is_lost(row: Row | None, is_told: bool) -> bool:
    """Whether an address received nothing and the ledger does not say so."""
    return row is None or not (is_told or row.state in HONEST)
