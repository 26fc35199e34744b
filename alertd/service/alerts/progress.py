"""Reads the progress of an alert, and its ledger row by row."""

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


#: Number of alerts read at once, and maximum number of such reads for one page: 5,000 alerts take 0.5 s.
LOOK = 200
LOOKS = 25
#: Number of ledger lines in one piece of NDJSON.
LINES = 1_000
#: Time in ms for which messages with the removed facts may still be sent after a restriction. The replacement is sent
#: 1 s after that at the earliest (0023).
OLD_WORDS_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter for a list of alerts; None matches any."""

    state: AlertState | None = None
    external_ids: frozenset[str] | None = None  # one of these
    case: str | None = None  # the store's id of the case
    since_ms: int = 0  # UNIX ms; created at this time or later

    def has(self, record: AlertRecord) -> bool:
        """Returns whether the alert matches. Ignores `since_ms`."""
        return (
            self.state in {None, record.state}
            and (self.external_ids is None or record.external_id in self.external_ids)
            and self.case in {None, record.case}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of a ledger. The name of its subscriber is a hash that is used only for this ledger. Times are UNIX ms,
    0 for never.
    """

    row: int
    subscriber: str
    address: int
    channel: str
    state: str
    reason: str
    carrier: str
    attempts: int
    doubled: bool  # an earlier attempt may have sent the message as well
    first_ms: int
    last_ms: int
    receipt_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStanding:
    """What a version means to people who received it: its state, its end, and whether its facts were removed since."""

    state: AlertState
    expires: int  # UNIX ms
    is_old: bool = False  # their message contains facts that were removed since

    def is_told(self, now_ms: int) -> bool:
        """Returns whether the content may still be shown."""
        return self.state in SHOWN and now_ms < self.expires and not self.is_old


@dataclass(slots=True)
class ProgressReports:
    """Reads the progress of alerts, and their ledgers."""

    alerts: Alerts
    work: Work
    numbers: CarrierNumbers
    codec: Codec

    async def standing(self, alert_id: str, row: int) -> VersionStanding | None:
        """Returns the state of a version for the recipient of ledger row number `row`. A version that sends the alert
        itself has the alert's state. Returns None if the version or the alert does not exist any more.
        """
        one, alert = await self.alerts.heads([alert_id, chain_of(alert_id)])
        if one is None or alert is None:
            return None
        if one.occasion not in {Occasion.ALERT, Occasion.UPDATE}:
            return VersionStanding(state=one.state, expires=one.expires)
        is_old = alert.times.restricted > 0 and await self._left_before(one, row, alert)
        return VersionStanding(state=alert.state, expires=alert.expires, is_old=is_old)

    async def _left_before(self, version: AlertRecord, row: int, alert: AlertRecord) -> bool:
        """Returns whether the message of a row was sent with the content from before the restriction. Also returns True
        if the row cannot be found.

        A version written after the restriction never had that content, even if the clocks differ. If a row had more
        than one attempt, the time of the last answer decides, because the ledger has no other.
        """
        knew = version.update is not None and str(alert.times.restricted) in version.update.based_on.split()
        if hides(version) or knew:
            return False
        found = await self.work.row(version.id, row)
        if found is None:
            return True
        left = found["first" if int(found["tries"]) & ATTEMPTS_MASK == 1 else "last"]
        return version.times.start + int(left) < alert.times.restricted + alert.chain.ahead + OLD_WORDS_MS

    async def told_by(self, alert_id: str) -> str | None:
        """Returns the id of the last approved version after an alert: a follow-up, an update or another change. Returns
        None if nothing followed, or if `alert_id` is not the alert's own id.
        """
        later = (await self.alerts.versions([alert_id]))[1:]
        starts = await self.alerts.fields(later, "start")
        # An update may wait for approval, or may have been rejected.
        started = [one for one, (start,) in zip(later, starts, strict=True) if int(start or 0)]
        return started[-1] if started else None

    async def similar(self, record: AlertRecord) -> Sequence[AlertRecord]:
        """Returns the other living alerts of the same case, kind and status."""
        return await similar(self.alerts, record)

    async def telling(self, org: str) -> Sequence[AlertRecord]:
        """Returns later versions that are being sent for an organisation's alerts: updates, restrictions and ends.
        Newest first, without documents.
        """
        later = [one for one in await self.alerts.versions(list(await self.alerts.live())) if one != chain_of(one)]
        states = await self.alerts.states(later)
        busy = [one for one, state in zip(later, states, strict=True) if state in OPEN_STATES]
        heads = await self.alerts.listed(busy)
        return sorted((one for one in heads if one and one.org == org), key=lambda one: one.times.start, reverse=True)

    async def counts(self, alert_id: str) -> dict[str, dict[str, int]]:
        """Returns the counts of a version's references by channel: targeted, in each state, and doubled."""
        found = await self.work.counts(alert_id)
        names = ("targeted", *(state.word for state in State), "doubled")
        return {channel: {name: counts.get(name, 0) for name in names} for channel, counts in found.items()}

    async def stalls(self, record: AlertRecord) -> bool:
        """Returns whether this version is still being sent and has stalled: messages are due, but for a minute none got its
        result.
        """
        ((since,),) = await self.alerts.fields([record.id], "stalled")
        return since is not None and record.state in OPEN_STATES

    async def list(
        self, org: str, wanted: Wanted, *, before: ListPlace | None, limit: int
    ) -> tuple[list[AlertRecord], ListPlace | None]:
        """Returns an organisation's alerts that match, newest first and without their documents, and the place to
        continue from (None at the end).

        A page has `limit` alerts, unless no more match or the search would take too long.
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
        """Returns the counts that a caller may see, and the channels whose counts are hidden because they are too
        small. A caller who `reads_ledger` sees more. `found` has all counts by channel.
        """
        channels = record.alert.channels if record.document else list(found)
        targeted = {channel: counts["targeted"] for channel, counts in found.items()}
        hidden = few(record, channels, targeted, reads_ledger=reads_ledger)
        return {channel: counts for channel, counts in found.items() if channel not in hidden}, hidden

    async def is_deleted(self, record: AlertRecord) -> bool:
        """Returns whether a version's ledger was deleted. Then it is unknown who was notified."""
        return await self.work.is_deleted(record.id)

    async def deliveries(self, record: AlertRecord) -> AsyncIterator[Delivery]:
        """Yields the whole ledger, in constant memory. Raises Problem if it was deleted."""
        read = await self._reader(record)
        async for start, rows, refs in self.work.ledger(record.id):
            codes = (await self.work.channels_of(record.id, start, len(rows))).tolist()
            for i, (row, ref, code) in enumerate(zip(rows, refs, codes, strict=True)):
                yield read(start + i, row, ref, CHANNELS[code])

    async def lines(self, record: AlertRecord) -> AsyncIterator[bytes]:
        """Yields the whole ledger as NDJSON, up to 1,000 lines at a time. The bytes are always the same, so that a
        caller can store them with their digest. Raises Problem before the first part if the ledger was deleted. An
        empty ledger yields one empty part.
        """
        lines: list[str] = []
        async for delivery in self.deliveries(record):
            lines.append(json.dumps({name: getattr(delivery, name) for name in delivery.__slots__}) + "\n")
            if len(lines) == LINES:
                yield "".join(lines).encode()
                lines.clear()
        yield "".join(lines).encode()

    async def deliveries_to(self, record: AlertRecord, number: int) -> AsyncIterator[Delivery]:
        """Yields the rows of one subscriber, by its number. Raises Problem if the ledger was deleted, even if it had
        no row of this subscriber.
        """
        read = await self._reader(record)
        async for at, row, ref in self.work.rows_of(record.id, number):
            yield read(at, row, ref, await self.work.channel_of(record.id, at) or "")

    async def _reader(self, record: AlertRecord) -> Callable[[int, Any, tuple[int, int], str], Delivery]:
        """Returns a function that makes a delivery from a row's number, its record, its reference and its channel.
        Raises Problem if the ledger was deleted.
        """
        if await self.is_deleted(record):
            raise Problem(
                "gone", "The ledger of this alert was deleted at the end of its retention time (retention.ledger_days)."
            )
        carriers = await self.numbers.names()

        def moment(value: Any) -> int:
            """Returns a time of the ledger (ms since the alert's start) in UNIX ms; 0 for never."""
            return record.times.start + int(value) if value else 0

        def make_delivery(at: int, row: Any, ref: tuple[int, int], channel: str) -> Delivery:
            """Returns the delivery of one row."""
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
