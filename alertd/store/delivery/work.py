"""Stores the work of sending: planning chunks, leases, the gate and the ledger. Each change is one Lua script.

A lease has a random name that is used only once. A worker that takes over the rows of a lost lease gets a lease with a new name, so the
next call of the old holder finds that its lease is gone.
"""

from __future__ import annotations

import math
import secrets
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertd.common.ids import chain_of
from alertd.model.states import CHANNELS, AlertState, State
from alertd.store.alerts import archive
from alertd.store.alerts.records import listed
from alertd.store.delivery.work_records import (
    AT_ONCE,
    REF_BYTES,
    BatchKey,
    Gate,
    LateReport,
    Lease,
    Reported,
    Settlement,
    When,
    leased,
    pack_outcomes,
    pack_ref,
    pack_runs,
    unpack_refs,
)
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection, StoreUnavailableError, checked
from alertd.store.engine.nodes import grouped
from alertd.store.engine.scripts import LEASE_MS
from alertd.store.records.events import Announcements

KEPT_SPANS = (
    64  # alert versions whose channel spans stay in memory: receipts arrive for days, mostly for the latest alerts
)
#: Alert states in which messages may be sent again, in the form that the scripts read.
RESENDABLE = listed((AlertState.SENDING, AlertState.SENT))
BATCH = 500  # maximum number of references in a batch, which one worker leases at a time
WIDE = 65_536  # rows in one read of a search: 1.5 MB
NARROW = 4_096  # rows in one read if each row becomes an object

#: One ledger row, as `prelude.lua` packs it.
LEDGER = np.dtype(
    [
        ("state", "u1"),
        ("reason", "u1"),
        ("carrier", "u1"),
        ("tries", "u1"),
        ("first", "<u4"),
        ("last", "<u4"),
        ("receipt", "<u4"),
    ]
)
#: Ledger rows in these states have no receipt. In its place the scripts store which lease last asked the gate for the row.
_UNANSWERED = (State.QUEUED, State.IN_FLIGHT, State.UNKNOWN)


def _counts(found: dict[bytes, bytes] | list[bytes]) -> dict[str, dict[str, int]]:
    """Reads the counts of a version, stored as `channel.state`: by channel, then by state."""
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    counts: dict[str, dict[str, int]] = {}
    for name, value in pairs:
        channel, _, state = name.decode().partition(".")
        counts.setdefault(channel, {})[state] = int(value)
    return {channel: counts[channel] for channel in CHANNELS if channel in counts}


def _by_queue(leases: Collection[Lease]) -> dict[tuple[str, str], list[str]]:
    """Returns the names of the leases by the first version of their alert and their channel."""
    return grouped(((chain_of(lease.alert_id), lease.alike.channel), lease.name) for lease in leases)


class Work:
    """Reads and writes the work of sending of all alerts: the plan, the workers' leases, the permission to send (gate) and the ledgers."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._announcements = Announcements(connection)
        # By version: the first row of each run of rows with one channel, and the row up to which the runs are known.
        self._spans: OrderedDict[str, tuple[list[tuple[int, str]], float]] = OrderedDict()

    async def plan(
        self,
        alert_id: str,
        cursor: int,
        after: int,
        groups: Sequence[tuple[BatchKey, bytes]],
        *,
        last: bool,
        when: When = AT_ONCE,
        batch: int = BATCH,
    ) -> str:
        """Appends the ledger rows of one stretch of a version's audience, cut into batches of at most `batch` rows. `cursor` and `after`:
        position in the audience before and after the stretch. `groups`: packed references, by what they have in common. `last`: the
        audience ends here. `when`: delays and paces of the rings.

        Returns 'ok', 'behind' (another planner went further than `cursor`) or 'closed' (the version is not planned any more).
        """
        flat: list[str | bytes | int] = []
        for alike, refs in groups:
            flat += [alike.channel, alike.words, *when.of(alike), refs]
        answer: bytes = await self._db.run(
            "plan",
            [keys.chain(chain_of(alert_id))],
            alert_id,
            cursor,
            after,
            "1" if last else "0",
            self._db.skew_ms,
            batch,
            *flat,
        )
        return answer.decode()

    async def leases(
        self, chains: Sequence[str], channel: str, hold: bytes, held: Collection[Lease] = ()
    ) -> list[Lease | Exception | None]:
        """Leases a batch of the channel from each of the alerts (`chains`: ids of first versions), in one round trip. Returns for each the
        lease, None if it has no work, or the error. `hold`: the carriers (one byte each) that get no second attempt if they did not answer.
        `held`: the caller's leases; those in the same queues are renewed.
        """
        names, living = [secrets.token_hex(8) for _ in chains], _by_queue(held)
        given = await self._db.run_each(
            [
                (
                    "lease",
                    [keys.chain(chain)],
                    [channel, name, LEASE_MS, hold, self._db.skew_ms, *living.get((chain, channel), ())],
                )
                for chain, name in zip(chains, names, strict=True)
            ]
        )
        return [
            answer if answer is None or isinstance(answer, Exception) else leased(name, channel, answer)
            for name, answer in zip(names, given, strict=True)
        ]

    async def gate(
        self,
        lease: Lease,
        outcomes: Sequence[Settlement],
        wanted: Sequence[int] = (),
        carrier: int = 0,
        *,
        ends: bool = False,
        back: Sequence[int] = (),
    ) -> tuple[Gate, list[bool]]:
        """Stores `outcomes` in the ledger and asks permission to send the rows `wanted` through `carrier`, durably.

        Returns the gate's answer, and for each wanted row whether it may be sent. `ends` ends the lease and returns `back`, rows that were
        not tried, to the queue.
        """
        status, granted = await self._db.run_durably(
            "gate", [keys.chain(chain_of(lease.alert_id))], lease.alert_id, lease.batch, lease.alike.channel, lease.name,
            LEASE_MS, pack_outcomes(outcomes), pack_runs(wanted), carrier, self._db.skew_ms,
            "1" if ends else "0", pack_runs(back),
        )  # fmt: skip
        return Gate(status.decode()), [byte == ord("1") for byte in granted]

    async def end(self, lease: Lease, outcomes: Sequence[Settlement], back: Sequence[int]) -> None:
        """Ends a lease: stores `outcomes` of its attempts, and returns `back`, rows that were not tried, to the queue."""
        await self.gate(lease, outcomes, ends=True, back=back)

    async def goes_on(self, lease: Lease, rev: int) -> bool:
        """Returns whether the worker may still send the rows that the gate permitted it under this lease, with the organisation's texts of
        revision `rev`.
        """
        chain = keys.chain(chain_of(lease.alert_id))
        return bool(await self._db.run("goes_on", [chain], lease.alert_id, lease.name, rev, self._db.skew_ms))

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Extends leases to LEASE_MS from now. Skips a lost lease and does not report it."""
        await self._db.run_many(
            [
                ("renew", [keys.chain(chain)], [channel, LEASE_MS, self._db.skew_ms, *names])
                for (chain, channel), names in _by_queue(leases).items()
            ]
        )

    async def finish_each(self, alert_ids: Sequence[str]) -> list[str | Exception]:
        """Marks each version that is being sent and has no open rows as sent, in one round trip. An open row is queued or in flight.

        Returns for each 'done' (no work left), 'sweep' (it has ended, with open rows to settle), 'early' (not approved yet), 'busy' (not
        finished, but no rows to lease now), 'due' with the channels that have rows to lease now, or the error.
        """
        answers = await self._db.run_each(
            [("finish", [keys.chain(chain_of(alert_id))], [alert_id, self._db.skew_ms]) for alert_id in alert_ids]
        )
        return [answer if isinstance(answer, Exception) else answer.decode() for answer in answers]

    async def settling(self, chain: str) -> tuple[int, int]:
        """Returns since when workers could settle the alert's messages without a gap (store clock, ms), and the number of gaps since the
        latest update. A gap is a time in which the store or all workers were away.
        """
        steady, gaps = await self._db.run("settling", [keys.chain(chain)], self._db.skew_ms)
        return steady, gaps

    async def sweep(self, alert_id: str, batch: int, batches: int) -> tuple[int, int]:
        """Settles the unsent rows of a version that may no longer be sent, in at most `batches` batches from `batch` on.

        Returns the number of settled rows, and the number of rows that leases in use still hold.
        """
        settled, waiting = await self._db.run(
            "sweep", [keys.chain(chain_of(alert_id))], alert_id, batch, batches, self._db.skew_ms
        )
        return settled, waiting

    async def resend(
        self, alert_id: str, true_in: str, batch: int, batches: int, states: Collection[State], channel: str | None
    ) -> tuple[str | None, int, bool]:
        """Queues the rows of a version that are in `states` again (None as `channel`: of all channels), in at most `batches` batches from
        `batch` on, if the alert is in one of the states `true_in`.

        Returns None, or the state that forbids it; the number of queued rows; and whether these were the last batches.
        """
        done, state, queued, last = await self._db.run_durably(
            "resend", [keys.chain(chain_of(alert_id))], alert_id, RESENDABLE, batch, batches, bytes(states),
            channel or "", self._db.skew_ms, true_in,
        )  # fmt: skip
        return None if done else state.decode(), queued, last == b"1"

    async def receipt(
        self, alert_id: str, row: int, channel: str, state: State, reason: int, old: Sequence[State]
    ) -> Reported:
        """Stores a carrier's late report for one row, if the row's state is one of `old`. Raises StoreUnavailableError."""
        (answer,) = await self.receipts([LateReport(alert_id, row, channel, state, reason, old)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def receipts(self, reports: Sequence[LateReport]) -> list[Reported | Exception]:
        """Stores carriers' late reports in one round trip, in their order. Returns for each its result or its error.

        Raises StoreUnavailableError if the store was unavailable for one: the carrier then gets an error, and reports all of them again.
        """
        await self._announcements.of(chain_of(one.alert_id) for one in reports)
        calls = [
            ("receipt", [keys.chain(chain_of(one.alert_id))],
             (one.alert_id, one.row, one.channel, int(one.state), one.reason, bytes(one.old), self._db.skew_ms))
            for one in reports
        ]  # fmt: skip
        answers = await self._db.run_each(calls)
        checked([one for one in answers if isinstance(one, StoreUnavailableError)])
        return [one if isinstance(one, Exception) else Reported(*one) for one in answers]

    async def counts(self, alert_id: str) -> dict[str, dict[str, int]]:
        """Returns the number of a version's rows by channel and state, `targeted` (all rows) and `doubled` (perhaps sent twice) among the
        states.
        """
        return (await self.counts_of([alert_id]))[0]

    async def counts_of(self, alert_ids: Sequence[str]) -> list[dict[str, dict[str, int]]]:
        """Returns `counts` of many versions, in one round trip."""
        names = [keys.of_chain(chain_of(alert_id), "counts", alert_id) for alert_id in alert_ids]
        return [_counts(flat) for flat in await self._db.execute_many([("HGETALL", name) for name in names])]

    async def ready(self, alert_ids: Sequence[str]) -> list[int]:
        """Returns for each version how many of its batches wait for a worker, on the channel that has the fewest."""
        channels = [list(counts) for counts in await self.counts_of(alert_ids)]
        lengths = iter(
            await self._db.execute_many(
                [
                    ("LLEN", keys.of_chain(chain_of(alert_id), "ready", channel))
                    for alert_id, names in zip(alert_ids, channels, strict=True)
                    for channel in names
                ]
            )
        )
        return [min((next(lengths) for _ in names), default=0) for names in channels]

    async def ledger(self, alert_id: str) -> AsyncIterator[tuple[int, Any, list[tuple[int, int]]]]:
        """Yields a version's ledger in portions: number of the first row, records (numpy, `LEDGER`), and for each row subscriber number and
        address number. Memory stays constant.
        """
        async for row, found, refs in self.windows(alert_id, NARROW):
            yield row, found, unpack_refs(refs)

    async def rows_of(self, alert_id: str, number: int) -> AsyncIterator[tuple[int, Any, tuple[int, int]]]:
        """Yields the rows of one subscriber in a version's ledger: row, record, and (subscriber number, address number). A million rows
        take about 50 ms.
        """
        wanted = np.frombuffer(pack_ref(number, 0)[:-1], np.uint8)
        async for row, found, refs in self.windows(alert_id, WIDE):
            bytes_of = np.frombuffer(refs, np.uint8).reshape(-1, REF_BYTES)
            for i in np.flatnonzero((bytes_of[:, :-1] == wanted).all(axis=1)).tolist():
                yield row + i, found[i], (number, int(bytes_of[i, -1]))

    async def windows(self, alert_id: str, window: int = WIDE) -> AsyncIterator[tuple[int, Any, bytes]]:
        """Yields a version's ledger in portions of `window` rows: number of the first row, records (numpy, `LEDGER`), packed references.
        Quicker than `ledger`.
        """
        chain, row = chain_of(alert_id), 0
        ledger, refs_of = (keys.of_chain(chain, part, alert_id) for part in ("ledger", "refs"))
        whole: tuple[bytes, bytes] | None = None  # the archived ledger of an alert that ended long ago
        while True:
            records, refs = await self._db.execute_many(
                [
                    ("GETRANGE", ledger, row * 16, (row + window) * 16 - 1),
                    ("GETRANGE", refs_of, row * REF_BYTES, (row + window) * REF_BYTES - 1),
                ]
            )
            if not records and (whole := whole or await archive.read_ledger(self._db, alert_id)):
                records, refs = (
                    whole[0][row * 16 : (row + window) * 16],
                    whole[1][row * REF_BYTES : (row + window) * REF_BYTES],
                )
            count = min(len(records) // 16, len(refs) // REF_BYTES)
            if not count:
                return
            found = np.frombuffer(records, LEDGER, count).copy()
            found["receipt"][np.isin(found["state"], _UNANSWERED)] = 0
            yield row, found, refs[: count * REF_BYTES]
            row += count

    async def is_deleted(self, alert_id: str) -> bool:
        """Returns whether a version's ledger was deleted after its retention period. Then `windows` yields nothing."""
        return await archive.is_deleted(self._db, alert_id)

    async def row(self, alert_id: str, row: int) -> Any | None:
        """Returns the record of one row (numpy, `LEDGER`), None if the row does not exist or the ledger is archived."""
        name, size = keys.of_chain(chain_of(alert_id), "ledger", alert_id), LEDGER.itemsize
        raw = await self._db.execute("GETRANGE", name, row * size, (row + 1) * size - 1)
        return np.frombuffer(raw, LEDGER)[0] if len(raw) == size else None

    async def ref(self, alert_id: str, row: int) -> tuple[int, int] | None:
        """Returns the subscriber number and the address number of one row, or None if the row does not exist."""
        name = keys.of_chain(chain_of(alert_id), "refs", alert_id)
        raw = await self._db.execute("GETRANGE", name, row * REF_BYTES, (row + 1) * REF_BYTES - 1)
        if not raw and (whole := await archive.read_ledger(self._db, alert_id)):
            raw = whole[1][row * REF_BYTES : (row + 1) * REF_BYTES]
        return unpack_refs(raw)[0] if len(raw) == REF_BYTES else None

    async def spans(self, alert_id: str, row: float = math.inf) -> list[tuple[int, str]]:
        """Returns the version's runs of consecutive rows of one channel: for each run its first row and its channel.

        Batches are only appended, so cached runs stay right. The store is read only if `row` lies after the cached runs, and never again
        after the plan is complete.
        """
        kept, end = self._spans.get(alert_id, ([], 0.0))
        if row < end or end == math.inf:
            self._spans.move_to_end(alert_id)
            return kept
        chain = chain_of(alert_id)
        planned, headers = await self._db.execute_many(
            [
                ("HGET", keys.of_chain(chain, "version", alert_id), "planned"),  # first: a batch may come in between
                ("HVALS", keys.of_chain(chain, "batches", alert_id)),
            ]
        )
        words = [header.decode().split(" ") for header in headers]
        runs = groupby(sorted((int(first), channel) for channel, *_, first, _ in words), key=itemgetter(1))
        spans = [next(run) for _, run in runs]
        known = math.inf if planned == b"1" else max((int(first) + int(rows) for *_, first, rows in words), default=0)
        self._spans[alert_id] = spans, known
        self._spans.move_to_end(alert_id)
        if len(self._spans) > KEPT_SPANS:
            self._spans.popitem(last=False)
        return spans

    async def channels_of(self, alert_id: str, first: int, count: int) -> NDArray[np.int64]:
        """Returns the channels of `count` rows from `first` on, as indices in `CHANNELS`, shape (count,).

        Call it after reading the rows: rows that are planned in between may have another channel.
        """
        spans = await self.spans(alert_id)
        firsts, codes = np.array([(at, CHANNELS.index(channel)) for at, channel in spans], np.int64).T
        return np.asarray(codes[np.searchsorted(firsts, np.arange(first, first + count), side="right") - 1])

    async def channel_of(self, alert_id: str, row: int) -> str | None:
        """Returns the channel of one row, None if the version has no rows."""
        spans = await self.spans(alert_id, row)
        found = bisect_right(spans, row, key=lambda span: span[0])
        return spans[found - 1][1] if found else None
