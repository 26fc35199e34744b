"""Whoever is on call is told once a minute at most: of the alert that came first, and how many others wait. What waits longer is asked for then.

It is kept in the process that tells people. One that takes over knows nothing of it: then somebody is told once more, and not never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alertd.common.clock import Clock
from alertd.model.oncall import OnCallPerson
from alertd.service.oncall.pager import Reached

#: So long a page is good for what waited when it was sent: nobody reads a second one sooner, and a minute is what a step has at least.
PACE_MS = 60_000

#: Organisation, group of alerts, addresses of the person.
_Who = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What came of telling somebody, and what for."""

    alert_id: str
    at: int  # UNIX ms
    waiting: frozenset[str] = frozenset()  # all that they were told of
    reached: Reached | None = None  # None where nobody was told

    @property
    def is_taken(self) -> bool:
        return self.reached is not None and self.reached.taken


@dataclass(slots=True)
class PageClaim:
    """Who of some people is to be told of an alert now."""

    wait_ms: int = 0  # nobody yet: somebody was told a moment ago, of others
    shared: dict[int, Shared] = field(default_factory=dict)  # by their place: who was told of this one with another
    mine: dict[int, asyncio.Future[Shared]] = field(default_factory=dict)  # and who is to be told now

    def settle(self, alert_id: str, at: int, waiting: frozenset[str], found: Mapping[int, Reached | None]) -> None:
        """Those that were to be told were, or were not. Said again it changes nothing."""
        for i, told in self.mine.items():
            if not told.done():
                told.set_result(Shared(alert_id, at, waiting, found.get(i)))


class PagePace:
    """Of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[_Who, asyncio.Future[Shared]] = {}

    async def claim(self, org: str, group: str, people: Sequence[OnCallPerson], alert_id: str) -> PageClaim:
        """Claims the people to page about an alert. The caller pages them and settles the claim; meanwhile another caller waits. A page covers alerts
        of one `group` only, so a page about a test or about a request delays no other page.
        """
        names: list[_Who] = [(org, group, tuple((one.channel, one.value) for one in each.addresses)) for each in people]
        while going := [told for name in names if (told := self._last.get(name)) and not told.done()]:
            await asyncio.wait(going)
        now = self._clock.now_ms()
        self._last = {  # what is told of as still to come was before the clock was set back
            name: told for name, told in self._last.items() if not told.done() or abs(now - told.result().at) < PACE_MS
        }
        lately = {i: told.result() for i, name in enumerate(names) if (told := self._last.get(name))}
        lately = {i: one for i, one in lately.items() if one.is_taken and one.alert_id != alert_id}
        if waits := [one.at + PACE_MS - now for one in lately.values() if alert_id not in one.waiting]:
            return PageClaim(wait_ms=max(waits))
        claim, loop = PageClaim(shared=lately), asyncio.get_running_loop()
        for i, name in enumerate(names):
            if i not in lately:
                claim.mine[i] = self._last[name] = loop.create_future()
        return claim
