"""The planner: from a frozen audience to batches of references, in deterministic chunks that resume after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.common.clock import Clock
from alertd.common.ids import chain_of
from alertd.model.alert import Alert
from alertd.model.kinds import Notify
from alertd.model.subscriber import Subscriber
from alertd.rendering import Renderer
from alertd.service.alerts import delivered_to, follow_up_audience, update_audience
from alertd.service.areas import rings
from alertd.service.delivery import expand_addresses
from alertd.service.delivery.belonging import Belongs
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.frozen_audience import FrozenAudience
from alertd.store.alerts.records import AlertRecord, numbers_of
from alertd.store.delivery.work import BATCH, Work
from alertd.store.delivery.work_records import AT_ONCE, When
from alertd.store.people.subscribers import Absence, People

#: People a chunk. The first is small, so that the first phone rings while the rest is planned; the others hold up what else the
#: process does for some 25 ms.
FIRST_CHUNK = 500
CHUNK = 1_000
#: References a batch of the first chunk, so that several lanes share it: an alert to few has no more than that.
FIRST_BATCH = 100


#: Asked between two chunks: whether the rest is to be planned another time.
GivesWay = Callable[[], Awaitable[bool]]


async def _never() -> bool:
    return False


#: From numbers of people and the ring of each to their references.
Refer = Callable[[NDArray[np.uint64], NDArray[np.uint8]], Awaitable[list[expand_addresses.Group]]]


class Planner:
    """Plans one alert at a time. Two planners on one alert do no harm: the cursor lets only one append.

    `chunks` are people: in the first chunk, and in each that follows.
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
        self._kept: tuple[tuple[str, int], FrozenAudience, shapely.MultiPolygon] | None = None

    async def plan(self, record: AlertRecord, gives_way: GivesWay = _never) -> bool:
        """Plan what is left of an alert. False when its gate is closed, another planner is at it, or it gives way between chunks."""
        alert = record.alert
        if record.occasion and not record.notify:
            return await self._plan_notice(record, alert, gives_way)
        frozen, area = await self._frozen(record)
        began = await self._began(record)
        belongs = Belongs(alert, area, set(numbers_of(record.regions)), began)
        inside, told, again = frozen.numbers, update_audience.NOBODY, update_audience.NOBODY
        if record.notify:
            if await self._waits(record):
                return False
            before = await update_audience.find_notified(self._alerts, self._work, record, alert.channels, frozen)
            told, again = before.numbers, update_audience.told_again(before, record.notify, alert.channels)
            frozen = update_audience.everyone(again, frozen)
        refer = partial(self._groups, alert, belongs, told, again, inside)
        waited_ms = max(0, began - record.rings_from) if record.rings_from else 0
        when = rings.when(alert, max(0, record.start - began), waited_ms)
        return await self._plan_people(record, alert, frozen, refer, gives_way, when)

    async def _frozen(self, record: AlertRecord) -> tuple[FrozenAudience, shapely.MultiPolygon]:
        """What was frozen with a version. That of the last one is kept, for a plan that gives way goes on chunk by chunk: to unpack a million
        people takes as long as to plan a thousand of them.
        """
        its = record.id, record.start
        if self._kept is None or self._kept[0] != its:
            frozen, area = await asyncio.gather(self._alerts.audience(record.id), self._alerts.area(record.id))
            self._kept = its, frozen, area
        return self._kept[1:]

    async def _plan_people(
        self, record: AlertRecord, alert: Alert, frozen: FrozenAudience, refer: Refer, gives_way: GivesWay, when: When
    ) -> bool:
        turn = rings.in_turn(alert, frozen.rings)

        async def groups(chunk: slice) -> list[expand_addresses.Group]:
            return await refer(frozen.numbers[turn[chunk]], frozen.rings[turn[chunk]])

        return await self._append(record, len(turn), groups, gives_way, when)

    async def _plan_notice(self, record: AlertRecord, alert: Alert, gives_way: GivesWay) -> bool:
        """The same of what follows an alert; not before what came before has arrived, or had the time to."""
        earlier = await self._alerts.versions([chain_of(record.id)])
        waited = self._has_waited(record, follow_up_audience.SETTLE_MS)
        if not waited and (follow_up_audience.replaces(record) or await delivered_to.in_flight(self._work, earlier)):
            return False
        pairs = await follow_up_audience.frozen(self._alerts, self._work, record, alert.channels)
        languages = self._renderer.languages(alert)

        async def groups(chunk: slice) -> list[expand_addresses.Group]:
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
        """Chunk by chunk from the cursor on. False where another appended meanwhile, the gate is closed, or it gives way."""
        cursor = record.cursor
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
        """From when on its rings wait, and by when whoever is told was there: what a neighbour permits only goes on with what told the alert; any
        other update begins anew.
        """
        if not record.goes_on:
            return record.start
        before = await self._alerts.chain(chain_of(record.id))
        return max([record.alerted, *(one.start for one in before if one.notify and not one.goes_on)])

    def _has_waited(self, record: AlertRecord, ms: int, since: int = 0) -> bool:
        """Whether a version was approved so long ago, by its chain's clock, and `since` is as long ago."""
        return self._clock.now_ms() + record.ahead >= max(record.start, since) + ms

    async def _waits(self, record: AlertRecord) -> bool:
        """Whether an update is planned later: something of what was told before is on its way, and had not the time to arrive. Time in which nobody
        could settle it, for the store was away or all workers were, is not counted; after more than a few such gaps all of it is, or a store that
        comes and goes would put an update off for ever.
        """
        if record.cursor:
            return False
        chain = chain_of(record.id)
        versions = await self._alerts.versions([chain])
        if not await delivered_to.in_flight(self._work, [one for one in versions if one != record.id]):
            return False
        steady, gaps = await self._work.settling(chain)
        waits_ms = follow_up_audience.SETTLE_MS if record.notify == Notify.FULL else follow_up_audience.ANSWERED_MS
        return not self._has_waited(record, waits_ms, since=steady if 0 < gaps <= follow_up_audience.MOST_GAPS else 0)

    async def _groups(
        self, alert: Alert, belongs: Belongs, told: delivered_to.Pairs, again: delivered_to.Pairs,
        inside: NDArray[np.uint64], numbers: NDArray[np.uint64], in_rings: NDArray[np.uint8],
    ) -> list[expand_addresses.Group]:  # fmt: skip
        """The references of some people, given the ring of each: of those inside, and of an update those who are told again of what they
        were told before, wherever they are.
        """
        people, languages, untold = await self._read(alert, numbers)
        ring_of = dict(zip(numbers.tolist(), in_rings.tolist(), strict=True))
        meant = set(numbers[expand_addresses.among(inside, numbers)].tolist())
        still = {person.number for person in belongs.still(people)} & meant
        groups = expand_addresses.of_people(
            people, alert.channels, languages, ring_of, expand_addresses.pairs_of(told, numbers),
            expand_addresses.pairs_of(again, numbers), still, escalates=alert.policy.escalates,
        )  # fmt: skip
        return groups + untold

    async def _read(
        self, alert: Alert, numbers: NDArray[np.uint64]
    ) -> tuple[list[Subscriber], Sequence[str], list[expand_addresses.Group]]:
        """Some people, the languages that the alert can be told in, and the references of those whose records cannot be read."""
        found, languages = await self._people.read_many(numbers), self._renderer.languages(alert)
        unreadable = np.array([one is Absence.UNREADABLE for one in found], bool)
        untold = expand_addresses.untold(numbers[unreadable].tolist(), alert.channels[0], languages[0])
        return [person for person in found if isinstance(person, Subscriber)], languages, untold
