"""Watches the free space under the embedded store and how full the memory of each server is, and acts while there is still some.

The server ends when its disk is full (that is what `appendfsync always` means), so writes are refused before: below the
reserve the service answers 503. A ballast file holds back a last piece of the disk. It is given up when the disk is all but
full, whoever filled it, so that the server can start again and a rewrite or an operator can make room; and it is made again
when there is plenty.

At the limit of its memory a server refuses what is new alone (`scripts.BRINGING`), and what goes on needs memory, too. So the service answers 503
before, as it does for a disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.common.clock import Clock
from alertd.common.repetition import repeated
from alertd.store.engine.nodes import Nodes

_MB = 1024 * 1024


class Space(StrEnum):
    """Whether the disk has room for writes."""

    OK = "ok"
    LOW = "low"  # refuse writes


@dataclass(frozen=True, kw_only=True)
class DiskSettings:
    """How much is kept free, in bytes."""

    reserve_bytes: int = (
        512 * _MB
    )  # below it writes are refused; what is under way needs room to be settled, and a rewrite its new base
    ballast_bytes: int = 64 * _MB  # lets a server that met a full disk start and write again; cheap on any disk


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do after a look at the disk."""

    space: Space
    ballast: bool  # whether there should be one


def decide(settings: DiskSettings, free_bytes: int, was: Space, has_ballast: bool) -> Decision:
    """`free_bytes` does not count the ballast.

    Two thresholds apart by a ballast, so that a disk at the border does not open and close writes at each look; the ballast
    is given up below its own size and made again only where it leaves writes open.
    """
    plenty = settings.reserve_bytes + 2 * settings.ballast_bytes
    open_above = settings.reserve_bytes if was is Space.OK else settings.reserve_bytes + settings.ballast_bytes
    space = Space.OK if free_bytes >= open_above else Space.LOW
    return Decision(space=space, ballast=free_bytes >= (settings.ballast_bytes if has_ballast else plenty))


def free_bytes(directory: Path) -> int:
    """Returns how many bytes this process can still write there."""
    return shutil.disk_usage(directory).free


class DiskGuard:
    """The state of one directory's disk.

    `check` is to be called before the server is started (a full disk may need the ballast for that), every second or so,
    and when the server has ended by itself.
    """

    def __init__(
        self, directory: Path, settings: DiskSettings | None = None, probe: Callable[[Path], int] = free_bytes
    ) -> None:
        self.space = Space.OK
        self.takes_writes = True  # whether the service may accept what has to be kept
        self._directory = directory
        self._settings = settings or DiskSettings()
        self._probe = probe
        self._ballast = directory / "ballast"

    def free_bytes(self) -> int:
        """Returns the free bytes now; 0 if the disk does not answer."""
        try:
            return self._probe(self._directory)
        except OSError:
            return 0

    def check(self) -> Space:
        """Measure the disk, delete or make the ballast, and return the state. Never raises, so that the guard keeps running."""
        free = self.free_bytes()
        has_ballast = self._ballast.exists()
        decision = decide(self._settings, free, self.space, has_ballast)
        if decision.space is not self.space:
            structlog.get_logger().warning("disk.space_changed", space=decision.space.value, free_mb=free // _MB)
        self.space, self.takes_writes = decision.space, decision.space is Space.OK
        if has_ballast and not decision.ballast:
            self._ballast.unlink(missing_ok=True)
            structlog.get_logger().warning("disk.ballast_released", free_mb=free // _MB)
        elif decision.ballast and not has_ballast:
            self._make_ballast()
        return self.space

    def _make_ballast(self) -> None:
        """Blocks that are really taken: a file with holes would hold nothing back."""
        if not self._settings.ballast_bytes:
            return
        try:
            ballast = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(ballast, 0, self._settings.ballast_bytes)
            finally:
                os.close(ballast)
        except OSError:  # someone else was faster: better no ballast than half of one
            self._ballast.unlink(missing_ok=True)


#: The shares of the limit at which new things are refused, and are taken again: apart, so that it does not open and close at each look.
FULL, ROOM = 0.95, 0.94
POLL_S = 1.0


class MemoryGuard:
    """The state of the servers' memory, as one API process last saw it."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._full = frozenset[Redis]()
        #: Whether the service may accept what has to be kept: an alert to many people is on every server.
        self.takes_writes = True

    def run(self, clock: Clock) -> AbstractAsyncContextManager[None]:
        """Check every second while the context lasts."""
        return repeated("memory", self.check, POLL_S, clock)

    async def check(self) -> None:
        """Measure each server. A server that does not answer, or refuses INFO, keeps its last state. One without a limit is never full."""
        servers = self._nodes.all
        found = await asyncio.gather(*map(self._is_full, servers))
        self._full = frozenset(server for server, is_full in zip(servers, found, strict=True) if is_full)
        self.takes_writes = not self._full

    async def _is_full(self, server: Redis) -> bool:
        was = server in self._full
        try:
            found = await server.info("memory")
        except (RedisError, OSError):
            return was
        limit, used = int(found["maxmemory"]), int(found["used_memory"])
        is_full = limit > 0 and used >= limit * (ROOM if was else FULL)
        if is_full is not was:
            space = "low" if is_full else "ok"
            structlog.get_logger().warning(
                "memory.space_changed", space=space, used_mb=used >> 20, limit_mb=limit >> 20
            )
        return is_full
