"""The embedded store: one writer on one directory, and every acknowledged write there, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.store.data_directory import DirectoryInUseError
from alertd.store.embedded import EmbeddedServer, EmbeddedServerError, EmbeddedSettings, Listener, Loading
from alertd.store.server_binary import ServerNotFoundError, find_server

#: More than a start, a load and a stop take together on a busy machine.
DEADLINE_S = 30


def settings(directory: Path, **more: int) -> EmbeddedSettings:
    """Settings as in production, but for the memory of a test."""
    return EmbeddedSettings(directory=directory, maxmemory_mb=64, **more)


@contextlib.asynccontextmanager
async def client_of(server: EmbeddedServer) -> AsyncIterator[Redis]:
    """A client for one test."""
    client = Redis(unix_socket_path=server.socket, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, but not for ever."""
    deadline = time.monotonic() + DEADLINE_S
    while not await true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def write(client: Redis, first: int, count: int) -> list[str]:
    """Write one after the other, and give the names of those that the server acknowledged."""
    acknowledged = []
    with contextlib.suppress(RedisError, OSError):
        for number in range(first, first + count):
            await client.set(f"key:{number}", "x" * 1000)
            acknowledged.append(f"key:{number}")
    return acknowledged


async def test_keeps_what_it_was_given(tmp_path: Path) -> None:
    """What was written before a stop is there after the next start, under the settings that make it so."""
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        await client.set("kept", "yes")
        found = await client.config_get("app*")
        assert (found["appendonly"], found["appendfsync"]) == ("yes", "always")
        found = await client.config_get("maxmemory*")
        assert (found["maxmemory"], found["maxmemory-policy"]) == (str(64 * 1024 * 1024), "noeviction")
        assert (await client.config_get("save"))["save"] == ""
    assert server.pid is None
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        assert await client.get("kept") == "yes"
