"""At which addresses people are told: from their numbers, or from pairs of them and channels, to batches of references.

Those of a batch have in common what they are sent, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from alertd.model.kinds import ON_SCREEN, Channel
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Address, AddressState, Subscriber, wants_kind
from alertd.rendering import choose_language
from alertd.service.alerts.delivered_to import SCREENS, Pairs
from alertd.store.delivery.work_records import BatchKey, pack_ref
from alertd.store.people.subscribers import Absence

SMS = CHANNELS.index(Channel.SMS)
#: References that have something in common.
Group = tuple[BatchKey, bytes]


def of_pairs(kind: str, people: Sequence[Subscriber | Absence], pairs: Pairs, languages: Sequence[str]) -> list[Group]:
    """The references of pairs, given who has their numbers now: each person's active addresses on that channel. `kind` is that of the alert."""
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
    """The references of people, grouped by what a batch has in common; `ring_of` and `inside` are by number of the person,
    `told_pairs` and those told `again` by number and channel.
    """
    wanted = {CHANNELS.index(channel) for channel in channels}
    groups: dict[tuple[int, str, int, bool, bool, bool], list[bytes]] = {}
    for person in people:
        number, may_ack = person.number, escalates and may_acknowledge(person, channels)
        shown = may_ack and any(
            pair in told_pairs and pair not in again for pair in (number << 3 | one for one in SCREENS)
        )
        for address, was_told in _meant(person, wanted, told_pairs, again, inside):
            unheard = may_ack and address.channel == SMS and not was_told  # whoever had an SMS has its change by SMS
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
    """The active addresses on the channels that are `wanted` at which a person is told, and whether they were told by that channel before."""
    for address in person.addresses:
        if address.channel not in wanted or address.state != AddressState.ACTIVE:
            continue
        pair = person.number << 3 | address.channel
        was_told = pair in told_pairs
        if pair in again if was_told else person.number in inside:
            yield address, was_told


def _language(person: Subscriber, address: Address, languages: Sequence[str]) -> str:
    """The language that an address is told in, of those that the alert can be told in."""
    reads = (address.language, *person.languages) if address.language else person.languages
    return choose_language(reads, languages)


def may_acknowledge(person: Subscriber, channels: Collection[str]) -> bool:
    """Whether an alert on some channels reaches a screen of theirs, from which an app may acknowledge it."""
    return any(
        address.state == AddressState.ACTIVE
        and CHANNELS[address.channel] in ON_SCREEN
        and CHANNELS[address.channel] in channels
        for address in person.addresses
    )


def pairs_of(pairs: Pairs, numbers: NDArray[np.uint64]) -> set[int]:
    """Those of a few people, of pairs that are sorted."""
    if not len(pairs):
        return set()
    wanted = (numbers[:, np.newaxis] << np.uint64(3) | np.arange(8, dtype=np.uint64)).ravel()
    return set(wanted[among(pairs, wanted)].tolist())


def among(known: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of a few are among many that are sorted."""
    at = np.searchsorted(known, wanted)
    found = at < len(known)
    found[found] = known[at[found]] == wanted[found]
    return found


def untold(numbers: Sequence[int], channel: str, language: str) -> list[Group]:
    """References for people whose records cannot be read, so that the ledger shows that somebody was not told."""
    refs = b"".join(pack_ref(number, 0) for number in numbers)
    return [(BatchKey(channel=channel, language=language), refs)] if refs else []
