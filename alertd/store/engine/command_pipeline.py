"""What is asked of one server in one turn of the event loop goes out together, on few connections, and each is read in one go.

A request that is small costs the client more than the server. Of a thousand at once, few travel alone, and nobody waits for company. Nor do
all travel as one: they would go on together, and the server would rest while they are worked on here, and we while it works.
What waits for the disk has a line of its own, so that nothing else waits behind it, and waits once for all: it counts what its own
connection wrote before it (WAITAOF).
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hiredis import pack_command
from redis import exceptions
from redis.asyncio import Redis

Command = Sequence[Any]
WAIT = "WAITAOF"
#: So much is under way at most of what waits for the disk, and of the rest: the client refuses the hundred and first connection. While the
#: server is slow, as when it forks, what is asked meanwhile goes together once there is a line.
MOST = 40
#: So many connections at most stay here between two turns, whatever a burst took, and no more than this share of those that the client may have.
IDLE, IDLE_SHARE = 8, 0.25
#: So many callers at most share a connection's turn. They do not wait for those who ask after them in the same turn of the event loop.
TOGETHER = 20
#: A task begins as it is made (Python 3.12): what it asks is written a turn sooner.
_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


@dataclass(slots=True)
class _Ask:
    """One caller's commands."""

    names: list[Any]
    packed: list[bytes]  # in C; the client does it in Python
    future: asyncio.Future[list[Any]]


class CommandPipeline:
    """The lines to one server."""

    def __init__(self, node: Redis) -> None:
        self._node = node
        self._asked: dict[bool, list[_Ask]] = {False: [], True: []}  # by whether it waits for the disk
        self._tasks: dict[bool, set[asyncio.Task[None]]] = {False: set(), True: set()}
        self._callbacks: dict[Any, Any] = {}  # of the client, by the few names there are: it looks for them in capitals
        self._idle: list[Any] = []  # connections of the client's pool

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """The answers, errors among them. Where the last command is WAITAOF, it is once for all that go with it. Raises what the
        client raises when the server cannot be reached.
        """
        loop = asyncio.get_running_loop()
        # What cannot be packed is the caller's alone.
        ask = _Ask([command[0] for command in commands], [*map(_packed, commands)], loop.create_future())
        waits = ask.names[-1] == WAIT
        if not self._asked[waits]:
            loop.call_soon(self._go, waits)
        self._asked[waits].append(ask)
        if len(self._asked[waits]) >= TOGETHER:
            self._go(waits)
        return ask.future

    async def hang_up(self) -> None:
        """Whoever asks next connects anew."""
        for connection in self._idle:
            await connection.disconnect(nowait=True)
        await self._node.connection_pool.disconnect(inuse_connections=False)

    def _go(self, waits: bool) -> None:
        while self._asked[waits] and len(self._tasks[waits]) < MOST:
            asked, self._asked[waits] = self._asked[waits][:TOGETHER], self._asked[waits][TOGETHER:]
            task = asyncio.Task(self._together(asked, waits), loop=asyncio.get_running_loop(), **_AT_ONCE)
            self._tasks[waits].add(task)
            task.add_done_callback(partial(self._over, waits))

    def _over(self, waits: bool, task: asyncio.Task[None]) -> None:
        self._tasks[waits].discard(task)
        self._go(waits)

    async def _together(self, asked: Sequence[_Ask], waits: bool) -> None:
        try:
            await self._exchange(asked, int(waits))
        except Exception as error:  # noqa: BLE001  it is raised where it is waited for
            for ask in asked:
                if not ask.future.done():
                    ask.future.set_exception(error)
        finally:
            for ask in asked:
                ask.future.cancel()  # none is left waiting; what is answered stays so

    async def _exchange(self, asked: Sequence[_Ask], shared: int) -> None:
        """`shared` are the commands at the end that all have in common: 1 or none."""
        packed = [piece for ask in asked for piece in ask.packed[: len(ask.packed) - shared]]
        packed += asked[0].packed[len(asked[0].packed) - shared :]
        pool: Any = self._node.connection_pool
        # Few connections go back to the client's pool: it takes a lock and counts them, which is some 3 % of what an alert takes of the API.
        connection = self._idle.pop() if self._idle else pool.get_available_connection()
        try:
            if _was_left(connection):
                await connection.disconnect(nowait=True)
            await pool.ensure_connection(connection)  # one that ended meanwhile is made anew
            answers = await _answered(connection, packed)
        except BaseException:
            await connection.disconnect(nowait=True)  # whatever it was: not all was read, or it is none any more
            raise
        finally:
            if len(self._idle) < min(IDLE, IDLE_SHARE * pool.max_connections):
                self._idle.append(connection)
            else:
                await pool.release(connection)
        end, first = answers[len(answers) - shared :], 0
        for ask in asked:
            own = answers[first : (first := first + len(ask.names) - shared)]
            if not ask.future.done():  # else whoever asked has gone
                ask.future.set_result([*map(self._meant, ask.names, own), *end])

    def _meant(self, name: Any, answer: Any) -> Any:
        """The answer as the client gives it to whoever asks alone."""
        if name not in self._callbacks:
            self._callbacks[name] = self._node.response_callbacks.get(name)
        callback = self._callbacks[name]
        return answer if callback is None or isinstance(answer, Exception) else callback(answer)


def _was_left(connection: Any) -> bool:
    """Whether the server has ended it, or said what nobody asked for: the event loop may have seen it, which the client does not, or not have
    looked since.
    """
    if not connection.is_connected:
        return False
    writer = connection._writer  # noqa: SLF001  it has no other name
    if writer.is_closing():
        return True
    looked = select.poll()
    looked.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(looked.poll(0))


def _packed(command: Command) -> bytes:
    """A command as it is written; some have a name of two words."""
    name: str = command[0]
    packed: bytes = pack_command((*name.split(), *command[1:]) if " " in name else tuple(command))
    return packed


async def _answered(connection: Any, packed: Sequence[bytes]) -> list[Any]:
    """The answers to commands, by a connection of the client; errors of commands are answers. Raises what the client raises.

    The client's own way takes a task to write them, and a time-out and five calls for each answer.
    """
    try:
        async with asyncio.timeout(connection.socket_timeout):
            await connection._send_packed_command([b"".join(packed)])  # noqa: SLF001  it has no other name
            return [await connection._parser.read_response() for _ in packed]  # noqa: SLF001
    except TimeoutError as error:
        raise exceptions.TimeoutError("no answer in time") from error
