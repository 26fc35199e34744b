"""Rows alike are changed as one: what comes of it is what comes of rows that are alone."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from alertd.common.ids import new_id
from alertd.model.states import FLAG_DELAYED, AlertState, LedgerReason, State
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.delivery.work import BATCH, Work
from alertd.store.delivery.work_records import LateReport, Lease, Settlement, pack_outcomes, pack_ref, pack_runs
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.engine.scripts import LEASE_MS
from channels.base import Reason
from tests.integration.acts import lease_of
from tests.integration.batches import AREA, CARRIER, PUSH, balanced, record
from tests.sampling import sampled

PEOPLE, ROUNDS = 40, 8
LATER_MS = 60_000


class Told:
    """One alert to forty people, in batches of so many, and the leases that a worker holds of it, by row."""

    def __init__(self, work: Work, alert_id: str) -> None:
        self._work = work
        self.id = alert_id
        self._held: dict[int, Lease] = {}

    @classmethod
    async def approved(cls, alerts: Alerts, work: Work, batch: int) -> Told:
        name = new_id(1_700_000_000_000)
        assert await alerts.create(record(name), AREA)
        assert (await alerts.approve(name, np.arange(1, PEOPLE + 1, dtype=np.uint64), "b"))[0]
        refs = b"".join(pack_ref(number, 0) for number in range(1, PEOPLE + 1))
        assert await work.plan(name, 0, PEOPLE, [(PUSH, refs)], last=True, batch=batch) == "ok"
        return cls(work, name)

    async def lease(self, hold: bytes) -> dict[int, tuple[int, bool, int, int]]:
        """All that can be had: what is known of each row."""
        known = {}
        for _ in range(PEOPLE // 16 + 1):  # of leases of which nothing is left a call ends no more than sixteen
            while lease := await lease_of(self._work, self.id, "push", hold):
                self._held |= dict.fromkeys(lease.rows, lease)
                rows = zip(lease.rows, lease.tries, lease.doubted, lease.carriers, lease.refs, strict=True)
                known |= {row: (tries, doubted, carrier, ref[0]) for row, tries, doubted, carrier, ref in rows}
        return known

    async def ask(self, rows: Iterable[int]) -> set[int]:
        """Leave for rows, by lease; those that may go."""
        free = set()
        for lease, wanted in self._by_lease(rows):
            _, leave = await self._work.gate(lease, [], wanted, CARRIER)
            free |= {row for row, may in zip(wanted, leave, strict=True) if may}
        return free

    async def settle(self, outcomes: Sequence[Settlement]) -> None:
        by_row = {one.row: one for one in outcomes}
        for lease, rows in self._by_lease(by_row):
            await self._work.gate(lease, [by_row[row] for row in rows], [], CARRIER)

    async def end(self, back: Iterable[int]) -> None:
        given = {lease.name: rows for lease, rows in self._by_lease(back)}
        for name, lease in {lease.name: lease for lease in self._held.values()}.items():
            await self._work.end(lease, [], given.get(name, []))
        self._held = {}

    def lose(self) -> None:
        self._held = {}

    def _by_lease(self, rows: Iterable[int]) -> list[tuple[Lease, list[int]]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows:
            found[self._held[row].name].append(row)
        return [(self._held[own[0]], own) for own in found.values()]

    async def ledger(self) -> list[tuple[int, ...]]:
        fields = ("state", "reason", "carrier", "tries")
        return [
            tuple(int(row[name]) for name in fields) async for _, rows, _ in self._work.ledger(self.id) for row in rows
        ]

    async def sweep(self) -> tuple[int, int]:
        settled, waiting = zip(*[await self._work.sweep(self.id, batch, 1) for batch in range(PEOPLE)], strict=True)
        return sum(settled), sum(waiting)

    async def resend(self) -> int:
        return (
            await self._work.resend(self.id, f",{AlertState.SENDING},", 0, PEOPLE, [State.FAILED, State.UNKNOWN], None)
        )[1]


KINDS = (*("accepted",) * 5, "failed", "unknown", "later", "doubted", "unsent")


def outcomes_of(chance: random.Random, rows: Iterable[int]) -> list[Settlement]:
    """Something that may become of rows, mostly what becomes of most, and of the one before."""
    found, kind = [], chance.choice(KINDS)
    for row in rows:
        kind = chance.choice(KINDS) if chance.random() < 0.3 else kind
        found.append(outcome(kind, row))
    return found


def outcome(kind: str, row: int) -> Settlement:
    match kind:
        case "accepted":
            return Settlement(row, State.ACCEPTED, 0, CARRIER)
        case "failed":
            return Settlement(row, State.FAILED, Reason.BLOCKED.value, CARRIER)
        case "unknown":
            return Settlement(row, State.UNKNOWN, 0, CARRIER)
        case "later":
            return Settlement(row, State.QUEUED, Reason.THROTTLED.value, CARRIER, delay_ms=LATER_MS)
        case "doubted":
            return Settlement(row, State.QUEUED, 0, CARRIER, doubt=True)
        case _:
            return Settlement(row, State.QUEUED, 0, CARRIER, unsent=True)


async def pass_ms(store: Connection, work: Work, both: Sequence[Told], ms: int) -> None:
    """Time, in which both are asked often enough for nobody to think that all slept."""
    for _ in range(0, ms, LEASE_MS // 3):
        store.skew_ms += LEASE_MS // 3
        await work.finish_each([one.id for one in both])


@pytest.mark.parametrize("seed", sampled(((seed,) for seed in range(12)), lambda seed: seed < 3))
async def test_rows_together_come_to_what_rows_alone_come_to(alerts: Alerts, work: Work, store: Connection, seed: int):
    """Leased, asked for, settled, reported, lost, given back, sent again, put back and swept: the same ledger, leases and counts for an
    alert of one batch as for one of forty."""
    chance = random.Random(seed)
    both = [await Told.approved(alerts, work, batch) for batch in (BATCH, 1)]
    for _ in range(ROUNDS):
        hold = chance.choice((b"", bytes((CARRIER,))))
        known, known_alone = [await one.lease(hold) for one in both]
        assert known == known_alone
        wanted = sorted(chance.sample(sorted(known), chance.randint(0, len(known))))
        free, free_alone = [await one.ask(wanted) for one in both]
        assert free == free_alone
        answered = chance.choice((0.9, 0.9, 0.2))
        outcomes = outcomes_of(chance, (row for row in sorted(free) if chance.random() < answered))
        reports = [
            (row, chance.choice(((State.DELIVERED, 0), (State.FAILED, LedgerReason.GATE_CLOSED.value))))
            for row in chance.sample(range(PEOPLE), 5)
        ]
        back, ends = sorted(set(known) - set(wanted)), chance.random() < 0.5
        for one in both:
            await one.settle(outcomes)
            for row, (state, reason) in reports:
                await work.receipts([LateReport(one.id, row, "push", state, reason, [State.ACCEPTED, State.UNKNOWN])])
            if ends:
                await one.end(back)
            one.lose()
        await pass_ms(store, work, both, chance.choice((LEASE_MS, 2 * LEASE_MS, LATER_MS)))
        if chance.random() < 0.2:
            queued, queued_alone = [await one.resend() for one in both]
            assert queued == queued_alone
        ledger, ledger_alone = [await one.ledger() for one in both]
        assert ledger == ledger_alone
        counts, counts_alone = [(await work.counts(one.id))["push"] for one in both]
        assert {word: n for word, n in counts.items() if n} == {word: n for word, n in counts_alone.items() if n}
        assert balanced(counts)
    for one in both:
        await one.resend()
        await one.ask(sorted(await one.lease(b""))[::2])
    if seed % 3 == 0:  # of a store that was put back from a copy
        unsure, unsure_alone = [await OpenAlerts(store).put_back(one.id, PEOPLE) for one in both]
        assert unsure == unsure_alone
    for one in both:
        await alerts.step(one.id, AlertState.CANCELLED)
    swept, swept_alone = [await one.sweep() for one in both]
    assert sum(swept) == sum(swept_alone)  # a lease that lives speaks for all of its batch
    await pass_ms(store, work, both, 2 * LEASE_MS)
    assert [(await one.sweep())[1] for one in both] == [0, 0]
    ledger, ledger_alone = [await one.ledger() for one in both]
    assert ledger == ledger_alone
    assert not any(tries & FLAG_DELAYED for *_, tries in ledger)
    for one in both:
        assert not await store.execute("ZCARD", keys.of_chain(one.id, "delayed", "push"))


def test_what_follows_and_is_alike_is_packed_as_one():
    """Rows in another order, with a gap, or of which something else became, are apart."""
    accepted = [Settlement(row, State.ACCEPTED, 0, CARRIER) for row in (4, 5, 6, 9)]
    failed = [Settlement(row, State.FAILED, 3, CARRIER) for row in (10, 11)]
    runs = [(4, 3, State.ACCEPTED, 0), (9, 1, State.ACCEPTED, 0), (10, 2, State.FAILED, 3)]
    assert pack_outcomes([*accepted, *failed]) == b"".join(
        struct.pack("<IHBBBBI", row, rows, 0, state, reason, CARRIER, 0) for row, rows, state, reason in runs
    )
    assert pack_outcomes([]) == b"" == pack_runs([])
    assert pack_runs([7, 6, 7, 8]) == bytes.fromhex("07000000 0100 06000000 0300")
