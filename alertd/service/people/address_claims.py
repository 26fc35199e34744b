"""One owner of each address: claimed before the record that has it is written, claimed again after, given up without it.

    write a record                   give up an address             take an address over
    1. claim what is new             1. read the claim              1. read the claim
    2. write the record              2. read its holder's record    2. read its holder's record
    3. claim what is new again       3. withdraw this very claim,   3. replace this very claim, if it is old
                                        unless the record has it       and the record has not the address

Every claim differs from every other, and a record is read between the reading of a claim and its end. So whoever ends a claim
that a record confirms meanwhile finds another one, or the record's writer finds at step 3 that it is gone. A new subscriber
needs no step 3 if it was quick: while nothing is at its number nobody gives its claims up, and nobody takes them over so soon.
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

#: A claim whose holder's record does not confirm it is somebody's unfinished work for this long, then nobody's.
CLAIM_GRACE_S = 60
#: Who was slower than this cannot know what others saw of its claims. The rest of the grace is for clocks that differ.
QUICK_S = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Contest:
    """An address that somebody else's claim stands for."""

    address: Address
    standing: AddressClaim
    claim: AddressClaim


@dataclass(frozen=True, slots=True)
class AddressClaims:
    """Claims for the addresses of changes, by the index of the change."""

    people: People
    clock: Clock

    async def make(self, changes: Sequence[Change]) -> dict[int, Problem]:
        """Claim every address a change wants. Answers the changes that cannot have theirs."""
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
        """Claim again what each change, now written, has brought. Answers of each what somebody else took meanwhile.

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
        """What each change has brought whose claim may have been given up, or taken over, before the record was written."""
        was_quick = self.clock.monotonic() - since < QUICK_S
        return [
            (i, address)
            for i, change in enumerate(changes)
            if change.new and not (was_quick and change.old is None)
            for address in change.new.addresses
            if not has(change.old, address)
        ]

    async def _taken_over(self, contests: Sequence[_Contest]) -> set[_Contest]:
        """Those whose address could be taken from a claim that its holder's record does not confirm."""
        old = [one for one in contests if one.claim.since_s - one.standing.since_s >= CLAIM_GRACE_S]
        holders = await self.people.read_many([one.standing.number for one in old])
        free = [one for one, holder in zip(old, holders, strict=True) if not has(holder, one.address)]
        done = await self.people.names.replace([(one.standing, one.claim) for one in free])
        return {one for one, is_done in zip(free, done, strict=True) if is_done}

    def _claim(self, number: int, address: Address) -> AddressClaim:
        hashed = self.people.names.address_hash(address.channel, address.value)
        return AddressClaim.fresh(hashed, number, address.number, self.clock.now_ms() // 1000)


async def give_up(people: People, held: Iterable[tuple[int, Address]]) -> None:
    """Withdraw the claims of these subscribers, by number, to these addresses, where their records have them not.

    Where nothing is at a number yet, somebody may be about to write there: nobody's claims end by themselves.
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
    """Whether a record has an address, under whatever number. One that cannot be read may have any."""
    if isinstance(person, Subscriber):
        return any(a.key == address.key for a in person.addresses)
    return person is Absence.UNREADABLE


def taken() -> Problem:
    """What is said to whoever wants an address of another: not whose it is."""
    return Problem("duplicate-address", "An address belongs to another subscriber.")
