"""Reading megabytes from the store, in threads.

The client of the event loop copies every byte six times, and on the loop; the blocking one does it in half the time and beside it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import redis
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from alertd.store.engine.connection import UNAVAILABLE, StoreUnavailableError, checked, translated
from alertd.store.engine.nodes import Nodes, grouped, in_place, way_in

READ_BYTES = 1 << 18  # a turn: more is no quicker, less is
Command = Sequence[str]  # plain, with a key after its name


class BulkReads:
    """The same servers as an asynchronous client's, for any number of threads."""

    def __init__(self, nodes: Nodes, *, timeout_s: float) -> None:
        self._nodes = nodes
        self._timeout_s = timeout_s
        self._twins: dict[aioredis.Redis, redis.Redis] = {}
        self._making = threading.Lock()

    def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """Many values, missing ones as None. Raises StoreUnavailableError."""
        (values,) = self.mgets([names])
        return values

    def mgets(self, groups: Iterable[Sequence[str]]) -> Iterator[list[bytes | None]]:
        """The same of one group after another, in turns."""
        split: deque[list[list[int]]] = deque()

        def commands() -> Iterator[list[Command]]:
            for names in groups:
                split.append(parts := self._nodes.parts(names))
                yield [("MGET", *(names[i] for i in part)) for part in parts]

        for answers in self.turns(commands()):
            parts = split.popleft()
            yield in_place(parts, answers, sum(map(len, parts)))

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands; one round trip to each server. Raises StoreUnavailableError."""
        (answers,) = self.turns([commands])
        return answers

    def turns(self, lists: Iterable[Sequence[Command]]) -> Iterator[list[Any]]:
        """The answers to each list of commands. The next list is asked for before the answers are given, so that the servers work on
        it while they are looked at. Raises StoreUnavailableError.
        """
        todo, lines = iter(lists), _Lines(self._nodes, self._twin)
        try:
            lines.ask(next(todo, None))
            while lines.asked is not None:
                answers = lines.answers()
                lines.ask(next(todo, None))
                yield answers
        except StoreUnavailableError:  # an answer said so: that another server has the key, as one by one they move
            self._nodes.stale = True
            raise
        except UNAVAILABLE as error:
            self._nodes.stale = True
            raise translated(error) from error
        finally:
            lines.give_back()

    def close(self) -> None:
        """Give back the connections."""
        for twin in self._twins.values():
            twin.close()

    def _twin(self, node: aioredis.Redis) -> redis.Redis:
        with self._making:
            if node not in self._twins:
                self._twins[node] = _blocking(node, self._timeout_s)
            return self._twins[node]


class _Lines:
    """A connection to each server that was asked."""

    def __init__(self, nodes: Nodes, twin: Callable[[aioredis.Redis], redis.Redis]) -> None:
        self._nodes, self._twin = nodes, twin
        self._lines: dict[aioredis.Redis, Any] = {}  # the client's connections, whose methods have no types
        self.asked: dict[aioredis.Redis, list[int]] | None = None  # which commands each server has not answered yet

    def ask(self, commands: Sequence[Command] | None) -> None:
        """The servers that have the keys; nothing at all if there is nothing."""
        if commands is None:
            return
        self.asked = grouped((self._nodes.of(command[1]), i) for i, command in enumerate(commands))
        for node, members in self.asked.items():
            if node not in self._lines:
                self._lines[node] = self._twin(node).connection_pool.get_connection()
            line = self._lines[node]
            line.send_packed_command(line.pack_commands([commands[i] for i in members]))

    def answers(self) -> list[Any]:
        """To what was asked, in its order."""
        assert self.asked is not None
        found = [[_answer(self._lines[node]) for _ in members] for node, members in self.asked.items()]
        shares, self.asked = self.asked.values(), None
        return in_place(shares, map(checked, found), sum(map(len, shares)))

    def give_back(self) -> None:
        """The connections. With an open question they end here, or the answer would be taken for another's."""
        for node, line in self._lines.items():
            if self.asked is not None:
                line.disconnect()
            self._twin(node).connection_pool.release(line)


def _answer(line: Any) -> Any:
    try:
        return line.read_response()
    except ResponseError as error:  # the answers after it are still to be read
        return error


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
