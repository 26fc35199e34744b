"""Who belongs to the place that an alert concerns, by the places of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import shapely

from alertd.common.clock import HOUR_MS
from alertd.model.alert import Alert, Status
from alertd.model.states import KINDS, PLACE_KINDS
from alertd.model.subscriber import Place, Subscriber, seen_s
from geofences.inside import inside
from geofences.tiles import position

#: How a place stands to an alert; one of another kind than the alert's policy names is not asked for.
Standing = Literal["inside", "outside", "not-asked-for", "too-old"]


class Belongs:
    """Whether someone of a frozen audience still belongs to the place when the plan reaches them."""

    def __init__(self, alert: Alert, area: shapely.MultiPolygon, regions: set[int], start_ms: int) -> None:
        """`start_ms` is the time of the approval: nobody who was counted then grows too old since."""
        self._area = area
        self._regions = regions
        self._kind = 1 << KINDS.index(alert.kind)
        self._places = {PLACE_KINDS.index(place) for place in alert.policy.places}
        # In hours, as in the tiles; one more, since the audience was read a moment before the approval.
        self._oldest_h = start_ms // HOUR_MS - alert.policy.max_age_h - 1
        self._testers_only = alert.status is not Status.ACTUAL

    def still(self, people: Sequence[Subscriber]) -> list[Subscriber]:
        spots = [
            (i, place)
            for i, person in enumerate(people)
            if person.kinds & self._kind and (person.tester or not self._testers_only)
            for place in person.places
            if self._counts(place) is None
        ]
        within = self._within([place for _, place in spots])
        kept = {i for (i, _), is_in in zip(spots, within, strict=True) if is_in}
        return [person for i, person in enumerate(people) if i in kept]

    def standings(self, places: Sequence[Place]) -> list[Standing]:
        """How each place stands, whoever belongs there."""
        within = self._within(places)
        return [
            self._counts(place) or ("inside" if is_in else "outside")
            for place, is_in in zip(places, within, strict=True)
        ]

    def _counts(self, place: Place) -> Standing | None:
        """Why a place does not count, wherever it lies."""
        if place.kind not in self._places:
            return "not-asked-for"
        at_s = seen_s(place)
        return "too-old" if at_s is not None and at_s // 3600 < self._oldest_h else None

    def _within(self, places: Sequence[Place]) -> list[bool]:
        tile = np.array([place.tile for place in places], np.uint32)
        x, y = np.array([place.x for place in places]), np.array([place.y for place in places])
        within = inside(self._area, *position(tile, x, y))  # as exact as the tiles are, so that both agree
        return [
            bool(is_in) if place.region is None else place.leaf in self._regions
            for place, is_in in zip(places, within, strict=True)
        ]
