"""Reading megabytes from the store, in threads.

The client of the event loop copies every byte six times, and on the loop; the blocking one does it in half the time and beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import redis
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.retry import Retry

from alertd.store.connection import UNAVAILABLE, checked, translated
from alertd.store.nodes import Nodes, grouped, in_place, way_in

READ_BYTES = 1 << 18  # a turn: more is no quicker, less is


class Bulk:
    """The same servers as an asynchronous client's, for any number of threads."""

    def __init__(self, nodes: Nodes, *, timeout_s: float) -> None:
        self._nodes = nodes
        self._timeout_s = timeout_s
        self._twins: dict[aioredis.Redis, redis.Redis] = {}
        self._making = threading.Lock()

    def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """Many values, missing ones as None. Raises StoreUnavailableError."""
        parts = self._nodes.parts(names)
        return in_place(parts, self.many([("MGET", *(names[i] for i in part)) for part in parts]), len(names))

    def many(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Plain commands, each with a key after its name; one round trip to each server. Raises StoreUnavailableError."""
        shares = grouped((self._nodes.of(command[1]), i) for i, command in enumerate(commands))
        try:
            answers = [
                checked(self._pipeline(node, [commands[i] for i in members])) for node, members in shares.items()
            ]
        except UNAVAILABLE as error:
            self._nodes.stale = True
            raise translated(error) from error
        return in_place(shares.values(), answers, len(commands))

    def close(self) -> None:
        """Give back the connections."""
        for twin in self._twins.values():
            twin.close()

    def _pipeline(self, node: aioredis.Redis, commands: Sequence[Sequence[str]]) -> list[Any]:
        pipe = self._twin(node).pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        answers: list[Any] = pipe.execute(raise_on_error=False)
        return answers

    def _twin(self, node: aioredis.Redis) -> redis.Redis:
        with self._making:
            if node not in self._twins:
                self._twins[node] = _blocking(node, self._timeout_s)
            return self._twins[node]


def _blocking(node: aioredis.Redis, timeout_s: float) -> redis.Redis:
    kind = node.connection_pool.connection_class
    settings = {**way_in(node), "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return redis.Redis.from_pool(
        redis.ConnectionPool(
            connection_class=next(twin for known, twin in _KINDS.items() if issubclass(kind, known)),
            socket_read_size=READ_BYTES,
            retry=Retry(NoBackoff(), 0),
            **settings,
        )
    )


_KINDS: dict[type[Any], type[Any]] = {
    aioredis.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
    aioredis.SSLConnection: redis.SSLConnection,
    aioredis.Connection: redis.Connection,
}
