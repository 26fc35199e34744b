"""A lease, chunk by chunk: permits, gate, hand-over, settle.

The outcomes of a chunk are settled by the same call that asks leave for the next, so the ledger costs one round trip a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from alertd.common.clock import Clock
from alertd.service.delivery.carrier_selection import LONGEST_SLEEP_S, CarrierSelection, CarrierSlot
from alertd.service.delivery.heeding import Heeding
from alertd.service.delivery.send_deadline import SendDeadline
from alertd.service.delivery.sender import LeaseProgress, Sender, unsent
from alertd.service.people.dead_addresses import DeadAddresses
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import Gate, Lease
from alertd.store.engine.connection import StoreUnavailableError

#: How often the store is told again what it could not take, and for how long when we stop.
SETTLE_EVERY_S = 0.2
SETTLE_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispatch:
    """Sends leases."""

    work: Work
    offers: CarrierSelection
    hand_over: Sender
    heeding: Heeding
    removal: DeadAddresses
    clock: Clock

    async def drain(
        self, lease: Lease, stopping: Callable[[], bool], gives_way: Callable[[], bool] = lambda: False
    ) -> None:
        """Try every row of a lease once. What is not tried because the gate is held, we stop or it gives way, to what is loud, to others
        whose turn it is or to whoever is bound, is given back.
        """
        way = LeaseProgress(list(range(len(lease.rows))))
        try:
            await self._chunks(lease, way, lambda: stopping() or gives_way())
        except StoreUnavailableError:
            structlog.get_logger().warning("store unavailable", step="drain", alert=lease.alert_id, batch=lease.batch)
        except Exception:  # no carrier has seen them: later and apart, or whose fault it is stops the same others again
            if not way.sending and (way.asked or way.settled):
                await self._end(lease, way, stopping, later=True)
            raise
        await self._end(lease, way, stopping)
        await self.removal.gone(way.dead)  # last: they hurt nobody who waits

    async def _chunks(self, lease: Lease, way: LeaseProgress, stopping: Callable[[], bool]) -> None:
        while way.left and not stopping():
            offer = await self.offers.next(lease, way.left)
            if offer is None:  # what is left is given back
                return
            if not offer.rows and not way.settled and offer.wait_s < LONGEST_SLEEP_S:
                await self.clock.sleep(offer.wait_s)
                continue
            way.asked = offer.rows
            until = SendDeadline(self.clock, partial(self._goes_on, lease, offer, way, stopping))
            asked = [lease.rows[i] for i in offer.rows]
            gate, granted = await self.work.gate(lease, way.settled, asked, offer.carrier.number)
            way.settled = []
            if gate is not Gate.GO:
                way.asked = []
                await self.offers.give_back(offer, len(asked))
                return
            gone = set(offer.rows)
            way.left = [i for i in way.left if i not in gone]
            if offer.rows:
                indices = [i for i, may in zip(offer.rows, granted, strict=True) if may]
                async with until.keep_asking():
                    said = await self.hand_over.send(lease, indices, offer, until, way)
                await self.heeding.heed(said, offer)
            else:  # what was answered is settled, and whoever cancels meanwhile is heard
                await self.clock.sleep(min(offer.wait_s, LONGEST_SLEEP_S))

    async def _goes_on(
        self, lease: Lease, offer: CarrierSlot, way: LeaseProgress, stopping: Callable[[], bool]
    ) -> bool:
        """Whether what was begun may still be written: of a slow carrier's chunk most is not, yet."""
        rev = offer.ready.rev if offer.ready else 0
        try:
            return (
                not stopping() and await self.work.goes_on(lease, rev) and await self.hand_over.still(lease, offer, way)
            )
        except StoreUnavailableError:
            return False

    async def _end(
        self, lease: Lease, way: LeaseProgress, stopping: Callable[[], bool], *, later: bool = False
    ) -> None:
        """Nobody else knows what was answered and what was never sent: a store that is away is told when it is back.

        The gate may have taken what it could not say it took, so what it was asked for last is told as unsent.
        """
        settled = [*way.settled, *(unsent(lease, i, later=later) for i in way.asked)]
        back = [lease.rows[i] for i in way.left]
        give_up = self.clock.monotonic() + SETTLE_WITHIN_S
        while True:
            try:
                return await self.work.end(lease, settled, back)
            except StoreUnavailableError:
                if stopping() and self.clock.monotonic() > give_up:
                    raise
            await self.clock.sleep(SETTLE_EVERY_S)
