"""Watches how full the memory of the embedded store is, and refuses what is new while there is still some.

At its limit the server refuses every write: what settles a message that was just handed over, and what takes a child's picture away, among
them. So the service answers 503 before, as it does for a disk.
"""

from __future__ import annotations

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

#: The shares of the limit at which new things are refused, and are taken again: apart, so that it does not open and close at each look.
FULL, ROOM = 0.95, 0.94


class MemoryGuard:
    """The state of one server's memory. `check` is to be called every second or so."""

    def __init__(self) -> None:
        self.takes_writes = True  # whether the service may accept what has to be kept

    async def check(self, client: Redis) -> None:
        """Look. A server that does not answer leaves things as they were: nothing can be written to it anyway."""
        try:
            found = await client.info("memory")
        except (RedisError, OSError):
            return
        limit, used = int(found["maxmemory"]), int(found["used_memory"])
        takes_writes = not limit or used < limit * (FULL if self.takes_writes else ROOM)
        if takes_writes is not self.takes_writes:
            space = "ok" if takes_writes else "low"
            structlog.get_logger().warning("memory", space=space, used_mb=used >> 20, limit_mb=limit >> 20)
        self.takes_writes = takes_writes
