"""What is true of the whole fleet at this moment, from the store: the identity of references among it."""

from __future__ import annotations

from collections import Counter

from alertd.alerts import AlertState
from alertd.clock import Clock
from alertd.metrics import fleet_text
from alertd.store.alerts import Alerts
from alertd.store.people import People
from alertd.store.work import Work

#: Alerts looked at for their states: the newest. Older ones have ended.
RECENT = 1_000


class Fleet:
    """Makes `/metrics/fleet`."""

    def __init__(self, alerts: Alerts, work: Work, people: People, clock: Clock, org: str) -> None:
        self._alerts = alerts
        self._work = work
        self._people = people
        self._clock = clock
        self._org = org

    async def metrics(self) -> bytes:
        """Prometheus' text format."""
        counts: dict[str, Counter[str]] = {}
        states: Counter[str] = Counter()
        pending = self._clock.now_ms()
        for alert_id, created in await self._alerts.of_org(self._org, before=None, limit=RECENT):
            state = await self._alerts.state(alert_id)
            if state is None:
                continue
            states[state] += 1
            if state is AlertState.PENDING:
                pending = min(pending, created)
            for channel, found in (await self._work.counts(alert_id)).items():
                counts.setdefault(channel, Counter()).update(found)
        return fleet_text(
            {channel: dict(found) for channel, found in counts.items()},
            dict(states),
            subscribers=await self._people.count(),
            pending_oldest_s=(self._clock.now_ms() - pending) / 1000,
        )
