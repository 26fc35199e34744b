"""Computes the metrics of the whole fleet from the store, among them the number of references in each state."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain

from alertd.common.clock import Clock
from alertd.metrics import FleetText, fleet_text
from alertd.model.states import AlertState, State
from alertd.service.carriers.states import CarrierStates
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work
from alertd.store.people.subscribers import People
from alertd.store.sharing.webhooks import Hook, Hooks, Tracks

#: Number of the newest alerts of each organisation that are read for their states.
RECENT = 1_000


@dataclass(slots=True)
class FleetMetrics:
    """Makes `/metrics/fleet` with a few round trips, however many alerts there are."""

    alerts: Alerts
    work: Work
    people: People
    carriers: CarrierStates
    hooks: Hooks[Hook]
    tracks: Tracks
    clock: Clock
    organisations: Callable[[], Awaitable[Sequence[str]]]
    reviews: Callable[[str], Awaitable[Sized]]  # returns an organisation's reviews that are due
    at_work: Callable[[], Awaitable[Mapping[str, bool]]]  # by channel: whether a worker sends on it
    seals: Callable[[], Awaitable[Mapping[str, int]]]  # how often the current master key sealed, and the audit's key

    async def metrics(self) -> FleetText:
        """Returns the metrics in Prometheus' text format."""
        orgs = await self.organisations()
        places = await asyncio.gather(*(self.alerts.of_org(org, before=None, limit=RECENT) for org in orgs))
        recent, hooks = list(chain.from_iterable(places)), await self.hooks.of_orgs(orgs)
        states = await self.alerts.states([alert_id for _, alert_id in recent])
        now, holders = self.clock.now_ms(), await self.tracks.holders(orgs)
        pending = [one for (_, one), state in zip(recent, states, strict=True) if state is AlertState.PENDING]
        counts, queues = await self._references(now)
        return fleet_text(
            counts,
            queues,
            dict(Counter(state for state in states if state)),
            await self.carriers.all(),
            await self.at_work(),
            await self.seals(),
            subscribers=await self.people.count(),
            pending_oldest_s=max(0, now - await self._waits_since(pending, now)) / 1000,
            webhooks_off=sum(bool(one.off) for one in await self.hooks.standing(hooks)),
            reviews_pending=sum(map(len, await asyncio.gather(*map(self.reviews, orgs)))),
            takedowns_open=sum(bool(one.owed) for held in holders.values() for one in held),
            takedowns_refused=sum(map(len, (await self.tracks.refused(holders)).values())),
        )

    async def _waits_since(self, pending: Sequence[str], now: int) -> int:
        """Returns since when (UNIX ms) the oldest of these alerts has waited for its approver, or `now` if there are
        none.
        """
        found = await self.alerts.fields(
            pending, "pending_at", "created"
        )  # an alert that was submitted at once had no other state before
        return min((int(since or made or now) for since, made in found), default=now)

    async def _references(self, now: int) -> tuple[dict[str, dict[str, int]], dict[tuple[str, str], tuple[int, float]]]:
        """Returns two tables about all live alerts. First: the number of references by channel and state. Second, by
        channel and loudness: the number of queued references, and the seconds since the oldest alert with queued ones
        started.
        """
        totals: dict[str, Counter[str]] = {}
        queues: dict[tuple[str, str], tuple[int, float]] = {}
        versions = await self.alerts.versions(list(await self.alerts.live()))
        facts = await self.alerts.fields(versions, "loudness", "start")
        for counts, (loudness, start) in zip(await self.work.counts_of(versions), facts, strict=True):
            for channel, found in counts.items():
                totals.setdefault(channel, Counter()).update(found)
                if queued := found.get(State.QUEUED.word, 0):
                    lane = channel, (loudness or b"").decode()
                    many, oldest_s = queues.get(lane, (0, 0.0))
                    queues[lane] = many + queued, max(oldest_s, (now - int(start or now)) / 1000)
        return {channel: dict(found) for channel, found in totals.items()}, queues
