"""The servers of a store: one server, or the masters of a cluster. `Nodes` has a client for each, `CommandPipeline` bundles the commands to
one.

All keys of a chain, of a group of cells or of 512 subscribers have one hash tag (`keys`), so no call ever needs two servers, and the rest
of the code need not know whether the store is a cluster.

Commands to one server that are made in one turn of the event loop are sent together, on few connections, and their answers are read
together. A small request costs the client more time than the server, so sending a thousand one by one would be slow. No request waits for
later ones. They are not all sent as one either: then the client and the server would work in turns, and each would be idle while the other
works.

Durable requests have connections of their own, so that no other request waits for the disk. Requests that are sent together share one
WAITAOF, because WAITAOF covers all earlier writes of its connection.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, TypeVar

from hiredis import pack_command
from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.maint_notifications import MaintNotificationsConfig

Group = TypeVar("Group", bound=Hashable)
Item = TypeVar("Item")
Command = Sequence[Any]
WAIT = "WAITAOF"
#: Maximum number of exchanges with one server in progress, for durable requests and for others separately: the client refuses the 101st
#: connection. Requests made while the server is slow, as during a fork, wait and are then sent together.
MOST = 40
#: Maximum number of idle connections that a CommandPipeline keeps for its next exchange, and the maximum share of the connections that the
#: client may have. The rest go back to the client's pool.
IDLE, IDLE_SHARE = 8, 0.25
#: Maximum number of callers whose commands are sent together on one connection. They do not wait for callers that come
#: later in the same turn of the event loop.
TOGETHER = 20
#: Python 3.12 can start a task as it is created, so its commands are written one turn of the event loop earlier.
_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
#: Names of the client's settings for the server's address, the login and the timeouts.
_WAY_IN = ("path", "host", "port", "db", "username", "password", "socket_timeout", "socket_connect_timeout")
#: Turns off the client's maintenance notifications. With them, the client hands out connections that the server has
#: closed, as after a restart or a long silence.
NO_NOTICES = MaintNotificationsConfig(enabled=False)
#: Maximum time (s) that one of several servers may take to answer CLUSTER SLOTS. If it is gone, another has replaced it
#: by then.
ANSWER_S = 5.0


@dataclass(slots=True)
class _Ask:
    """The commands of one caller, and the future of their answers."""

    names: list[Any]  # name of each command
    packed: list[bytes]  # each command as sent; packed in C, because the client packs in Python
    future: asyncio.Future[list[Any]]


class CommandPipeline:
    """Sends the commands of many callers to one server, over few connections."""

    def __init__(self, node: Redis) -> None:
        self._node = node
        # Requests that are not sent yet, and tasks that send; each by whether the requests wait for the disk.
        self._asked: dict[bool, list[_Ask]] = {False: [], True: []}
        self._tasks: dict[bool, set[asyncio.Task[None]]] = {False: set(), True: set()}
        # Caches the callback for each command name: the client would convert the name to capitals at every look-up.
        self._callback: Callable[[str], Callable[[Any], Any] | None] = cache(node.response_callbacks.get)
        self._idle: list[Any] = []  # connections of the client's pool

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Sends the commands and returns a future of their answers, in order. An error answer is returned, not raised. If the last command
        is WAITAOF, callers whose commands are sent together share it. The future raises the client's error if the server cannot be reached.
        """
        loop = asyncio.get_running_loop()
        # Packs here, so that a command that cannot be packed fails for its own caller only. Some commands have a name
        # of two words.
        packed = [
            pack_command((*command[0].split(), *command[1:]) if " " in command[0] else tuple(command))
            for command in commands
        ]
        ask = _Ask([command[0] for command in commands], packed, loop.create_future())
        waits = ask.names[-1] == WAIT
        if not self._asked[waits]:
            loop.call_soon(self._go, waits)
        self._asked[waits].append(ask)
        if len(self._asked[waits]) >= TOGETHER:
            self._go(waits)
        return ask.future

    async def hang_up(self) -> None:
        """Closes all idle connections to the server, so that the next request connects anew."""
        for connection in self._idle:
            await connection.disconnect(nowait=True)
        await self._node.connection_pool.disconnect(inuse_connections=False)

    def _go(self, waits: bool) -> None:
        """Starts exchanges for the requests that wait, TOGETHER callers each, while fewer than MOST are in progress. `waits`: those that
        wait for the disk.
        """
        while self._asked[waits] and len(self._tasks[waits]) < MOST:
            asked, self._asked[waits] = self._asked[waits][:TOGETHER], self._asked[waits][TOGETHER:]
            task = asyncio.Task(self._together(asked, waits), loop=asyncio.get_running_loop(), **_AT_ONCE)
            self._tasks[waits].add(task)
            task.add_done_callback(self._tasks[waits].discard)
            task.add_done_callback(lambda _: self._go(waits))

    async def _together(self, asked: Sequence[_Ask], waits: bool) -> None:
        """Carries out one exchange. If it fails, each caller's future raises the error."""
        try:
            await self._exchange(asked, int(waits))
        except Exception as error:  # noqa: BLE001  it is raised where it is waited for
            for ask in asked:
                if not ask.future.done():
                    ask.future.set_exception(error)
        finally:
            for ask in asked:
                ask.future.cancel()  # no caller is left waiting; does nothing to a future that has a result

    async def _exchange(self, asked: Sequence[_Ask], shared: int) -> None:
        """Writes the commands of several callers to one connection, reads the answers and resolves the callers' futures. `shared`: 1 if the
        last command of each caller is a WAITAOF that is sent once for all, else 0.
        """
        packed = [piece for ask in asked for piece in ask.packed[: len(ask.packed) - shared]]
        packed += asked[0].packed[len(asked[0].packed) - shared :]
        pool: Any = self._node.connection_pool
        # Keeps its own idle connections: the client's pool takes a lock and counts them, which costs about 3 % of the
        # API's time for an alert.
        connection = self._idle.pop() if self._idle else pool.get_available_connection()
        try:
            if _was_left(connection):
                await connection.disconnect(nowait=True)
            await pool.ensure_connection(connection)  # reconnects if it was closed
            # The client's own method would take a task for the writing, and a timeout and five calls for each answer.
            async with asyncio.timeout(connection.socket_timeout):
                connection._writer.write(b"".join(packed))  # noqa: SLF001  it has no other name
                await connection._writer.drain()  # noqa: SLF001
                answers = [await connection._parser.read_response() for _ in packed]  # noqa: SLF001
        except BaseException as error:
            await connection.disconnect(nowait=True)  # some answers may be unread, or the connection is broken
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("no answer in time") from error
            raise
        finally:
            if len(self._idle) < min(IDLE, IDLE_SHARE * pool.max_connections):
                self._idle.append(connection)
            else:
                await pool.release(connection)
        end, first = answers[len(answers) - shared :], 0
        for ask in asked:
            own = answers[first : (first := first + len(ask.names) - shared)]
            for i, answer in enumerate(own):  # converts each answer as the client's own methods do
                if (callback := self._callback(ask.names[i])) and not isinstance(answer, Exception):
                    own[i] = callback(answer)
            if not ask.future.done():  # else the caller was cancelled
                ask.future.set_result([*own, *end])


def _was_left(connection: Any) -> bool:
    """Returns whether a connection must not be used: the server has closed it, or has sent data that no command asked for. Asks the socket,
    because the event loop and the client may not have noticed yet.
    """
    if not connection.is_connected:
        return False
    writer = connection._writer  # noqa: SLF001  it has no other name
    if writer.is_closing():
        return True
    looked = select.poll()
    looked.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(looked.poll(0))


class Nodes:
    """Finds the client of the server that holds a key, and the CommandPipeline of each server. A caller that meets a moved key or a lost
    server sets `stale`; `freshen` then asks the servers anew.
    """

    def __init__(self, client: Redis) -> None:
        self.first = client
        self.all = [client]  # every server that holds keys
        self.only: Redis | None = client  # the client of the server that holds all keys; None in a cluster
        self.stale = False  # whether the map of slots may be out of date
        self._clients: dict[tuple[str, int], Redis] = {}
        #: Returns the CommandPipeline of a client's server: always the same one, because it keeps idle connections.
        self.lines: Callable[[Redis], CommandPipeline] = cache(CommandPipeline)
        self._slots: list[Redis] = []  # client by slot, in a cluster; else empty
        self._learning = asyncio.Lock()
        self._turn = -1  # index of the server that `_ranges` asked first

    def of(self, key: str) -> Redis:
        """Returns the client of the server that holds a key."""
        return self._slots[slot_of(key)] if self._slots else self.first

    async def hang_up(self) -> None:
        """Closes the idle connections to all servers: a server's name may now lead to another machine, while open connections lead to the
        old one.
        """
        for client in (self.first, *self._clients.values()):
            await self.lines(client).hang_up()

    def parts(self, names: Sequence[str]) -> list[list[int]]:
        """Divides keys among commands: returns groups of indices of `names`, so that one command may have all keys of a group. One group on
        a single server, in a cluster one for each slot.
        """
        if not self._slots:
            return [list(range(len(names)))] if names else []
        return list(grouped((slot_of(name), i) for i, name in enumerate(names)).values())

    def everywhere(self, name: Callable[[int], str]) -> list[str]:
        """Returns one key name for each server that this server holds: the first of `name(0)`, `name(1)`, … that does."""
        found: dict[Redis, str] = {}
        numbers, servers = count(), len(self.all)
        while len(found) < servers:
            made = name(next(numbers))
            found.setdefault(self.of(made), made)
        return list(found.values())

    async def freshen(self) -> None:
        """Calls `learn` if the map of the servers is stale. Only one caller at a time: after a success the waiting callers do nothing,
        after a failure each of them tries again. Raises what `learn` raises.
        """
        async with self._learning:
            if self.stale:
                await self.learn()

    async def learn(self) -> None:
        """Asks the servers which slots they hold, and stores the answer. Raises the client's error if none answers."""
        ranges = await self._ranges()
        slots = [self.first] * (REDIS_CLUSTER_HASH_SLOTS if ranges else 0)
        for first, last, (host, port, *_), *_ in ranges:
            here = self._client((host or b"").decode(), port)  # empty: the host that was asked, as behind a proxy
            slots[first : last + 1] = [here] * (last + 1 - first)
        self._slots, self.stale = slots, False
        self.all, self.only = list(dict.fromkeys(slots)) or [self.first], None if slots else self.first

    async def close(self) -> None:
        """Closes the clients that this object made. The first client belongs to the caller."""
        for client in self._clients.values():
            await client.aclose()

    async def _ranges(self) -> list[Any]:
        """Returns the slot ranges from the first server that knows any; [] if there is no cluster. Each call begins with another server, because
        one that was removed or cut off from the cluster keeps answering with old ranges.
        """
        known, fault = [self.first, *self._clients.values()], None
        self._turn = (self._turn + 1) % len(known)
        for client in known[self._turn :] + known[: self._turn]:
            try:
                async with asyncio.timeout(ANSWER_S if len(known) > 1 else None):
                    answer: list[Any] = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                fault = error
            except exceptions.ResponseError:  # the server has clusters disabled, or does not know the command
                continue
            else:
                if answer:
                    return answer
        if fault:
            raise fault
        return []

    def _client(self, host: str, port: int) -> Redis:
        """Returns the client of the server at this address, with the login of the first client. Makes it at first use. An empty host is the
        first client's host.
        """
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
    """Returns the settings of a client that a second client needs to reach the same server: address, login, timeouts, TLS."""
    settings: dict[str, Any] = client.connection_pool.connection_kwargs
    return {name: value for name, value in settings.items() if name in _WAY_IN or name.startswith("ssl_")}


def slot_of(key: str) -> int:
    """Returns the number of a key's cluster slot, by its hash tag."""
    return key_slot(key.encode())


def grouped(pairs: Iterable[tuple[Group, Item]]) -> dict[Group, list[Item]]:
    """Returns from (group, item) pairs the items of each group, in their order."""
    found: dict[Group, list[Item]] = {}
    for group, item in pairs:
        found.setdefault(group, []).append(item)
    return found


def in_place(parts: Collection[Sequence[int]], answers: Iterable[Sequence[Item]], count: int) -> list[Item]:
    """Puts the answers to shares of a list back into the list's order. `parts`: for each share the indices of its items in the list;
    `answers`: for each share the answers; `count`: length of the list.
    """
    if len(parts) == 1:  # a single share is the whole list, in its order
        (whole,) = answers
        return list(whole)
    found: dict[int, Item] = {}
    for part, values in zip(parts, answers, strict=True):
        found.update(zip(part, values, strict=True))
    return [found[i] for i in range(count)]
