"""What is not sent although its carrier would take it: now, because its person sleeps or it would cost too much, or at all, because
they know.

It is decided when the addresses are fetched, so it holds for who a person is and what the time is then: for what is planned, for what
a slow carrier brings into the night, and for a try that failed before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfoNotFoundError

from alertd.model import quiet_hours
from alertd.model.states import CHANNELS, LedgerReason, State
from alertd.model.subscriber import AddressState, Subscriber, wants_kind
from alertd.service.alerts.budget import Budget
from alertd.service.carriers.retries import Verdict, not_tried
from alertd.service.delivery.message_cache import Ready
from alertd.store.delivery.acknowledgements import Acknowledgements
from alertd.store.delivery.work_records import Lease, Settlement
from alertd.store.people.subscribers import Absence

#: So often it is asked whether more may be spent.
ASK_AGAIN_S = 30.0


class Deferral:
    """Settles what is held back."""

    def __init__(self, acknowledgements: Acknowledgements, budget: Budget) -> None:
        self._acknowledgements = acknowledgements
        self._budget = budget

    async def settled(
        self,
        lease: Lease,
        indices: Sequence[int],
        people: Sequence[Subscriber],
        ready: Ready,
        carrier: int,
        now_ms: int,
    ) -> Mapping[int, Settlement]:
        """By index, the settlements of those rows of a lease that are not sent now, at `now_ms`; `people` are in the order of `indices`,
        each with an address that may be used: the others cost nothing.
        """
        pays = self._budget.limits(lease.alike.channel)
        if not indices or not (ready.hushed or lease.alike.unheard or pays):
            return {}
        found = dict[int, Settlement]()
        for i, person in zip(indices, people, strict=True) if ready.hushed else ():
            # Queued until their quiet hours end, or have for as long as an alert is waited for to be acknowledged: what is on their screen is held
            # as long.
            if (until := _asleep_until(person, now_ms)) is not None:
                later = not_tried((until - now_ms + ready.late_ms) / 1000, LedgerReason.QUIET_HOURS)
                found[i] = settlement(lease, i, later, carrier)
        if lease.alike.unheard:
            found |= await self._told(lease, indices)
        if pays:
            found |= await self._unpaid(lease, [i for i in indices if i not in found], ready, carrier, now_ms)
        return found

    async def began(
        self, lease: Lease, numbers: Sequence[int], people: Sequence[Subscriber | Absence], ready: Ready, now_ms: int
    ) -> bool:
        """Whether there is, by now, a reason to hold one of those whom a carrier has: `numbers` and `people` are theirs. What they cost is paid."""
        if ready.hushed and any(
            isinstance(one, Subscriber) and _asleep_until(one, now_ms) is not None for one in people
        ):
            return True
        return lease.alike.unheard and any(await self._acknowledgements.of(lease.alert_id, numbers))

    async def unsent(self, lease: Lease, ready: Ready, messages: int, then_ms: int) -> None:
        """So many of those that were not held at `then_ms` did not go after all, and are not paid for."""
        if messages and self._budget.limits(lease.alike.channel):
            await self._budget.take(ready.org, lease.alert_id, -messages, ready.prepared.cost, then_ms)

    async def _unpaid(
        self, lease: Lease, indices: Sequence[int], ready: Ready, carrier: int, now_ms: int
    ) -> dict[int, Settlement]:
        """Queued until there may be more to spend; what a worker that died had taken counts as spent. Of what follows an alert nobody who was told that
        is told less.
        """
        if not indices:
            return {}
        paid = await self._budget.take(
            ready.org, lease.alert_id, len(indices), ready.prepared.cost, now_ms, limited=not ready.follows
        )
        later = not_tried(ASK_AGAIN_S, LedgerReason.OVER_BUDGET)
        return {i: settlement(lease, i, later, carrier) for i in indices[paid:]}

    async def _told(self, lease: Lease, indices: Sequence[int]) -> dict[int, Settlement]:
        """Of an alert that escalates, those who have it on a screen; where a try may have arrived nobody knows what they have."""
        acked = await self._acknowledgements.of(lease.alert_id, [lease.refs[i][0] for i in indices])
        return {
            i: Settlement(
                lease.rows[i], State.UNKNOWN if lease.doubted[i] else State.SUPPRESSED, LedgerReason.ACKNOWLEDGED, 0
            )
            for i, has in zip(indices, acked, strict=True)
            if has
        }


def _asleep_until(person: Subscriber, now_ms: int) -> int | None:
    """When their quiet hours end; None where it is not known that they are in them: then they are told."""
    if person.quiet is None or person.time_zone is None:
        return None
    try:
        return quiet_hours.ends_ms(now_ms, person.time_zone, *person.quiet)
    except (ZoneInfoNotFoundError, OSError):
        return None


def settlement(lease: Lease, index: int, verdict: Verdict, carrier: int) -> Settlement:
    """What a verdict on a row of a lease makes of it; it may have arrived before."""
    state, reason, delay_ms, doubt, unsent = verdict
    return Settlement(
        lease.rows[index], state, reason, carrier, delay_ms, doubt=doubt or lease.doubted[index], unsent=unsent
    )


def usable_value(person: Subscriber | Absence, number: int, channel: str, kind: str | None) -> tuple[str | None, int]:
    """The value of an address that may be used now for a message of this kind, or why there is none. `kind` is None for what only takes away what
    they have: it goes to whoever wants that kind no more, but to nobody who withdrew their consent.
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
