"""Heartbeats: a process repeats a fact for the others, and the fact holds for as long as the process repeats it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

BOUND_MS = 3_000  # a process that is silent this long is bound no more: it says so every second
TAKING_MS = 15_000  # one with a low limit takes a message every few seconds
AT_WORK_MS = 10_000  # on a machine that is overloaded a second may take several


@dataclass(slots=True)
class Heartbeats:
    """Heartbeats of one kind. Each name has a key that expires after `life_ms` without a heartbeat."""

    connection: Connection
    key_of: Callable[[str], str]
    life_ms: int

    async def announce(self, here: Mapping[str, bool]) -> dict[str, bool]:
        """Store for each name whether it holds in this process. Returns for each name whether it holds in any process."""
        calls = [
            ("SET", self.key_of(name), 1, "PX", self.life_ms) if is_here else ("EXISTS", self.key_of(name))
            for name, is_here in here.items()
        ]
        return {name: bool(found) for name, found in zip(here, await self.connection.execute_many(calls), strict=True)}

    async def find(self, names: Iterable[str]) -> dict[str, bool]:
        """Returns for each name whether it holds in any process."""
        return await self.announce(dict.fromkeys(names, False))


def bound(connection: Connection) -> Heartbeats:
    """Which carriers processes are bound to."""
    return Heartbeats(connection, keys.bound, BOUND_MS)


def taking(connection: Connection) -> Heartbeats:
    """Makes the heartbeats that say which carriers accept messages from a process of alertd."""
    return Heartbeats(connection, keys.taking, TAKING_MS)


def at_work(connection: Connection) -> Heartbeats:
    """By which channels workers send."""
    return Heartbeats(connection, keys.at_work, AT_WORK_MS)
