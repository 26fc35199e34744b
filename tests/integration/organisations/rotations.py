"""Steps of a rotation of the keys, for the tests of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.service.container import Container
from alertd.service.organisations.key_rotation import SETTLE_MS
from alertd.store.engine import keys
from alertd.store.master_key.state import Phase

Process = Callable[..., AbstractAsyncContextManager[Container]]


def later(*processes: Container) -> None:
    """What was under way when the new key became the current one has been written by now."""
    for parts in processes:
        parts.db.skew_ms += SETTLE_MS


async def rounds(api: Container, *others: Container, until: Phase = Phase.DONE, most: int = 20) -> None:
    """The rotation as it goes in a service that runs, up to a phase."""
    for _ in range(most):
        standing = await api.key_rotation.standing()
        if standing.rotation.phase is until:
            return
        await api.key_rotation.round()
        for parts in (api, *others):
            await parts.key_rotation.watch.beat()
        if standing.rotation.phase in {Phase.SEALING, Phase.NAMING} and standing.waiting == 0:
            later(api, *others)
    raise AssertionError(standing)


async def lease_ends(parts: Container) -> None:
    """The process that took the steps has been silent for as long as its lease."""
    await parts.db.execute("DEL", keys.ROTATOR)


async def rotated(api: Container, *others: Container) -> None:
    """A whole rotation."""
    await api.key_rotation.start()
    await rounds(api, *others)


async def names(redis: Redis) -> list[str]:
    """Everything in the store that is named after a person's id or address."""
    return [raw.decode() for kind in "hti" for raw in await redis.keys(f"{{{kind}:*")]


async def external_ids(redis: Redis) -> list[str]:
    """Everything in the store that is named after an author's own id of an alert."""
    return [raw.decode() for raw in await redis.keys("{e:*")]


async def said_of(call: Any) -> str:
    """What a refusal says."""
    with pytest.raises(Problem) as refusal:
        await call
    return str(refusal.value)
