"""Subscribers come, change and go: documents in, records and cells out, addresses claimed for one person only."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec.structs import replace
from pydantic import ValidationError

from alertd import registrations
from alertd.alerts import CHANNELS
from alertd.clock import Clock
from alertd.errors import Fault, Problem
from alertd.faults import faults_of
from alertd.registrations import AnyAddress, Registration
from alertd.store.names import Claim
from alertd.store.people import Change, People
from alertd.subscribers import (
    Address,
    AddressesUsedUpError,
    AddressState,
    Place,
    Subscriber,
    from_document,
    to_document,
)
from geofences.regions import Library

#: A claim whose holder's record does not confirm it is somebody's unfinished work for this long, then nobody's.
CLAIM_GRACE_S = 60
#: Numbers looked at together, and how often one page may look.
LOOK = 200
LOOKS = 50
TRIES = 5  # when somebody else changes the same subscriber


#: The subscriber as written, what is wrong with it, or None when somebody changed it meanwhile.
Outcome = Subscriber | Problem | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One subscriber to be written."""

    id: str
    document: Registration


class Registry:
    """Writes and reads subscribers."""

    def __init__(self, people: People, library: Library, clock: Clock) -> None:
        self._people = people
        self._names = people.names
        self._library = library
        self._clock = clock

    async def get(self, name: str) -> Subscriber:
        """Raises Problem when there is none."""
        number = await self._names.number_of(name)
        person = await self._people.get(number) if number else None
        if person is None:
            raise Problem("not-found", "There is no such subscriber.")
        return person

    async def page(self, after: int, limit: int) -> tuple[list[Subscriber], int | None]:
        """Subscribers in the order they came, from after number `after` on, and where to go on, None at the end.

        A page is full unless nobody more is there, or too many in between were forgotten.
        """
        last, kept = await self._people.last(), list[Subscriber]()
        for _ in range(LOOKS):
            numbers = range(after + 1, min(after + LOOK, last) + 1)
            for number, person in zip(numbers, await self._people.get_many(numbers), strict=True):
                after = number
                if person:
                    kept.append(person)
                if len(kept) == limit:
                    return kept, after if after < last else None
            if after >= last:
                return kept, None
        return kept, after

    async def put(self, name: str, document: Registration) -> tuple[Subscriber, bool]:
        """Write one subscriber. Answers it, and whether it is new. Raises Problem."""
        for _ in range(TRIES):
            outcome = (await self.put_many([Entry(name, document)]))[0]
            if isinstance(outcome, Problem):
                raise outcome
            if outcome is not None:
                return outcome, outcome.version == 1
        raise _busy()

    async def put_many(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Write many, each by itself: the subscriber, what is wrong with it, or None when it changed meanwhile.

        An id may stand once in `entries`.
        """
        outcomes: list[Outcome] = [self._problem(entry.document) for entry in entries]
        changes = await self._changes(entries, outcomes)
        for i, outcome in zip(changes, await self._write(list(changes.values())), strict=True):
            outcomes[i] = outcome
        await self._unname(  # new ones that were refused
            [
                (entries[i].id, change.number)
                for i, change in changes.items()
                if isinstance(outcomes[i], Problem) and not change.old
            ]
        )
        fresh = [(i, o) for i, o in enumerate(outcomes) if isinstance(o, Subscriber) and o.version == 1]
        if fresh:
            holders = await self._names.claim_ids([o.id for _, o in fresh], [o.number for _, o in fresh])
            for (i, person), holder in zip(fresh, holders, strict=True):
                if holder != person.number:  # forgotten and registered anew meanwhile: what was written has no name
                    await self._remove(person)
                    outcomes[i] = None
            await self._people.counted(len(fresh))
        return outcomes

    async def change(
        self, name: str, edit: Callable[[Subscriber], Subscriber], version: int | None = None
    ) -> Subscriber:
        """Edit one subscriber as it is now; `version` is the one the caller saw, if it matters. Raises Problem."""
        for _ in range(TRIES):
            person = await self.get(name)
            if version not in {None, person.version}:
                raise Problem("precondition-failed", "The subscriber was changed since you read it.", status=412)
            wanted = replace(edit(person), version=person.version + 1)
            outcome = (await self._write([Change(person, wanted)]))[0]
            if isinstance(outcome, Problem):
                raise outcome
            if outcome is not None:
                return outcome
        raise _busy()

    async def patch(self, name: str, patch: dict[str, Any], version: int | None = None) -> Subscriber:
        """Change members of a registration: a JSON merge patch (RFC 7396). Raises Problem with every fault."""

        def edit(person: Subscriber) -> Subscriber:
            document = read(merged(to_document(person), patch))
            problem = self._problem(document)
            if problem:
                raise problem
            return from_document(document, number=person.number, subscriber_id=name, previous=person)

        return await self.change(name, edit, version)

    async def put_address(self, name: str, number: int, address: AnyAddress) -> Subscriber:
        """Give address `number` another value, or add it if it is the next number. Its channel never changes."""
        channel = CHANNELS.index(address.channel)

        def edit(person: Subscriber) -> Subscriber:
            known = next((a for a in person.addresses if a.number == number), None)
            if known is None and number != person.next_address:
                raise Problem("not-found", f"There is no such address; the next new one is {person.next_address}.")
            if known is not None and known.channel != channel:
                raise Problem("precondition-failed", "An address never changes its channel: add another.")
            same = known if known and known.value == address.value else None
            state = same.state if same else AddressState.ACTIVE  # whoever left is not brought back by the same address
            fresh = Address(number=number, channel=channel, value=address.value, language=address.language, state=state)
            kept = tuple(a for a in person.addresses if a.number != number)
            if any((a.channel, a.value) == (channel, address.value) for a in kept):
                raise Problem("duplicate-address", "The subscriber has this address already, under another number.")
            return replace(person, addresses=(*kept, fresh), next_address=max(person.next_address, number + 1))

        return await self.change(name, edit)

    async def drop_address(self, name: str, number: int) -> None:
        """Remove an address. Raises Problem when there is none of that number."""

        def edit(person: Subscriber) -> Subscriber:
            kept = tuple(a for a in person.addresses if a.number != number)
            if len(kept) == len(person.addresses):
                raise Problem("not-found", "There is no such address.")
            return replace(person, addresses=kept)

        await self.change(name, edit)

    async def _write(self, changes: Sequence[Change]) -> list[Outcome]:
        """Find the leaf regions, claim the addresses, write, and give up addresses that were dropped."""
        located = self._located([change.new for change in changes if change.new])
        ready = [Change(change.old, new) for change, new in zip(changes, located, strict=True)]
        conflicts = await self._claim(ready)
        outcomes: list[Outcome] = [conflicts.get(i) for i in range(len(ready))]
        free = [i for i in range(len(ready)) if i not in conflicts]
        done = await self._people.put([ready[i] for i in free])
        for i, is_done in zip(free, done, strict=True):
            outcomes[i] = ready[i].new if is_done else None
        await self._release([ready[i] for i, is_done in zip(free, done, strict=True) if is_done])
        return outcomes

    async def forget(self, name: str) -> None:
        """Remove a subscriber with all that belongs to it. Raises Problem when there is none."""
        for _ in range(TRIES):
            person = await self.get(name)
            if await self._remove(person):
                await self._unname([(name, person.number)])
                return
        raise _busy()

    async def _unname(self, held: Sequence[tuple[str, int]]) -> None:
        """Give up ids. Whoever was written meanwhile keeps the name, or goes if somebody else has it by now."""
        if not held:
            return
        await self._names.release_ids(held)
        again = [person for person in await self._people.get_many([number for _, number in held]) if person]
        holders = await self._names.claim_ids([person.id for person in again], [person.number for person in again])
        for person, holder in zip(again, holders, strict=True):
            if holder != person.number:
                await self._remove(person)

    async def _remove(self, person: Subscriber) -> bool:
        """Remove a record with its places and addresses, if it is still this one."""
        change = Change(person, None)
        if not (await self._people.put([change]))[0]:
            return False
        await self._release([change])
        await self._people.counted(-1)
        return True

    async def lookup(self, channel: int, value: str) -> Subscriber | None:
        """Whoever has an address."""
        holder = await self._names.holder(self._names.address_hash(channel, value))
        person = await self._people.get(holder.number) if holder else None
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

    async def _changes(self, entries: Sequence[Entry], outcomes: list[Outcome]) -> dict[int, Change]:
        """By index, from what is there to what is wanted; entries with a problem are left out."""
        good = [i for i, outcome in enumerate(outcomes) if outcome is None]
        names = [entries[i].id for i in good]
        known = await self._names.numbers_of(names)
        fresh = iter(await self._people.numbers(known.count(None)) if None in known else ())
        numbers = [number or next(fresh) for number in known]
        numbers = await self._names.claim_ids(names, numbers)
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

    async def _claim(self, changes: Sequence[Change]) -> dict[int, Problem]:
        """Claim every address. By index, the conflicts; nothing stays claimed for them that they did not have."""
        now_s = self._clock.now_ms() // 1000
        wanted = [
            (i, address, Claim(self._hash(address), change.number, address.number, now_s))
            for i, change in enumerate(changes)
            if change.new
            for address in change.new.addresses
        ]
        standing = await self._names.claim_addresses([claim for _, _, claim in wanted])
        conflicts: dict[int, Problem] = {}
        for (i, address, claim), stands in zip(wanted, standing, strict=True):
            if stands.number != claim.number and not await self._taken_over(address, claim, stands.number):
                conflicts[i] = Problem("duplicate-address", "An address belongs to another subscriber.")
        await self._withdraw([(address, claim) for i, address, claim in wanted if i in conflicts])
        return conflicts

    async def _taken_over(self, address: Address, claim: Claim, holder: int) -> bool:
        """Whether an address could be taken from a claim that its holder's record does not confirm."""
        other = await self._people.get(holder)
        if other and _has(other, address.channel, address.value):
            return False
        return await self._names.take_over(claim, grace_s=CLAIM_GRACE_S)

    async def _withdraw(self, refused: Sequence[tuple[Address, Claim]]) -> None:
        """Give up what was claimed just now, but for what the subscriber's record has by now."""
        if refused:
            people = await self._people.get_many([claim.number for _, claim in refused])
            await self._names.withdraw(
                claim
                for person, (address, claim) in zip(people, refused, strict=True)
                if not (person and _has(person, address.channel, address.value))
            )

    async def _release(self, changes: Sequence[Change]) -> None:
        """Give up the addresses that subscribers no longer have."""
        await self._names.release_addresses(
            (self._hash(address), change.number)
            for change in changes
            for address in (change.old.addresses if change.old else ())
            if not (change.new and _has(change.new, address.channel, address.value))
        )

    def _hash(self, address: Address) -> str:
        return self._names.address_hash(address.channel, address.value)


def merged(document: Any, patch: Any) -> Any:
    """RFC 7396: members of the patch replace those of the document, null removes, the rest stays."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def read(document: dict[str, Any]) -> Registration:
    """A registration from JSON values. Raises Problem with every fault."""
    try:
        return Registration.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise Problem("invalid-request", "The subscriber cannot be taken.", faults=tuple(faults_of(error))) from None


def _busy() -> Problem:
    return Problem("precondition-failed", "Somebody else keeps changing this subscriber. Try again.")


def _has(person: Subscriber, channel: int, value: str) -> bool:
    return any((a.channel, a.value) == (channel, value) for a in person.addresses)
