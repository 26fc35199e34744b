"""Embedded servers of the store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from alertd.store.embedded.server import EmbeddedServer, EmbeddedSettings


def settings(directory: Path, **more: int) -> EmbeddedSettings:
    """Settings as in production, but for the memory of a test."""
    return EmbeddedSettings(directory=directory, maxmemory_mb=64, **more)


@contextlib.asynccontextmanager
async def client_of(server: EmbeddedServer) -> AsyncIterator[Redis]:
    """A client that tells the first failure."""
    client = Redis(unix_socket_path=server.socket, decode_responses=True, retry=Retry(NoBackoff(), 0))
    try:
        yield client
    finally:
        await client.aclose()


async def write(client: Redis, first: int, count: int) -> list[str]:
    """Write one after the other, and give the names of those that the server acknowledged."""
    acknowledged = []
    with contextlib.suppress(RedisError, OSError):
        for number in range(first, first + count):
            await client.set(f"key:{number}", "x" * 1000)
            acknowledged.append(f"key:{number}")
    return acknowledged
