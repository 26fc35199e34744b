"""Addresses that are dead or were given up: removed only if they still are what was sent to."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from alertd.store.connection import StoreUnavailableError
from alertd.store.people import Change, People
from alertd.subscribers import AddressState, Subscriber

TRIES = 5  # somebody else may be changing the same subscriber


class Removal:
    """Takes an address out of its subscriber's record."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def gone(self, number: int, address: int, value: str) -> bool:
        """The carrier says this address is dead. A token that rotated since survives. Answers whether it was removed."""
        for _ in range(TRIES):
            person = await self._people.get(number)
            found = next((a for a in person.addresses if a.number == address), None) if person else None
            if person is None or found is None or found.value != value:
                return False
            if (await self._people.put([Change(person, _without(person, address))]))[0]:
                hashed = self._people.address_hash(found.channel, value)
                await self._people.release_addresses([(hashed, number)])
                return True
        structlog.get_logger().warning("address not removed", subscriber=number, address=address)
        return False

    async def stop(self, number: int, address: int) -> bool:
        """Whoever has this address wants nothing more by it. It stays, stopped: only they can undo that."""
        for _ in range(TRIES):
            person = await self._people.get(number)
            found = next((a for a in person.addresses if a.number == address), None) if person else None
            if person is None or found is None:
                return False
            stopped = tuple(
                replace(a, state=AddressState.STOPPED) if a.number == address else a for a in person.addresses
            )
            change = Change(person, replace(person, version=person.version + 1, addresses=stopped))
            if (await self._people.put([change]))[0]:
                return True
        raise StoreUnavailableError("Somebody else keeps changing this subscriber. Try again.")


def _without(person: Subscriber, address: int) -> Subscriber:
    kept = tuple(a for a in person.addresses if a.number != address)
    return replace(person, version=person.version + 1, addresses=kept)
