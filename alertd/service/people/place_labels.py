"""Keeps each place labelled with its smallest region of the current library. The library changes when a finer region is
imported or one is removed.

A subscriber who named a removed region gets no alerts through it any more; the log then says so. Until every place is
labelled, counts use the parent region of places without a label.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.common.repetition import repeated
from alertd.service.areas.regions import Regions
from alertd.service.people.registry import Registry
from alertd.store.people.subscribers import LabelMark, People
from geofences.regions import Library

#: Seconds between two checks for new regions.
POLL_S = 5.0
#: Number of subscribers labelled at once: that takes some 20 ms of this process. Requests are answered in between.
PAGE = 500
#: The pause after each page, as a multiple of the page's time. Three quarters of the process's time stay free for
#: alerts. Until all is done, counts are coarser.
PAUSE = 3
#: Maximum number of removed regions that the log names.
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class PlaceLabels:
    """Labels places in the background."""

    registry: Registry
    people: People
    regions: Regions
    mark: LabelMark
    clock: Clock

    def run(self) -> AbstractAsyncContextManager[None]:
        """Returns a context: inside it, `bring_up` is called every `POLL_S` seconds."""
        return repeated("labels", self.bring_up, POLL_S, self.clock)

    async def bring_up(self) -> int:
        """Labels all places anew if the regions have changed since the last time. Returns how many people got other
        labels.
        """
        wanted = self.regions.library.fingerprint
        if await self.mark.get() == wanted:
            return 0
        changed, complete = 0, True
        after: int | None = 0
        while after is not None:
            began = self.clock.monotonic()
            count, done, after = await self.registry.relabel(after, PAGE)
            changed, complete = changed + count, complete and done
            await self.clock.sleep(PAUSE * (self.clock.monotonic() - began))
        if complete and self.regions.library.fingerprint == wanted:
            await self.mark.set(wanted)
        structlog.get_logger().info("place_labels.updated", people=changed, complete=complete)
        if gone := await regions_gone(self.people, self.regions.library.without_drawn):
            structlog.get_logger().warning(
                "region.found_missing",
                people=len(set[int]().union(*gone.values())),
                regions=len(gone),
                codes=sorted(gone)[:MOST_TOLD],
            )
        return changed


async def regions_gone(people: People, library: Library) -> dict[str, set[int]]:
    """Returns the subscribers who name a removed region, by the region's code. No alert reaches them through it.

    `library` has no drawn regions, so a drawn region that an earlier version accepted as a place counts as removed.
    """
    return await people.naming(lambda number: library.by_number(number) is not None)
