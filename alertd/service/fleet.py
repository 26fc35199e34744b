"""What is true of the whole fleet at this moment, from the store: the identity of references among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence, Sized

from alertd.alerts import AlertState
from alertd.clock import Clock
from alertd.metrics import fleet_text
from alertd.service.carriers import Carriers
from alertd.store.alerts import Alerts
from alertd.store.limits import Limits
from alertd.store.people import People
from alertd.store.webhooks import Hooks
from alertd.store.work import Work

#: Alerts of each organisation looked at for their states: the newest.
RECENT = 1_000


class Fleet:
    """Makes `/metrics/fleet`: a few round trips, however many alerts there are."""

    def __init__(  # noqa: PLR0913, PLR0917  each is a thing it measures
        self, alerts: Alerts, work: Work, people: People, limits: Limits, carriers: Carriers, hooks: Hooks,
        clock: Clock, organisations: Callable[[], Awaitable[Sequence[str]]],
        reviews: Callable[[str], Awaitable[Sized]],
    ) -> None:  # fmt: skip
        self._alerts = alerts
        self._work = work
        self._people = people
        self._limits = limits
        self._carriers = carriers
        self._hooks = hooks
        self._clock = clock
        self._organisations = organisations
        self._reviews = reviews  # of an organisation, those that are owed

    async def metrics(self) -> bytes:
        """Prometheus' text format."""
        orgs = await self._organisations()
        recent = [place for org in orgs for place in await self._alerts.of_org(org, before=None, limit=RECENT)]
        hooks = [hook for org in orgs for hook in await self._hooks.of_org(org)]
        states = await self._alerts.states([alert_id for _, alert_id in recent])
        now = self._clock.now_ms()
        pending = [made for (made, _), state in zip(recent, states, strict=True) if state is AlertState.PENDING]
        return fleet_text(
            await self._references(),
            dict(Counter(state for state in states if state)),
            await self.breakers(),
            subscribers=await self._people.count(),
            pending_oldest_s=max(0, now - min(pending, default=now)) / 1000,
            webhooks_off=sum(bool(one.off) for one in await self._hooks.standing(hooks)),
            reviews_pending=sum([len(await self._reviews(org)) for org in orgs]),
        )

    async def breakers(self) -> dict[tuple[str, str], bool]:
        """Which carriers failed, and rest, by channel and name."""
        channels = {carrier.name: carrier.channel.name for carrier in self._carriers.all()}
        found = await self._limits.open_breakers(channels)
        return {(channels[name], name): rests for name, rests in found.items()}

    async def _references(self) -> dict[str, dict[str, int]]:
        """References by channel and state of all live alerts."""
        totals: dict[str, Counter[str]] = {}
        for counts in await self._work.counts_of(await self._alerts.versions(list(await self._alerts.live()))):
            for channel, found in counts.items():
                totals.setdefault(channel, Counter()).update(found)
        return {channel: dict(found) for channel, found in totals.items()}
