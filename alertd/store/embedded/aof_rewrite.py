"""Decides when the embedded store rewrites its append-only file (AOF).

The server's own automatic rewrite is off. With 10 million subscribers the fork of a rewrite blocks all clients for about half a second, and
the server would do it when most is written: in the middle of an alert. So alertd requests a rewrite when the file has grown enough or is a
day old and no loud alert is being sent, or when the disk is nearly full.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from alertd.common.clock import DAY_MS, Clock
from alertd.model.states import OPEN_STATES
from alertd.store.alerts.alerts import Alerts
from alertd.store.embedded.space import DiskGuard
from alertd.store.engine import keys
from channels.base import Loudness

_MB = 1024 * 1024
#: A smaller file (bytes) is not rewritten for its growth: it loads in two seconds, so a fork and the disk's time would cost more.
WORTH_IT_BYTES = 256 * _MB
#: A rewrite is wanted if the file is this many times as large as its base, the result of the last rewrite. It equals the server's default
#: of 100 %: on average each byte is written twice.
GROWTH = 2.0
#: The same factor when the disk is nearly full: to gain a fifth is then worth blocking the clients.
GROWTH_WHEN_FULL = 1.2
#: Maximum age (ms) of the base, the result of the last rewrite. The file holds all removed data (subscribers who left, children, facts that
#: a restriction removed) until the next rewrite.
LONGEST_MS = DAY_MS
#: Pause after requesting a rewrite (s). The rewrite may have failed (no memory to fork, no room on the disk), and each fork blocks every
#: client.
PAUSE_S = 300.0
LEAST_URGENT = 19  # the lowest CPU priority, see nice(2)


@dataclass(frozen=True, kw_only=True)
class AofSize:
    """Bytes of the AOF's files: the base (the last rewrite) and all of it."""

    base_bytes: int
    total_bytes: int


def wants_rewrite(size: AofSize, *, quiet: bool, disk_low: bool, free_bytes: int, data_bytes: int) -> bool:
    """Returns whether the file's growth calls for a rewrite. `quiet`: no loud alert is being sent. `disk_low`: the disk is nearly full.
    `data_bytes`: bytes of the data in memory.

    Returns False if the disk has no room for the data: the new base stands beside the old files until it is complete, and a disk that the
    rewrite fills ends the server.
    """
    if size.total_bytes < WORTH_IT_BYTES or free_bytes < min(data_bytes, size.total_bytes):
        return False
    if disk_low:
        return size.total_bytes > size.base_bytes * GROWTH_WHEN_FULL
    return quiet and size.total_bytes > size.base_bytes * GROWTH


def aof_size(directory: Path) -> AofSize:
    """Returns the size of the append-only files. Measures them, because the server's own `aof_base_size` forgets the growth at each
    restart.
    """
    base = total = 0
    for file in (directory / "appendonlydir").glob("appendonly.aof.*"):
        try:
            size = file.stat().st_size
        except FileNotFoundError:  # a rewrite has just ended
            continue
        total += size
        base += size if ".base." in file.name else 0
    return AofSize(base_bytes=base, total_bytes=total)


def _base(directory: Path) -> str:
    """Returns the manifest's line about the base of the last complete rewrite; '' if there is none."""
    try:
        lines = (directory / "appendonlydir" / "appendonly.aof.manifest").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return next((line for line in lines if " type b" in line), "")


def _rewritten_ms(directory: Path) -> int:
    """Returns when the last complete rewrite ended, in UNIX ms; 0 if there was none. Raises FileNotFoundError if a rewrite ends
    meanwhile and removes the file.
    """
    bases = (directory / "appendonlydir").glob("appendonly.aof.*.base.*")
    return max((base.stat().st_mtime_ns // 1_000_000 for base in bases), default=0)


async def is_quiet(alerts: Alerts) -> bool:
    """Returns whether no loud alert is being sent. An alert that is not loud can wait out a rewrite. Reads only fields that are not sealed,
    so that a damaged alert cannot prevent rewrites.

    Raises StoreUnavailableError.
    """
    live = await alerts.fields(list(await alerts.live()), "loudness", "state")
    loud = [(state or b"").decode() for loudness, state in live if loudness == Loudness.LOUD.encode()]
    return OPEN_STATES.isdisjoint(loud)


class RewritePolicy:
    """Asks the server to rewrite its append-only file when it has grown enough, is a day old or still holds purged
    cases. Waits while a loud alert is being sent, unless the disk is nearly full. The caller runs `check` every few
    seconds.
    """

    def __init__(
        self, client: Redis, directory: Path, guard: DiskGuard, is_quiet: Callable[[], Awaitable[bool]], clock: Clock
    ) -> None:
        self._client = client
        self._directory = directory
        self._guard = guard
        self._is_quiet = is_quiet
        self._clock = clock
        self._not_before = 0.0
        # For a requested rewrite: the base before it, and the number of purges by then. None if no rewrite is in progress.
        self._asked: tuple[str, bytes | str | None] | None = None

    async def check(self) -> bool:
        """Requests a rewrite if one is wanted and the last request is PAUSE_S ago. Returns whether it requested one. Raises only what
        `is_quiet` raises.
        """
        await self._settle()
        if self._clock.monotonic() < self._not_before:
            return False
        purges, rewritten = await self._purges()
        data = await self._data_bytes()
        room = self._guard.free_bytes() >= min(data, aof_size(self._directory).total_bytes)
        removed = room and (purges != rewritten or self._is_old())
        wanted = self._wanted(data, quiet=False) or (
            (removed or self._wanted(data, quiet=True)) and await self._is_quiet()
        )
        before = _base(self._directory)
        if not wanted or not await self._rewrite():
            return False
        self._asked = before, purges
        return True

    async def _settle(self) -> None:
        """Records that the requested rewrite is complete, if the base has changed: the file no longer holds the cases that were purged
        before it. A rewrite that was killed, or had no room, leaves the base unchanged.
        """
        if self._asked is None or _base(self._directory) == self._asked[0]:
            return
        with suppress(RedisError, OSError):  # the next check tries again
            if self._asked[1]:
                await self._client.hset(keys.PURGES, "rewritten", self._asked[1])
            self._asked = None

    async def _purges(self) -> tuple[bytes | str | None, bytes | str | None]:
        """Returns the number of purges so far, and the number before the last rewrite; (None, None) if the server does not answer. The file
        holds the data of purges after the last rewrite.
        """
        try:
            asked, rewritten = await self._client.hmget(keys.PURGES, ["asked", "rewritten"])
        except (RedisError, OSError):
            return None, None
        return asked, rewritten

    def _is_old(self) -> bool:
        """Returns whether the last rewrite ended more than LONGEST_MS ago."""
        with suppress(FileNotFoundError):
            return self._clock.now_ms() - _rewritten_ms(self._directory) > LONGEST_MS
        return False

    async def _data_bytes(self) -> int:
        """Returns the bytes that the data takes in memory, an upper bound for its files. If the server does not answer, returns the largest
        number: no rewrite then.
        """
        try:
            return int((await self._client.info("memory"))["used_memory"])
        except (RedisError, OSError):
            return sys.maxsize

    def _wanted(self, data_bytes: int, *, quiet: bool) -> bool:
        """Returns whether the growth of the file calls for a rewrite, if a loud alert is being sent (`quiet` False) or not."""
        return wants_rewrite(
            aof_size(self._directory),
            quiet=quiet,
            disk_low=not self._guard.takes_writes,
            free_bytes=self._guard.free_bytes(),
            data_bytes=data_bytes,
        )

    async def _rewrite(self) -> bool:
        """Requests a rewrite; the next request comes after PAUSE_S at the earliest. Gives it the lowest CPU priority unless the disk is
        nearly full. Returns False if a rewrite is in progress already or the server did not take the request.
        """
        self._not_before = self._clock.monotonic() + PAUSE_S
        try:
            await self._client.bgrewriteaof()
        except ResponseError:  # a rewrite is in progress
            return False
        except (RedisError, OSError):
            structlog.get_logger().warning("store.rewrite_request_failed")
            return False
        structlog.get_logger().info("store.rewrite_requested")
        if self._guard.takes_writes:  # else alerts wait for it
            with suppress(RedisError, OSError):
                give_way((await self._client.info("server"))["process_id"])
        return True


def give_way(server: int) -> None:
    """Gives the child processes of the server with this process id, which write the new file, the lowest CPU priority, so that incoming
    alerts are handled first. Raises OSError.
    """
    for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        os.setpriority(os.PRIO_PROCESS, int(child), LEAST_URGENT)
