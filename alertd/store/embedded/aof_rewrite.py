"""Decides when the embedded store rewrites its AOF.

The server's own automatic is off: at 10M subscribers the fork of a rewrite stalls everyone for about half a second, and it
would come when most is written, which is in mid-alert. So alertd asks for one when it has grown enough, or is a day old, and no
loud alert is under way, or when the disk leaves no choice.
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
#: Smaller files are not worth a fork, and the disk's time while alerts come in: they load in two seconds.
WORTH_IT_BYTES = 256 * _MB
#: The same rule as the server's default of 100 %: on average each byte is written twice.
GROWTH = 2.0
#: When the disk demands it, a fifth is worth a stall.
GROWTH_WHEN_FULL = 1.2
#: Who left, whom an alert sought, what a restriction took out: all that is removed stands in the file until then, so it is no older.
LONGEST_MS = DAY_MS
#: Pause after a rewrite, which may have failed (no memory to fork, no room): each fork stalls every client.
PAUSE_S = 300.0
LEAST_URGENT = 19  # of nice(2)


@dataclass(frozen=True, kw_only=True)
class AofSize:
    """Bytes of the AOF's files: the base (the last rewrite) and all of it."""

    base_bytes: int
    total_bytes: int


def wants_rewrite(size: AofSize, *, quiet: bool, disk_low: bool, free_bytes: int, data_bytes: int) -> bool:
    """`quiet`: no loud alert is under way. The new base stands beside the old files until it is whole, so there must be room for
    the data, whatever the old base has of it: a disk that the rewrite itself fills ends the server.
    """
    if size.total_bytes < WORTH_IT_BYTES or free_bytes < min(data_bytes, size.total_bytes):
        return False
    if disk_low:
        return size.total_bytes > size.base_bytes * GROWTH_WHEN_FULL
    return quiet and size.total_bytes > size.base_bytes * GROWTH


def aof_size(directory: Path) -> AofSize:
    """Measure the files. The server's own `aof_base_size` forgets at each restart how much the AOF had grown."""
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
    """Returns when the last complete rewrite ended, in UNIX ms; 0 if there was none. Raises FileNotFoundError if one ends just then."""
    bases = (directory / "appendonlydir").glob("appendonly.aof.*.base.*")
    return max((base.stat().st_mtime_ns // 1_000_000 for base in bases), default=0)


async def is_quiet(alerts: Alerts) -> bool:
    """Whether nothing loud is being sent. What is not loud can wait out a stall; what is sent already has nothing to wait for. Nothing that
    is sealed is read: one alert that is damaged ends nobody's watch over the disk.

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
        # For a rewrite: the base until then, and how many purges there had been.
        self._asked: tuple[str, bytes | str | None] | None = None

    async def check(self) -> bool:
        """Ask for a rewrite if one is wanted. Returns whether it asked. Raises only what `is_quiet` raises."""
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
        """Note that a rewrite has ended and its file holds nothing of purged cases. One that was killed, or had no room, changed nothing."""
        if self._asked is None or _base(self._directory) == self._asked[0]:
            return
        with suppress(RedisError, OSError):  # then it is looked at again
            if self._asked[1]:
                await self._client.hset(keys.PURGES, "rewritten", self._asked[1])
            self._asked = None

    async def _purges(self) -> tuple[bytes | str | None, bytes | str | None]:
        """Returns how many cases were purged, and how many of these before the last rewrite. Until then the file still holds their data."""
        try:
            asked, rewritten = await self._client.hmget(keys.PURGES, ["asked", "rewritten"])
        except (RedisError, OSError):
            return None, None
        return asked, rewritten

    def _is_old(self) -> bool:
        with suppress(FileNotFoundError):
            return self._clock.now_ms() - _rewritten_ms(self._directory) > LONGEST_MS
        return False

    async def _data_bytes(self) -> int:
        """Returns the bytes that the data takes in memory, an upper bound for its files."""
        try:
            return int((await self._client.info("memory"))["used_memory"])
        except (RedisError, OSError):
            return sys.maxsize

    def _wanted(self, data_bytes: int, *, quiet: bool) -> bool:
        return wants_rewrite(
            aof_size(self._directory),
            quiet=quiet,
            disk_low=not self._guard.takes_writes,
            free_bytes=self._guard.free_bytes(),
            data_bytes=data_bytes,
        )

    async def _rewrite(self) -> bool:
        self._not_before = self._clock.monotonic() + PAUSE_S
        try:
            await self._client.bgrewriteaof()
        except ResponseError:  # one is under way
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
    """Give the server's writing child the lowest CPU priority, so that alerts that come in meanwhile go first."""
    for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        os.setpriority(os.PRIO_PROCESS, int(child), LEAST_URGENT)
