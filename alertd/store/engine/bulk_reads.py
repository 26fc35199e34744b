"""Reads of many things at once: many callers' items in one call (`Batcher`), and megabytes from the store, in threads (`BulkReads`)."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import redis
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from alertd.store.engine.connection import UNAVAILABLE, StoreUnavailableError, checked, translated
from alertd.store.engine.nodes import Nodes, grouped, in_place, way_in

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Command = Sequence[str]  # plain, with a key after its name
MOST = 500  # items in a call
READ_BYTES = 1 << 18  # a turn: more is no quicker, less is
_KINDS: dict[type[Any], type[Any]] = {
    aioredis.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
    aioredis.SSLConnection: redis.SSLConnection,
    aioredis.Connection: redis.Connection,
}


@dataclass(slots=True)
class Batcher(Generic[Item, Answer]):
    """Calls `many` with the items that wait, one call at a time. `many` returns an answer for each item, in their order.

    An item that comes during a call goes with the next, so it is answered by a call that began after it came. So it serves reads that must
    not be a moment old, too: who calls, and what is stopped.
    """

    many: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]
    _waiting: list[tuple[Item, asyncio.Future[Answer]]] = field(default_factory=list)
    _calling: asyncio.Task[None] | None = None

    async def one(self, item: Item) -> Answer:
        """Returns the answer for an item. Raises what the call raised; if one item of several made it fail, only that item's caller gets the error."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._call())
        return await future

    async def _call(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                await self._answer(some)
            finally:
                for _, future in some:
                    future.cancel()  # none is left waiting; what is answered stays so

    async def _answer(self, some: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self.many([item for item, _ in some])
        except Exception as error:  # noqa: BLE001  it is raised where it is waited for
            if len(some) == 1 or isinstance(error, StoreUnavailableError):
                for _, future in some:
                    if not future.done():
                        future.set_exception(error)
                return
            for one in some:
                await self._answer([one])
            return
        for (_, future), answer in zip(some, answers, strict=True):
            if not future.done():
                future.set_result(answer)


class BulkReads:
    """The same servers as an asynchronous client's, for any number of threads.

    The client of the event loop copies every byte six times, and on the loop; the blocking one does it in half the time and beside it.
    """

    def __init__(self, nodes: Nodes, *, timeout_s: float) -> None:
        self._nodes = nodes
        self._timeout_s = timeout_s
        self._twins: dict[aioredis.Redis, redis.Redis] = {}
        self._making = threading.Lock()

    def mgets(self, groups: Iterable[Sequence[str]]) -> Iterator[list[bytes | None]]:
        """Many values, missing ones as None, of one group of names after another, in turns. Raises StoreUnavailableError."""
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
        """Yields the answers to each list of commands. Sends the next list first, so that the servers work on it while
        the caller reads these answers. Raises StoreUnavailableError.
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
            for node, line in lines.to.items():
                if lines.asked is not None:  # its answer would be taken for another's
                    line.disconnect()
                self._twin(node).connection_pool.release(line)

    def close(self) -> None:
        """Give back the connections."""
        for twin in self._twins.values():
            twin.close()

    def _twin(self, node: aioredis.Redis) -> redis.Redis:
        with self._making:
            if node not in self._twins:
                kind = node.connection_pool.connection_class
                self._twins[node] = redis.Redis.from_pool(
                    redis.ConnectionPool(
                        connection_class=next(twin for known, twin in _KINDS.items() if issubclass(kind, known)),
                        socket_read_size=READ_BYTES,
                        retry=Retry(NoBackoff(), 0),
                        **way_in(node) | {"socket_timeout": self._timeout_s, "socket_connect_timeout": self._timeout_s},
                    )
                )
            return self._twins[node]


@dataclass(slots=True)
class _Lines:
    """A connection to each server that was asked."""

    nodes: Nodes
    twin: Callable[[aioredis.Redis], redis.Redis]
    asked: dict[aioredis.Redis, list[int]] | None = None  # which commands each server has not answered yet
    to: dict[aioredis.Redis, Any] = field(default_factory=dict)  # the client's connections, whose methods have no types

    def ask(self, commands: Sequence[Command] | None) -> None:
        """The servers that have the keys; nothing at all if there is nothing."""
        if commands is None:
            return
        self.asked = grouped((self.nodes.of(command[1]), i) for i, command in enumerate(commands))
        for node, members in self.asked.items():
            if node not in self.to:
                self.to[node] = self.twin(node).connection_pool.get_connection()
            line = self.to[node]
            line.send_packed_command(line.pack_commands([commands[i] for i in members]))

    def answers(self) -> list[Any]:
        """To what was asked, in its order."""
        assert self.asked is not None
        found: list[list[Any]] = []
        for node, members in self.asked.items():
            found.append([])
            for _ in members:
                try:
                    found[-1].append(self.to[node].read_response())
                except ResponseError as error:  # the answers after it are still to be read
                    found[-1].append(error)
        shares, self.asked = self.asked.values(), None
        return in_place(shares, map(checked, found), sum(map(len, shares)))
