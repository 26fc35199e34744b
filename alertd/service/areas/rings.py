"""Rings of a target: whoever is in several belongs to the innermost, and is told as loud and as late as that one says.

A ring goes by its number: 1 for the first of the target, and so on; 0 is the rest of the area, told at once and as the alert says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.model.alert import Alert, Policy, Target, loudness
from alertd.store.delivery.work_records import Pace, When
from channels.base import Loudness
from geofences.polygons import ground

REST = 0
_MINUTE_MS = 60_000
_LOUDEST_FIRST = (Loudness.LOUD, Loudness.NORMAL, Loudness.SILENT)


def outwards(target: Target) -> list[int]:
    """The rings from the innermost to the outermost; of equal ones the first."""
    return sorted(range(1, len(target.rings) + 1), key=lambda ring: (target.rings[ring - 1].radius_km, ring))


def base(target: Target) -> int:
    """Where those are who are in none of the smaller rings: the outermost if there is nothing but rings, else the rest."""
    other = target.regions or target.polygons or target.circles
    return REST if other or not target.rings else outwards(target)[-1]


def own_grounds(
    target: Target, grounds: Sequence[shapely.MultiPolygon], area: shapely.MultiPolygon
) -> dict[int, shapely.MultiPolygon]:
    """The part of each ring that no smaller ring has, and the rest of the area, by ring. `grounds` are in the target's order."""
    taken: shapely.Geometry = shapely.MultiPolygon()
    found: dict[int, shapely.MultiPolygon] = {}
    for ring in outwards(target):
        found[ring] = ground(shapely.difference(grounds[ring - 1], taken))
        taken = shapely.union(taken, grounds[ring - 1])
    if base(target) == REST:
        found[REST] = ground(shapely.difference(area, taken))
    return found


def delays_ms(target: Target) -> dict[int, int]:
    """How long after the approval each ring is told."""
    return {number: ring.delay_min * _MINUTE_MS for number, ring in enumerate(target.rings, 1)}


def when(alert: Alert, since_ms: int = 0, waited_ms: int = 0) -> When:
    """What each ring waits for, `since_ms` after the approval; before that its rings have waited for `waited_ms` already."""
    paced = paces(alert.target, alert.policy)
    delays = {ring: max(0, delay_ms - waited_ms) for ring, delay_ms in delays_ms(alert.target).items()}
    return When(delays_ms=delays, paces=paced, late_ms=1_000 * alert.policy.after_s, since_ms=since_ms)


def paces(target: Target, policy: Policy) -> dict[int, Pace]:
    """How fast each ring is told. Those without a pace of their own, and the rest, share the policy's; empty where nothing is slowed."""
    own = {REST: None} | {number: ring.pace_per_min for number, ring in enumerate(target.rings, 1)}
    shared = Pace("all", policy.pace_per_min) if policy.pace_per_min else None
    wanted = {number: Pace(str(number), pace) if pace else shared for number, pace in own.items()}
    return {number: pace for number, pace in wanted.items() if pace}


def paced_s(paces_of: Mapping[int, Pace], messages: Mapping[int, int]) -> dict[int, float]:
    """Seconds that each ring's pace takes, given the messages of each ring; a ring that is not slowed is left out."""
    totals = Counter[Pace]()
    for ring, count in messages.items():
        if pace := paces_of.get(ring):
            totals[pace] += count
    return {ring: totals[pace] * 60 / pace.per_min for ring, pace in paces_of.items()}


def in_turn(alert: Alert, rings: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The order in which people are planned, given the ring of each: what waits last, what is loud first, from inside out."""
    delays, inner = delays_ms(alert.target), [*outwards(alert.target), REST]
    numbers = range(len(alert.target.rings) + 1)
    turn = sorted(numbers, key=lambda r: (delays.get(r, 0), _LOUDEST_FIRST.index(loudness(alert, r)), inner.index(r)))
    place = np.empty(len(turn), np.uint8)
    place[turn] = np.arange(len(turn))
    return np.argsort(place[rings], kind="stable")
