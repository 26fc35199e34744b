"""Whoever wants nothing more: the list of their addresses is what holds, and records follow it.

    whoever changes the list         whoever writes a record with an address that is new to it
    1. writes the list               1. claims the address
    2. reads the claim               2. reads the list
    3. reads its holder's record     3. writes the record as the list says, if nobody changed it meanwhile
    4. reads the list
    5. writes the record as it says,
       if nobody changed it

Either the list was written before it was read for the record, or the address was claimed before the list was written: then step 3
finds whoever is about to write. A record that has not the address yet, or is as the list says, is written all the same, and a number
where nobody is yet is given up: so that the other's step 3 fails, and it reads the list anew. Of two who change the list at once,
the one that wrote it last writes a record made of that list; whoever writes after it has read record and list after that too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from alertd.common.clock import Clock
from alertd.model.subscriber import AddressState, Key, Subscriber, key_of
from alertd.service.decision_checks import TRIES
from alertd.service.people.address_claims import has
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import Absence, People

AT_ONCE = 1_000  # addresses written together: one round trip a step, and the store has others to serve

#: A channel, as its index in `states.CHANNELS`, and a value as somebody wrote it.
Given = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a change of the list."""

    listed: int  # how many addresses were put on the list, or taken off it
    changed: int  # how many addresses of subscribers were stopped, or may be used again


@dataclass(frozen=True, slots=True)
class Suppression:
    """Changes the suppression list. Every call may be made again with the same, and ends what one that died has begun."""

    people: People
    clock: Clock

    async def stop(self, addresses: Sequence[Given]) -> Done:
        """Nothing more goes to these addresses, whoever has them or will. Raises StoreUnavailableError."""
        return await self.stop_named([*_names(self.people, addresses)])

    async def stop_named(self, names: Sequence[str]) -> Done:
        """The same for addresses of which only the names are known (`Names.address_hash`)."""
        return await self._change(names, partial(self.people.suppressions.put, since_s=self.clock.now_ms() // 1000))

    async def hold(self, addresses: Sequence[Given]) -> Done:
        """The same by whoever keeps the list, such as a court's or another provider's: no START takes these off. Raises StoreUnavailableError."""
        put = partial(self.people.suppressions.hold, since_s=self.clock.now_ms() // 1000)
        return await self._change([*_names(self.people, addresses)], put)

    async def start(self, addresses: Sequence[Given]) -> Done:
        """Their owners want these used again, and it was they who wanted nothing more. Raises StoreUnavailableError."""
        return await self._change([*_names(self.people, addresses)], self.people.suppressions.release)

    async def lift(self, addresses: Sequence[Given]) -> Done:
        """These addresses may be used again, whoever put them on the list. Raises StoreUnavailableError."""
        return await self._change([*_names(self.people, addresses)], self.people.suppressions.drop)

    async def _change(self, names: Sequence[str], write: Callable[[Sequence[str]], Awaitable[int]]) -> Done:
        """Steps 1 to 5."""
        done = Done(0, 0)
        for some in _slices(names):
            written = await write(some)
            done = Done(done.listed + written, done.changed + await self._settled(some))
        return done

    async def since(self, address: Given) -> int | None:
        """Since when (UNIX s) an address stands on the list."""
        return (await listed(self.people, [address])).get(key_of(*address))

    async def look_again(self, addresses: Sequence[Given]) -> None:
        """A claim that was given up before the record was written, and is claimed again now, was not there for step 2 to find."""
        stopped = await listed(self.people, addresses)
        if late := [address for address in addresses if key_of(*address) in stopped]:
            await self._settled([*_names(self.people, late)])

    async def _settled(self, names: Sequence[str]) -> int:
        """Steps 2 to 5. Answers how many addresses of subscribers have become another."""
        left, changed = names, 0
        for _ in range(TRIES):
            claims = [claim for claim in await self.people.names.holders(left) if claim]
            numbers = list({claim.number for claim in claims})
            found = await self.people.read_many(numbers)
            since = await self.people.suppressions.since([claim.hashed for claim in claims])
            wanted: dict[int, dict[str, AddressState]] = {number: {} for number in numbers}
            for claim, stopped in zip(claims, since, strict=True):
                state = AddressState.ACTIVE if stopped is None else AddressState.STOPPED
                wanted[claim.number][claim.hashed] = state
            done, turned = await self._written(dict(zip(numbers, found, strict=True)), wanted)
            changed += turned
            left = [claim.hashed for claim in claims if claim.number not in done]
            if not left:
                return changed
        raise StoreUnavailableError("Somebody else keeps changing these subscribers. Try again.")

    async def _written(
        self, found: dict[int, Subscriber | Absence], wanted: dict[int, dict[str, AddressState]]
    ) -> tuple[set[int], int]:
        """Step 5. Answers the numbers where it is done, or nothing can be, and how many addresses have become another."""
        people = [person for person in found.values() if isinstance(person, Subscriber)]
        changes = [Change(person, self._as_wanted(person, wanted[person.number])) for person in people]
        done = await self.people.put(changes) if changes else []
        nobody = [number for number, person in found.items() if person is Absence.NEVER]
        gone = await self.people.give_up_many(nobody) if nobody else []
        undone = {change.number for change, is_done in zip(changes, done, strict=True) if not is_done}
        undone |= {number for number, is_gone in zip(nobody, gone, strict=True) if not is_gone}
        return found.keys() - undone, sum(_turned(change) for change in changes if change.number not in undone)

    def _as_wanted(self, person: Subscriber, wanted: dict[str, AddressState]) -> Subscriber:
        """The next version of a record, with addresses in these states."""
        name = self.people.names.address_hash
        addresses = tuple(replace(a, state=wanted.get(name(a.channel, a.value), a.state)) for a in person.addresses)
        return replace(person, version=person.version + 1, addresses=addresses)


async def listed(people: People, addresses: Sequence[Given]) -> dict[Key, int]:
    """Of these addresses those on the list, and since when (UNIX s)."""
    names = _names(people, addresses)
    found = await people.suppressions.since([*names]) if names else []
    return {key: since for key, since in zip(names.values(), found, strict=True) if since is not None}


async def as_listed(people: People, changes: Sequence[Change]) -> list[Change]:
    """Steps 2 and 3 of a record: the changes, their addresses claimed, with every one that is new to its subscriber as the list says."""
    fresh = [
        (a.channel, a.value) for change in changes if change.new for a in change.new.addresses if not has(change.old, a)
    ]
    stopped = await listed(people, fresh)

    def heeded(change: Change) -> Change:
        if change.new is None or not any(a.key in stopped for a in change.new.addresses):
            return change
        addresses = tuple(
            replace(a, state=AddressState.STOPPED) if a.key in stopped and not has(change.old, a) else a
            for a in change.new.addresses
        )
        return Change(change.old, replace(change.new, addresses=addresses))

    return [heeded(change) for change in changes]


def _turned(change: Change) -> int:
    """How many addresses have another state than before, of a change of states alone."""
    assert change.old
    assert change.new
    return sum(a.state != b.state for a, b in zip(change.old.addresses, change.new.addresses, strict=True))


def _names(people: People, addresses: Iterable[Given]) -> dict[str, Key]:
    """The names that addresses go by, each with the address that it is of."""
    return {people.names.address_hash(*address): key_of(*address) for address in addresses}


def _slices(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE)]
