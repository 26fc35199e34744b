"""Checks what guarantees the store's servers give, and describes each missing guarantee in a sentence. Also waits until a server has loaded
its files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from alertd.common.clock import Clock
from alertd.store.engine.clock import APART_S, apart_s
from alertd.store.engine.connection import UNAVAILABLE, Connection, StoreRefusedError, checked, translated
from alertd.store.engine.nodes import WAIT, CommandPipeline

#: Seconds between two PINGs to a server that is loading its files. Short, so that it hardly delays the start.
LOOK_EVERY_S = 0.25
#: Maximum time (ms) for a replica's confirmation in this check. A replica that is connected confirms within
#: milliseconds.
CHECK_MS = 2_000
#: The server settings that alertd needs: setting -> (required value, consequence of another value).
WANTED = {
    "appendfsync": ("always", "a power cut may lose up to a second of accepted alerts"),
    "maxmemory-policy": ("noeviction", "the engine may throw data away when memory is full"),
}
#: Warning for a server without a memory limit: alertd cannot see that the memory is nearly full (INFO memory).
UNLIMITED = (
    "the store has maxmemory 0, which is no limit: alertd cannot refuse new alerts while there is still memory for those under way, and the"
    " system may kill the server when the machine has no memory left"
)
#: Warning if a replica has to confirm writes, but none does.
NO_REPLICA = "no replica confirms what the store writes, and store.replicas_required asks for one: nothing is accepted until it does"
#: Warning if the store has replicas, but none has to confirm writes.
REPLICAS_UNASKED = "the store has replicas, and store.replicas_required is 0: one that takes its master's place may lack accepted alerts"
#: Warning if the store's user has fewer rights than ops/docs/run/your-own-store.md gives.
UNTOLD = "the store's user may not ask how full its memory is, nor whether it has replicas (INFO): nothing is refused before a server takes no write at all, and no stop"
#: Warning if the clocks of the servers differ. Formatted with the difference in seconds.
APART = "the clocks of the store's servers are {:.0f} seconds apart: alerts start and end by that of the server that has them"


async def check_engine(connection: Connection) -> list[str]:
    """Returns a warning sentence for each guarantee that the store's servers do not give, and for each setting that cannot be read. Returns
    an empty list if nothing is missing. Raises StoreRefusedError if a server does not confirm that writes are on disk: alertd must not run
    on it. Raises StoreUnavailableError.
    """
    weaker: dict[str, None] = {}
    for node in connection.nodes.all:
        weaker |= dict.fromkeys(await _weaker(connection.nodes.lines(node), connection.replicas))
    if (seconds := await apart_s(connection)) > APART_S:
        weaker[APART.format(seconds)] = None
    return list(weaker)


async def _weaker(lines: CommandPipeline, replicas: int) -> list[str]:
    """Returns a warning for each guarantee that one server does not give. Raises StoreRefusedError if it does not confirm that writes are
    on disk, and StoreUnavailableError. `replicas`: number that must confirm.
    """
    try:
        *settings, limit, replication, confirmed = await lines.ask(
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
    if isinstance(replication, exceptions.NoPermissionError):
        weaker.append(UNTOLD)
    elif checked([replication])[0]["connected_slaves"] and not replicas:
        weaker.append(REPLICAS_UNASKED)
    return weaker


def _setting(answer: Any) -> str:
    """Returns the value in an answer to CONFIG GET, which is a map or a flat list by protocol; `?` if the server does not know the setting."""
    checked([answer])
    value: bytes = next(iter(answer.values()) if isinstance(answer, dict) else iter(answer[1:]), b"?")
    return value.decode()


async def until_loaded(client: Redis, tell: Callable[[], None], clock: Clock) -> None:
    """Waits until the server no longer answers PING with "loading". Calls `tell` once if it has to wait. Returns too if the server cannot
    be reached or answers another error: the caller that opens the store reports that.
    """
    has_warned = False
    while True:
        try:
            await client.ping()
        except exceptions.BusyLoadingError:
            if not has_warned:
                tell()
                has_warned = True
            await clock.sleep(LOOK_EVERY_S)
        except (exceptions.RedisError, OSError):  # the caller that opens the store reports it
            return
        else:
            return
