"""The suppression list: addresses that get no messages. The list decides, and subscriber records follow it.

    change the list                  write a record with an address that is new to it
    1. write the list                1. claim the address
    2. read the claim                2. read the list
    3. read its holder's record      3. write the record as the list says, if it has not changed meanwhile
    4. read the list
    5. write the record as it says,
       if it has not changed

Either the list was written before the record's writer read it, or the address was claimed before the list was written.
In the second case, step 3 of the list's change finds the process that is about to write.

So step 5 writes a record even if it lacks the address or already follows the list. It gives up a number without a
record. Then step 3 of the other process fails, and that process reads the list again.

If two processes change the list at once, the last to write the list writes a record that follows it. A process that
writes the record later has also read the record and the list later.
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

AT_ONCE = 1_000  # addresses written together: one round trip a step, and the store has other work

#: A channel, as its index in `model.states.CHANNELS`, and a value as a person wrote it.
Given = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a change of the list."""

    listed: int  # number of addresses put on the list, or taken off it
    changed: int  # number of subscribers' addresses that were stopped, or may be used again


@dataclass(frozen=True, slots=True)
class Suppression:
    """Changes the suppression list. Every call can be repeated. A repeated call also completes one that was
    interrupted.
    """

    people: People
    clock: Clock

    async def stop(self, addresses: Sequence[Given]) -> Done:
        """Puts addresses on the list, for their present and future owners. Returns what changed. Raises
        StoreUnavailableError.
        """
        return await self.stop_named([*_names(self.people, addresses)])

    async def stop_named(self, names: Sequence[str]) -> Done:
        """Puts addresses on the list that are known only by their hashed names (`address_hash`). Returns what changed.
        Raises StoreUnavailableError.
        """
        return await self._change(names, partial(self.people.suppressions.put, since_s=self.clock.now_ms() // 1000))

    async def hold(self, addresses: Sequence[Given]) -> Done:
        """Puts addresses on the list for the keeper of an external list, such as a court's or another provider's. A
        START does not take them off. Returns what changed. Raises StoreUnavailableError.
        """
        put = partial(self.people.suppressions.hold, since_s=self.clock.now_ms() // 1000)
        return await self._change([*_names(self.people, addresses)], put)

    async def start(self, addresses: Sequence[Given]) -> Done:
        """Takes addresses off the list for owners who stopped messages themselves and now want them again. Returns what
        changed. Raises StoreUnavailableError.
        """
        return await self._change([*_names(self.people, addresses)], self.people.suppressions.release)

    async def lift(self, addresses: Sequence[Given]) -> Done:
        """Takes addresses off the list, regardless of the reason for which they were on it. Returns what changed.
        Raises StoreUnavailableError.
        """
        return await self._change([*_names(self.people, addresses)], self.people.suppressions.drop)

    async def _change(self, names: Sequence[str], write: Callable[[Sequence[str]], Awaitable[int]]) -> Done:
        """Changes the list with `write`, then the records of the subscribers who have these addresses (steps 1 to 5 of
        the left column above). `names` are hashed addresses. Returns what changed.
        """
        done = Done(0, 0)
        for some in _slices(names):
            written = await write(some)
            done = Done(done.listed + written, done.changed + await self._settled(some))
        return done

    async def since(self, address: Given) -> int | None:
        """Returns since when (UNIX s) an address is on the list, None if it is not."""
        return (await listed(self.people, [address])).get(key_of(*address))

    async def is_held(self, address: Given) -> bool:
        """Returns whether an operator put an address on the list, so that its owner cannot take it off."""
        return await self.people.suppressions.is_held(self.people.names.address_hash(*address))

    async def look_again(self, addresses: Sequence[Given]) -> None:
        """Applies the list again to addresses that were claimed a second time. The first claim may have been given up
        before the record was written; then a change of the list did not find the claim, and left the record as it was.
        """
        stopped = await listed(self.people, addresses)
        if late := [address for address in addresses if key_of(*address) in stopped]:
            await self._settled([*_names(self.people, late)])

    async def _settled(self, names: Sequence[str]) -> int:
        """Makes the subscribers' records follow the list: an address on it becomes stopped, any other active (steps 2
        to 5 of the left column above). `names` are hashed addresses. Returns how many addresses changed between the
        two. Raises StoreUnavailableError if other calls keep changing the records.
        """
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
        raise StoreUnavailableError("Other calls keep changing these subscribers. Try again.")

    async def _written(
        self, found: dict[int, Subscriber | Absence], wanted: dict[int, dict[str, AddressState]]
    ) -> tuple[set[int], int]:
        """Writes the states of addresses into the subscribers' records. Returns the numbers of the subscribers that are
        done or need nothing, and how many addresses changed their state. `wanted` has the state of each hashed address,
        by subscriber number.
        """
        people = [person for person in found.values() if isinstance(person, Subscriber)]
        changes = [Change(person, self._as_wanted(person, wanted[person.number])) for person in people]
        done = await self.people.put(changes) if changes else []
        nobody = [number for number, person in found.items() if person is Absence.NEVER]
        gone = await self.people.give_up_many(nobody) if nobody else []
        undone = {change.number for change, is_done in zip(changes, done, strict=True) if not is_done}
        undone |= {number for number, is_gone in zip(nobody, gone, strict=True) if not is_gone}
        return found.keys() - undone, sum(_turned(change) for change in changes if change.number not in undone)

    def _as_wanted(self, person: Subscriber, wanted: dict[str, AddressState]) -> Subscriber:
        """Returns the next version of a record, with these states of its addresses."""
        name = self.people.names.address_hash
        addresses = tuple(replace(a, state=wanted.get(name(a.channel, a.value), a.state)) for a in person.addresses)
        return replace(person, version=person.version + 1, addresses=addresses)


async def listed(people: People, addresses: Sequence[Given]) -> dict[Key, int]:
    """Returns those of the addresses that are on the list, each with the time since when (UNIX s)."""
    names = _names(people, addresses)
    found = await people.suppressions.since([*names]) if names else []
    return {key: since for key, since in zip(names.values(), found, strict=True) if since is not None}


async def as_listed(people: People, changes: Sequence[Change]) -> list[Change]:
    """Returns the changes, in which every address that is new to its subscriber and on the list is stopped. Call it
    after the addresses were claimed and before the records are written (step 2 of the right column above).
    """
    fresh = [
        (a.channel, a.value) for change in changes if change.new for a in change.new.addresses if not has(change.old, a)
    ]
    stopped = await listed(people, fresh)

    def heeded(change: Change) -> Change:
        """Returns the change with those addresses stopped that are on the list and new to the subscriber."""
        if change.new is None or not any(a.key in stopped for a in change.new.addresses):
            return change
        addresses = tuple(
            replace(a, state=AddressState.STOPPED) if a.key in stopped and not has(change.old, a) else a
            for a in change.new.addresses
        )
        return Change(change.old, replace(change.new, addresses=addresses))

    return [heeded(change) for change in changes]


def _turned(change: Change) -> int:
    """Returns how many addresses of a subscriber changed their state. The change must change nothing else about
    addresses.
    """
    assert change.old
    assert change.new
    return sum(a.state != b.state for a, b in zip(change.old.addresses, change.new.addresses, strict=True))


def _names(people: People, addresses: Iterable[Given]) -> dict[str, Key]:
    """Returns the keys of addresses by their hashed names."""
    return {people.names.address_hash(*address): key_of(*address) for address in addresses}


def _slices(names: Sequence[str]) -> list[Sequence[str]]:
    """Returns the names in parts of at most `AT_ONCE`."""
    return [names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE)]
