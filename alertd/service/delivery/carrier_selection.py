"""Which of a channel's carriers takes how much of a lease next, and the permits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.health import CarrierHealth
from alertd.service.delivery.message_cache import MessageCache, Ready
from alertd.store.carriers.limits import Block
from alertd.store.delivery.work_records import Lease

#: A lane that waits longer for permits asks the gate in between, so that it hears of a cancel and of our own stopping.
LONGEST_SLEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class CarrierSlot:
    """Which carrier takes which rows next, by their indices; none of them: how long until it is worth asking again."""

    carrier: Carrier
    ready: Ready | None  # None: it cannot be told this way, or the rows wait for the carrier in the queue
    rows: list[int]
    wait_s: float  # with rows: the carrier rests, and they are to try it; nothing is ready: they are to wait
    block: Block | None = None  # the permits, where rows may be sent


def _meant_for(
    carrier: Carrier, left: Sequence[int], meant: Mapping[int, int], offers: Sequence[CarrierSlot]
) -> list[int]:
    """The rows that a carrier may have, after such offers of others: what is meant for one is no other's; and a reserve has nothing else while
    the others work, though they have no permit at the moment.
    """
    is_spared = not carrier.weight and any(one.ready and one.wait_s <= LONGEST_SLEEP_S for one in offers)
    return [i for i in left if meant.get(i, None if is_spared else carrier.number) == carrier.number]


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierSelection:
    """Asks the carriers of a channel in turn."""

    messages: MessageCache
    carriers: Carriers
    health: CarrierHealth
    chunk: int  # rows at most

    async def next(self, lease: Lease, left: Sequence[int]) -> CarrierSlot | None:
        """The first carrier of the channel that has permits, and what it may take; else the one that has some soonest. None where others
        are bound to one that this process is not: they need not wait for it.

        What may have arrived goes to nobody but whom it was given to: only there are both seen as one.
        """
        offers, channel = list[CarrierSlot](), lease.alike.channel
        usable = self.health.usable(self.carriers.turn(channel))
        known = [carrier.number for carrier in self.carriers.of(channel)]
        tried = {i: lease.carriers[i] for i in left if lease.carriers[i] in known}  # by whom, of those that were
        bound = {i: number for i, number in tried.items() if lease.doubted[i]}
        # What a carrier surely did not take is the next one's: so each of them is asked, before one is again.
        turns = {
            i: known[(known.index(number) + 1) % len(known)]
            for i, number in tried.items()
            if lease.tries[i] and i not in bound
        }
        # Who has no permit for what it is their turn with leaves it to others, where there are any.
        for meant in (turns | bound, bound) if turns and len(known) > 1 else (bound,):
            for carrier in usable:
                if rows := _meant_for(carrier, left, meant, offers):
                    offers.append(await self._of(lease, carrier, rows))
                    if offers[-1].rows and offers[-1].ready:
                        return offers[-1]
        if len(usable) < len(known):
            self.health.rest(channel, min((offer.wait_s for offer in offers), default=LONGEST_SLEEP_S))
            return None
        offer = min(offers, key=lambda offer: (offer.ready is None, offer.wait_s))
        if len(known) == 1 or offer.wait_s <= LONGEST_SLEEP_S or not all(i in bound for i in left):
            return offer
        waiting = [i for i in left if bound[i] == offer.carrier.number]  # not in a lane, which others can be sent from
        return CarrierSlot(offer.carrier, None, waiting[: self.chunk], offer.wait_s)

    async def _of(self, lease: Lease, carrier: Carrier, rows: Sequence[int]) -> CarrierSlot:
        """What a carrier may take of these rows."""
        ready = await self.messages.ready(lease.alert_id, lease.alike, carrier)
        if ready is None:  # nothing is sent
            return CarrierSlot(carrier, None, list(rows[: self.chunk]), 0)
        may, block = await self.health.grant(
            carrier, rows, lease.tries, ready.prepared.cost, most=self.chunk, loud=ready.loud
        )
        return CarrierSlot(carrier, ready, may, block.wait_s, block)

    async def give_back(self, offer: CarrierSlot, rows: int) -> CarrierSlot:
        """Permits of rows that nothing was written for. Answers the offer without them."""
        if offer.ready is None or offer.block is None or not rows:
            return offer
        permits = rows * offer.ready.prepared.cost
        return replace(
            offer, block=await self.health.give_back(offer.carrier, offer.block, permits, loud=offer.ready.loud)
        )
