"""Chooses the recipients' addresses and groups their references into batches. (A reference is a subscriber number with
an address number.) The input is either people who still belong to the place, or pairs of subscriber number and channel.

All references of a batch get the same message at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.common.clock import HOUR_MS
from alertd.model.alert import Alert, Status
from alertd.model.kinds import ON_SCREEN, Channel
from alertd.model.states import CHANNELS, KINDS, PLACE_KINDS
from alertd.model.subscriber import Address, AddressState, Place, Subscriber, seen_s, wants_kind
from alertd.rendering import choose_language
from alertd.service.alerts.later_audience import SCREENS, Pairs
from alertd.store.delivery.work_records import BatchKey, pack_ref
from alertd.store.people.subscribers import Absence
from geofences.scan import inside
from geofences.tiles import position

#: How a place relates to an alert. `not-asked-for`: the alert's policy does not name places of this kind.
Standing = Literal["inside", "outside", "not-asked-for", "too-old"]


class Belongs:
    """Checks whether a person of a frozen audience still belongs to the alert's area when the planner reaches them."""

    def __init__(self, alert: Alert, area: shapely.MultiPolygon, regions: set[int], start_ms: int) -> None:
        """`start_ms` is the time of the approval (UNIX ms). The age of a place is measured at that time, so that a
        place that counted then does not become too old later.
        """
        self._area = area
        self._regions = regions
        self._kind = 1 << KINDS.index(alert.kind)
        self._places = {PLACE_KINDS.index(place) for place in alert.policy.places}
        # In hours, as in the tiles. One hour more, because the audience was read a moment before the approval.
        self._oldest_h = start_ms // HOUR_MS - alert.policy.max_age_h - 1
        self._testers_only = alert.status is not Status.ACTUAL

    def still(self, people: Sequence[Subscriber]) -> list[Subscriber]:
        """Returns those of the people who want this kind of alert, are testers if it goes to testers only, and have a
        place in its area that counts.
        """
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
        """Returns how each place relates to the alert. Does not check its owner, such as whether they want this kind of
        alert.
        """
        within = self._within(places)
        return [
            self._counts(place) or ("inside" if is_in else "outside")
            for place, is_in in zip(places, within, strict=True)
        ]

    def _counts(self, place: Place) -> Standing | None:
        """Returns `not-asked-for` if the alert does not ask for this kind of place, `too-old` if the place was seen too
        long ago, else None. Does not check its position.
        """
        if place.kind not in self._places:
            return "not-asked-for"
        at_s = seen_s(place)
        return "too-old" if at_s is not None and at_s // 3600 < self._oldest_h else None

    def _within(self, places: Sequence[Place]) -> list[bool]:
        """Returns for each place whether it lies in the area; for a place that is a region, whether the alert notifies
        that region.
        """
        tile = np.array([place.tile for place in places], np.uint32)
        x, y = np.array([place.x for place in places]), np.array([place.y for place in places])
        within = inside(self._area, *position(tile, x, y))  # as exact as the tiles, so that both agree
        return [
            bool(is_in) if place.region is None else place.leaf in self._regions
            for place, is_in in zip(places, within, strict=True)
        ]


SMS = CHANNELS.index(Channel.SMS)
#: The properties of a batch, and the packed references that share them.
Group = tuple[BatchKey, bytes]


def of_pairs(kind: str, people: Sequence[Subscriber | Absence], pairs: Pairs, languages: Sequence[str]) -> list[Group]:
    """Returns the references of pairs (subscriber number and channel), grouped into batches: each person's active
    addresses on that channel. A person who opted out of the alert's `kind` is in a muted batch. `people` are the
    current owners of the numbers.
    """
    by_number = {person.number: person for person in people if isinstance(person, Subscriber)}
    groups: dict[tuple[int, str, bool], list[bytes]] = {}
    for pair in pairs.tolist():
        person, channel = by_number.get(pair >> 3), pair & 7
        if person is None:
            continue
        muted = not wants_kind(person, kind)
        for address in person.addresses:
            if address.channel == channel and address.state == AddressState.ACTIVE:
                group = groups.setdefault((channel, _language(person, address, languages), muted), [])
                group.append(pack_ref(person.number, address.number))
    return [
        (BatchKey(channel=CHANNELS[channel], language=language, muted=muted), b"".join(refs))
        for (channel, language, muted), refs in sorted(groups.items())
    ]


def of_people(
    people: Iterable[Subscriber],
    channels: Sequence[str],
    languages: Sequence[str],
    ring_of: Mapping[int, int],
    told_pairs: Collection[int],
    again: Collection[int],
    inside: Collection[int],
    *,
    escalates: bool = False,
) -> list[Group]:
    """Returns the references of people, grouped by the properties that a batch shares.

    `ring_of` and `inside` go by the person's number. `told_pairs` (notified before) and `again` (to be notified again)
    hold pairs of number and channel. `escalates`: the SMS waits for an acknowledgement on a screen.
    """
    wanted = {CHANNELS.index(channel) for channel in channels}
    groups: dict[tuple[int, str, int, bool, bool, bool], list[bytes]] = {}
    for person in people:
        number, may_ack = person.number, escalates and may_acknowledge(person, channels)
        shown = may_ack and any(
            pair in told_pairs and pair not in again for pair in (number << 3 | one for one in SCREENS)
        )
        for address, was_told in _meant(person, wanted, told_pairs, again, inside):
            # A recipient of the SMS gets its change by SMS.
            unheard = may_ack and address.channel == SMS and not was_told
            language = _language(person, address, languages)
            alike = (address.channel, language, ring_of[number], was_told, unheard, unheard and shown)
            groups.setdefault(alike, []).append(pack_ref(number, address.number))
    return [
        (
            BatchKey(
                channel=CHANNELS[channel],
                language=language,
                ring=ring,
                again=was_told,
                unheard=unheard,
                shown=was_shown,
            ),
            b"".join(refs),
        )
        for (channel, language, ring, was_told, unheard, was_shown), refs in sorted(groups.items())
    ]


def _meant(
    person: Subscriber,
    wanted: Collection[int],
    told_pairs: Collection[int],
    again: Collection[int],
    inside: Collection[int],
) -> Iterator[tuple[Address, bool]]:
    """Yields the person's active addresses to notify on the `wanted` channels, each with whether the person was
    notified on that channel before. If so, the address counts only if the pair is in `again`; otherwise only if the
    person is `inside`.
    """
    for address in person.addresses:
        if address.channel not in wanted or address.state != AddressState.ACTIVE:
            continue
        pair = person.number << 3 | address.channel
        was_told = pair in told_pairs
        if pair in again if was_told else person.number in inside:
            yield address, was_told


def _language(person: Subscriber, address: Address, languages: Sequence[str]) -> str:
    """Returns the language for an address, of those in which the alert can be written."""
    reads = (address.language, *person.languages) if address.language else person.languages
    return choose_language(reads, tuple(languages))


def may_acknowledge(person: Subscriber, channels: Collection[str]) -> bool:
    """Returns whether an alert on these channels reaches a screen of the person, on which an app can acknowledge the
    alert.
    """
    return any(
        address.state == AddressState.ACTIVE
        and CHANNELS[address.channel] in ON_SCREEN
        and CHANNELS[address.channel] in channels
        for address in person.addresses
    )


def pairs_of(pairs: Pairs, numbers: NDArray[np.uint64]) -> set[int]:
    """Returns those of the `pairs` (subscriber number and channel, packed and sorted) that belong to the people with
    these numbers.
    """
    if not len(pairs):
        return set()
    wanted = (numbers[:, np.newaxis] << np.uint64(3) | np.arange(8, dtype=np.uint64)).ravel()
    return set(wanted[among(pairs, wanted)].tolist())


def among(known: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns, for each of the `wanted` values, whether it is in `known`, which is sorted."""
    at = np.searchsorted(known, wanted)
    found = at < len(known)
    found[found] = known[at[found]] == wanted[found]
    return found
