"""Backups of a store, and their return."""

from __future__ import annotations

from redis.asyncio import Redis

from alertd.store.engine import keys


async def copied(redis: Redis) -> dict[bytes, bytes]:
    return {name: await redis.dump(name) for name in await redis.keys("*")}


async def put_back(redis: Redis, copy: dict[bytes, bytes]) -> None:
    await redis.flushdb()
    for name, dumped in copy.items():
        await redis.restore(name, 0, dumped, replace=True)
    await redis.delete(keys.HERALD)
