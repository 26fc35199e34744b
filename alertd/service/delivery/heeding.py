"""What follows for a carrier, and for the mail domains behind it, from what it said of a chunk: it is waited for, rests, or works again."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from alertd.service.carriers.binds import OF_A_MACHINE, Binds
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.domains import Heard
from alertd.service.delivery.carrier_selection import CarrierSlot
from alertd.store.carriers.limits import Limits
from channels.base import Reason

_OF_A_MACHINE = frozenset(one.name.lower() for one in OF_A_MACHINE)


@dataclass(frozen=True, slots=True)
class ChunkSaid:
    """What one chunk says of its carrier."""

    wait_s: float = 0  # what the carrier asks for
    accepted: bool = False  # any message
    works: bool = False  # it accepted or refused a recipient
    domains: list[Heard] = field(default_factory=list)
    failed: int = 0  # messages that the carrier itself failed at; 0 if it works
    why: str = ""  # the most frequent reason
    refused: int = 0  # new recipients refused, if the carrier itself may be the reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Heeding:
    """Of one process."""

    limits: Limits
    carriers: Carriers
    binds: Binds
    failing: set[str] = field(default_factory=set)  # carriers that took nothing of the last chunk

    async def heed(self, said: ChunkSaid, offer: CarrierSlot) -> None:
        """Pauses a carrier or domain that asks for it, until a probe shows that it works."""
        carrier = offer.carrier
        if said.accepted:
            self.binds.took(carrier)
        probed = offer.block if offer.wait_s else None
        # While others take its place, a carrier that rests or refuses everyone has to accept somebody.
        is_replaced = bool(probed or said.refused) and await self._has_others(carrier)
        works = said.accepted or (said.works and not is_replaced)
        if said.failed and not said.wait_s:
            await self._failed(carrier, said.failed, said.why)
        elif said.refused and is_replaced and not said.wait_s:
            await self._failed(carrier, said.refused, Reason.BLOCKED.name.lower())
        elif works and carrier.name in self.failing:
            self.failing.discard(carrier.name)
            await self.limits.works(carrier.name)
        for one in (Heard(carrier.name, said.wait_s, works, probed), *said.domains):
            if one.wait_s:
                structlog.get_logger().warning("carrier asks to wait", carrier=one.limiter, seconds=one.wait_s)
                await self.limits.pause(one.limiter, one.wait_s)
            elif one.probed and one.works and await self.limits.resume(one.limiter, one.probed):
                structlog.get_logger().info("carrier takes messages again", carrier=one.limiter)
        if probed and not (said.failed or said.refused or works or said.wait_s):
            await self.limits.undecided(carrier.name, probed)

    async def _has_others(self, carrier: Carrier) -> bool:
        """Returns whether others of its channel are at work. An only carrier that refuses many recipients does not rest for it: they may
        be dead, and everybody else would wait.
        """
        names = [one.name for one in self.carriers.of(carrier.channel.name) if one.name != carrier.name]
        return not all((await self.limits.open_breakers(names)).values())

    async def _failed(self, carrier: Carrier, times: int, why: str) -> None:
        """It may be broken: after so many it rests, and others take its place. Where it takes messages of other processes, this one is."""
        if why in _OF_A_MACHINE and await self.binds.leave(carrier, times):
            structlog.get_logger().warning("carrier takes nothing from here", carrier=carrier.name, reason=why)
            return
        self.failing.add(carrier.name)
        rest_s = await self.limits.failed(carrier.name, times)
        if rest_s:
            structlog.get_logger().warning("carrier fails", carrier=carrier.name, reason=why, rests_s=rest_s)
