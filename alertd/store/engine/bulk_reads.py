"""Two helpers for many reads at once: `Batcher` puts the items of many callers into one call; `BulkReads` reads megabytes from the store in
threads.
"""

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

Command = Sequence[str]  # a plain command: its name, then a key, then arguments
MOST = 500  # maximum number of items in a call
READ_BYTES = 1 << 18  # bytes per socket read: a larger size is no faster, a smaller one is slower
_KINDS: dict[type[Any], type[Any]] = {
    aioredis.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
    aioredis.SSLConnection: redis.SSLConnection,
    aioredis.Connection: redis.Connection,
}


@dataclass(slots=True)
class Batcher(Generic[Item, Answer]):
    """Collects items and calls `many` with those that wait (at most 500), one call at a time. `many` must return one answer for each item,
    in the order of the items.

    An item that arrives during a call is part of a later call. Its answer therefore never comes from a read that began before the item
    arrived, so a Batcher suits reads that must not be stale (callers' API keys, stops).
    """

    many: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]
    _waiting: list[tuple[Item, asyncio.Future[Answer]]] = field(default_factory=list)
    _calling: asyncio.Task[None] | None = None

    async def one(self, item: Item) -> Answer:
        """Returns the answer for an item, from a call of `many` that begins after this call. Raises what that call raised; if one item of
        several made it fail, only that item's caller gets the error.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._call())
        return await future

    async def _call(self) -> None:
        """Answers the items that wait, at most MOST in each call, until none waits."""
        while self._waiting:
            some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                await self._answer(some)
            finally:
                for _, future in some:
                    future.cancel()  # no caller is left waiting; does nothing to a future that has a result

    async def _answer(self, some: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        """Calls `many` for these items and resolves their callers' futures. If it fails for several items, calls it for each of them alone."""
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
    """Reads much from the store in threads, with blocking clients for the servers of an asynchronous client. Any number of threads may use
    it.

    The asynchronous client copies every byte six times, in the event loop. A blocking client takes half the time, outside the event loop.
    """

    def __init__(self, nodes: Nodes, *, timeout_s: float) -> None:
        self._nodes = nodes
        self._timeout_s = timeout_s
        self._twins: dict[aioredis.Redis, redis.Redis] = {}
        self._making = threading.Lock()

    def mgets(self, groups: Iterable[Sequence[str]]) -> Iterator[list[bytes | None]]:
        """Reads the values of each group of keys. Yields one list for each group: the values in the order of the keys, None for a missing
        key. Sends the next group's command before it yields. Raises StoreUnavailableError.
        """
        split: deque[list[list[int]]] = deque()

        def commands() -> Iterator[list[Command]]:
            """Yields the MGET commands of each group, and notes in `split` how the group's keys are divided among them."""
            for names in groups:
                split.append(parts := self._nodes.parts(names))
                yield [("MGET", *(names[i] for i in part)) for part in parts]

        for answers in self.turns(commands()):
            parts = split.popleft()
            yield in_place(parts, answers, sum(map(len, parts)))

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends the commands, with one round trip to each server. Returns their answers in order. Raises StoreUnavailableError."""
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
        except StoreUnavailableError:  # an answer said that the key has moved to another server
            self._nodes.stale = True
            raise
        except UNAVAILABLE as error:
            self._nodes.stale = True
            raise translated(error) from error
        finally:
            for node, line in lines.to.items():
                if lines.asked is not None:  # its pending answer would be read as that of a later command
                    line.disconnect()
                self._twin(node).connection_pool.release(line)

    def close(self) -> None:
        """Closes the connections of all blocking clients."""
        for twin in self._twins.values():
            twin.close()

    def _twin(self, node: aioredis.Redis) -> redis.Redis:
        """Returns the blocking client for the same server as `node`. Makes it at first use."""
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
    """One connection to each server that got a command, for one thread. `ask` sends a list of commands, `answers` reads the answers to it."""

    nodes: Nodes
    twin: Callable[[aioredis.Redis], redis.Redis]
    asked: dict[aioredis.Redis, list[int]] | None = None  # indices of unanswered commands, by server
    to: dict[aioredis.Redis, Any] = field(default_factory=dict)  # one connection of the client for each server; untyped

    def ask(self, commands: Sequence[Command] | None) -> None:
        """Sends each command to the server that has its key, without waiting for answers. Does nothing if `commands` is None."""
        if commands is None:
            return
        self.asked = grouped((self.nodes.of(command[1]), i) for i, command in enumerate(commands))
        for node, members in self.asked.items():
            if node not in self.to:
                self.to[node] = self.twin(node).connection_pool.get_connection()
            line = self.to[node]
            line.send_packed_command(line.pack_commands([commands[i] for i in members]))

    def answers(self) -> list[Any]:
        """Reads and returns the answers to the last `ask`, in the order of its commands. Raises the first error among them, after reading
        all.
        """
        assert self.asked is not None
        found: list[list[Any]] = []
        for node, members in self.asked.items():
            found.append([])
            for _ in members:
                try:
                    found[-1].append(self.to[node].read_response())
                except ResponseError as error:  # the answers after it must still be read
                    found[-1].append(error)
        shares, self.asked = self.asked.values(), None
        return in_place(shares, map(checked, found), sum(map(len, shares)))
