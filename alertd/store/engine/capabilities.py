"""What the servers of a store promise, and what they promise less than they should; and whether they have read their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from alertd.common.clock import Clock
from alertd.store.engine.clock import APART_S, apart_s
from alertd.store.engine.connection import UNAVAILABLE, Connection, StoreRefusedError, checked, translated
from alertd.store.engine.nodes import WAIT, CommandPipeline

#: How often a loading server is asked: a start should not be later for it.
LOOK_EVERY_S = 0.25
#: So long a replica may take to confirm where it is only looked at: one that is there confirms what it has in milliseconds.
CHECK_MS = 2_000
#: Settings an engine must have for the whole promise, and what it promises otherwise.
WANTED = {
    "appendfsync": ("always", "a power cut may lose up to a second of accepted alerts"),
    "maxmemory-policy": ("noeviction", "the engine may throw data away when memory is full"),
}
#: What it lacks without a limit of its memory: alertd cannot see that the memory is nearly full (`memory`).
UNLIMITED = (
    "the store has maxmemory 0, which is no limit: alertd cannot refuse new alerts while there is still memory for those under way, and the"
    " system may kill the server when the machine has no memory left"
)
#: What it lacks where a replica is to confirm.
NO_REPLICA = "no replica confirms what the store writes, and store.replicas_required asks for one: nothing is accepted until it does"
#: What it lacks where replicas are there, and none is to confirm.
REPLICAS_UNASKED = "the store has replicas, and store.replicas_required is 0: one that takes its master's place may lack accepted alerts"
#: What it lacks whose user has fewer rights than ops/docs/run/your-own-store.md gives.
UNTOLD = "the store's user may not ask how full its memory is, nor whether it has replicas (INFO): nothing is refused before a server takes no write at all, and no stop"
#: What it lacks whose servers have other times.
APART = "the clocks of the store's servers are {:.0f} seconds apart: alerts start and end by that of the server that has them"


async def check_engine(connection: Connection) -> list[str]:
    """What this engine promises less than asked, as sentences; empty when nothing. Unknown settings are told too.
    Raises StoreRefusedError when it cannot say that a write is on disk, without which nothing can be promised at all.
    """
    weaker: dict[str, None] = {}
    for node in connection.nodes.all:
        weaker |= dict.fromkeys(await _weaker(connection.nodes.lines(node), connection.replicas))
    if (seconds := await apart_s(connection)) > APART_S:
        weaker[APART.format(seconds)] = None
    return list(weaker)


async def _weaker(lines: CommandPipeline, replicas: int) -> list[str]:
    try:
        *settings, limit, told, confirmed = await lines.ask(
            [
                *(("CONFIG", "GET", setting) for setting in (*WANTED, "maxmemory")),
                ("INFO", "replication"),
                (WAIT, 1, replicas, CHECK_MS),
            ]
        )
    except UNAVAILABLE as error:
        raise translated(error) from error
    if isinstance(confirmed, exceptions.NoPermissionError):
        raise translated(confirmed) from confirmed
    if isinstance(confirmed, Exception):
        raise StoreRefusedError(
            "the store does not confirm that writes are on disk: it must be the master, Valkey or Redis 7.2 or newer, "
            "with `appendonly yes`"
        ) from confirmed
    weaker = [] if confirmed[1] >= replicas else [NO_REPLICA]
    for (setting, (value, consequence)), answer in zip(WANTED.items(), settings, strict=True):
        if isinstance(answer, exceptions.NoPermissionError):
            weaker.append(
                f"the store's user may not ask for {setting} (CONFIG GET); if it is not {value}, {consequence}"
            )
        elif (found := _setting(answer)) != value:
            weaker.append(f"the store has {setting} {found}, not {value}: {consequence}")
    if not isinstance(limit, exceptions.NoPermissionError) and _setting(limit) == "0":
        weaker.append(UNLIMITED)
    if isinstance(told, exceptions.NoPermissionError):
        weaker.append(UNTOLD)
    elif checked([told])[0]["connected_slaves"] and not replicas:
        weaker.append(REPLICAS_UNASKED)
    return weaker


def _setting(answer: Any) -> str:
    """Returns the value in an answer to CONFIG GET, which is a map or a flat list by protocol; `?` if the server does not know the setting."""
    checked([answer])
    value: bytes = next(iter(answer.values()) if isinstance(answer, dict) else iter(answer[1:]), b"?")
    return value.decode()


async def until_loaded(client: Redis, tell: Callable[[], None], clock: Clock) -> None:
    """Return once the store no longer says that it loads, whatever it says then; `tell` is called once if it does."""
    told = False
    while True:
        try:
            await client.ping()
        except exceptions.BusyLoadingError:
            if not told:
                tell()
                told = True
            await clock.sleep(LOOK_EVERY_S)
        except (exceptions.RedisError, OSError):  # whoever opens the store finds the words for that
            return
        else:
            return
