"""Keeps each place labelled with its smallest region of the current library, after an import or a deletion of regions.

A place that names a deleted region gets no alerts any more; the log says so. Until all places are relabelled, counts by region use the parent
region of an unknown label.
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

#: How often it is looked whether there is something to do.
LOOK_S = 5.0
#: Subscribers gone through at once: some 20 ms of this process, between which requests are answered.
PAGE = 500
#: A pause after each, so many times as long as it took: alerts have three quarters of the process, and until all is done counts are coarser.
PAUSE = 3
#: So many codes of regions that are gone are told in the log.
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
        """Looks again and again, as long as this lasts."""
        return repeated("labels", self.bring_up, LOOK_S, self.clock)

    async def bring_up(self) -> int:
        """Label everybody's places anew if the regions are others than the last time. Answers how many people got others."""
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
        structlog.get_logger().info("places labelled", people=changed, complete=complete)
        if gone := await regions_gone(self.people, self.regions.library.without_drawn):
            structlog.get_logger().warning(
                "people named regions that are gone",
                people=len(set[int]().union(*gone.values())),
                regions=len(gone),
                codes=sorted(gone)[:MOST_TOLD],
            )
        return changed


async def regions_gone(people: People, library: Library) -> dict[str, set[int]]:
    """The subscribers who name a region that is gone, by the code of the region. No alert reaches them by it.

    `library` has no drawn regions, so a drawn region that an earlier version accepted as a place counts as gone.
    """
    return await people.naming(lambda number: library.by_number(number) is not None)
