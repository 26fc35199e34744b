"""Watches how full the memory of each server of the store is, and refuses what is new while there is still some.

At its limit a server refuses what is new alone (`scripts.BRINGING`), and what goes on needs memory, too. So the service answers 503 before, as
it does for a disk.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.common.clock import Clock
from alertd.common.repetition import repeated
from alertd.store.engine.nodes import Nodes

#: The shares of the limit at which new things are refused, and are taken again: apart, so that it does not open and close at each look.
FULL, ROOM = 0.95, 0.94
LOOK_S = 1.0


class MemoryGuard:
    """The state of the servers' memory, as one API process last saw it."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._full = frozenset[Redis]()
        #: Whether the service may accept what has to be kept: an alert to many people is on every server.
        self.takes_writes = True

    def run(self, clock: Clock) -> AbstractAsyncContextManager[None]:
        """Looks again and again, as long as this lasts."""
        return repeated("memory", self.check, LOOK_S, clock)

    async def check(self) -> None:
        """Look. A server that does not answer, or may not be asked, is left as it was; one without a limit is never full."""
        servers = self._nodes.all
        found = await asyncio.gather(*map(self._is_full, servers))
        self._full = frozenset(server for server, is_full in zip(servers, found, strict=True) if is_full)
        self.takes_writes = not self._full

    async def _is_full(self, server: Redis) -> bool:
        was = server in self._full
        try:
            found = await server.info("memory")
        except (RedisError, OSError):
            return was
        limit, used = int(found["maxmemory"]), int(found["used_memory"])
        is_full = limit > 0 and used >= limit * (ROOM if was else FULL)
        if is_full is not was:
            space = "low" if is_full else "ok"
            structlog.get_logger().warning("memory", space=space, used_mb=used >> 20, limit_mb=limit >> 20)
        return is_full
