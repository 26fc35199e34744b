"""Plans alerts: turns a frozen audience into batches of references, in deterministic chunks that resume after a crash.

Also decides which alert this process plans next, so that an alert to many people does not delay an alert to few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.common.clock import Clock
from alertd.common.ids import chain_of
from alertd.common.repetition import ErrorGuard
from alertd.metrics import Metrics
from alertd.model.alert import Alert
from alertd.model.kinds import Notify
from alertd.model.states import OPEN_STATES
from alertd.model.subscriber import Subscriber
from alertd.rendering import Renderer
from alertd.service.alerts import later_audience
from alertd.service.areas.targeting import ring_order, ring_waits
from alertd.service.delivery import expand_addresses
from alertd.service.delivery.active_alerts import ActiveAlerts
from alertd.service.delivery.expand_addresses import Belongs
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.record_fields import FrozenAudience
from alertd.store.alerts.records import AlertRecord, PlanHead, numbers_of
from alertd.store.delivery.work import BATCH, Work
from alertd.store.delivery.work_records import AT_ONCE, BatchKey, When, pack_ref
from alertd.store.people.subscribers import Absence, People

#: Number of people in the first chunk of a plan and in each later one. The first chunk is small, so that the first
#: phone rings while the rest is planned. Each later chunk blocks the process for some 25 ms.
FIRST_CHUNK = 500
CHUNK = 1_000
#: Maximum number of references in a batch of the first chunk, so that several lanes share it. An alert to few people
#: has no other chunk.
FIRST_BATCH = 100


#: Called between two chunks. Returns True if the planner must stop here; another round plans the rest.
GivesWay = Callable[[], Awaitable[bool]]


async def _never() -> bool:
    """Lets the planner go on after every chunk."""
    return False


class Planner:
    """Plans one alert at a time. Two planners on one alert do no harm: the cursor lets only one of them append.

    `chunks` are numbers of people: of the first chunk, and of each later one.
    """

    def __init__(
        self,
        alerts: Alerts,
        people: People,
        work: Work,
        renderer: Renderer,
        clock: Clock,
        *,
        chunks: tuple[int, int] = (FIRST_CHUNK, CHUNK),
    ) -> None:
        self._alerts = alerts
        self._people = people
        self._work = work
        self._renderer = renderer
        self._clock = clock
        self._first, self._rest = chunks
        # The frozen audience of the latest version, because an interrupted plan goes on chunk by chunk. Unpacking a
        # million people takes as long as planning a thousand of them.
        self._kept: tuple[tuple[str, int], FrozenAudience, shapely.MultiPolygon] | None = None

    async def plan(self, record: AlertRecord, gives_way: GivesWay = _never) -> bool:
        """Plans a version from its cursor on. Returns whether it is planned completely. False if its gate is closed,
        another planner works on it, it must wait for earlier messages, or `gives_way` says so between chunks.
        """
        alert = record.alert
        if record.follow_up and not record.update:
            return await self._plan_notice(record, alert, gives_way)
        if self._kept is None or self._kept[0] != (record.id, record.times.start):
            frozen, area = await asyncio.gather(self._alerts.audience(record.id), self._alerts.area(record.id))
            self._kept = (record.id, record.times.start), frozen, area
        _, frozen, area = self._kept
        began = await self._began(record)
        belongs = Belongs(alert, area, set(numbers_of(record.target.regions)), began)
        inside, told, again = frozen.numbers, later_audience.NOBODY, later_audience.NOBODY
        if record.update:
            if await self._waits(record):
                return False
            before = await later_audience.find_notified(
                self._alerts, self._work, record.id, record.update.notify, alert.channels, frozen
            )
            told, again = before.numbers, later_audience.renotified(before, record.update.notify, alert.channels)
            frozen = later_audience.everyone(again, frozen)
        turn = ring_order(alert, frozen.rings)

        async def groups(chunk: slice) -> list[expand_addresses.Group]:
            """Returns the batches of references for a chunk: a slice of the people in the order of their rings."""
            in_turn = turn[chunk]
            return await self._groups(
                alert, belongs, told, again, inside, frozen.numbers[in_turn], frozen.rings[in_turn]
            )

        waited_ms = max(0, began - record.times.rings_from) if record.times.rings_from else 0
        when = ring_waits(alert, max(0, record.times.start - began), waited_ms)
        return await self._append(record, len(turn), groups, gives_way, when)

    async def _plan_notice(self, record: AlertRecord, alert: Alert, gives_way: GivesWay) -> bool:
        """Plans a follow-up, like `plan`. Returns False while earlier messages of the alert are in flight, up to
        `SETTLE_MS` after the approval. A follow-up that replaces the message on phones always waits that long.
        """
        earlier = await self._alerts.versions([chain_of(record.id)])
        waited = self._has_waited(record, later_audience.SETTLE_MS)
        if not waited and (later_audience.replaces(record) or await later_audience.in_flight(self._work, earlier)):
            return False
        pairs = await later_audience.frozen(self._alerts, self._work, record, alert.channels)
        languages = self._renderer.languages(alert)

        async def groups(chunk: slice) -> list[expand_addresses.Group]:
            """Returns the batches of references for a chunk: a slice of the pairs (subscriber, channel) to notify."""
            found = await self._people.read_many(np.unique(pairs[chunk] >> np.uint64(3)))
            return expand_addresses.of_pairs(record.kind, found, pairs[chunk], languages)

        return await self._append(record, len(pairs), groups, gives_way)

    async def _append(
        self,
        record: AlertRecord,
        total: int,
        groups: Callable[[slice], Awaitable[list[expand_addresses.Group]]],
        gives_way: GivesWay,
        when: When = AT_ONCE,
    ) -> bool:
        """Plans an alert chunk by chunk from its cursor on, and stores each chunk. `total` is the number of people or
        pairs, and `groups` returns the batches for a slice of them. Returns whether the plan is complete. False if
        another planner appended meanwhile, the gate is closed, or `gives_way` says so.
        """
        cursor = record.plan.cursor
        while True:
            size, batch = (self._first, FIRST_BATCH) if cursor == 0 else (self._rest, BATCH)
            after = min(cursor + size, total)
            found, last = await groups(slice(cursor, after)), after == total
            if await self._work.plan(record.id, cursor, after, found, last=last, when=when, batch=batch) != "ok":
                return False
            if last:
                return True
            cursor = after
            if await gives_way():
                return False

    async def _began(self, record: AlertRecord) -> int:
        """Returns the time (UNIX ms) from which the rings wait, and at which membership in the audience is measured.

        An update for an area that a neighbour has permitted continues the alert or update before it. Every other update
        begins anew.
        """
        if not (record.update and record.update.continues):
            return record.times.start
        before = await self._alerts.chain(chain_of(record.id))
        return max(
            [record.update.alerted, *(one.times.start for one in before if one.update and not one.update.continues)]
        )

    def _has_waited(self, record: AlertRecord, ms: int, since: int = 0) -> bool:
        """Returns whether at least `ms` have passed since the version's sending could begin, and since `since` (UNIX
        ms). Uses the alert's own clock, which does not go back if the server's clock is set back.
        """
        return self._clock.now_ms() + record.chain.ahead >= max(record.times.start, since) + ms

    async def _waits(self, record: AlertRecord) -> bool:
        """Returns whether an update must be planned later: earlier messages are in flight, and had not yet the time to
        arrive.

        Time in which no message could be settled does not count, because the store or all workers were away. After
        `MOST_GAPS` such gaps all time counts. Otherwise a store that comes and goes would delay an update for ever.
        """
        if record.plan.cursor:
            return False
        chain = chain_of(record.id)
        versions = await self._alerts.versions([chain])
        if not await later_audience.in_flight(self._work, [one for one in versions if one != record.id]):
            return False
        steady, gaps = await self._work.settling(chain)
        waits_ms = (
            later_audience.SETTLE_MS
            if record.update and record.update.notify is Notify.FULL
            else later_audience.ANSWERED_MS
        )
        return not self._has_waited(record, waits_ms, since=steady if 0 < gaps <= later_audience.MOST_GAPS else 0)

    async def _groups(
        self, alert: Alert, belongs: Belongs, told: later_audience.Pairs, again: later_audience.Pairs,
        inside: NDArray[np.uint64], numbers: NDArray[np.uint64], in_rings: NDArray[np.uint8],
    ) -> list[expand_addresses.Group]:  # fmt: skip
        """Returns the references of these people in batches; `in_rings` has the ring of each. They are people inside
        the area and, for an update, earlier recipients who are notified again, inside or not.
        """
        found, languages = await self._people.read_many(numbers), self._renderer.languages(alert)
        people = [person for person in found if isinstance(person, Subscriber)]
        ring_of = dict(zip(numbers.tolist(), in_rings.tolist(), strict=True))
        meant = set(numbers[expand_addresses.among(inside, numbers)].tolist())
        still = {person.number for person in belongs.still(people)} & meant
        groups = expand_addresses.of_people(
            people, alert.channels, languages, ring_of, expand_addresses.pairs_of(told, numbers),
            expand_addresses.pairs_of(again, numbers), still, escalates=alert.policy.escalates,
        )  # fmt: skip
        # So that the ledger shows the people who could not be notified.
        unreadable = numbers[np.array([one is Absence.UNREADABLE for one in found], bool)].tolist()
        refs = b"".join(pack_ref(number, 0) for number in unreadable)
        return [*groups, (BatchKey(channel=alert.channels[0], language=languages[0]), refs)] if refs else groups


#: Number of ready batches that are enough to send for most of a second.
ENOUGH = 16


@dataclass(kw_only=True, slots=True)
class PlanScheduler:
    """Plans the alerts that are not planned completely, round after round."""

    alerts: Alerts
    work: Work
    planner: Planner
    agenda: ActiveAlerts
    steps: ErrorGuard
    clock: Clock
    metrics: Metrics

    async def round(self) -> None:
        """Plans each alert further. Loud alerts come first, and among them those with the fewest people, so that they
        wait for at most one chunk of a large alert.

        Each process plans alerts of one chunk in another order, so that two rarely plan the same one. Raises
        StoreUnavailableError.
        """
        unread, heads = self.agenda.unplanned(), list[PlanHead]()
        for alert_id, head in zip(unread, await self.alerts.plan_heads(unread), strict=True):
            if isinstance(head, Exception):
                self.steps.failed("plan", head, alert_id)
            elif head:
                heads.append(head)
        self.agenda.note_heads(unread, heads)
        todo = [head for head in heads if not head.planned and head.state in OPEN_STATES]
        todo.sort(key=lambda head: (not self.agenda.is_loud(head.id), max(head.people, FIRST_CHUNK), hash(head.id)))
        begun = [head for head in todo if head.cursor]
        waits = self.agenda.elsewhere(begun) | await self._ahead(begun)
        await self.steps.each("plan", [head.id for head in todo if head.id not in waits], self._plan)

    async def _ahead(self, begun: Sequence[PlanHead]) -> set[str]:
        """Returns the ids of partly planned alerts to leave out of this round: they advanced less than `STEP_S` ago and
        have at least `ENOUGH` batches ready to send, and there are other alerts. Notes that all other partly planned
        alerts advance now.
        """
        resting, waits = self.agenda.resting(begun), set[str]()
        if resting and len(self.agenda.versions) > 1:
            ready = await self.work.ready([head.id for head in resting])
            waits = {head.id for head, batches in zip(resting, ready, strict=True) if batches >= ENOUGH}
        self.agenda.step([head for head in begun if head.id not in waits])
        return waits

    async def _plan(self, alert_id: str) -> None:
        """Plans an alert further, and measures the time since its start once it is planned completely."""
        record = await self.alerts.get(alert_id)
        if record is None or record.plan.is_complete:
            return
        if await self.planner.plan(record, partial(self._gives_way, alert_id)):
            self.metrics.plan_seconds.observe((self.clock.now_ms() - record.times.start) / 1000)
            self.agenda.planned(alert_id)

    async def _gives_way(self, alert_id: str) -> bool:
        """Returns whether planning of an alert must stop here: a version was not read yet, which may have to go first,
        or enough batches of this alert are ready while there are other alerts. Marks the alert as planned in part.
        """
        self.agenda.begun(alert_id)
        if self.agenda.has_unread():
            return True
        return len(self.agenda.versions) > 1 and (await self.work.ready([alert_id]))[0] >= ENOUGH
