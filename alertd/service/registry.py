"""Subscribers come, change and go: documents in, records and cells out, addresses claimed for one person only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from alertd import registrations
from alertd.clock import Clock
from alertd.errors import Fault, Problem
from alertd.registrations import Registration
from alertd.store.people import Change, People
from alertd.subscribers import AddressesUsedUpError, Place, Subscriber, from_document
from geofences.regions import Library

#: A claim whose holder's record does not confirm it is somebody's unfinished work for this long, then nobody's.
CLAIM_GRACE_S = 60
TRIES = 5  # when somebody else changes the same subscriber


@dataclass(frozen=True, slots=True)
class Entry:
    """One subscriber to be written."""

    id: str
    document: Registration


class Registry:
    """Writes and reads subscribers."""

    def __init__(self, people: People, library: Library, clock: Clock) -> None:
        self._people = people
        self._library = library
        self._clock = clock

    async def get(self, name: str) -> Subscriber:
        """Raises Problem when there is none."""
        number = await self._people.number_of(name)
        person = await self._people.get(number) if number else None
        if person is None:
            raise Problem("not-found", "There is no such subscriber.")
        return person

    async def put(self, name: str, document: Registration) -> tuple[Subscriber, bool]:
        """Write one subscriber. Answers it, and whether it is new. Raises Problem."""
        for _ in range(TRIES):
            outcome = (await self.put_many([Entry(name, document)]))[0]
            if isinstance(outcome, Problem):
                raise outcome
            if outcome is not None:
                return outcome, outcome.version == 1
        raise Problem("precondition-failed", "Somebody else keeps changing this subscriber. Try again.")

    async def put_many(self, entries: Sequence[Entry]) -> list[Subscriber | Problem | None]:
        """Write many, each by itself: the subscriber, what is wrong with it, or None when it changed meanwhile.

        An id may stand once in `entries`.
        """
        outcomes: list[Subscriber | Problem | None] = [self._problem(entry.document) for entry in entries]
        changes = await self._changes(entries, outcomes)
        located = self._located([change.new for change in changes.values() if change.new])
        ready = [(i, Change(change.old, new)) for (i, change), new in zip(changes.items(), located, strict=True)]
        for i, conflict in (await self._claim(ready)).items():
            outcomes[i] = conflict
        ready = [(i, change) for i, change in ready if not isinstance(outcomes[i], Problem)]
        done = await self._people.put([change for _, change in ready])
        for (i, change), is_done in zip(ready, done, strict=True):
            outcomes[i] = change.new if is_done else None
        await self._release([change for (_, change), is_done in zip(ready, done, strict=True) if is_done])
        fresh = sum(isinstance(o, Subscriber) and o.version == 1 for o in outcomes)
        if fresh:
            await self._people.count(fresh)
        return outcomes

    async def forget(self, name: str) -> None:
        """Remove a subscriber with all that belongs to it. Raises Problem when there is none."""
        for _ in range(TRIES):
            person = await self.get(name)
            if (await self._people.put([Change(person, None)]))[0]:
                await self._release([Change(person, None)])
                await self._people.release_id(name, person.number)
                await self._people.count(-1)
                return
        raise Problem("precondition-failed", "Somebody else keeps changing this subscriber. Try again.")

    async def lookup(self, channel: int, value: str) -> Subscriber | None:
        """Whoever has an address."""
        holder = await self._people.holder(self._people.address_hash(channel, value))
        person = await self._people.get(holder[0]) if holder else None
        return person if person and _has(person, channel, value) else None

    def _problem(self, document: Registration) -> Problem | None:
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        faults = [*registrations.not_honoured(document), *registrations.future_faults(document, now)]
        faults += [
            Fault(f"/places/{name}/region", "There is no region with this code.")
            for name, place in document.places.items()
            if place.region is not None and place.region not in self._library
        ]
        return Problem("invalid-request", "The subscriber cannot be taken.", faults=tuple(faults)) if faults else None

    async def _changes(
        self, entries: Sequence[Entry], outcomes: list[Subscriber | Problem | None]
    ) -> dict[int, Change]:
        """By index, from what is there to what is wanted; entries with a problem are left out."""
        good = [i for i, outcome in enumerate(outcomes) if outcome is None]
        names = [entries[i].id for i in good]
        known = await self._people.numbers_of(names)
        fresh = iter(await self._people.numbers(known.count(None)) if None in known else ())
        numbers = [number or next(fresh) for number in known]
        numbers = await self._people.claim_ids(names, numbers)
        previous = await self._people.get_many(numbers)
        changes = {}
        for i, number, old in zip(good, numbers, previous, strict=True):
            try:
                new = from_document(entries[i].document, number=number, subscriber_id=entries[i].id, previous=old)
                changes[i] = Change(old, new)
            except AddressesUsedUpError as error:
                outcomes[i] = Problem("invalid-request", str(error))
        return changes

    def _located(self, people: Sequence[Subscriber]) -> list[Subscriber]:
        """The people with the leaf region of every place."""
        points = [place for person in people for place in person.places if place.region is None and not place.leaf]
        numbers = (
            self._library.leaf_numbers([p.lon for p in points], [p.lat for p in points]) if points else np.array([])
        )
        leaves = iter(numbers.tolist())

        def placed(place: Place) -> Place:
            if place.region is not None:
                return replace(place, leaf=self._library.get(place.region).number)
            return place if place.leaf else replace(place, leaf=next(leaves))

        return [replace(person, places=tuple(placed(place) for place in person.places)) for person in people]

    async def _claim(self, ready: Sequence[tuple[int, Change]]) -> dict[int, Problem]:
        """Claim every address. By index, the conflicts."""
        now_s = self._clock.now_ms() // 1000
        wanted = [
            (i, a, (self._people.address_hash(a.channel, a.value), change.number, a.number, now_s))
            for i, change in ready
            if change.new
            for a in change.new.addresses
        ]
        holders = await self._people.claim_addresses([claim for _, _, claim in wanted])
        conflicts: dict[int, Problem] = {}
        for (i, address, claim), holder in zip(wanted, holders, strict=True):
            hashed, number, *_ = claim
            if holder == number:
                continue
            other = await self._people.get(holder)
            if other and _has(other, address.channel, address.value):
                conflicts[i] = Problem("duplicate-address", "An address belongs to another subscriber.")
            elif not await self._people.take_over(hashed, number, address.number, now_s, grace_s=CLAIM_GRACE_S):
                conflicts[i] = Problem(
                    "duplicate-address",
                    "Another subscriber is just being given this address.",
                    headers={"Retry-After": "60"},
                )
        return conflicts

    async def _release(self, changes: Sequence[Change]) -> None:
        """Give up the addresses that a subscriber no longer has."""
        for change in changes:
            kept = {(a.channel, a.value) for a in change.new.addresses} if change.new else set()
            dropped = [a for a in change.old.addresses if (a.channel, a.value) not in kept] if change.old else []
            await self._people.release_addresses(
                (self._people.address_hash(a.channel, a.value), change.number) for a in dropped
            )


def _has(person: Subscriber, channel: int, value: str) -> bool:
    return any((a.channel, a.value) == (channel, value) for a in person.addresses)
