"""Which of a channel's carriers takes how much of a lease next, and the permits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from alertd.metrics import Metrics
from alertd.service.carriers.binds import Binds
from alertd.service.carriers.carriers import UNLIMITED, Carrier, Carriers
from alertd.service.delivery.message_cache import MessageCache, Ready
from alertd.store.carriers.limits import Block, Limits
from alertd.store.delivery.work_records import Lease
from alertd.store.engine.connection import StoreUnavailableError

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


def _after(carrier: int, known: Sequence[int]) -> int:
    """Whose turn it is with what a carrier surely did not take: so each of them is asked, before one is again."""
    return known[(known.index(carrier) + 1) % len(known)]


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

    limits: Limits
    messages: MessageCache
    carriers: Carriers
    binds: Binds
    metrics: Metrics
    chunk: int  # rows at most

    async def next(self, lease: Lease, left: Sequence[int]) -> CarrierSlot | None:
        """The first carrier of the channel that has permits, and what it may take; else the one that has some soonest. None where others
        are bound to one that this process is not: they need not wait for it.

        What may have arrived goes to nobody but whom it was given to: only there are both seen as one.
        """
        offers, channel = list[CarrierSlot](), lease.alike.channel
        usable = self.binds.usable(self.carriers.turn(channel))
        known = [carrier.number for carrier in self.carriers.of(channel)]
        tried = {i: lease.carriers[i] for i in left if lease.carriers[i] in known}  # by whom, of those that were
        bound = {i: number for i, number in tried.items() if lease.doubted[i]}
        turns = {i: _after(number, known) for i, number in tried.items() if lease.tries[i] and i not in bound}
        # Who has no permit for what it is their turn with leaves it to others, where there are any.
        for meant in (turns | bound, bound) if turns and len(known) > 1 else (bound,):
            for carrier in usable:
                rows = _meant_for(carrier, left, meant, offers)
                if not rows:
                    continue
                ready = await self.messages.ready(lease.alert_id, lease.alike, carrier)
                rows.sort(key=lambda i: lease.tries[i] > 0)  # new rows first: they say most of their carrier
                offers.append(await self._of(carrier, ready, rows, is_new=not lease.tries[rows[0]]))
                if offers[-1].rows and ready:
                    return offers[-1]
        if len(usable) < len(known):
            self.binds.rest(channel, min((offer.wait_s for offer in offers), default=LONGEST_SLEEP_S))
            return None
        offer = min(offers, key=lambda offer: (offer.ready is None, offer.wait_s))
        if len(known) == 1 or offer.wait_s <= LONGEST_SLEEP_S or not all(i in bound for i in left):
            return offer
        waiting = [i for i in left if bound[i] == offer.carrier.number]  # not in a lane, which others can be sent from
        return CarrierSlot(offer.carrier, None, waiting[: self.chunk], offer.wait_s)

    async def _of(self, carrier: Carrier, ready: Ready | None, rows: Sequence[int], *, is_new: bool) -> CarrierSlot:
        """The rows that may go now; when none, the seconds until it is worth asking again; both to probe a paused carrier. `is_new`: the
        first of them was never tried.
        """
        rows = rows[: self.chunk]
        if ready is None:  # nothing is sent
            return CarrierSlot(carrier, None, list(rows), 0)
        cost = ready.prepared.cost
        block = await self.limits.take(
            carrier.name, carrier.rate, carrier.burst, carrier.block(cost, len(rows)), cost,
            loud=ready.loud, ramp_s=carrier.ramp_s, is_new=is_new,
        )  # fmt: skip
        if not block.granted:
            self.metrics.limit_wait_seconds.labels(carrier.channel.name, carrier.name).observe(block.wait_s)
        return CarrierSlot(carrier, ready, list(rows[: block.granted // cost]), block.wait_s, block)

    async def give_back(self, offer: CarrierSlot, rows: int) -> CarrierSlot:
        """Permits of rows that nothing was written for: another may have them, and another may try a carrier that rests. Answers the offer
        without them. Of a store that is away nobody can have any, and they come again by themselves.
        """
        if offer.ready is None or offer.block is None or not rows:
            return offer
        permits, rate, loud = rows * offer.ready.prepared.cost, offer.carrier.rate, offer.ready.loud
        if rate < UNLIMITED or offer.wait_s:
            with suppress(StoreUnavailableError):
                await self.limits.give_back(offer.carrier.name, rate, permits, loud=loud, block=offer.block)
        return replace(offer, block=offer.block.less(permits, rate))
