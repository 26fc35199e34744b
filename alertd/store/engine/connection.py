"""The connection to the store: runs scripts and commands, and waits until their writes are on disk where asked.

During a rotation, while a name key is joining (`NameKeys`), a value under a hashed name is stored under its old or its new name. Every
command looks at both names in one step and works on the value that it finds, so processes may prefer different names (`names_of`, `named`,
`values_of`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.nodes import WAIT, Nodes, grouped, in_place
from alertd.store.engine.scripts import in_full, script, when_full

#: How long a write may take to reach the disk (and a required replica), in ms. After it the API answers 503.
WAITAOF_MS = 5_000
#: How long the key lives that `takes_writes` writes as a test, in ms.
READY_MS = 60_000

Arg = str | bytes | int | float
KeyOf = Callable[[str], str]
#: A script's name, its keys and its arguments.
Call = tuple[str, Sequence[str], Sequence[Arg]]
#: A key that decides which server gets the command, and the command.
Keyed = tuple[str, Sequence[Arg]]


class StoreUnavailableError(Exception):
    """The store cannot process this request now, or did not confirm in time that its writes are on disk. No script was applied in half, but
    a write may have succeeded.
    """

    @property
    def in_full(self) -> str:
        """Returns the message, followed by the client's own error, which names the certificate or right at fault. Only for the operator.
        Contains no password.
        """
        return f"{self} ({self.__cause__})" if self.__cause__ else str(self)


class StoreRefusedError(Exception):
    """This store must not be opened: other keys, data of another schema, or an engine that would lose writes."""


#: Errors of the Redis client when the store is unreachable, full, loading or read-only. A later try may succeed.
UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,  # the operator may give the store's user more rights
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.AskError,  # a slot is moving to another server; MovedError is a subclass
    exceptions.TryAgainError,
    OSError,
)
#: Answers of a cluster's server that did not run the command: another server has the key, or the server has lost
#: contact with the cluster.
ELSEWHERE = (exceptions.MovedError, exceptions.ClusterDownError)
_NOT_NOW = (
    "OOM",
    "MISCONF",
    "READONLY",
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOREPLICAS",
    "WAITAOF",
    "BUSY ",  # another client's script takes long
    "UNBLOCKED",  # the server became a replica while the client waited for its disk
    "ACL failure",
)


class Connection:
    """Runs scripts and commands on the store's servers, with one client."""

    def __init__(self, redis: Redis, codec: Codec, *, replicas_required: int = 0) -> None:
        self.nodes = Nodes(redis)
        self.codec = codec
        self.skew_ms = 0  # ms added to the scripts' clock; 0 in production (tests set it)
        self.replicas = min(1, replicas_required)  # replicas that must confirm a durable write: 0 or 1

    async def run(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        """Runs a script on its keys `names` and returns its answer. Its writes are applied, but perhaps not on disk. Raises
        StoreUnavailableError.
        """
        return (await self.run_many(((name, names, args),)))[0]

    async def run_many(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """Runs scripts in one round trip to each server, each script atomically. Returns their answers; raises the first error. `durable`:
        waits as `run_durably` does.
        """
        return self._confirmed(len(calls), await self._each(self.commands(calls), durable=durable))

    async def run_each(self, calls: Sequence[Call]) -> list[Any]:
        """Runs scripts like `run_many`, but does not wait for the disk. Returns each script's answer, or its error if
        it failed: one server of a cluster may lack its replica while others work. Raises the first error if every call
        failed with StoreUnavailableError.
        """
        answers = await self._each(self.commands(calls))
        answers = [translated(answer) if isinstance(answer, Exception) else answer for answer in answers]
        if answers and all(isinstance(answer, StoreUnavailableError) for answer in answers):
            raise answers[0]
        return answers

    async def run_durably(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        """Runs a script, waits until its writes are on disk (and on a replica if one is required), and returns its answer. Raises
        StoreUnavailableError if the disk does not confirm in time: the write may still succeed, so callers must be idempotent.
        """
        return self._confirmed(1, await self._each(self.commands([(name, names, args)]), durable=True))[0]

    async def run_many_ahead(self, calls: Sequence[Call]) -> list[Any]:
        """Like `run_many`, for writes that must be on disk before a later durable write of the caller. A single server keeps the order of
        writes, so the wait of the later write covers these. Several servers confirm separately, so this method then waits for each.
        """
        return await self.run_many(calls, durable=not self.nodes.only)

    async def execute_ahead(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Like `run_many_ahead`, for plain commands."""
        return await self.execute_many(commands, durable=not self.nodes.only)

    async def execute(self, *command: Arg) -> Any:
        """Runs one command and returns its answer. The word after the command's name is a key and selects the server. A command without
        arguments may run on any server. Raises StoreUnavailableError.
        """
        return (await self.execute_many([command]))[0]

    async def execute_many(self, commands: Sequence[Sequence[Arg]], *, durable: bool = False) -> list[Any]:
        """Runs commands in one round trip and returns their answers; raises the first error. `durable`: waits as `run_durably` does."""
        return self._confirmed(len(commands), await self._each(commands, durable=durable))

    async def execute_durably(self, *command: Arg) -> Any:
        """Runs one command like `execute`, and waits as `run_durably` does."""
        return (await self.execute_many([command], durable=True))[0]

    async def execute_each(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Like `execute_many`, but returns the error of a failed command in place of its answer. Raises StoreUnavailableError if any
        command failed with it, because a partial read is useless.
        """
        answers = await self._each(commands)
        answers = [translated(answer) if isinstance(answer, Exception) else answer for answer in answers]
        checked([answer for answer in answers if isinstance(answer, StoreUnavailableError)])
        return answers

    async def meet(self) -> None:
        """Asks the servers which of them holds which keys, and remembers the answer. Raises StoreUnavailableError if none answers."""
        try:
            await self.nodes.learn()
        except UNAVAILABLE as error:
            raise translated(error) from error

    async def takes_writes(self) -> bool:
        """Returns whether every server keeps new writes and the store is the one that was opened. Writes a test key to each server: a
        server that is out of memory, a replica, or a server that lost its data would answer a PING too.
        """
        writes = (self.run_durably("ready", [name], READY_MS) for name in self.nodes.everywhere(keys.ready))
        try:
            await asyncio.gather(*writes)
            check = await self.execute("GET", keys.KEY_CHECK)
        except StoreUnavailableError:
            return False
        return check is not None and check.decode() in self.codec.master.names

    async def hash_of(self, name: str) -> dict[bytes, bytes]:
        """Returns all fields of a hash, an empty dict if the key does not exist."""
        return (await self.hashes([name]))[0]

    async def hashes(self, names: Sequence[str]) -> list[dict[bytes, bytes]]:
        """Returns all fields of each hash, an empty dict for a key that does not exist. One round trip."""
        found = await self.execute_many([("HGETALL", name) for name in names])
        return [hash_in(one) for one in found]

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """Returns the value of each key, None for a missing key. One round trip."""
        parts = self.nodes.parts(names)
        answers = await self.execute_many([("MGET", *(names[i] for i in part)) for part in parts])
        return in_place(parts, answers, len(names))

    def commands(self, calls: Sequence[Call]) -> list[Sequence[Arg]]:
        """Returns the EVALSHA command for each call of a script.

        In a cluster, each command also names a key that never exists. While a slot moves to another server, key by key, the old server then
        refuses the whole command. Without that key it would start the script with the keys that it still has and stop it at the first
        missing key, with half of the writes done.
        """
        commands: list[Sequence[Arg]] = []
        for name, names, args in calls:
            whole_slot = () if self.nodes.only else (keys.absent(names[0]),)
            commands.append(("EVALSHA", script(name).sha, len(names) + len(whole_slot), *names, *whole_slot, *args))
        return commands

    async def _each(self, commands: Sequence[Sequence[Arg]], *, durable: bool = False) -> list[Any]:
        """Sends the commands and returns their answers. An error answer is returned, not raised. `durable`: the answers of WAITAOF follow
        at the end. Raises StoreUnavailableError if a server cannot be reached.

        Repeats commands that a server refused without running them: on the right server if the key has moved, with the script's text if the
        server does not know the script, in a form that a full server accepts if it is out of memory.
        """
        try:
            if self.nodes.stale:
                await self.nodes.freshen()
            # A script's first key stands behind its name and the number of its keys.
            places = [3 if command[0] in {"EVAL", "EVALSHA"} else 1 for command in commands]
            names = [str(command[i]) if i < len(command) else "" for i, command in zip(places, commands, strict=True)]
            keyed = list(zip(names, commands, strict=True))
            if durable:
                # One WAITAOF for each slot that holds any of these keys, because a slot may have moved by itself. It
                # goes to the server that holds the slot now. A server counts only the writes of the same connection, so
                # WAITAOF goes through the same pipeline.
                wait = (WAIT, 1, self.replicas, WAITAOF_MS)
                keyed += [(names[part[0]], wait) for part in self.nodes.parts(names)]
            answers = await self._asked(keyed)
            for answer in answers:  # not `any`, which takes twice as long
                if isinstance(answer, Exception):
                    await self._put_right(keyed, answers)
                    break
        except UNAVAILABLE as error:
            self.nodes.stale = True
            raise translated(error) from error
        return answers

    async def _put_right(self, commands: Sequence[Keyed], answers: list[Any]) -> None:
        """Repeats the refused commands, and replaces their answers in `answers`: scripts that a server does not know, commands that went to
        the wrong server, and commands that a full server refused. If a server has become a replica, closes its connections, so that the
        next call reaches the new master.
        """
        commands = [
            (key, in_full(command)) for key, command in commands
        ]  # with its text, no server can answer that it does not know the script
        if unknown := [i for i, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]:
            await self._ask_again(commands, answers, unknown)
        if elsewhere := [i for i, answer in enumerate(answers) if isinstance(answer, ELSEWHERE)]:
            self.nodes.stale = True  # the known map of the servers is out of date
            await self.nodes.freshen()
            await self._ask_again(commands, answers, elsewhere)
            self.nodes.stale |= any(isinstance(answer, ELSEWHERE) for answer in answers)
        if any(isinstance(answer, exceptions.ReadOnlyError) for answer in answers):
            await self.nodes.hang_up()
        refused = {i for i, answer in enumerate(answers) if isinstance(answer, exceptions.OutOfMemoryError)}
        if refused:
            await self._ask_full(commands, answers, refused)

    async def _ask_full(self, commands: Sequence[Keyed], answers: list[Any], refused: set[int]) -> None:
        """Repeats the commands with the indices `refused` in a form that a full server accepts (`when_full`). Also repeats the plain
        commands after them, which may read what the refused commands write.
        """
        asked = [(key, when_full(command) if i in refused else command) for i, (key, command) in enumerate(commands)]
        after = range(min(refused), len(commands))
        await self._ask_again(
            asked, answers, [i for i in after if i in refused or commands[i][1][0] not in {"EVAL", "EVALSHA", WAIT}]
        )

    async def _ask_again(self, commands: Sequence[Keyed], answers: list[Any], which: Sequence[int]) -> None:
        """Repeats the commands with the indices `which`, and every WAITAOF, and replaces their answers in `answers`. WAITAOF is repeated
        because the first one did not cover the failed commands; of two confirmations the lower one counts.
        """
        again = [*which, *(i for i, (_, command) in enumerate(commands) if command[0] == WAIT)]
        for i, answer in zip(again, await self._asked([commands[i] for i in again]), strict=True):
            answers[i] = _least(answers[i], answer) if commands[i][1][0] == WAIT else answer

    async def _asked(self, commands: Sequence[Keyed]) -> list[Any]:
        """Sends each command to the server that holds its key, all servers at once. Returns the answers in the order of the commands."""
        if node := self.nodes.only:
            return await self.nodes.lines(node).ask([command for _, command in commands]) if commands else []
        shares = grouped((self.nodes.of(key), i) for i, (key, _) in enumerate(commands))
        parts = await asyncio.gather(
            *(self.nodes.lines(node).ask([commands[i][1] for i in members]) for node, members in shares.items())
        )
        return in_place(shares.values(), parts, len(commands))

    def _confirmed(self, count: int, answers: list[Any]) -> list[Any]:
        """Returns the first `count` answers; the rest are the servers' confirmations. Raises the first error among them, and
        StoreUnavailableError if a server does not confirm.
        """
        for local, replicas in checked(answers)[count:]:
            if local < 1 or replicas < self.replicas:
                raise StoreUnavailableError(
                    "The store took the request but did not confirm in time that it is on disk."
                )
        return answers[:count]


def hash_in(answer: Any) -> dict[bytes, bytes]:
    """Returns the hash in an answer to HGETALL. For some answers the client has already made a dict of it."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _least(first: Any, second: Any) -> Any:
    """Returns the lower confirmation of two answers to WAITAOF, or the error if one is an error."""
    failed = next((one for one in (first, second) if isinstance(one, Exception)), None)
    return failed or [min(both) for both in zip(first, second, strict=True)]


def checked(answers: list[Any]) -> list[Any]:
    """Returns the answers unchanged. Raises the first error among them, translated; the client's own pipeline would put the arguments into
    its message.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise translated(answer) from answer
    return answers


def translated(error: BaseException) -> BaseException:
    """Returns StoreUnavailableError for an error that a later try may not meet (server unreachable, full, loading, read-only …), else the
    error itself.
    """
    if isinstance(error, UNAVAILABLE) or str(error).startswith(_NOT_NOW):
        return StoreUnavailableError("The store cannot be reached or takes no writes at the moment.")
    return error


def names_of(connection: Connection, key_of: KeyOf, hashed: str) -> list[str]:
    """Returns the store keys that may hold the value of a hashed name, as `KEYS` of a script: one, or two during a rotation. `key_of` makes
    a key from a name.
    """
    return [key_of(name) for name in connection.codec.names.stored(hashed)]


def named(connection: Connection, key_of: KeyOf, hashed: str, command: str, *args: Arg) -> Call:
    """Returns the script call that runs `command` on the value of a hashed name, whether it is stored under the old name or the new one."""
    return "named", names_of(connection, key_of, hashed), [command, *args]


async def values_of(connection: Connection, key_of: KeyOf, hashed: Sequence[str]) -> list[bytes | None]:
    """Returns the value of each hashed name, None for each without one. One round trip."""
    names = [names_of(connection, key_of, one) for one in hashed]
    found = iter(await connection.mget([name for both in names for name in both]))
    return [next(filter(None, blobs), None) for blobs in ([next(found) for _ in both] for both in names)]
