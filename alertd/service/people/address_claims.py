"""Keeps one owner for each address. An address is claimed before its record is written, claimed again after, and given
up without a record.

    write a record                   give up an address             take an address over
    1. claim the new addresses       1. read the claim              1. read the claim
    2. write the record              2. read its holder's record    2. read its holder's record
    3. claim them again              3. withdraw this very claim,   3. replace this very claim, if it is old
                                        unless the record has it       and the record does not have the address

Each claim is unique, and the record is read after the claim and before the claim's end. If a record confirms the claim
in between, one of two things happens. The process that ends the claim finds another one, or the record's writer finds
at step 3 that the claim is gone.

A new subscriber who was written quickly needs no step 3. Without a record at its number, no process gives its claims
up, and none takes them over that soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.subscriber import Address, Subscriber
from alertd.store.people.name_index import AddressClaim
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import Absence, People

#: Seconds. Up to this age, a claim that its holder's record does not confirm is unfinished work of another process. An
#: older one is free for another subscriber.
CLAIM_GRACE_S = 60
#: Seconds from the claim of a new subscriber's addresses to the writing of the record, within which the addresses need
#: not be claimed a second time. A slower writer cannot know what other processes did with its claims. The rest of
#: `CLAIM_GRACE_S` allows for clocks that differ.
QUICK_S = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Contest:
    """An address that two subscribers claim: the claim that stands, and the claim that this process tried to make."""

    address: Address
    standing: AddressClaim
    claim: AddressClaim


@dataclass(frozen=True, slots=True)
class AddressClaims:
    """Claims the addresses of changes to subscribers. Results go by the index of the change."""

    people: People
    clock: Clock

    async def make(self, changes: Sequence[Change]) -> dict[int, Problem]:
        """Claims every address that a change wants. Returns, by index, a Problem for each change that did not get all
        of its addresses.
        """
        wanted = [
            (i, address, self._claim(change.number, address), not has(change.old, address))
            for i, change in enumerate(changes)
            if change.new
            for address in change.new.addresses
        ]
        standing = await self.people.names.claim_addresses([(claim, is_new) for _, _, claim, is_new in wanted])
        contested = [
            (i, _Contest(address, stands, claim))
            for (i, address, claim, _), stands in zip(wanted, standing, strict=True)
            if stands.number != claim.number
        ]
        won = await self._taken_over([contest for _, contest in contested])
        return {i: taken() for i, contest in contested if contest not in won}

    async def confirm(self, changes: Sequence[Change], since: float) -> list[list[Address]]:
        """Claims again the new addresses of each change, which is written by now. Returns for each change the addresses
        that another subscriber took in between.

        `since` is when the claims were made (monotonic seconds).
        """
        brought = [
            (i, address, self._claim(changes[i].number, address)) for i, address in self.in_doubt(changes, since)
        ]
        standing = await self.people.names.claim_addresses([(claim, True) for _, _, claim in brought], durably=True)
        lost: list[list[Address]] = [[] for _ in changes]
        for (i, address, claim), stands in zip(brought, standing, strict=True):
            if stands.number != claim.number:
                lost[i].append(address)
        return lost

    def in_doubt(self, changes: Sequence[Change], since: float) -> list[tuple[int, Address]]:
        """Returns the new addresses whose claim may have been given up or taken over before the record was written,
        each with the index of its change in `changes`. A new subscriber who was written quickly has none. `since`: when
        the claims were made (monotonic seconds).
        """
        was_quick = self.clock.monotonic() - since < QUICK_S
        return [
            (i, address)
            for i, change in enumerate(changes)
            if change.new and not (was_quick and change.old is None)
            for address in change.new.addresses
            if not has(change.old, address)
        ]

    async def _taken_over(self, contests: Sequence[_Contest]) -> set[_Contest]:
        """Takes over addresses whose old claim the holder's record does not confirm, if that claim is older than
        `CLAIM_GRACE_S`. Returns the contests that this won.
        """
        old = [one for one in contests if one.claim.since_s - one.standing.since_s >= CLAIM_GRACE_S]
        holders = await self.people.read_many([one.standing.number for one in old])
        free = [one for one, holder in zip(old, holders, strict=True) if not has(holder, one.address)]
        done = await self.people.names.replace([(one.standing, one.claim) for one in free])
        return {one for one, is_done in zip(free, done, strict=True) if is_done}

    def _claim(self, number: int, address: Address) -> AddressClaim:
        """Returns a new claim of an address for the subscriber with this number, made now."""
        hashed = self.people.names.address_hash(address.channel, address.value)
        return AddressClaim.fresh(hashed, number, address.number, self.clock.now_ms() // 1000)


async def give_up(people: People, held: Iterable[tuple[int, Address]]) -> None:
    """Withdraws the claims of subscribers (by number) to these addresses, except those that their records have.

    If there is no record at a number yet, another process may be about to write one. Such a claim stays, because claims
    do not expire by themselves.
    """
    names = [(people.names.address_hash(address.channel, address.value), number, address) for number, address in held]
    if not names:
        return
    standing = await people.names.holders([name for name, _, _ in names])
    own = [
        (claim, address)
        for (_, number, address), claim in zip(names, standing, strict=True)
        if claim and claim.number == number
    ]
    holders = await people.read_many([claim.number for claim, _ in own])
    await people.names.withdraw(
        claim
        for (claim, address), holder in zip(own, holders, strict=True)
        if not has(holder, address) and holder is not Absence.NEVER
    )


def has(person: Subscriber | Absence | None, address: Address) -> bool:
    """Returns whether a record has an address, whatever the number of the address. An unreadable record counts as
    having it.
    """
    if isinstance(person, Subscriber):
        return any(a.key == address.key for a in person.addresses)
    return person is Absence.UNREADABLE


def taken() -> Problem:
    """Returns the problem for an address that another subscriber has. It does not name the subscriber."""
    return Problem("duplicate-address", "An address belongs to another subscriber.")
