"""The servers of a store: one, or the masters of a cluster, each reached by a client of its own.

All of a chain, of a group of cells or of 512 subscribers lies under one hash tag (`keys`), so no call ever needs two servers: one
client a server, and the rest of the store does not know which of both it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from itertools import count
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.maint_notifications import MaintNotificationsConfig

from alertd.store.engine.command_pipeline import CommandPipeline

Group = TypeVar("Group", bound=Hashable)
Item = TypeVar("Item")
#: What of a client's settings says where its server is, who may enter, and how long that may take.
_WAY_IN = ("path", "host", "port", "db", "username", "password", "socket_timeout", "socket_connect_timeout")

#: A client that waits to be told of maintenance hands out connections that the server has closed meanwhile, as after a restart or a silence.
NO_NOTICES = MaintNotificationsConfig(enabled=False)
#: So long one server of several is waited for that is asked who holds what: where it is gone, another has long taken its place.
ANSWER_S = 5.0


class Nodes:
    """Which client reaches a key, and the lines to each server. `stale` is set by whoever sees that this is no longer what it was."""

    def __init__(self, client: Redis) -> None:
        self.first = client
        self.stale = False
        self._clients: dict[tuple[str, int], Redis] = {}
        self._lines: dict[Redis, CommandPipeline] = {}
        self._slots: list[Redis] = []  # by slot, of a cluster
        self._learning = asyncio.Lock()
        self._turn = -1

    @property
    def all(self) -> list[Redis]:
        """Every server that holds keys."""
        return list(dict.fromkeys(self._slots)) or [self.first]

    @property
    def only(self) -> Redis | None:
        """The client of the server that holds all keys; None in a cluster."""
        return None if self._slots else self.first

    def of(self, key: str | bytes) -> Redis:
        """The client of the server that holds a key."""
        return self._slots[slot_of(key)] if self._slots else self.first

    def lines(self, client: Redis) -> CommandPipeline:
        """The lines to a client's server, the same for all who ask: they keep some of its connections."""
        if client not in self._lines:
            self._lines[client] = CommandPipeline(client)
        return self._lines[client]

    async def hang_up(self) -> None:
        """The name of a server may lead to another by now, and connections that are kept lead to the one before."""
        for lines in self._lines.values():
            await lines.hang_up()

    def parts(self, names: Sequence[str]) -> list[list[int]]:
        """The indices of names that one command may have together: all, or in a cluster those of one slot."""
        if not self._slots:
            return [list(range(len(names)))] if names else []
        return list(grouped((slot_of(name), i) for i, name in enumerate(names)).values())

    def everywhere(self, name: Callable[[int], str]) -> list[str]:
        """Of the names that a number makes, the first that each server holds."""
        found: dict[Redis, str] = {}
        numbers, servers = count(), len(self.all)
        while len(found) < servers:
            made = name(next(numbers))
            found.setdefault(self.of(made), made)
        return list(found.values())

    async def freshen(self) -> None:
        """Ask who holds what, once for all that wait for it, unless that is known. Raises what `learn` raises."""
        async with self._learning:
            if self.stale:
                await self.learn()

    async def learn(self) -> None:
        """Ask who holds what. Raises what the client raises when nobody answers."""
        ranges = await self._ranges()
        slots = [self.first] * (REDIS_CLUSTER_HASH_SLOTS if ranges else 0)
        for first, last, (host, port, *_), *_ in ranges:
            here = self._client((host or b"").decode(), port)  # none: the host that was asked, as behind a proxy
            slots[first : last + 1] = [here] * (last + 1 - first)
        self._slots, self.stale = slots, False

    async def close(self) -> None:
        """Close the clients that were made here; the first is its owner's."""
        for client in self._clients.values():
            await client.aclose()

    async def _ranges(self) -> list[Any]:
        """What a cluster's servers say of the slots, whichever knows of any; nothing where there is no cluster. Each time another
        is asked first: one that was taken out of the cluster, or is cut off from it, answers for ever, and what is no longer so.
        """
        known, fault = [self.first, *self._clients.values()], None
        self._turn = (self._turn + 1) % len(known)
        for client in known[self._turn :] + known[: self._turn]:
            try:
                async with asyncio.timeout(ANSWER_S if len(known) > 1 else None):
                    answer: list[Any] = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                fault = error
            except exceptions.ResponseError:  # clusters are not enabled there, or not known to it
                continue
            else:
                if answer:
                    return answer
        if fault:
            raise fault
        return []

    def _client(self, host: str, port: int) -> Redis:
        where = way_in(self.first)
        here = (host or where["host"], port)
        if here not in self._clients:
            where.update(host=here[0], port=port)
            kind = self.first.connection_pool.connection_class
            pool = ConnectionPool(
                connection_class=kind, retry=Retry(NoBackoff(), 0), maint_notifications_config=NO_NOTICES, **where
            )
            self._clients[here] = Redis.from_pool(pool)
        return self._clients[here]


def way_in(client: Redis) -> dict[str, Any]:
    """The settings of a client that another one needs for the same server."""
    settings: dict[str, Any] = client.connection_pool.connection_kwargs
    return {name: value for name, value in settings.items() if name in _WAY_IN or name.startswith("ssl_")}


def slot_of(key: str | bytes) -> int:
    """The cluster's slot of a key, by its hash tag."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def grouped(pairs: Iterable[tuple[Group, Item]]) -> dict[Group, list[Item]]:
    """Items by what they have in common, in order."""
    found: dict[Group, list[Item]] = {}
    for group, item in pairs:
        found.setdefault(group, []).append(item)
    return found


def in_place(parts: Collection[Sequence[int]], answers: Iterable[Sequence[Item]], count: int) -> list[Item]:
    """The answers to shares of a list, each share given by its indices, as the answers to the list of so many."""
    if len(parts) == 1:  # a share that is the whole list is in its order
        (whole,) = answers
        return list(whole)
    found: dict[int, Item] = {}
    for part, values in zip(parts, answers, strict=True):
        found.update(zip(part, values, strict=True))
    return [found[i] for i in range(count)]
