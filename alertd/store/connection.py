"""The connection to the store: running scripts, and waiting until what they wrote is on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis

from alertd.store import keys
from alertd.store.codec import Codec
from alertd.store.scripts import script

SCHEMA_VERSION = 2
#: The oldest that is read. Data of 1 has names of staff and ids of cases in clear; no release wrote it.
OLDEST_SCHEMA = 2
#: How long a write may take to reach the disk (and a replica, where one is required) before the caller is told 503.
WAITAOF_MS = 5_000

Arg = str | bytes | int | float


class StoreUnavailableError(Exception):
    """The store cannot take this now; nothing was half-written."""


class StoreRefusedError(Exception):
    """This store must not be opened: other keys, newer data, or an engine that would lose writes."""


#: What the client raises when the store is gone, full, loading or read-only. All mean: not now.
UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    OSError,
)
_NOT_NOW = ("OOM", "MISCONF", "READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "WAITAOF")


class Connection:
    """One client of the store. `skew_ms` shifts the scripts' clock: the fake clock of tests, 0 in production."""

    def __init__(self, redis: Redis, codec: Codec, *, replicas_required: int = 0, skew_ms: int = 0) -> None:
        self.redis = redis
        self.codec = codec
        self.skew_ms = skew_ms
        self._replicas = min(1, replicas_required)
        self._command = cast("Callable[..., Awaitable[Any]]", redis.execute_command)

    async def run(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        """Run a script; its writes are applied when this returns."""
        return (await self.run_many([(name, names, args)]))[0]

    async def run_many(self, calls: Sequence[tuple[str, Sequence[str], Sequence[Arg]]]) -> list[Any]:
        """Run scripts in one round trip, each atomic by itself."""
        return checked(await self._pipelined(calls, durable=False))

    async def run_each(self, calls: Sequence[tuple[str, Sequence[str], Sequence[Arg]]]) -> list[Any]:
        """The same, but where one call fails its error is its answer: it takes nobody else's answer along. Raises
        StoreUnavailableError as the others do.
        """
        answers = await self._pipelined(calls, durable=False)
        faults = [answer for answer in answers if isinstance(answer, Exception)]
        checked([fault for fault in faults if isinstance(translated(fault), StoreUnavailableError)])
        return answers

    async def run_durably(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        """Run a script and wait until it is on disk (and on a replica where one is required). Raises StoreUnavailableError when
        the disk does not confirm in time: the write may still come through, so callers must be idempotent.
        """
        answer, confirmed = checked(await self._pipelined([(name, names, args)], durable=True))
        self._confirmed(confirmed)
        return answer

    async def execute(self, *command: Arg) -> Any:
        """A plain command."""
        try:
            return await self._command(*command)
        except (*UNAVAILABLE, exceptions.ResponseError) as error:
            raise translated(error) from error

    async def execute_many(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Plain commands in one round trip."""
        pipe = self.redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            return checked(await pipe.execute(raise_on_error=False))
        except UNAVAILABLE as error:
            raise translated(error) from error

    async def answers(self) -> bool:
        """Whether the store is there at all."""
        try:
            return bool(await self.execute("PING"))
        except StoreUnavailableError:
            return False

    async def hash_of(self, name: str) -> dict[bytes, bytes]:
        """A whole hash, empty when there is none."""
        flat = await self.execute("HGETALL", name)
        return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """Many values, missing ones as None."""
        return cast("list[bytes | None]", await self.execute("MGET", *names)) if names else []

    async def _pipelined(
        self, calls: Sequence[tuple[str, Sequence[str], Sequence[Arg]]], *, durable: bool
    ) -> list[Any]:
        """The answers, errors among them; when `durable`, one of WAITAOF after them."""
        try:
            answers = await self._send(calls, durable=durable)
            again = [i for i, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]
            if again:
                fresh = await self._send([calls[i] for i in again], durable=durable, whole=True)
                for i, answer in zip(again, fresh, strict=False):
                    answers[i] = answer
                answers[len(calls) :] = fresh[len(again) :]
        except UNAVAILABLE as error:
            raise translated(error) from error
        return answers

    async def _send(
        self, calls: Sequence[tuple[str, Sequence[str], Sequence[Arg]]], *, durable: bool, whole: bool = False
    ) -> list[Any]:
        """By name, or `whole` to a server that does not know them (any more), which then cannot say so again."""
        pipe = self.redis.pipeline(transaction=False)
        for name, names, args in calls:
            known = ("EVAL", script(name).text) if whole else ("EVALSHA", script(name).sha)
            pipe.execute_command(*known, len(names), *names, *args)
        if durable:
            pipe.execute_command("WAITAOF", 1, self._replicas, WAITAOF_MS)
        return await pipe.execute(raise_on_error=False)

    def _confirmed(self, answer: list[int]) -> None:
        local, replicas = answer
        if local < 1 or replicas < self._replicas:
            raise StoreUnavailableError("The store took the request but did not confirm in time that it is on disk.")


def checked(answers: list[Any]) -> list[Any]:
    """The answers of a pipeline. Raises the first that is an error; the client would put the call's arguments into it."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise translated(answer) from answer
    return answers


def translated(error: BaseException) -> BaseException:
    """What an error of the client means to us."""
    if isinstance(error, UNAVAILABLE) or str(error).startswith(_NOT_NOW):
        return StoreUnavailableError("The store cannot be reached or takes no writes at the moment.")
    return error


async def open_store(connection: Connection) -> None:
    """Check that this store may be used by this program with these keys, and mark a new one. Raises StoreRefusedError."""
    found, check = await connection.execute("MGET", keys.SCHEMA, keys.KEY_CHECK)
    if found is None:
        await connection.execute("MSET", keys.SCHEMA, SCHEMA_VERSION, keys.KEY_CHECK, connection.codec.check_value)
        return
    if int(found) > SCHEMA_VERSION:
        raise StoreRefusedError(
            f"the store holds data of schema {int(found)}, newer than this alertd's {SCHEMA_VERSION}: run the newer alertd"
        )
    if int(found) < OLDEST_SCHEMA:
        raise StoreRefusedError(
            f"the store holds data of schema {int(found)}, which this alertd does not read any more (from {OLDEST_SCHEMA} on)"
        )
    if check.decode() != connection.codec.check_value:
        raise StoreRefusedError("the store was made with other keys: give the master and hashing keys it was made with")


async def check_engine(connection: Connection) -> list[str]:
    """What this engine promises less than asked, as sentences; empty when nothing. Unknown settings are told too.
    Raises StoreRefusedError when it cannot say that a write is on disk, without which nothing can be promised at all.
    """
    try:
        await connection.execute("WAITAOF", 1, 0, WAITAOF_MS)
    except (StoreUnavailableError, exceptions.ResponseError) as error:
        raise StoreRefusedError(
            "the store does not confirm that writes are on disk: it must be the master, Valkey or Redis 7.2 or newer, "
            "with `appendonly yes`"
        ) from error
    wanted = {
        "appendfsync": ("always", "a power cut may lose up to a second of accepted alerts"),
        "maxmemory-policy": ("noeviction", "the engine may throw data away when memory is full"),
    }
    weaker = []
    for setting, (value, consequence) in wanted.items():
        answer = await connection.execute("CONFIG", "GET", setting)
        found = next(iter(answer.values()) if isinstance(answer, dict) else iter(answer[1:]), b"?")
        if found.decode() != value:
            weaker.append(f"the store has {setting} {found.decode()}, not {value}: {consequence}")
    return weaker
