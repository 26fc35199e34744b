"""What is known of an alert: its progress, and its ledger row by row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.kinds import Occasion
from alertd.model.states import ATTEMPTS_MASK, CHANNELS, FLAG_DOUBT, OPEN_STATES, SHOWN, AlertState, LedgerReason, State
from alertd.service.alerts.duplicates import similar
from alertd.service.alerts.later_audience import few, hides
from alertd.store.alerts.alerts import Alerts, ListPlace
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.numbers import CarrierNumbers
from alertd.store.delivery.work import Work
from alertd.store.engine.codec import Codec
from channels.base import Reason

_REASONS = {int(reason): reason.name.lower() for reason in (*LedgerReason,)} | {
    reason.value: reason.name.lower() for reason in Reason
}


#: Alerts looked at together, and how often one page may look: 5,000 alerts take half a second.
LOOK = 200
LOOKS = 25
#: Of a ledger, written at once.
LINES = 1_000
#: What was taken out of an alert still leaves for so long; what takes its place on phones leaves a second later at the earliest (0023).
OLD_WORDS_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which alerts of a list are wanted; None for any."""

    state: AlertState | None = None
    external_ids: frozenset[str] | None = None  # one of these
    case: str | None = None  # as the store calls it
    since_ms: int = 0  # made then or later

    def has(self, record: AlertRecord) -> bool:
        """Whether this alert is, its time aside."""
        return (
            self.state in {None, record.state}
            and (self.external_ids is None or record.external_id in self.external_ids)
            and self.case in {None, record.case}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of the ledger, its subscriber under a name that means nothing elsewhere. Times are UNIX ms, 0 for never."""

    row: int
    subscriber: str
    address: int
    channel: str
    state: str
    reason: str
    carrier: str
    attempts: int
    doubled: bool  # an earlier attempt may have been sent too
    first_ms: int
    last_ms: int
    receipt_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStanding:
    """How a version stands, for whoever was told of it."""

    state: AlertState
    expires: int  # UNIX ms
    is_old: bool = False  # their message has what was taken out of the alert since

    def is_told(self, now_ms: int) -> bool:
        """Whether what it says may still be shown."""
        return self.state in SHOWN and now_ms < self.expires and not self.is_old


@dataclass(slots=True)
class ProgressReports:
    """Reads ledgers."""

    alerts: Alerts
    work: Work
    numbers: CarrierNumbers
    codec: Codec

    async def standing(self, alert_id: str, row: int) -> VersionStanding | None:
        """How a version stands, and what tells the alert as the alert does, for whoever has the message of a `row`; None where there is none any
        more.
        """
        one, alert = await self.alerts.heads([alert_id, chain_of(alert_id)])
        if one is None or alert is None:
            return None
        if one.occasion not in {Occasion.ALERT, Occasion.UPDATE}:
            return VersionStanding(state=one.state, expires=one.expires)
        is_old = alert.times.restricted > 0 and await self._left_before(one, row, alert)
        return VersionStanding(state=alert.state, expires=alert.expires, is_old=is_old)

    async def _left_before(self, version: AlertRecord, row: int, alert: AlertRecord) -> bool:
        """Whether a message left with the words from before its alert was restricted; also where nobody knows any more. What was written after
        that never did, whatever the clocks say. Of one that was tried again, it is known only when the last try was answered.
        """
        knew = version.update is not None and str(alert.times.restricted) in version.update.upon.split()
        if hides(version) or knew:
            return False
        found = await self.work.row(version.id, row)
        if found is None:
            return True
        left = found["first" if int(found["tries"]) & ATTEMPTS_MASK == 1 else "last"]
        return version.times.start + int(left) < alert.times.restricted + alert.chain.ahead + OLD_WORDS_MS

    async def told_by(self, alert_id: str) -> str | None:
        """The last version that tells those whom an alert has told; None where nothing followed, and for what tells of another itself."""
        later = (await self.alerts.versions([alert_id]))[1:]
        starts = await self.alerts.fields(later, "start")
        # An update may wait, or have been rejected.
        told = [one for one, (start,) in zip(later, starts, strict=True) if int(start or 0)]
        return told[-1] if told else None

    async def similar(self, record: AlertRecord) -> Sequence[AlertRecord]:
        """Returns the other living alerts of the same case, kind and status."""
        return await similar(self.alerts, record)

    async def telling(self, org: str) -> Sequence[AlertRecord]:
        """What is being told of an organisation's alerts besides these: updates, what was taken out, ends. Newest first, without documents."""
        later = [one for one in await self.alerts.versions(list(await self.alerts.live())) if one != chain_of(one)]
        states = await self.alerts.states(later)
        busy = [one for one, state in zip(later, states, strict=True) if state in OPEN_STATES]
        heads = await self.alerts.listed(busy)
        return sorted((one for one in heads if one and one.org == org), key=lambda one: one.times.start, reverse=True)

    async def counts(self, alert_id: str) -> dict[str, dict[str, int]]:
        """References by channel: targeted, and every state; doubled besides."""
        found = await self.work.counts(alert_id)
        names = ("targeted", *(state.word for state in State), "doubled")
        return {channel: {name: counts.get(name, 0) for name in names} for channel, counts in found.items()}

    async def stalls(self, record: AlertRecord) -> bool:
        """Whether a version that is being sent has been at a standstill for long, although something of it is due."""
        ((since,),) = await self.alerts.fields([record.id], "stalled")
        return since is not None and record.state in OPEN_STATES

    async def list(
        self, org: str, wanted: Wanted, *, before: ListPlace | None, limit: int
    ) -> tuple[list[AlertRecord], ListPlace | None]:
        """An organisation's alerts that are wanted, newest first and without their documents, and where to go on.

        A page is full unless nothing more is there, or looking for the next would take too long.
        """
        kept: list[AlertRecord] = []
        for _ in range(LOOKS):
            index = await self.alerts.of_org(org, before=before, limit=LOOK)
            heads = await self.alerts.listed([name for _, name in index])
            for place, record in zip(index, heads, strict=True):
                if place[0] < wanted.since_ms:
                    return kept, None
                before = place
                if record and wanted.has(record):
                    kept.append(record)
                if len(kept) == limit:
                    return kept, None if place == index[-1] and len(index) < LOOK else before
            if len(index) < LOOK:
                return kept, None
        return kept, before

    def shown(
        self, record: AlertRecord, found: dict[str, dict[str, int]], *, reads_ledger: bool
    ) -> tuple[dict[str, dict[str, int]], Sequence[str]]:
        """Of such counts those that may be told to whoever may not read the ledger, and the channels whose are too small for that."""
        channels = record.alert.channels if record.document else list(found)
        targeted = {channel: counts["targeted"] for channel, counts in found.items()}
        hidden = few(record, channels, targeted, reads_ledger=reads_ledger)
        return {channel: counts for channel, counts in found.items() if channel not in hidden}, hidden

    async def is_deleted(self, record: AlertRecord) -> bool:
        """Whether a version's ledger is no more: then nobody can say who was told, nor who was not."""
        return await self.work.is_deleted(record.id)

    async def deliveries(self, record: AlertRecord) -> AsyncIterator[Delivery]:
        """The whole ledger, in constant memory. Raises Problem where it was deleted."""
        read = await self._reader(record)
        async for start, rows, refs in self.work.ledger(record.id):
            codes = (await self.work.channels_of(record.id, start, len(rows))).tolist()
            for i, (row, ref, code) in enumerate(zip(rows, refs, codes, strict=True)):
                yield read(start + i, row, ref, CHANNELS[code])

    async def lines(self, record: AlertRecord) -> AsyncIterator[bytes]:
        """The whole ledger as NDJSON, some hundreds of lines at a time: those who keep it and its digest keep the same bytes. Raises Problem
        before the first of them where it was deleted; else there is a first, of an empty one, too.
        """
        lines: list[str] = []
        async for delivery in self.deliveries(record):
            lines.append(json.dumps({name: getattr(delivery, name) for name in delivery.__slots__}) + "\n")
            if len(lines) == LINES:
                yield "".join(lines).encode()
                lines.clear()
        yield "".join(lines).encode()

    async def deliveries_to(self, record: AlertRecord, number: int) -> AsyncIterator[Delivery]:
        """Those of one subscriber, by its number. Raises Problem where the ledger was deleted, whoever is asked for."""
        read = await self._reader(record)
        async for at, row, ref in self.work.rows_of(record.id, number):
            yield read(at, row, ref, await self.work.channel_of(record.id, at) or "")

    async def _reader(self, record: AlertRecord) -> Callable[[int, Any, tuple[int, int], str], Delivery]:
        """Makes deliveries of rows, given each row's number, its record, its reference and its channel."""
        if await self.is_deleted(record):
            raise Problem("gone", "Its ledger was deleted when its time was over (retention.ledger_days).")
        carriers = await self.numbers.names()

        def moment(value: Any) -> int:
            return record.times.start + int(value) if value else 0

        def make_delivery(at: int, row: Any, ref: tuple[int, int], channel: str) -> Delivery:
            return Delivery(
                row=at,
                subscriber=self.codec.hashed(f"delivery:{record.id}", str(ref[0])),
                address=ref[1],
                channel=channel,
                state=State(row["state"]).word,
                reason=_REASONS.get(int(row["reason"]), "none"),
                carrier=carriers.get(int(row["carrier"]), ""),
                attempts=int(row["tries"]) & ATTEMPTS_MASK,
                doubled=bool(int(row["tries"]) & FLAG_DOUBT),
                first_ms=moment(row["first"]),
                last_ms=moment(row["last"]),
                receipt_ms=moment(row["receipt"]),
            )

        return make_delivery
