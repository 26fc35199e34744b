"""Removes dead addresses, if the subscriber still has the address that was sent to.

alertd never removes a phone number. A carrier that rejects a number reports a STOP that its owner sent to the carrier
(twilio.com/docs/api/errors/21610). The number goes on the suppression list, as after a STOP to alertd, so that no import brings it back and no
other carrier writes to it.

A mailbox is removed only if a carrier calls it dead again three days or more after the first time. On 14 and 15 December 2020, Gmail answered
"550 5.1.1 The email account that you tried to reach does not exist" for living accounts, for hours (Google Workspace status). Without the wait,
none of them would get an alert again. An unregistered token is removed at once: FCM requires a new one
(firebase.google.com/docs/cloud-messaging/error-codes), which an installed app registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from alertd.common.clock import DAY_MS, Clock
from alertd.metrics import Metrics
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Address, Subscriber, without_dead
from alertd.service.decision_checks import TRIES
from alertd.service.people.address_claims import give_up
from alertd.service.people.suppression import Given, Suppression
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import People

SMS, MAIL = map(CHANNELS.index, ("sms", "mail"))
#: An outage of a provider of mailboxes may come back the next day.
AGAIN_AFTER_S = 3 * DAY_MS // 1000

#: A subscriber, and those of their addresses that are to go.
Lost = tuple[Subscriber, list[Address]]


@dataclass(frozen=True, slots=True)
class Dead:
    """An address a carrier called dead: whose, which, and what it was when it was sent to."""

    number: int
    address: int
    value: str


@dataclass(frozen=True, slots=True)
class DeadAddresses:
    """Takes addresses out of their subscribers' records, or stops them."""

    people: People
    suppression: Suppression
    clock: Clock
    metrics: Metrics

    async def gone(self, dead: Iterable[Dead]) -> int:
        """The carrier says these addresses are dead. A token that rotated since survives. Answers how many were removed."""
        left: dict[int, list[Dead]] = {}
        for one in dead:
            left.setdefault(one.number, []).append(one)
        removed = 0
        for _ in range(TRIES):
            if not left:
                return removed
            people = await self.people.get_many(list(left))
            still = [(person, _still(person, left[person.number])) for person in people if person]
            await self._opted_out([(a.channel, a.value) for _, lost in still for a in lost if a.channel == SMS])
            found = await self._believed(still)
            done = await self.people.put([Change(person, without_dead(person, lost)) for person, lost in found])
            gone = [pair for pair, is_done in zip(found, done, strict=True) if is_done]
            await give_up(self.people, [(person.number, a) for person, lost in gone for a in lost])
            await self.people.called_dead.forget(self._mailboxes(gone))
            removed += sum(len(lost) for _, lost in gone)
            left = {
                person.number: left[person.number]
                for (person, _), is_done in zip(found, done, strict=True)
                if not is_done
            }
        for number in left:
            structlog.get_logger().warning("address not removed", subscriber=number)
        return removed

    async def _opted_out(self, numbers: Sequence[Given]) -> None:
        done = await self.suppression.stop(numbers)
        self.metrics.optouts.labels(CHANNELS[SMS]).inc(done.changed)

    async def _believed(self, found: Sequence[Lost]) -> list[Lost]:
        """Without numbers, and mailboxes that are called dead for the first time, or were in these days."""
        names, now_s = self._mailboxes(found), self.clock.now_ms() // 1000
        since = await self.people.called_dead.note(names, now_s)
        alive = {name for name, first_s in zip(names, since, strict=True) if now_s < first_s + AGAIN_AFTER_S}
        sure = [
            (person, [a for a in lost if a.channel != SMS and self._name(a) not in alive]) for person, lost in found
        ]
        return [(person, lost) for person, lost in sure if lost]

    def _mailboxes(self, found: Sequence[Lost]) -> list[str]:
        """The names of the mailboxes among them."""
        return [self._name(a) for _, lost in found for a in lost if a.channel == MAIL]

    def _name(self, address: Address) -> str:
        return self.people.names.address_hash(address.channel, address.value)


def _still(person: Subscriber, dead: Sequence[Dead]) -> list[Address]:
    """Those of the person's addresses that are the very ones that died."""
    died = {(one.address, one.value) for one in dead}
    return [address for address in person.addresses if (address.number, address.value) in died]
