"""Whether workers send by the channels that have a carrier: where none does nobody is told, and nobody else can say so."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import structlog

from alertd.common.clock import Clock
from alertd.common.repetition import repeated
from alertd.service.carriers.carriers import Carriers
from alertd.store.engine.heartbeats import Heartbeats

LOOK_S = 10.0


class ChannelCoverage:
    """Of an installation, as an API process sees it."""

    def __init__(self, carriers: Carriers, at_work: Heartbeats, clock: Clock) -> None:
        self._carriers = carriers
        self._at_work = at_work
        self._clock = clock
        self._missed: set[str] = set()
        self._told: set[str] = set()

    async def channels(self) -> dict[str, bool]:
        """Of each channel that has a carrier here, whether a worker sends by it."""
        return await self._at_work.find(sorted(self._carriers.channels))

    def run(self) -> AbstractAsyncContextManager[None]:
        """Looks again and again, as long as this lasts."""
        return repeated("attendance", self.look, LOOK_S, self._clock)

    async def look(self) -> None:
        """Tell in the log of what nobody sends by; of what was missed once a worker may be starting."""
        missed = {channel for channel, is_so in (await self.channels()).items() if not is_so}
        for channel in sorted((missed & self._missed) - self._told):
            structlog.get_logger().error("no worker sends", channel=channel)
        for channel in sorted(self._told - missed):
            structlog.get_logger().info("a worker sends again", channel=channel)
        self._missed, self._told = missed, missed & (self._missed | self._told)
