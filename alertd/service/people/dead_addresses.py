"""Removes dead addresses, if they still have the value that the message was sent to.

A phone number is never removed. If a carrier calls it dead, its owner has answered STOP to the carrier itself
(twilio.com/docs/api/errors/21610), and wants no messages from any sender. The number goes on the suppression list, as
after a STOP to alertd: no import undoes that, and no other carrier sends.

A mailbox is removed only if it is called dead again three days or more after the first time. On two days in a row, 14
and 15 December 2020, Gmail answered "550 5.1.1 The email account that you tried to reach does not exist" for live
accounts, for hours (Google Workspace status). A sender who believed it would never have alerted these people again.

An unregistered token is removed at once: FCM requires a new one (firebase.google.com/docs/cloud-messaging/error-codes),
which an installed app registers.
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
#: Minimum seconds between two reports of a dead mailbox before it is removed. An outage of a mail provider may return
#: the next day.
AGAIN_AFTER_S = 3 * DAY_MS // 1000

#: A subscriber, and the addresses to remove from them.
Lost = tuple[Subscriber, list[Address]]


@dataclass(frozen=True, slots=True)
class Dead:
    """An address that a carrier called dead: its subscriber's number, its own number, and its value at the time of the
    send.
    """

    number: int
    address: int
    value: str


@dataclass(frozen=True, slots=True)
class DeadAddresses:
    """Removes addresses from their subscribers' records, or puts them on the suppression list."""

    people: People
    suppression: Suppression
    clock: Clock
    metrics: Metrics

    async def gone(self, dead: Iterable[Dead]) -> int:
        """Removes addresses that a carrier called dead; phone numbers go on the suppression list instead. An address
        whose value has changed since the send stays. Returns how many addresses were removed.
        """
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
            structlog.get_logger().warning("address.remove_failed", subscriber=number)
        return removed

    async def _opted_out(self, numbers: Sequence[Given]) -> None:
        """Puts phone numbers that a carrier called dead on the suppression list."""
        done = await self.suppression.stop(numbers)
        self.metrics.optouts.labels(CHANNELS[SMS]).inc(done.changed)

    async def _believed(self, found: Sequence[Lost]) -> list[Lost]:
        """Returns which addresses to remove: no phone numbers, and no mailboxes that were first called dead less than
        `AGAIN_AFTER_S` ago. Stores the time of a mailbox's first report.
        """
        names, now_s = self._mailboxes(found), self.clock.now_ms() // 1000
        since = await self.people.called_dead.note(names, now_s)
        alive = {name for name, first_s in zip(names, since, strict=True) if now_s < first_s + AGAIN_AFTER_S}
        sure = [
            (person, [a for a in lost if a.channel != SMS and self._name(a) not in alive]) for person, lost in found
        ]
        return [(person, lost) for person, lost in sure if lost]

    def _mailboxes(self, found: Sequence[Lost]) -> list[str]:
        """Returns the hashed names of the mailboxes among the addresses."""
        return [self._name(a) for _, lost in found for a in lost if a.channel == MAIL]

    def _name(self, address: Address) -> str:
        """Returns the hashed name of an address in the store."""
        return self.people.names.address_hash(address.channel, address.value)


def _still(person: Subscriber, dead: Sequence[Dead]) -> list[Address]:
    """Returns the person's addresses that still have the number and value of a dead address."""
    died = {(one.address, one.value) for one in dead}
    return [address for address in person.addresses if (address.number, address.value) in died]
