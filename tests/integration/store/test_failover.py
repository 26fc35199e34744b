"""A master of a cluster dies in the middle of an alert: its replica takes its place, and nobody is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.config.sections import StoreSection
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.store.engine import keys
from alertd.store.engine.capabilities import REPLICAS_UNASKED, check_engine
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.integration.acts import counts, planned, register, working
from tests.integration.clusters import a_replicated_cluster
from tests.integration.conftest import settings_for

pytestmark = pytest.mark.once

PEOPLE = 1_200


@pytest.mark.alone  # a server that gets no processor for seconds is as dead as one that was killed
async def test_a_master_that_dies_with_an_alert_loses_no_one(
    tmp_path: Path, codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """`kill -9` of the server that has the ledger: what was confirmed is on its replica, so everyone is told, and whoever was told
    twice is marked. Nothing is confirmed until there is a replica again.
    """
    settings = settings_for(sandbox)
    store = StoreSection(tombstones=settings.store.tombstones, replicas_required=1)
    settings = settings.model_copy(update={"store": store})
    with a_replicated_cluster(tmp_path / "cluster") as masters:
        async with Redis(port=next(iter(masters))) as client, opened(settings, client, codec, library=library) as parts:
            await register(parts, PEOPLE)
            sandbox.push.script.set(Rule("", "slow", delay_s=0.2))
            record = await planned(parts, sample)
            dies = _port_of(parts.db.nodes.of(keys.chain(record.id)))
            async with working(parts):
                await _until(lambda: _told(sandbox, PEOPLE // 10))
                masters[dies].kill()
                await _until(lambda: _replaced(parts, dies))
                masters[dies].start()  # as whoever minds it does: it comes back as a replica
                await _until(lambda: _over(parts, record.id))
            told = Counter(address for _, _, address, *_ in sandbox.push.recorded)
            found = await counts(parts, record)
            assert told.keys() == {f"token-{i}" for i in range(PEOPLE)}
            assert sum(times > 1 for times in told.values()) <= found.get("doubled", 0)
            assert found["accepted"] == PEOPLE


async def test_replicas_that_nobody_waits_for_are_told(tmp_path: Path, codec: Codec):
    """What was accepted a moment before would be gone with its master, and a 2xx would have promised otherwise."""
    with a_replicated_cluster(tmp_path / "cluster") as masters:
        async with Redis(port=next(iter(masters))) as client:
            for replicas, weaker in ((0, [REPLICAS_UNASKED]), (1, [])):
                store = Connection(client, codec, replicas_required=replicas)
                await _until(partial(_has_replicas, store))
                assert await check_engine(store) == weaker
                await store.nodes.close()


async def _has_replicas(store: Connection) -> bool:
    """A server tells of a replica once that has told how far it is."""
    await store.meet()
    told = [await node.info("replication") for node in store.nodes.all]
    return all(one["connected_slaves"] for one in told)


async def _until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await what():  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.05)


async def _told(sandbox: Sandbox, people: int) -> bool:
    return sandbox.push.recorded.total >= people


async def _replaced(parts: Container, port: int) -> bool:
    """Whether another has what it had."""
    try:
        await parts.db.meet()
    except StoreUnavailableError:
        return False
    return port not in {_port_of(node) for node in parts.db.nodes.all}


async def _over(parts: Container, alert_id: str) -> bool:
    try:
        return (await parts.alerts.get(alert_id)).state == "sent"
    except StoreUnavailableError:
        return False


def _port_of(node: Redis) -> int:
    return int(node.connection_pool.connection_kwargs["port"])
