"""Reach: the estimated number of people in an area, before an alert to it is approved.

Every count before an approval comes from the noisy map of people (`geofences.people_map`), because exact counts show
where a person lives. The approval freezes the exact audience. From then on, the counts of that alert are exact, but
small ones are not shown. No exact count is shown while only the author answers for the alert.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import shapely
import structlog
from numpy.typing import NDArray
from pydantic import WithJsonSchema

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.alert import Status
from alertd.model.states import CHANNELS, AlertState
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.codec import Codec, SealError
from alertd.store.people.audience import Audience
from alertd.store.people.people_map import COLUMNS, Part, PeopleMap, Population, build, load, write
from alertd.store.people.subscribers import People
from geofences.people_map import NOISE
from geofences.regions import Library
from geofences.scan import Outline, Outlines

#: Minimum estimate that is shown as a number: about the people of one leaf (square) of the map.
LEAST_SHOWN = 100
#: A map of at most this many records takes some hundredths of a second to build. After a registration by this process,
#: such a map is built again before the next answer; a larger one may be older.
FEW_RECORDS = 5_000
#: Minimum age of a map before it is built again: in seconds, and as a multiple of the time that building took. It is
#: built again because another process may have registered people.
LEAST_AGE_S, AGE_FACTOR = 60.0, 30
#: Maximum age in seconds of a map that answers come from. A running process builds it twice as often, so that no caller
#: waits.
MOST_AGE_S = 3_600.0
#: Number of standard deviations of the map's noise that an upper bound allows for.
SURE = 4

#: The form of a small estimate. In JSON Schema an enum: clients that are generated from a `const` refuse every other
#: form.
Few = Annotated[Literal["<100"], WithJsonSchema({"type": "string", "enum": ["<100"]})]
Estimate = int | Few


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Estimates of people and of their addresses by channel."""

    people: float
    addresses: Mapping[str, float]

    @classmethod
    def of(cls, row: NDArray[np.float64]) -> Count:
        """Returns the count that a row of the map holds: people, then addresses by channel."""
        people, *addresses = np.maximum(row, 0).tolist()
        return cls(people=people, addresses=dict(zip(CHANNELS, addresses, strict=True)))

    def reached(self, channels: Collection[str]) -> float:
        """Returns about how many messages are sent on these channels."""
        return sum(self.addresses[channel] for channel in channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """An area and the regions it touches."""

    area: shapely.MultiPolygon
    told: Sequence[int]  # numbers of the regions whose people are notified if they chose the region, not a point
    touched: Mapping[int, float]  # by number of each touched region: the share of its area that lies in `area`


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Estimates for one area."""

    whole: Count
    most: float  # upper bound of people: all in each square and region of the map that counts, and the noise
    regions: Mapping[int, float] = field(default_factory=dict)  # people by number of the smallest region they are in
    # People by number of the region that they chose, if it is not notified.
    unnotified: Mapping[int, float] = field(default_factory=dict)


NOBODY = Count.of(np.zeros(COLUMNS))


def about(estimate: float) -> Estimate:
    """Returns an estimate in the form that is shown: two significant digits, or "<100" below 100."""
    if round(estimate) < LEAST_SHOWN:
        return "<100"
    unit: int = 10 ** (math.floor(math.log10(estimate)) - 1)
    return round(estimate / unit) * unit


def by_code(people: Mapping[int, float], codes: Mapping[int, str]) -> dict[str, Estimate]:
    """Returns the estimates of 100 and more by region code. `people` and `codes` are by region number."""
    found = {code: about(people.get(number, 0)) for number, code in codes.items()}
    return {code: count for code, count in found.items() if count != "<100"}


def stored_estimate(estimate: float | Literal["<100"]) -> int:
    """Returns an estimate in the form that a record stores: rounded to two significant digits, 0 if it is below 100."""
    shown = about(estimate) if isinstance(estimate, (int, float)) else estimate
    return shown if isinstance(shown, int) else 0


class Reaches:
    """Estimates reach from the map of people, and builds the map again when it is out of date."""

    def __init__(self, audience: Audience, people: People, codec: Codec, cache: Path, clock: Clock) -> None:
        """`cache` is the file that stores a map for the next start."""
        self._audience = audience
        self._people = people
        self._codec = codec
        self._cache = cache
        self._clock = clock
        self._outlines = Outlines()
        self._map: PeopleMap | None = None
        self._made_of: tuple[Library, int] | None = None  # the library without drawings, and the changes of the map
        self._made_at = self._took_s = 0.0
        self._building: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def run(self, library: Callable[[], Library]) -> AsyncIterator[None]:
        """Loads the map of the last start and builds a new one. On exit it waits for a build that runs, because a
        thread cannot be stopped.
        """
        await self._load()
        self._begin(library())
        refreshing = asyncio.create_task(self._refresh(library))
        try:
            yield
        finally:
            refreshing.cancel()
            await asyncio.gather(refreshing, *([self._building] if self._building else []), return_exceptions=True)

    async def current(self, library: Library) -> PeopleMap:
        """Returns the map to answer from. A small map includes everybody whom this process registered. A large map may
        be some minutes old, or an hour if no caller needed it meanwhile. Keeps the last map if the store does not
        answer. Raises StoreUnavailableError if there is none.
        """
        if self._map is None:
            await self._load()
        if self._is_outdated(library):
            building = self._begin(library)
            if self._is_quick() or self._age_s() > MOST_AGE_S:
                is_built = await self._finished(building)
                if is_built and self._is_outdated(library) and self._is_quick():  # it began before the last change
                    await self._finished(self._begin(library))
        assert self._map is not None
        return self._map

    async def _finished(self, building: asyncio.Task[None]) -> bool:
        """Waits for a build, and returns whether it succeeded. Raises its exception only if there is no older map: an
        old estimate is better than a refused alert.
        """
        try:
            await asyncio.shield(building)
        except Exception:
            if self._map is None:
                raise
            return False
        return True

    async def _refresh(self, library: Callable[[], Library]) -> None:
        """Builds the map again before it is too old to answer from."""
        while True:
            await self._clock.sleep(MOST_AGE_S / 2)
            if self._age_s() >= MOST_AGE_S / 2:
                self._begin(library())

    async def of(self, population: Population, ground: Ground, library: Library) -> Reach:
        """Returns an estimate of how many people an alert to this area notifies. `population` is a kind of alert, and
        whether only testers count. `library` has the regions that the map of people is built from.
        """
        part = (await self.current(library)).parts[population]
        shape = shapely.to_wkb(ground.area)
        outline = self._outlines.get(shape) or Outline(ground.area)
        reach = await asyncio.to_thread(_estimated, part, ground, shape, outline)
        self._outlines.keep(shape, outline)
        return reach

    async def _load(self) -> None:
        """Loads the map that an earlier process stored, with its age. Keeps the present map if the file cannot be read."""
        with suppress(OSError, SealError, KeyError, ValueError):
            age_s = self._clock.now_ms() / 1_000 - self._cache.stat().st_mtime
            self._map = await asyncio.to_thread(load, self._cache, self._codec)
            self._made_at = self._clock.monotonic() - max(age_s, 0.0)

    def _is_quick(self) -> bool:
        """Returns whether a build is quick enough to wait for: the map has few records, or there is none."""
        return self._map is None or self._map.records <= FEW_RECORDS

    def _is_outdated(self, library: Library) -> bool:
        """Returns whether the map must be built again: for another region library, after a registration by this process
        (a large map only after some time), or because of its age.
        """
        if self._map is None or self._made_of is None or self._made_of[0] is not library.without_drawn:
            return True
        age_s = self._age_s()
        if self._made_of[1] != self._people.changes:
            return self._is_quick() or age_s > AGE_FACTOR * self._took_s
        return age_s > max(LEAST_AGE_S, AGE_FACTOR * self._took_s)

    def _age_s(self) -> float:
        """Returns the seconds since the map was built."""
        return self._clock.monotonic() - self._made_at

    def _begin(self, library: Library) -> asyncio.Task[None]:
        """Starts to build the map, unless a build runs. Returns the task of that build."""
        if self._building is None or self._building.done():
            self._building = asyncio.create_task(self._build(library))
            self._building.add_done_callback(_note_failure)
        return self._building

    async def _build(self, library: Library) -> None:
        """Builds the map from all subscribers, and stores a large map on disk for the next start."""
        library = library.without_drawn  # no person belongs to a drawing, so the map stays up to date
        changes, began = self._people.changes, self._clock.monotonic()
        last = await self._people.last()
        self._map = await asyncio.to_thread(build, self._audience, library, self._codec, last)
        self._made_of, self._made_at = (library, changes), self._clock.monotonic()
        self._took_s = self._made_at - began
        if not self._is_quick():
            await asyncio.to_thread(_cached, self._cache, self._map, self._codec)


def _note_failure(task: asyncio.Task[None]) -> None:
    """Logs the error of a build that failed."""
    if not task.cancelled() and (error := task.exception()):
        structlog.get_logger().warning("people_map.build_failed", error=type(error).__qualname__)


def _cached(path: Path, people: PeopleMap, codec: Codec) -> None:
    """Stores the map for the next start. If the disk is full, only that map is lost."""
    try:
        write(path, people, codec)
    except OSError as error:
        structlog.get_logger().warning("people_map.cache_failed", error=type(error).__qualname__)


def _estimated(part: Part, ground: Ground, shape: bytes, outline: Outline) -> Reach:
    """Estimates how many people in the whole area an alert reaches. `part` is the map of the people who want this kind
    of alert (all of them, or testers only). Reads the area from `shape`, its WKB, because another thread may be using
    `ground.area`.
    """
    area = shapely.from_wkb(shape)
    assert isinstance(area, shapely.MultiPolygon)
    shares = part.leaves.shares(area, outline) if not area.is_empty else np.zeros(len(part.leaves))
    of_regions = part.regions.shares(ground.told, ground.touched)
    row = shares @ part.leaves.counts + of_regions @ part.regions.counts
    touched, notified = shares > 0, of_regions > 0
    most = part.leaves.counts[touched, 0].sum() + part.regions.counts[notified, 0].sum()
    met = np.isin(part.regions.numbers, np.fromiter(ground.touched, np.uint32))
    unnotified = met & part.regions.is_whole & ~notified
    return Reach(
        whole=Count.of(row if len(row) else np.zeros(COLUMNS)),
        most=float(most + SURE * NOISE * math.sqrt(max(int(touched.sum() + notified.sum()), 1))),
        regions=_by_region(part, shares * part.leaves.counts[:, 0], of_regions * part.regions.counts[:, 0]),
        unnotified=dict(
            zip(part.regions.numbers[unnotified].tolist(), part.regions.counts[unnotified, 0].tolist(), strict=True)
        ),
    )  # fmt: skip


def _by_region(part: Part, people: NDArray[np.float64], named: NDArray[np.float64]) -> dict[int, float]:
    """Returns people by region number. The people of each map square (`people`) are divided equally among the regions
    that its points lie in; people who chose a region (`named`) are added to that region.
    """
    some = np.flatnonzero(people)
    labels = part.labels[some]
    own = labels > 0
    weight = people[some] / np.maximum(own.sum(axis=1), 1)
    totals = np.bincount(labels[own], np.broadcast_to(weight[:, None], labels.shape)[own]) if own.any() else np.empty(0)
    found = {int(number): float(totals[number]) for number in np.flatnonzero(totals)}
    for number, count in zip(part.regions.numbers.tolist(), named.tolist(), strict=True):
        if count:
            found[number] = found.get(number, 0.0) + count
    return found


SMALL_COUNT = 20  # below this a count could tell where one person lives, so it is shown as "<20"

#: The form of a small count. In JSON Schema an enum: clients that are generated from a `const` refuse every other form.
Small = Annotated[Literal["<20"], WithJsonSchema({"type": "string", "enum": ["<20"]})]
#: An exact count from 20 up.
Shown = int | Small


def is_exact(record: AlertRecord) -> bool:
    """Returns whether the counts of an alert may be exact: it is an Actual alert that was approved by a second person,
    or reviewed by one since.

    A person who sends alone could compare the counts of two alerts, and so find out where a person lives.
    """
    return bool(record.times.start) and record.status == Status.ACTUAL and not record.approval.is_alone


def had_nobody_to_notify(record: AlertRecord) -> bool:
    """Returns whether an alert was sent without any message, because its audience was empty or had no address on its
    channels.

    This is known only after the sending has ended. It reveals no more than the progress of the alert, which then has
    no first hand-over.
    """
    return record.state is AlertState.SENT and not record.plan.batches and record.id == chain_of(record.id)


def people_shown(record: AlertRecord) -> Shown | Estimate:
    """Returns the number of people of an alert: the frozen audience if counts are exact, otherwise the estimate at
    submission.
    """
    return exactly_shown(record.people) if is_exact(record) else about(record.target.seen)


def exactly_shown(count: int) -> Shown:
    """Returns an exact count of people. None and a few look the same: "<20"."""
    return count if count >= SMALL_COUNT else "<20"


def too_few_people(least: int) -> Problem:
    """Returns the Problem for an Actual alert that reaches so few people that the message would reveal who they are."""
    return Problem(
        "audience-too-small", f"Fewer than {least} people are in the area: an alert would reveal who they are."
    )
