"""The work of sending: planning chunks, leases, the gate, the ledger. Every change here is one script.

A lease is a name that nobody had before; it is its own epoch. Whoever takes work over takes it under a new name, so the
old holder's next call finds its lease gone.
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
from alertd.store.engine.scripts import LEASE_MS
from alertd.store.records.events import Announcements

KEPT_SPANS = 64  # versions whose rows' channels are kept in memory: receipts come for days, mostly of the latest alerts
#: The states of an alert, as scripts want them, of which messages may be sent again.
RESENDABLE = listed((AlertState.SENDING, AlertState.SENT))
BATCH = 500  # references of a batch at most: what one worker leases at a time
WIDE = 65_536  # rows that are looked through at once: 1.5 MB
NARROW = 4_096  # rows of which each is made an object

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
#: In these there is no receipt, and the scripts keep in its place who asked for the row last.
_UNANSWERED = (State.QUEUED, State.IN_FLIGHT, State.UNKNOWN)


def _counts(found: dict[bytes, bytes] | list[bytes]) -> dict[str, dict[str, int]]:
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    counts: dict[str, dict[str, int]] = {}
    for name, value in pairs:
        channel, _, state = name.decode().partition(".")
        counts.setdefault(channel, {})[state] = int(value)
    return {channel: counts[channel] for channel in CHANNELS if channel in counts}


def _by_queue(leases: Collection[Lease]) -> dict[tuple[str, str], list[str]]:
    """Their names, by chain and channel."""
    names: dict[tuple[str, str], list[str]] = {}
    for lease in leases:
        names.setdefault((chain_of(lease.alert_id), lease.alike.channel), []).append(lease.name)
    return names


class Work:
    """Leases, gate and ledger of every chain."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._announcements = Announcements(connection)
        # Where rows begin to be of another channel, and up to which row that is known.
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
        """Append one planning chunk, cut into batches of so many references, which may be sent `when` their ring's time has come.
        Answers 'ok', 'behind' or 'closed'.
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
        """Work of one channel of each chain, or None, in one round trip; what is wrong with one chain is its answer. `hold` names the
        carriers whose open attempts are not repeated, `held` the leases that the asker has: they live, and those of these queues are
        said to.
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
        """Settle `outcomes` and ask leave for the rows `wanted`. Answers the gate's word, and leave by row. What `ends` gives `back` the rows that
        were not tried.
        """
        status, granted = await self._db.run_durably(
            "gate", [keys.chain(chain_of(lease.alert_id))], lease.alert_id, lease.batch, lease.alike.channel, lease.name,
            LEASE_MS, pack_outcomes(outcomes), pack_runs(wanted), carrier, self._db.skew_ms,
            "1" if ends else "0", pack_runs(back),
        )  # fmt: skip
        return Gate(status.decode()), [byte == ord("1") for byte in granted]

    async def end(self, lease: Lease, outcomes: Sequence[Settlement], back: Sequence[int]) -> None:
        """Settle `outcomes`, give `back` the rows that were not tried, and end the lease."""
        await self.gate(lease, outcomes, ends=True, back=back)

    async def goes_on(self, lease: Lease, rev: int) -> bool:
        """Whether what the gate gave leave for may still be written, in the words of this revision."""
        chain = keys.chain(chain_of(lease.alert_id))
        return bool(await self._db.run("goes_on", [chain], lease.alert_id, lease.name, rev, self._db.skew_ms))

    async def renew(self, leases: Sequence[Lease]) -> None:
        """A sign of life for every lease a worker holds."""
        await self._db.run_many(
            [
                ("renew", [keys.chain(chain)], [channel, LEASE_MS, self._db.skew_ms, *names])
                for (chain, channel), names in _by_queue(leases).items()
            ]
        )

    async def finish_each(self, alert_ids: Sequence[str]) -> list[str | Exception]:
        """Of each 'done', 'sweep', 'early', 'busy', or 'due' and on which channels, in one round trip; a version that has nothing left
        becomes sent. What is wrong with one is its answer.
        """
        answers = await self._db.run_each(
            [("finish", [keys.chain(chain_of(alert_id))], [alert_id, self._db.skew_ms]) for alert_id in alert_ids]
        )
        return [answer if isinstance(answer, Exception) else answer.decode() for answer in answers]

    async def settling(self, chain: str) -> tuple[int, int]:
        """Since when what is in flight of a chain could be settled without a gap, by its clock, and how many gaps there were since an update took
        its alert's place: the store was away, or all workers were.
        """
        steady, gaps = await self._db.run("settling", [keys.chain(chain)], self._db.skew_ms)
        return steady, gaps

    async def sweep(self, alert_id: str, batch: int, batches: int) -> tuple[int, int]:
        """Settle a few batches of a closed gate. Answers rows settled, and rows still in a living lease."""
        settled, waiting = await self._db.run(
            "sweep", [keys.chain(chain_of(alert_id))], alert_id, batch, batches, self._db.skew_ms
        )
        return settled, waiting

    async def resend(
        self, alert_id: str, true_in: str, batch: int, batches: int, states: Collection[State], channel: str | None
    ) -> tuple[str | None, int, bool]:
        """Queue the rows of some states again, a few batches a call, of a version that is `true_in` these states of its alert. Answers
        the state that stands against it, rows queued, and whether these were the last batches.
        """
        done, state, queued, last = await self._db.run_durably(
            "resend", [keys.chain(chain_of(alert_id))], alert_id, RESENDABLE, batch, batches, bytes(states),
            channel or "", self._db.skew_ms, true_in,
        )  # fmt: skip
        return None if done else state.decode(), queued, last == b"1"

    async def receipt(
        self, alert_id: str, row: int, channel: str, state: State, reason: int, old: Sequence[State]
    ) -> Reported:
        """A late report for one row; `old` are the states it may come from."""
        (answer,) = await self.receipts([LateReport(alert_id, row, channel, state, reason, old)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def receipts(self, reports: Sequence[LateReport]) -> list[Reported | Exception]:
        """Many of them in one round trip, in their order; what is wrong with one is its answer. Raises StoreUnavailableError where it is so
        for one: a carrier that is told so reports all of them again.
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
        """References by channel and state, `targeted` and `doubled` among them."""
        return (await self.counts_of([alert_id]))[0]

    async def counts_of(self, alert_ids: Sequence[str]) -> list[dict[str, dict[str, int]]]:
        """The same of many alerts in one round trip."""
        names = [keys.of_chain(chain_of(alert_id), "counts", alert_id) for alert_id in alert_ids]
        return [_counts(flat) for flat in await self._db.execute_many([("HGETALL", name) for name in names])]

    async def ready(self, alert_ids: Sequence[str]) -> list[int]:
        """Of each alert the batches that wait to be leased, on the channel with fewest of those that it is told by."""
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
        """The ledger in windows: first row, records (numpy, `LEDGER`), references. Memory stays constant."""
        async for row, found, refs in self.windows(alert_id, NARROW):
            yield row, found, unpack_refs(refs)

    async def rows_of(self, alert_id: str, number: int) -> AsyncIterator[tuple[int, Any, tuple[int, int]]]:
        """What the ledger has of one subscriber: row, record, reference. A million rows take some 50 ms."""
        wanted = np.frombuffer(pack_ref(number, 0)[:-1], np.uint8)
        async for row, found, refs in self.windows(alert_id, WIDE):
            bytes_of = np.frombuffer(refs, np.uint8).reshape(-1, REF_BYTES)
            for i in np.flatnonzero((bytes_of[:, :-1] == wanted).all(axis=1)).tolist():
                yield row + i, found[i], (number, int(bytes_of[i, -1]))

    async def windows(self, alert_id: str, window: int = WIDE) -> AsyncIterator[tuple[int, Any, bytes]]:
        """The ledger with its references as they are kept, which is quicker."""
        chain, row = chain_of(alert_id), 0
        ledger, refs_of = (keys.of_chain(chain, part, alert_id) for part in ("ledger", "refs"))
        whole: tuple[bytes, bytes] | None = None  # of what ended long ago
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
        """Whether the ledger was deleted, for its time was over: then its windows are none."""
        return await archive.is_deleted(self._db, alert_id)

    async def row(self, alert_id: str, row: int) -> Any | None:
        """The record of one row; None where there is none, or the alert ended long ago."""
        name, size = keys.of_chain(chain_of(alert_id), "ledger", alert_id), LEDGER.itemsize
        raw = await self._db.execute("GETRANGE", name, row * size, (row + 1) * size - 1)
        return np.frombuffer(raw, LEDGER)[0] if len(raw) == size else None

    async def ref(self, alert_id: str, row: int) -> tuple[int, int] | None:
        """Subscriber and address number of one row."""
        name = keys.of_chain(chain_of(alert_id), "refs", alert_id)
        raw = await self._db.execute("GETRANGE", name, row * REF_BYTES, (row + 1) * REF_BYTES - 1)
        if not raw and (whole := await archive.read_ledger(self._db, alert_id)):
            raw = whole[1][row * REF_BYTES : (row + 1) * REF_BYTES]
        return unpack_refs(raw)[0] if len(raw) == REF_BYTES else None

    async def spans(self, alert_id: str, row: float = math.inf) -> list[tuple[int, str]]:
        """Where rows begin to be of another channel: first row and channel. Batches are only added: of a `row` that is known, and once all is
        planned of any, nothing is asked again, however many receipts come while a large alert is planned.
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
        """The channels of so many rows that were read a moment ago, as indices in `CHANNELS`. Asked after they were read, for what
        is planned meanwhile may be of another.
        """
        spans = await self.spans(alert_id)
        firsts, codes = np.array([(at, CHANNELS.index(channel)) for at, channel in spans], np.int64).T
        return np.asarray(codes[np.searchsorted(firsts, np.arange(first, first + count), side="right") - 1])

    async def channel_of(self, alert_id: str, row: int) -> str | None:
        """The channel of one row, None when there are no rows."""
        spans = await self.spans(alert_id, row)
        found = bisect_right(spans, row, key=lambda span: span[0])
        return spans[found - 1][1] if found else None
