"""A distributor that is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from alertd.service.container import Container
from channels.fetching import Fetcher
from tests.integration.gateways import Gateway


class Standing:
    """A process that stands still between what it wrote down and the socket: the name of the gateway is not resolved until it goes on."""

    def __init__(self, gateway: Gateway) -> None:
        self.stands, self.goes_on = asyncio.Event(), asyncio.Event()
        self._gateway = gateway

    async def resolve(self, host: str) -> Sequence[str]:
        self.stands.set()
        await self.goes_on.wait()
        return await self._gateway.resolve(host)

    def fetcher(self) -> Fetcher:
        """As the gateway's, but for the time it takes."""
        gateway = self._gateway
        return Fetcher(
            resolve=self.resolve, is_allowed="127.0.0.1".__eq__, ports=frozenset({gateway.port}), trust=gateway.trust, timeout_s=30
        )  # fmt: skip


async def begun(parts: Container) -> None:
    """What is due is begun to be told, and not waited for."""
    assert await parts.events.leads()
    await parts.events.bring()
    await parts.webhook_delivery.round()


async def until(parts: Container, holds: Callable[[], bool]) -> None:
    """It comes true while others work."""
    async with asyncio.timeout(10):
        while not holds():
            await parts.clock.sleep(0.01)
