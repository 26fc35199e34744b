"""Registers, changes and removes subscribers: turns documents into records and cells, and claims each address for one
person only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from alertd.common.clock import Clock, time_of
from alertd.common.errors import Fault, Problem
from alertd.common.merge_patch import merged
from alertd.model import registration
from alertd.model.registration import AnyAddress, Registration
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Address, AddressState, Place, Subscriber, key_of, to_document
from alertd.service.areas.regions import Regions
from alertd.service.decision_checks import TRIES, changed_since, contested
from alertd.service.people.address_claims import AddressClaims, give_up, has, taken
from alertd.service.people.registration_intake import Entry, parse_registration, record, whole
from alertd.service.people.suppression import Suppression, as_listed
from alertd.store.engine.bulk_reads import Batcher
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import Absence, People

#: Maximum number of subscriber numbers that `page` reads at once, and of such reads for one page.
LOOK = 200
LOOKS = 50


#: The result of writing one entry: the subscriber as written, the problem, or None if another call changed the
#: subscriber meanwhile.
Entered = Subscriber | Problem | None


class Registry:
    """Writes and reads subscribers."""

    def __init__(self, people: People, regions: Regions, clock: Clock) -> None:
        self._people = people
        self._names = people.names
        self._regions = regions
        self._clock = clock
        self._claims = AddressClaims(people, clock)
        self._suppression = Suppression(people, clock)
        self._found = Batcher(self._find)
        self._written = Batcher(self._write)

    async def get(self, name: str) -> Subscriber:
        """Returns a subscriber by id. Raises Problem not-found, or precondition-failed if the record is unreadable."""
        found = await self._found.one(name)
        if found is Absence.UNREADABLE:
            raise _unreadable()
        if isinstance(found, Absence):
            raise Problem("not-found", "There is no such subscriber.")
        return found

    async def page(self, after: int, limit: int) -> tuple[list[Subscriber], int | None]:
        """Returns at most `limit` subscribers in the order of their registration, after number `after`, and the number
        to continue from (None at the end). A page before the end may be shorter if many subscribers in between were
        removed.
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

    async def put(self, name: str, document: Registration, version: int | None = None) -> tuple[Subscriber, bool]:
        """Writes one subscriber. If `version` is given, the stored subscriber must still have that version. Returns the
        subscriber, and whether it is new. Raises Problem.
        """
        if version is not None:
            return await self._replace(name, document, version), False
        person = await self.put_entry(Entry(name, document))
        return person, person.version == 1

    async def put_entry(self, entry: Entry) -> Subscriber:
        """Writes one subscriber and returns it. Tries again if another call changes it meanwhile. Raises Problem."""
        for _ in range(TRIES):
            outcome = (await self.put_many([entry]))[0]
            if isinstance(outcome, Problem):
                raise outcome
            if outcome is not None:
                return outcome
        raise contested("this subscriber")

    async def put_many(self, entries: Sequence[Entry]) -> list[Entered]:
        """Writes many subscribers independently. Returns for each the subscriber, the problem, or None if another call
        changed the subscriber meanwhile. An id may occur once in `entries`. An address that one entry gives up can go
        to another.
        """
        outcomes = await self._put_each(entries)
        late = [i for i, outcome in enumerate(outcomes) if _is_taken(outcome)]
        if 0 < len(late) < len(entries):
            for i, outcome in zip(late, await self._put_each([entries[i] for i in late]), strict=True):
                outcomes[i] = outcome
        return outcomes

    async def _put_each(self, entries: Sequence[Entry]) -> list[Entered]:
        """Does `put_many` once, without the second try."""
        outcomes: list[Entered] = [self._problem(entry.document) for entry in entries]
        changes = await self._changes(entries, outcomes)
        for i, outcome in zip(changes, await self._write(list(changes.values())), strict=True):
            outcomes[i] = outcome
        return outcomes

    async def change(
        self, name: str, edit: Callable[[Subscriber], Subscriber], version: int | None = None
    ) -> Subscriber:
        """Edits a subscriber, if the stored version is `version` (None: any). Returns the new one. Raises Problem."""
        for _ in range(TRIES):
            person = await self.get(name)
            if version not in {None, person.version}:
                raise changed_since("subscriber")
            wanted = replace(edit(person), version=person.version + 1)
            outcome = await self._written.one(Change(person, wanted))
            if isinstance(outcome, Problem):
                raise outcome
            if outcome is not None:
                return outcome
        raise contested("this subscriber")

    async def relabel(self, after: int, limit: int) -> tuple[int, bool, int | None]:
        """Gives the places of a page of subscribers (see `page`) the leaf (smallest) regions of the current library.
        Returns how many needed others, whether no other call changed one meanwhile, and where to continue.
        """
        people, following = await self.page(after, limit)
        bare = [replace(person, places=tuple(map(_without_leaf, person.places))) for person in people]
        pairs = zip(people, await self._located(bare), strict=True)
        changes = [Change(old, replace(new, version=old.version + 1)) for old, new in pairs if old.places != new.places]
        outcomes = await self._write(changes) if changes else []
        return len(changes), not any(outcome is None for outcome in outcomes), following

    async def patch(self, name: str, patch: dict[str, Any], version: int | None = None) -> Subscriber:
        """Changes members of a registration with a JSON merge patch (RFC 7396), and returns the subscriber. Raises
        Problem with every fault.
        """

        def edit(person: Subscriber) -> Subscriber:
            document = parse_registration(merged(to_document(person), patch))
            problem = self._problem(document, person.places)
            if problem:
                raise problem
            return record(document, person.number, name, person)

        return await self.change(name, edit, version)

    async def _replace(self, name: str, document: Registration, version: int) -> Subscriber:
        """Replaces the whole registration of a subscriber that still has this version. Raises Problem."""
        if problem := self._problem(document):
            raise problem
        return await self.change(name, lambda person: record(document, person.number, name, person), version)

    async def put_address(self, name: str, number: int, address: AnyAddress, version: int | None = None) -> Subscriber:
        """Sets the value of address `number`, and returns the subscriber. Adds the address if `number` is the next free
        one, or that of a removed dead address on this channel. Never changes the channel. Raises Problem.
        """
        channel = CHANNELS.index(address.channel)

        def edit(person: Subscriber) -> Subscriber:
            known = next((a for a in person.addresses if a.number == number), None)
            is_free = number == person.next_address or (number, channel) in person.vacant
            if known is None and not is_free:
                raise Problem("not-found", f"There is no such address; the next new one is {person.next_address}.")
            if known is not None and known.channel != channel:
                raise Problem("precondition-failed", "An address never changes its channel: add another.")
            same = known if known and known.key == key_of(channel, address.value) else None
            # Writing the same address again does not undo an opt-out.
            state = same.state if same else AddressState.ACTIVE
            fresh = Address(number=number, channel=channel, value=address.value, language=address.language, state=state)
            kept = tuple(a for a in person.addresses if a.number != number)
            if any(a.key == fresh.key for a in kept):
                raise Problem("duplicate-address", "The subscriber has this address already, under another number.")
            vacant = tuple(one for one in person.vacant if one[0] != number)
            following = max(person.next_address, number + 1)
            return replace(person, addresses=(*kept, fresh), next_address=following, vacant=vacant)

        return await self.change(name, edit, version)

    async def drop_address(self, name: str, number: int, version: int | None = None) -> None:
        """Removes an address. Raises Problem if there is none of that number."""

        def edit(person: Subscriber) -> Subscriber:
            kept = tuple(a for a in person.addresses if a.number != number)
            if len(kept) == len(person.addresses):
                raise Problem("not-found", "There is no such address.")
            return replace(person, addresses=kept)

        await self.change(name, edit, version)

    async def _find(self, names: Sequence[str]) -> list[Subscriber | Absence]:
        """Returns for each id the subscriber, or the reason why there is none."""
        numbers = await self._names.numbers_of(names)
        known = [number for number in numbers if number]
        found = iter(await self._people.read_many(known))
        return [next(found) if number else Absence.NEVER for number in numbers]

    async def _write(self, changes: Sequence[Change]) -> list[Entered]:
        """Finds the leaf regions, claims the addresses, applies the suppression list, writes the records, confirms the
        claims, and releases the claims that no record needs. Returns the result of each change.
        """
        wanted = [self._people.lasting(change.new) for change in changes]
        located = await self._located([new for new in wanted if new])
        ready = [Change(change.old, new) for change, new in zip(changes, located, strict=True)]
        since = self._clock.monotonic()
        conflicts = await self._claims.make(ready)
        await self._unborn([ready[i].new for i in conflicts if ready[i].old is None])
        # Between claim and record, so that no STOP is missed (see `suppression.as_listed`).
        ready = await as_listed(self._people, ready)
        outcomes: list[Entered] = [conflicts.get(i) for i in range(len(ready))]
        free = [i for i in range(len(ready)) if i not in conflicts]
        done = await self._people.put([ready[i] for i in free])
        written = [i for i, is_done in zip(free, done, strict=True) if is_done]
        if born := sum(ready[i].old is None for i in written):
            await self._people.counted(born)
        changed = [ready[i] for i in written]
        in_doubt = [
            (a.channel, a.value) for _, a in self._claims.in_doubt(changed, since) if a.state == AddressState.ACTIVE
        ]
        for i, lost in zip(written, await self._claims.confirm(changed, since), strict=True):
            outcomes[i] = await self._deprived(ready[i], lost) if lost else ready[i].new
        await self._suppression.look_again(in_doubt)
        await give_up(self._people, _for_nothing(ready, set(written)))
        return outcomes

    async def _unborn(self, refused: Sequence[Subscriber | None]) -> None:
        """Releases the numbers and ids of refused new subscribers. Keeps a number at which another call wrote a
        subscriber of the same id meanwhile.
        """
        people = [person for person in refused if person]
        gone = await self._people.give_up_many([person.number for person in people])
        await self._names.release_ids(
            (person.id, person.number) for person, is_gone in zip(people, gone, strict=True) if is_gone
        )

    async def _deprived(self, change: Change, lost: Sequence[Address]) -> Problem:
        """Gives up the addresses `lost`, which another subscriber took while `change` was written. Removes the
        subscriber of `change` if it is new, else only these addresses from it. Returns the problem to report.
        """
        for _ in range(TRIES):
            person = await self._people.get(change.number)
            if person is None:
                break
            kept = tuple(a for a in person.addresses if a.key not in {b.key for b in lost})
            rest = Change(person, replace(person, version=person.version + 1, addresses=kept))
            if await self._remove(person) if change.old is None else (await self._people.put([rest]))[0]:
                break
        return taken()

    async def forget(self, name: str, version: int | None = None) -> None:
        """Removes a subscriber with all data, if the stored version is `version` (None: any). Raises Problem, also if
        there is none.
        """
        for _ in range(TRIES):
            number = await self._names.number_of(name)
            (found,) = await self._people.read_many([number]) if number else [Absence.NEVER]
            if isinstance(found, Subscriber):
                if version not in {None, found.version}:
                    raise changed_since("subscriber")
                is_done = await self._remove(found)
            elif found is Absence.UNREADABLE and number:
                is_done = await self._remove_unreadable(name, number)
            else:
                raise Problem("not-found", "There is no such subscriber.")
            if is_done:
                return
        raise contested("this subscriber")

    async def _remove(self, person: Subscriber) -> bool:
        """Removes a record with its places, its id and its addresses. Returns False if it changed meanwhile. The number
        is given up first: after that no record can be written there, so no record is ever without an id.
        """
        if not (await self._people.put([Change(person, None)]))[0]:
            return False
        await self._names.release_ids([(person.id, person.number)])
        await give_up(self._people, [(person.number, address) for address in person.addresses])
        await self._people.counted(-1)
        return True

    async def _remove_unreadable(self, name: str, number: int) -> bool:
        """Removes an unreadable record with its id. Its claims stay, but no record confirms them. Returns False if the
        record changed meanwhile.
        """
        if not await self._people.give_up(number, unreadable=True):
            return False
        await self._names.release_ids([(name, number)])
        await self._people.counted(-1)
        return True

    async def lookup(self, channel: int, value: str) -> Subscriber | None:
        """Returns the subscriber who has an address, or None."""
        wanted = Address(number=0, channel=channel, value=value, language=None)
        holder = await self._names.holder(self._names.address_hash(channel, value))
        person = await self._people.get(holder.number) if holder else None
        return person if person and has(person, wanted) else None

    def _problem(self, document: Registration, before: Sequence[Place] = ()) -> Problem | None:
        """Returns what is wrong with a registration, or None. A place that the subscriber had `before` may stay
        although its region was removed, so that the subscriber can still change a phone.
        """
        named = {(place.name, place.region) for place in before}
        now = time_of(self._clock.now_ms())
        faults = [*registration.not_honoured(document), *registration.future_faults(document, now)]
        faults += [
            Fault(
                f"/places/{name}/region", "The library has no region with this code. A drawn region cannot be a place."
            )
            for name, place in document.places.items()
            if place.region is not None
            and place.region not in self._regions.library.without_drawn
            and (name, place.region) not in named
        ]
        return (
            Problem("invalid-request", "The registration is refused; see the faults.", faults=tuple(faults))
            if faults
            else None
        )

    async def _changes(self, entries: Sequence[Entry], outcomes: list[Entered]) -> dict[int, Change]:
        """Returns the change from the stored to the wanted record, by index in `entries`. Leaves out entries with a
        problem, and those whose person number another process released meanwhile.
        """
        good = [i for i, outcome in enumerate(outcomes) if outcome is None]
        names = [entries[i].id for i in good]
        known = await self._names.numbers_of(names)
        fresh = iter(await self._people.numbers(known.count(None)) if None in known else ())
        numbers = [number or next(fresh) for number in known]
        numbers = await self._names.claim_ids(names, numbers)
        changes, given_up = {}, []
        for i, number, found in zip(good, numbers, await self._people.read_many(numbers), strict=True):
            if found is Absence.GIVEN_UP:  # the process that gave it up may not get to release the id
                given_up.append((entries[i].id, number))
                continue
            if found is Absence.UNREADABLE:
                outcomes[i] = _unreadable()
                continue
            old = found if isinstance(found, Subscriber) else None
            # The number was assigned twice, after a part of the store went back.
            if old is not None and old.id != entries[i].id:
                given_up.append((entries[i].id, number))
                continue
            try:
                changes[i] = Change(old, record(whole(entries[i], old), number, entries[i].id, old))
            except Problem as problem:
                outcomes[i] = problem
        await self._names.release_ids(given_up)
        return changes

    async def _located(self, people: Sequence[Subscriber]) -> list[Subscriber]:
        """Returns the people with the leaf region of every place: the region that the place names, or the smallest one
        around its point. Searches in a thread, because the search may wait for others.
        """
        library = self._regions.library.without_drawn
        points = [place for person in people for place in person.places if place.region is None and not place.leaf]
        lon, lat = [p.lon for p in points], [p.lat for p in points]
        leaves = iter((await asyncio.to_thread(library.leaf_numbers, lon, lat)).tolist() if points else ())

        def placed(place: Place) -> Place:
            if place.region is not None:  # a removed region keeps its number, which no other region gets
                known = place.region in library
                return replace(place, leaf=library.get(place.region).number) if known else place
            return place if place.leaf else replace(place, leaf=next(leaves))

        return [replace(person, places=tuple(placed(place) for place in person.places)) for person in people]


def _is_taken(outcome: Entered) -> bool:
    """Returns whether an entry was refused because another subscriber has one of its addresses."""
    return isinstance(outcome, Problem) and outcome.slug == "duplicate-address"


def _without_leaf(place: Place) -> Place:
    """Returns a place that is a point without its leaf region, and one that names a region unchanged."""
    return replace(place, leaf=0) if place.region is None else place


def _unreadable() -> Problem:
    """Returns the Problem for a subscriber with a record that cannot be read."""
    return Problem(
        "precondition-failed", "The stored record cannot be read. Delete it, then register the subscriber anew."
    )


def _for_nothing(changes: Sequence[Change], written: set[int]) -> list[tuple[int, Address]]:
    """Returns the claims to release, as (subscriber number, address): those of unwritten records, and of removed
    addresses.
    """
    pairs = [(c.old, c.new) if i in written else (c.new, c.old) for i, c in enumerate(changes)]
    return [(one.number, a) for one, kept in pairs if one for a in one.addresses if not has(kept, a)]
