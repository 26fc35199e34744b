"""Heartbeats: while a process repeats that something is true, the other processes can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

BOUND_MS = 3_000  # a process repeats it every second; after this silence it counts as not bound
TAKING_MS = 15_000  # a carrier with a low limit accepts a message every few seconds
AT_WORK_MS = 10_000  # on an overloaded machine the heartbeat, due every second, may take several


@dataclass(slots=True)
class Heartbeats:
    """Heartbeats of one kind, each under a name (of a carrier or a channel). A name counts for `life_ms` after the last heartbeat of any
    process.
    """

    connection: Connection
    key_of: Callable[[str], str]
    life_ms: int

    async def announce(self, here: Mapping[str, bool]) -> dict[str, bool]:
        """Writes a heartbeat for each name with a true value in `here`. Returns for each name whether any process, this one included, wrote
        one in the last `life_ms`.
        """
        calls = [
            ("SET", self.key_of(name), 1, "PX", self.life_ms) if is_here else ("EXISTS", self.key_of(name))
            for name, is_here in here.items()
        ]
        return {name: bool(found) for name, found in zip(here, await self.connection.execute_many(calls), strict=True)}

    async def find(self, names: Iterable[str]) -> dict[str, bool]:
        """Returns for each name whether any process wrote a heartbeat in the last `life_ms`. Writes nothing."""
        return await self.announce(dict.fromkeys(names, False))


def bound(connection: Connection) -> Heartbeats:
    """Returns the heartbeats, by carrier name, of processes that have an SMPP bind at the carrier."""
    return Heartbeats(connection, keys.bound, BOUND_MS)


def taking(connection: Connection) -> Heartbeats:
    """Returns the heartbeats, by carrier name, of processes whose messages the carrier accepts."""
    return Heartbeats(connection, keys.taking, TAKING_MS)


def at_work(connection: Connection) -> Heartbeats:
    """Returns the heartbeats, by channel, of workers that send on the channel."""
    return Heartbeats(connection, keys.at_work, AT_WORK_MS)
