"""Addresses that are dead: removed only if they still are what was sent to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from alertd.service.claims import give_up
from alertd.service.revisions import TRIES
from alertd.store.people import Change, People
from alertd.subscribers import Address, Subscriber, without_dead


@dataclass(frozen=True, slots=True)
class Dead:
    """An address a carrier called dead: whose, which, and what it was when it was sent to."""

    number: int
    address: int
    value: str


class Removal:
    """Takes addresses out of their subscribers' records."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def gone(self, dead: Iterable[Dead]) -> int:
        """The carrier says these addresses are dead. A token that rotated since survives. Answers how many were removed."""
        left: dict[int, list[Dead]] = {}
        for one in dead:
            left.setdefault(one.number, []).append(one)
        removed = 0
        for _ in range(TRIES):
            if not left:
                return removed
            people = await self._people.get_many(list(left))
            found = [(person, lost) for person in people if person and (lost := _still(person, left[person.number]))]
            done = await self._people.put([Change(person, without_dead(person, lost)) for person, lost in found])
            gone = [pair for pair, is_done in zip(found, done, strict=True) if is_done]
            await give_up(self._people, [(person.number, a) for person, lost in gone for a in lost])
            removed += sum(len(lost) for _, lost in gone)
            left = {
                person.number: left[person.number]
                for (person, _), is_done in zip(found, done, strict=True)
                if not is_done
            }
        for number in left:
            structlog.get_logger().warning("address not removed", subscriber=number)
        return removed


def _still(person: Subscriber, dead: Sequence[Dead]) -> list[Address]:
    """Those of the person's addresses that are the very ones that died."""
    died = {(one.address, one.value) for one in dead}
    return [address for address in person.addresses if (address.number, address.value) in died]
