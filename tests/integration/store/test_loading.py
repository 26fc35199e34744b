"""A store of one's own that is still reading its files is waited for, behind its password too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.common.clock import SystemClock
from alertd.runtime.installation import client_of
from alertd.store.embedded.server import find_server
from alertd.store.engine.capabilities import until_loaded

KEYS = 2_000
SLOWLY = ("--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")


@contextmanager
def server(directory: Path, *options: str) -> Iterator[str]:
    """Somebody else's server with a password; its address."""
    socket = directory / "v"
    socket.unlink(missing_ok=True)
    command = [str(find_server(None)), "--port", "0", "--unixsocket", str(socket), "--dir", str(directory)]
    command += ["--requirepass", "secret", "--save", "", "--appendonly", "yes", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not socket.exists():
            assert process.poll() is None
        yield f"unix://:secret@{socket}"
        process.terminate()


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False


async def test_a_store_that_loads_is_waited_for_and_told_of_once(tmp_path: Path) -> None:
    """Everything is there when the wait is over."""
    with server(tmp_path) as url:
        async with client_of(url) as client:
            while not await answers(client):
                pass
            await client.mset({f"key:{number}": os.urandom(100).hex() for number in range(KEYS)})
            await client.bgrewriteaof()  # only what a rewrite wrote is loaded slowly
            while not any(file.stat().st_size > 200_000 for file in (tmp_path / "appendonlydir").glob("*.base.rdb")):
                await client.ping()
    told: list[str] = []
    with server(tmp_path, *SLOWLY) as url:
        async with client_of(url) as client:
            await until_loaded(client, lambda: told.append("loading"), SystemClock())
            assert await client.dbsize() == KEYS
            await until_loaded(client, lambda: told.append("again"), SystemClock())
    assert told == ["loading"]


async def test_a_store_that_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever opens it says so."""
    async with client_of(f"unix://{tmp_path}/nobody") as client:
        await until_loaded(client, lambda: None, SystemClock())
