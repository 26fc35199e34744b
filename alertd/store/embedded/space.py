"""Watches the free disk space of the embedded store and the memory of each server, and makes the service refuse writes before either is
full.

A server with `appendfsync always` ends when its disk is full. So the service answers 503 when less than the reserve is free. A ballast file
occupies a last piece of the disk. It is deleted when the disk is almost full, whatever filled it, so that the server can start again and a
rewrite or an operator can make room. It is made again when there is enough space.

A server at its memory limit refuses only new data (`scripts.BRINGING`), but sending and stopping need memory, too. So the service answers
503 before the limit, as for the disk.
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
    LOW = "low"  # writes are refused


@dataclass(frozen=True, kw_only=True)
class DiskSettings:
    """How many bytes of the disk are kept free."""

    reserve_bytes: int = (
        512 * _MB
    )  # below it writes are refused; what is under way needs room to be settled, and a rewrite its new base
    ballast_bytes: int = 64 * _MB  # lets a server that met a full disk start and write again; cheap on any disk


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The state to bring about after a measurement of the disk."""

    space: Space
    ballast: bool  # whether the ballast file should exist


def decide(settings: DiskSettings, free_bytes: int, was: Space, has_ballast: bool) -> Decision:
    """Returns whether to accept writes, and whether the ballast file should exist. `free_bytes`: free disk space without the ballast.
    `was`: whether writes were accepted so far.

    Two thresholds, a ballast apart, keep a disk at the border from switching at each check. The ballast is given up when less than its own
    size is free, and made again only if writes stay accepted afterwards.
    """
    plenty = settings.reserve_bytes + 2 * settings.ballast_bytes
    open_above = settings.reserve_bytes if was is Space.OK else settings.reserve_bytes + settings.ballast_bytes
    space = Space.OK if free_bytes >= open_above else Space.LOW
    return Decision(space=space, ballast=free_bytes >= (settings.ballast_bytes if has_ballast else plenty))


def free_bytes(directory: Path) -> int:
    """Returns how many bytes this process can still write to the directory's disk."""
    return shutil.disk_usage(directory).free


class DiskGuard:
    """Checks the disk of one directory, and remembers whether writes are accepted.

    Call `check` before the server starts (on a full disk it needs the ballast's space), every second or so, and after the server has ended
    by itself.
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
        """Measures the disk, deletes or makes the ballast file, and returns the state. Never raises, so that the guard keeps running."""
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
        """Makes the ballast file with blocks that are really allocated: a sparse file would occupy nothing. Makes none if its size is set
        to 0, or if the disk has no room for all of it.
        """
        if not self._settings.ballast_bytes:
            return
        try:
            ballast = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(ballast, 0, self._settings.ballast_bytes)
            finally:
                os.close(ballast)
        except OSError:  # another process has filled the disk: no ballast is better than half of one
            self._ballast.unlink(missing_ok=True)


#: At FULL (a share of a server's memory limit) new data is refused, below ROOM it is accepted again. The two differ, so that the state does
#: not switch at each check.
FULL, ROOM = 0.95, 0.94
POLL_S = 1.0


class MemoryGuard:
    """Checks the memory of all servers for one process, and remembers whether the service may accept new data."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._full = frozenset[Redis]()
        #: Whether the service may accept new data. False if any server is full, because an alert to many people is on every server.
        self.takes_writes = True

    def run(self, clock: Clock) -> AbstractAsyncContextManager[None]:
        """Checks every second while the context lasts."""
        return repeated("memory", self.check, POLL_S, clock)

    async def check(self) -> None:
        """Measures each server. A server that does not answer, or refuses INFO, keeps its last state. A server without a memory limit is
        never full.
        """
        servers = self._nodes.all
        found = await asyncio.gather(*map(self._is_full, servers))
        self._full = frozenset(server for server, is_full in zip(servers, found, strict=True) if is_full)
        self.takes_writes = not self._full

    async def _is_full(self, server: Redis) -> bool:
        """Returns whether a server's memory is full: from FULL of its limit on, until it falls below ROOM. Logs a change."""
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
