"""Holds messages back that a carrier would take. Some are deferred: quiet hours, or the budget is used up. Others are
suppressed: the recipient has acknowledged the alert.

The worker decides when it fetches the addresses. So the person's current data and the current time count. This holds
for planned messages, for messages that a slow carrier delays into the night, and for retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfoNotFoundError

from alertd.model import quiet_hours
from alertd.model.states import CHANNELS, LedgerReason, State
from alertd.model.subscriber import AddressState, Subscriber, wants_kind
from alertd.service.alerts.budget import Budget
from alertd.service.carriers.retries import RetryDecision, not_tried
from alertd.service.delivery.message_cache import Ready
from alertd.store.delivery.acknowledgements import Acknowledgements
from alertd.store.delivery.work_records import Lease, Settlement
from alertd.store.people.subscribers import Absence

#: Seconds after which a message that exceeded the budget is tried again.
ASK_AGAIN_S = 30.0


class Deferral:
    """Decides which rows of a lease must not be sent now, and with which outcome."""

    def __init__(self, acknowledgements: Acknowledgements, budget: Budget) -> None:
        self._acknowledgements = acknowledgements
        self._budget = budget

    async def deferred(
        self,
        lease: Lease,
        indices: Sequence[int],
        people: Sequence[Subscriber],
        ready: Ready,
        carrier: int,
        now_ms: int,
    ) -> Mapping[int, Settlement]:
        """Returns the settlements (outcomes for the ledger) of the rows that are not sent at `now_ms` (UNIX ms), by
        index. Takes the cost of the others from the budget.

        `people` are in the order of `indices`. Each has a usable address: rows without one cost nothing. `carrier` is
        the carrier's number.
        """
        pays = self._budget.limits(lease.alike.channel)
        if not indices or not (ready.hushed or lease.alike.unheard or pays):
            return {}
        found = dict[int, Settlement]()
        for i, person in zip(indices, people, strict=True) if ready.hushed else ():
            # The row waits until the quiet hours end. A message that waits for an acknowledgement waits `late_ms`
            # longer, because the same quiet hours defer the message on the person's screen.
            if (until := _asleep_until(person, now_ms)) is not None:
                later = not_tried((until - now_ms + ready.late_ms) / 1000, LedgerReason.QUIET_HOURS)
                found[i] = settlement(lease, i, later, carrier)
        if lease.alike.unheard:
            found |= await self._acknowledged(lease, indices)
        if pays:
            found |= await self._unpaid(lease, [i for i in indices if i not in found], ready, carrier, now_ms)
        return found

    async def began(
        self, lease: Lease, numbers: Sequence[int], people: Sequence[Subscriber | Absence], ready: Ready, now_ms: int
    ) -> bool:
        """Returns whether any of the messages that a carrier already has must now be held back: quiet hours began, or
        the recipient acknowledged the alert. The budget is not checked, because the messages are paid for. `numbers`
        and `people` are those of the messages that the carrier has, in the same order.
        """
        if ready.hushed and any(
            isinstance(one, Subscriber) and _asleep_until(one, now_ms) is not None for one in people
        ):
            return True
        return lease.alike.unheard and any(await self._acknowledgements.of(lease.alert_id, numbers))

    async def unsent(self, lease: Lease, ready: Ready, messages: int, then_ms: int) -> None:
        """Refunds the cost of `messages` messages to the budget. They were paid for at `then_ms` (UNIX ms) and not
        sent.
        """
        if messages and self._budget.limits(lease.alike.channel):
            await self._budget.take(ready.org, lease.alert_id, -messages, ready.prepared.cost, then_ms)

    async def _unpaid(
        self, lease: Lease, indices: Sequence[int], ready: Ready, carrier: int, now_ms: int
    ) -> dict[int, Settlement]:
        """Takes the cost of the rows from the budget. Returns settlements for those that exceed the budget: queued, to
        be tried again in `ASK_AGAIN_S`.

        The cost of rows that a dead worker had paid for counts as spent. A follow-up ignores the budget, so that every
        recipient of the original alert gets it.
        """
        if not indices:
            return {}
        paid = await self._budget.take(
            ready.org, lease.alert_id, len(indices), ready.prepared.cost, now_ms, limited=not ready.follows
        )
        later = not_tried(ASK_AGAIN_S, LedgerReason.OVER_BUDGET)
        return {i: settlement(lease, i, later, carrier) for i in indices[paid:]}

    async def _acknowledged(self, lease: Lease, indices: Sequence[int]) -> dict[int, Settlement]:
        """Returns settlements for the rows of recipients who have acknowledged an escalating alert on a screen.

        The state is suppressed, or unknown if an earlier attempt may have arrived.
        """
        acked = await self._acknowledgements.of(lease.alert_id, [lease.refs[i][0] for i in indices])
        return {
            i: Settlement(
                lease.rows[i], State.UNKNOWN if lease.doubted[i] else State.SUPPRESSED, LedgerReason.ACKNOWLEDGED, 0
            )
            for i, has in zip(indices, acked, strict=True)
            if has
        }


def _asleep_until(person: Subscriber, now_ms: int) -> int | None:
    """Returns when the person's quiet hours end (UNIX ms). Returns None outside quiet hours, and also if they or the
    time zone are not known: then the message is sent.
    """
    if person.quiet is None or person.time_zone is None:
        return None
    try:
        return quiet_hours.ends_ms(now_ms, person.time_zone, *person.quiet)
    except (ZoneInfoNotFoundError, OSError):
        return None


def settlement(lease: Lease, index: int, decision: RetryDecision, carrier: int) -> Settlement:
    """Returns the settlement of a row (what the ledger stores as its outcome), given the decision on it. If an earlier
    attempt may have arrived, the settlement says so too. `index` is the row's index in the lease, `carrier` the
    carrier's number.
    """
    state, reason, delay_ms, doubt, unsent = decision
    return Settlement(
        lease.rows[index], state, reason, carrier, delay_ms, doubt=doubt or lease.doubted[index], unsent=unsent
    )


def usable_value(person: Subscriber | Absence, number: int, channel: str, kind: str | None) -> tuple[str | None, int]:
    """Returns (address, 0) if the person's address of this number and channel may get a message of this kind now, else
    (None, the `LedgerReason`).

    `kind` is None for a message that only removes content. Such a message also goes to people who opted out of the
    kind, but not to people who withdrew their consent.
    """
    if isinstance(person, Absence):
        return None, LedgerReason.UNREADABLE if person is Absence.UNREADABLE else LedgerReason.ADDRESS_REMOVED
    for address in person.addresses:
        if address.number == number and CHANNELS[address.channel] == channel:
            wants = wants_kind(person, kind) if kind else person.consent.withdrawn_at_s is None
            if address.state == AddressState.ACTIVE and wants:
                return address.value, 0
            return None, LedgerReason.OPTED_OUT
    return None, LedgerReason.ADDRESS_REMOVED
