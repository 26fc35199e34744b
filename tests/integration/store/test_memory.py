"""The memory of the store's servers: new things are refused while what is under way can still be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.runtime.installation import client_of, store_of
from alertd.store.embedded.space import MemoryGuard
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.engine.nodes import Nodes
from alertd.store.master_key.schema import open_store
from tests.conftest import MAXMEMORY

MB = 1024 * 1024


async def test_new_things_are_refused_before_the_memory_is_full(tmp_path: Path):
    """What is under way needs some, too: no alert's plan fits into what is left at the limit. With room again it opens."""
    settings = Settings(store=StoreSection(directory=tmp_path / "data", ballast_mb=0, maxmemory_mb=64))
    async with store_of(settings) as store, client_of(store.url) as client:
        db = Connection(client, Codec(store.keys))
        await open_store(db)
        guard = MemoryGuard(db.nodes)
        await guard.check()
        assert guard.takes_writes
        filled = await _filled(client, 0.96)
        with capture_logs() as told:
            await guard.check()
            await guard.check()
        assert not guard.takes_writes
        assert [(one["event"], one["space"]) for one in told] == [("memory.space_changed", "low")]
        assert await db.takes_writes(), "what is under way goes on"
        await client.delete(*filled)
        await guard.check()
        assert guard.takes_writes


@pytest.mark.parametrize("which", range(3))
async def test_one_server_of_a_cluster_that_is_nearly_full_is_enough(
    cluster: Connection, masters: list[int], which: int
):
    """An alert to many people is on every server, and which has the next alert is chance."""
    guard = MemoryGuard(cluster.nodes)
    async with Redis(port=masters[which]) as full:
        used = (await full.info("memory"))["used_memory"]
        await full.config_set("maxmemory", int(used / 0.97))
        try:
            await guard.check()
            assert not guard.takes_writes
        finally:
            await full.config_set("maxmemory", MAXMEMORY)
        await guard.check()
        assert guard.takes_writes


async def test_a_server_that_does_not_answer_is_left_as_it_was(redis: Redis):
    """Nothing can be written to it anyway, and nobody may conclude from its silence that there is room."""
    guard, used = MemoryGuard(Nodes(redis)), (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", int(used / 0.97))
    await guard.check()
    await redis.config_set("maxmemory", MAXMEMORY)
    await redis.execute_command("ACL", "SETUSER", "default", "-info")
    try:
        await guard.check()
        assert not guard.takes_writes
    finally:
        await redis.execute_command("ACL", "SETUSER", "default", "+@all")
    await guard.check()
    assert guard.takes_writes


async def _filled(client: Redis, share: float) -> list[str]:
    """The names of what fills so much of its memory."""
    names: list[str] = []
    while (found := await client.info("memory"))["used_memory"] < share * found["maxmemory"]:
        names.append(f"{{filled}}:{len(names)}")
        await client.set(names[-1], os.urandom(MB // 4))
    return names
