"""The connection to the store: running scripts, and waiting until what they wrote is on disk.

While a name key is joining, a value under a hashed name is under the old or the new name. Every command looks at both names in one step and
works on the value that it finds, so processes may prefer different names (`names_of`, `named`, `values_of`).
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
#: A key that a command is about, and the command.
Keyed = tuple[str, Sequence[Arg]]


class StoreUnavailableError(Exception):
    """The store cannot take this now; nothing was half-written."""

    @property
    def in_full(self) -> str:
        """The message with the client's own error, which names the certificate or right at fault. For the operator alone; has no password."""
        return f"{self} ({self.__cause__})" if self.__cause__ else str(self)


class StoreRefusedError(Exception):
    """This store must not be opened: other keys, data of another schema, or an engine that would lose writes."""


#: What the client raises when the store is gone, full, loading or read-only. All mean: not now.
UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,  # the operator may give the store's user more rights
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.AskError,  # a slot is on its way to another server; MOVED is one too
    exceptions.TryAgainError,
    OSError,
)
#: What a server of a cluster answers that does nothing: another has the key, or it hears nothing of the others.
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
    """One client of the store."""

    def __init__(self, redis: Redis, codec: Codec, *, replicas_required: int = 0) -> None:
        self.nodes = Nodes(redis)
        self.codec = codec
        self.skew_ms = 0  # shifts the scripts' clock: the fake clock of tests
        self.replicas = min(1, replicas_required)

    async def run(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        """Run a script; its writes are applied when this returns."""
        return (await self.run_many(((name, names, args),)))[0]

    async def run_many(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """Run scripts in one round trip to each server, each atomic by itself. When `durable`, waits as `run_durably` does."""
        return self._confirmed(len(calls), await self._each(self.commands(calls), durable=durable))

    async def run_each(self, calls: Sequence[Call]) -> list[Any]:
        """Like `run_many`, but returns the error of a failed call in place of its answer, so that other calls keep their answers. A server of a
        cluster may lack its replica while others work. Raises StoreUnavailableError only if that is the answer to all calls.
        """
        answers = await self._each(self.commands(calls))
        answers = [translated(answer) if isinstance(answer, Exception) else answer for answer in answers]
        if answers and all(isinstance(answer, StoreUnavailableError) for answer in answers):
            raise answers[0]
        return answers

    async def run_durably(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        """Run a script and wait until it is on disk (and on a replica where one is required). Raises StoreUnavailableError when
        the disk does not confirm in time: the write may still come through, so callers must be idempotent.
        """
        return self._confirmed(1, await self._each(self.commands([(name, names, args)]), durable=True))[0]

    async def run_many_ahead(self, calls: Sequence[Call]) -> list[Any]:
        """Like `run_many`, for writes that must be on disk before a later durable write of the caller. One server keeps their order, so its later
        wait covers them. Several servers confirm separately, so this waits for each.
        """
        return await self.run_many(calls, durable=not self.nodes.only)

    async def execute_ahead(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Like `run_many_ahead`, for plain commands."""
        return await self.execute_many(commands, durable=not self.nodes.only)

    async def execute(self, *command: Arg) -> Any:
        """Run a plain command. The word after its name is a key; without one, any server may run it."""
        return (await self.execute_many([command]))[0]

    async def execute_many(self, commands: Sequence[Sequence[Arg]], *, durable: bool = False) -> list[Any]:
        """Commands in one round trip. When `durable`, waits as `run_durably` does."""
        return self._confirmed(len(commands), await self._each(commands, durable=durable))

    async def execute_each(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Like `execute_many`, but returns the error of a failed command in place of its answer. Raises StoreUnavailableError if any answer is
        that, because a partial read is of no use.
        """
        answers = await self._each(commands)
        answers = [translated(answer) if isinstance(answer, Exception) else answer for answer in answers]
        checked([answer for answer in answers if isinstance(answer, StoreUnavailableError)])
        return answers

    async def meet(self) -> None:
        """Ask the servers who they are. Raises StoreUnavailableError when none answers."""
        try:
            await self.nodes.learn()
        except UNAVAILABLE as error:
            raise translated(error) from error

    async def takes_writes(self) -> bool:
        """Returns whether the store keeps new writes. Writes a test key to every server: a server that is out of memory, a replica, or a server
        that lost its data would answer a PING too.
        """
        writes = (self.run_durably("ready", [name], READY_MS) for name in self.nodes.everywhere(keys.ready))
        try:
            await asyncio.gather(*writes)
            check = await self.execute("GET", keys.KEY_CHECK)
        except StoreUnavailableError:
            return False
        return check is not None and check.decode() in self.codec.master.names

    async def hash_of(self, name: str) -> dict[bytes, bytes]:
        """A whole hash, empty when there is none."""
        return (await self.hashes([name]))[0]

    async def hashes(self, names: Sequence[str]) -> list[dict[bytes, bytes]]:
        """Whole hashes, empty where there is none."""
        found = await self.execute_many([("HGETALL", name) for name in names])
        return [hash_in(one) for one in found]

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """Many values, missing ones as None."""
        parts = self.nodes.parts(names)
        answers = await self.execute_many([("MGET", *(names[i] for i in part)) for part in parts])
        return in_place(parts, answers, len(names))

    def commands(self, calls: Sequence[Call]) -> list[Sequence[Arg]]:
        """The commands that call scripts by the names that the server knows them by.

        In a cluster each names a key that is never there, too: from a slot that is on its way to another server, key by key, that server
        refuses it whole. By the keys that it has it would run, and be ended at the first that has gone, with half of it written.
        """
        commands: list[Sequence[Arg]] = []
        for name, names, args in calls:
            whole_slot = () if self.nodes.only else (keys.absent(names[0]),)
            commands.append(("EVALSHA", script(name).sha, len(names) + len(whole_slot), *names, *whole_slot, *args))
        return commands

    async def _each(self, commands: Sequence[Sequence[Arg]], *, durable: bool = False) -> list[Any]:
        """The answers to commands; errors are answers. When `durable`, those of WAITAOF follow. Raises StoreUnavailableError when a server
        cannot be reached. A server that no longer holds a key, or does not know a script, says so and does nothing: it is asked again where the
        key is, with the script's text. One that is full refuses whatever it is for: it is asked again in words that it takes.
        """
        try:
            if self.nodes.stale:
                await self.nodes.freshen()
            # A script's first key stands behind its name and the number of its keys.
            places = [3 if command[0] in {"EVAL", "EVALSHA"} else 1 for command in commands]
            names = [str(command[i]) if i < len(command) else "" for i, command in zip(places, commands, strict=True)]
            keyed = list(zip(names, commands, strict=True))
            if durable:
                # One for each slot that has any of these keys, for it may have moved by itself: its confirmation is asked for where it is now.
                # A server counts what its own connection wrote: the same server, the same pipeline.
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
        """Asks anew for the scripts that a server does not know (any more), for what went to the wrong server, and for what a full one refused.
        Where one has become a replica, the server that has taken its place is asked the next time.
        """
        commands = [
            (key, in_full(command)) for key, command in commands
        ]  # no server can say again that it does not know it
        if unknown := [i for i, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]:
            await self._ask_again(commands, answers, unknown)
        if elsewhere := [i for i, answer in enumerate(answers) if isinstance(answer, ELSEWHERE)]:
            self.nodes.stale = True  # what is known of the servers is no longer so
            await self.nodes.freshen()
            await self._ask_again(commands, answers, elsewhere)
            self.nodes.stale |= any(isinstance(answer, ELSEWHERE) for answer in answers)
        if any(isinstance(answer, exceptions.ReadOnlyError) for answer in answers):
            await self.nodes.hang_up()
        refused = {i for i, answer in enumerate(answers) if isinstance(answer, exceptions.OutOfMemoryError)}
        if refused:
            await self._ask_full(commands, answers, refused)

    async def _ask_full(self, commands: Sequence[Keyed], answers: list[Any], refused: set[int]) -> None:
        """Asks for what a full server refused in words that it takes, and again for the plain commands that follow it: they may have been about that."""
        asked = [(key, when_full(command) if i in refused else command) for i, (key, command) in enumerate(commands)]
        after = range(min(refused), len(commands))
        await self._ask_again(
            asked, answers, [i for i in after if i in refused or commands[i][1][0] not in {"EVAL", "EVALSHA", WAIT}]
        )

    async def _ask_again(self, commands: Sequence[Keyed], answers: list[Any], which: Sequence[int]) -> None:
        """Repeats the commands at the indices `which`, and every WAITAOF, and replaces their answers. The first WAITAOF did not cover what had
        failed. Of two confirmations the lower one counts.
        """
        again = [*which, *(i for i, (_, command) in enumerate(commands) if command[0] == WAIT)]
        for i, answer in zip(again, await self._asked([commands[i] for i in again]), strict=True):
            answers[i] = _least(answers[i], answer) if commands[i][1][0] == WAIT else answer

    async def _asked(self, commands: Sequence[Keyed]) -> list[Any]:
        """Sends each server its share of the commands, all at once. Returns the answers in the order of the commands."""
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
    """Returns the answers of a pipeline. Raises the first error; the client's own pipeline would put the arguments into its message."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise translated(answer) from answer
    return answers


def translated(error: BaseException) -> BaseException:
    """Returns StoreUnavailableError for a client's error that means "not now", else the error itself."""
    if isinstance(error, UNAVAILABLE) or str(error).startswith(_NOT_NOW):
        return StoreUnavailableError("The store cannot be reached or takes no writes at the moment.")
    return error


def names_of(connection: Connection, key_of: KeyOf, hashed: str) -> list[str]:
    """The keys of the store for what belongs to a hashed name, as scripts take them."""
    return [key_of(name) for name in connection.codec.names.stored(hashed)]


def named(connection: Connection, key_of: KeyOf, hashed: str, command: str, *args: Arg) -> Call:
    """A plain command on what belongs to a hashed name, as a call of a script."""
    return "named", names_of(connection, key_of, hashed), [command, *args]


async def values_of(connection: Connection, key_of: KeyOf, hashed: Sequence[str]) -> list[bytes | None]:
    """What belongs to hashed names, None where there is nothing. Read in one step."""
    names = [names_of(connection, key_of, one) for one in hashed]
    found = iter(await connection.mget([name for both in names for name in both]))
    return [next(filter(None, blobs), None) for blobs in ([next(found) for _ in both] for both in names)]
