"""Clients that stop or die before a round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection


class CrashError(Exception):
    """It dies here."""


@dataclass
class Clock:
    """A clock that is set."""

    seconds: float = 1_800_000_000

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Held(Connection):
    """A client that is held before its n-th round trip, or dies there."""

    def __init__(self, redis: Redis, codec: Codec, trips: int, *, dies: bool = False) -> None:
        super().__init__(redis, codec)
        self._trips = trips
        self._dies = dies
        self.is_there, self.may_go = asyncio.Event(), asyncio.Event()

    async def run_many(self, calls: Sequence[Any], *, durable: bool = False) -> list[Any]:
        await self._trip()
        return await super().run_many(calls, durable=durable)

    async def execute(self, *command: Any) -> Any:
        await self._trip()
        return await super().execute(*command)

    async def execute_many(self, commands: Sequence[Any], *, durable: bool = False) -> list[Any]:
        await self._trip()
        return await super().execute_many(commands, durable=durable)

    async def _trip(self) -> None:
        self._trips -= 1
        if self._trips == -1:
            self.is_there.set()
            if self._dies:
                raise CrashError
            await self.may_go.wait()
