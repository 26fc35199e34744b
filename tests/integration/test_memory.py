"""The memory of the embedded store: new things are refused while what is under way can still be written."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from redis.asyncio import Redis

from alertd.config import Settings
from alertd.opening import Store, client_of, store_of
from alertd.sections import StoreSection
from alertd.store.codec import Codec
from alertd.store.connection import Connection
from alertd.store.schema import open_store

MB = 1024 * 1024


async def test_new_things_are_refused_before_the_memory_is_full(tmp_path: Path):
    """At its limit a store takes nothing at all: no answer of a carrier could be settled, and no alert stood down. With room again it opens."""
    settings = Settings(store=StoreSection(directory=tmp_path / "data", ballast_mb=0, maxmemory_mb=64))
    async with store_of(settings) as store, client_of(store.url) as client:
        db = Connection(client, Codec(store.keys))
        await open_store(db)
        assert store.takes_writes()
        filled = await _filled(client, 0.96)
        await _until(store, takes_writes=False)
        assert await db.takes_writes(), "what is under way goes on"
        await client.delete(*filled)
        await _until(store, takes_writes=True)


async def _filled(client: Redis, share: float) -> list[str]:
    """The names of what fills so much of its memory."""
    names: list[str] = []
    while (found := await client.info("memory"))["used_memory"] < share * found["maxmemory"]:
        names.append(f"{{filled}}:{len(names)}")
        await client.set(names[-1], os.urandom(MB // 4))
    return names


async def _until(store: Store, *, takes_writes: bool) -> None:
    async with asyncio.timeout(30):
        while store.takes_writes() is not takes_writes:  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.05)
