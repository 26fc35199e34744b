"""A cluster of three masters is a store as one server is: every script finds its keys together, and slots may move."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Blocking
from redis.asyncio import Redis

from alertd.runtime.assembly import opened
from alertd.runtime.installation import client_of
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.delivery.feeder import Slots
from alertd.store.delivery.work_records import Lease
from alertd.store.engine import keys, nodes
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.capabilities import check_engine
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.engine.nodes import slot_of
from alertd.store.organisations.organisations import of_org
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.conftest import MAXMEMORY
from tests.integration.acts import ANA, CADIZ, counts, lease_of, over, planned, reached, register, send, submitted
from tests.integration.clusters import SLOTS, a_cluster
from tests.integration.conftest import settings_for


@pytest.mark.usefixtures("cluster")
async def test_an_alert_goes_its_whole_way(
    masters: list[int], codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """Registered, submitted, approved, planned, sent and ended: each person on each channel once, over three servers."""
    people = 40
    async with Redis(port=masters[1]) as client, opened(settings_for(sandbox), client, codec, library=library) as parts:
        assert len(parts.db.nodes.all) == len(masters)
        await register(parts, people)
        record = await planned(parts, sample, channels=["push", "sms", "mail"])
        for channel in ("push", "sms", "mail"):
            await send(parts, record, channel)
            assert await counts(parts, record, channel) == {"accepted": people}
        assert await over(parts, record)
        told = [address for _, _, address, *_ in sandbox.push.recorded]
        assert sorted(told) == sorted(f"token-{i}" for i in range(people))


@pytest.mark.usefixtures("cluster")
async def test_people_move_and_are_swept(
    masters: list[int], codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """Who moved away is not told, who was forgotten is nowhere, and the sweeper finds what they left on every server."""
    async with Redis(port=masters[2]) as client, opened(settings_for(sandbox), client, codec, library=library) as parts:
        await register(parts, 40)
        await register(parts, 1, places={"home": {"point": CADIZ}})
        await parts.registry.forget("p1")
        assert len(await reached(parts, (await submitted(parts, sample)).record)) == 38
        assert await worker_of(parts).sweeper.round() == 0  # seen, and not ripe


@pytest.mark.usefixtures("cluster")
async def test_where_somebody_is_found_is_confirmed_like_their_record(
    masters: list[int], codec: Codec, sandbox: Sandbox, library: Library
):
    """Each is on a server of its own: one that falls back behind its replica must not lose the place of somebody who was told that they are registered."""
    async with Redis(port=masters[0]) as client, opened(settings_for(sandbox), client, codec, library=library) as parts:
        await register(parts, 1)
        group = keys.tile_cell((await parts.people.get(1)).places[0].tile).key
        names = [group, keys.TILE_GROUPS, keys.subscriber(1)]
        asked = {port: _waits(port) for port in masters}
        await parts.registry.forget("p0")
        await register(parts, 1)
        assert {_port_of(parts, name) for name in names} <= {port for port in masters if _waits(port) > asked[port]}


async def test_values_come_in_order_from_everywhere(cluster: Connection):
    """Many values are asked of all servers at once, and what is missing says so where it is missing."""
    names = [f"{{s:{i}}}:{i}" for i in range(200)]
    await cluster.execute_many([("SET", name, name) for name in names[::2]])
    found = await cluster.mget(names)
    assert found == [name.encode() if i % 2 == 0 else None for i, name in enumerate(names)]


@pytest.mark.parametrize("how", ["execute", "run_durably"])
async def test_a_slot_that_moved_is_followed(cluster: Connection, masters: list[int], how: str):
    """A slot that another server has by now costs one more question, and what is durable is so there."""
    name = "{moved}:x" if how == "execute" else "{moved-durably}:x"
    assert await cluster.execute("GET", name) is None
    _move(slot_of(name), masters)
    before = cluster.nodes.of(name)
    if how == "execute":
        await cluster.execute("SET", name, "there")
    else:
        await cluster.run_durably("claim", [name], "mine", "")
    assert cluster.nodes.of(name) is not before
    assert await cluster.execute("EXISTS", name) == 1


async def test_each_server_confirms_what_has_come_to_it(cluster: Connection, masters: list[int]):
    """Of several at once that are to be durable, also of the one whose slot has moved since; the others stay where they were."""
    names = [f"{{durable-{i}}}:x" for i in range(20)]
    home = cluster.nodes.of(names[0])
    names = [name for name in names if cluster.nodes.of(name) is home]
    known = cluster.nodes.everywhere(lambda number: f"{{known-{number}}}:x")
    await cluster.run_many([("claim", [name], ["mine", ""]) for name in known])
    _move(slot_of(names[0]), masters)
    asked = {port: _waits(port) for port in masters}
    await cluster.run_many([("claim", [name], ["mine", ""]) for name in names[:2]], durable=True)
    assert cluster.nodes.of(names[0]) is not cluster.nodes.of(names[1])
    assert sum(_waits(port) > asked[port] for port in masters) == 2


async def test_a_script_runs_whole_or_not_at_all_while_its_slot_moves(cluster: Connection, masters: list[int]):
    """A slot that goes to another server key by key: what a script writes of it is on neither, until all of it is there."""
    name = "{whole}:x"
    await cluster.run("process_lease", [name], "me", 600_000)
    clients, ids, holder, goal = _begin_moving(slot_of(name), masters)
    with pytest.raises(StoreUnavailableError):
        await cluster.run("process_lease", [name], "me", 1_200_000)
    assert 0 < clients[holder].pttl(name) <= 600_000
    clients[holder].execute_command("MIGRATE", "127.0.0.1", masters[goal], name, 0, 5_000)
    _end_moving(slot_of(name), clients, ids, holder, goal)
    assert await cluster.run("process_lease", [name], "me", 1_200_000) == 1


async def test_audiences_are_found_where_their_cells_have_moved(cluster: Connection, masters: list[int]):
    """A process that only looks for people learns of it, too: the one query that is told of it fails, and the next does not."""
    name, bulk = "{moved-in-bulk}:x", BulkReads(cluster.nodes, timeout_s=5)
    assert bulk.many([("GET", name)]) == [None]
    _move(slot_of(name), masters)
    with pytest.raises(StoreUnavailableError):
        bulk.many([("GET", name)])
    await cluster.execute("GET", "{elsewhere}")
    assert bulk.many([("GET", name)]) == [None]
    bulk.close()


@pytest.mark.parametrize("which", range(3))
async def test_a_store_of_which_one_server_is_full_is_not_ready(cluster: Connection, masters: list[int], which: int):
    """A third of the alerts would be refused, and every one to many people."""
    assert await cluster.takes_writes()
    with Blocking(port=masters[which]) as full:
        full.config_set("maxmemory", 1)
        try:
            assert not await cluster.takes_writes()
        finally:
            full.config_set("maxmemory", MAXMEMORY)
    assert await cluster.takes_writes()


@pytest.mark.usefixtures("cluster")
async def test_what_is_on_a_server_without_its_replica_keeps_no_other_alert_from_being_told(
    masters: list[int], codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """It is leased, stopped and let go on as if nothing were wrong; what could not be written of the others is written once it can be."""
    people = 20
    async with Redis(port=masters[0]) as client, opened(settings_for(sandbox), client, codec, library=library) as parts:
        await register(parts, people)
        records = [await planned(parts, sample) for _ in range(8)]
        ports = {one.id: _port_of(parts, keys.chain(one.id)) for one in records}
        quiet = [one.id for one in records if ports[one.id] == ports[records[0].id]]
        busy = [one.id for one in records if one.id not in quiet]
        assert quiet
        assert busy
        stop = (await parts.stop_control.stop(of_org("other"), ANA, "x")).stop
        with Blocking(port=ports[quiet[0]]) as lonely:
            lonely.config_set("min-replicas-to-write", 9)
            try:
                await parts.stop_control.apply_to_live()
                assert not parts.stop_control.may_miss_stop()
                given = await parts.work.leases([*quiet, *busy], "push", b"")
                assert all(isinstance(one, StoreUnavailableError) for one in given[: len(quiet)])
                assert all(isinstance(one, Lease) for one in given[len(quiet) :])
                standing = await parts.stop_control._stops.read_standing()
                answers = await parts.stop_control._stops.apply_stops(
                    replace(standing, stops={of_org("default"): stop}), [*quiet, *busy]
                )
                assert answers[len(quiet) :] == [1] * len(busy)
            finally:
                lonely.config_set("min-replicas-to-write", 0)
        await parts.stop_control.apply_to_live()
        (answer,) = await parts.work.leases(quiet[:1], "push", b"")
        assert isinstance(answer, Lease)


@pytest.mark.usefixtures("cluster")
async def test_a_stop_holds_on_a_server_that_has_its_replica_again(
    masters: list[int], codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """It was answered while nothing could be put on one alert, and counts for that one, too, before it is put on it. Resumed, everybody is
    told once.
    """
    people = 20
    async with Redis(port=masters[0]) as client, opened(settings_for(sandbox), client, codec, library=library) as parts:
        await register(parts, people)
        other = await planned(parts, sample)
        while _port_of(parts, keys.chain((record := await planned(parts, sample)).id)) in {
            _port_of(parts, keys.chain(other.id)), _port_of(parts, keys.STOPS)
        }:  # fmt: skip
            pass
        worker, at_end = worker_of(parts), asyncio.Event()
        await worker._read_alerts()
        await worker.plans.round()
        await parts.stop_control.apply_to_live()
        with Blocking(port=_port_of(parts, keys.chain(record.id))) as lonely:
            lonely.config_set("min-replicas-to-write", 9)
            try:
                assert (await parts.stop_control.stop(of_org("default"), ANA, "wrong child")).stop
                await parts.stop_control.apply_to_live()
            finally:
                lonely.config_set("min-replicas-to-write", 0)
        lease = await lease_of(parts.work, record.id, "push")
        assert lease
        await worker.feeder._drain(lease, Slots(2, people), at_end, loud=True)
        assert sandbox.push.recorded.total == 0
        await parts.stop_control.apply_to_live()
        assert not await lease_of(parts.work, record.id, "push")
        standing = await parts.stop_control._stops.read_standing()
        assert await parts.stop_control._stops.change(standing, of_org("default"), None)
        await parts.stop_control.apply_to_live()
        lease = await lease_of(parts.work, record.id, "push")
        assert lease
        await worker.feeder._drain(lease, Slots(2, people), at_end, loud=True)
        assert await counts(parts, record) == {"accepted": people}


def _port_of(parts: Container, name: str) -> int:
    port: int = parts.db.nodes.of(name).connection_pool.connection_kwargs["port"]
    return port


async def test_a_server_that_was_taken_out_is_believed_nothing(tmp_path: Path, codec: Codec):
    """Whoever was given its address knows the others by then, and they know who has what it had."""
    with a_cluster(tmp_path) as ports:
        async with Redis(port=ports[0]) as client:
            store = Connection(client, codec)
            await store.meet()
            assert store.nodes.of("{x3}").connection_pool.connection_kwargs["port"] == ports[0]
            _take_out(ports)
            async with asyncio.timeout(30):
                while not await _answers(store, "{x3}"):  # noqa: ASYNC110  nobody sets an event
                    await asyncio.sleep(0.1)
            assert len(store.nodes.all) == 2
            await store.nodes.close()


async def test_a_server_that_hangs_keeps_nobody_from_the_others(
    cluster: Connection, masters: list[int], monkeypatch: pytest.MonkeyPatch
):
    """It is asked who has what for a moment, and then another is: what others have is not waited for until it is given up."""
    monkeypatch.setattr(nodes, "ANSWER_S", 0.1)
    name = next(name for n in range(100) if cluster.nodes.of(name := f"{{{n}}}") is not cluster.nodes.first)
    await cluster.execute("GET", name)
    with Blocking(port=masters[0]) as hangs:
        hangs.client_pause(20_000)
        try:
            began = time.monotonic()
            for _ in masters:
                cluster.nodes.stale = True
                await cluster.execute("GET", name)
            assert time.monotonic() - began < 5
        finally:
            hangs.client_unpause()


async def test_every_server_is_asked_what_it_promises(cluster: Connection, masters: list[int]):
    """One server of three that syncs less often is a weaker store, and it is told once."""
    with Blocking(port=masters[2]) as last:
        last.config_set("appendfsync", "everysec")
        try:
            assert [sentence for sentence in await check_engine(cluster) if "appendfsync everysec" in sentence]
        finally:
            last.config_set("appendfsync", "always")
    assert await check_engine(cluster) == []


async def test_servers_that_tell_no_host_are_reached_where_one_was_asked(cluster: Connection, masters: list[int]):
    """As behind a proxy, where only ports differ (`cluster-preferred-endpoint-type unknown-endpoint`)."""
    _tell(masters, "unknown-endpoint")
    try:
        await cluster.meet()
    finally:
        _tell(masters, "ip")
    assert {node.connection_pool.connection_kwargs["port"] for node in cluster.nodes.all} == {*masters}
    assert await cluster.mget([f"{{{n}}}" for n in range(50)]) == [None] * 50


async def test_what_servers_closed_meanwhile_is_not_asked_on(masters: list[int], codec: Codec):
    """After a silence that was too long for them (`timeout`), a firewall's, or a restart: whoever asks next is answered, as is what is to be durable."""
    async with client_of(f"redis://127.0.0.1:{masters[0]}") as client:
        cluster = Connection(client, codec)
        await cluster.meet()
        names = [f"{{{n}}}" for n in range(50)]
        for _ in range(2):
            assert await cluster.mget(names) == [None] * 50
            assert await cluster.run_durably("process_lease", ["{held}"], "me", 60_000) == 1
            for port in masters:
                with Blocking(port=port) as one:
                    one.client_kill_filter(_type="normal", skipme=True)
            await _closed([client, *cluster.nodes.all])
        await cluster.nodes.close()


async def _closed(clients: list[Redis]) -> None:
    """Until all their connections have heard that the server closed them."""
    pools = [client.connection_pool for client in clients]
    held = [one for pool in pools for one in (*pool._available_connections, *pool._in_use_connections)]
    assert len(held) >= len(clients)
    async with asyncio.timeout(30):
        while not all([await one.can_read() for one in held]):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.01)


def _waits(port: int) -> int:
    """How often a server was asked to wait until something is on disk."""
    with Blocking(port=port) as one:
        return int(one.info("commandstats").get("cmdstat_waitaof", {"calls": 0})["calls"])


def _tell(masters: list[int], kind: str) -> None:
    """What servers are to say of where they are."""
    for port in masters:
        with Blocking(port=port) as one:
            one.config_set("cluster-preferred-endpoint-type", kind)


def _move(slot: int, masters: list[int]) -> None:
    """Give an empty slot to the next server."""
    clients, ids, holder, goal = _begin_moving(slot, masters)
    _end_moving(slot, clients, ids, holder, goal)


def _begin_moving(slot: int, masters: list[int]) -> tuple[list[Blocking], list[str], int, int]:
    """Clients of the servers and what these are called, which of them has the slot and which is to have it."""
    clients = [Blocking(port=port) for port in masters]
    ids = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    holder = next(i for i, client in enumerate(clients) if _holds(client, slot))
    goal = (holder + 1) % len(clients)
    clients[goal].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[holder])
    clients[holder].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[goal])
    return clients, ids, holder, goal


def _end_moving(slot: int, clients: list[Blocking], ids: list[str], holder: int, goal: int) -> None:
    for i in (goal, holder, 3 - goal - holder):
        clients[i].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[goal])
    for client in clients:
        client.close()


def _take_out(ports: list[int]) -> None:
    """The first server, whose slots are the second's then."""
    first, *others = [Blocking(port=port) for port in ports]
    own = first.execute_command("CLUSTER", "MYID")
    first.execute_command("CLUSTER", "RESET", "HARD")
    for other in others:
        other.execute_command("CLUSTER", "FORGET", own)
    others[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS // len(ports) - 1)
    for client in (first, *others):
        client.close()


async def _answers(store: Connection, name: str) -> bool:
    try:
        return await store.execute("EXISTS", name) == 0
    except StoreUnavailableError:
        return False


def _holds(client: Blocking, slot: int) -> bool:
    me = client.execute_command("CLUSTER", "MYID")
    ranges = client.execute_command("CLUSTER", "SLOTS")
    return any(first <= slot <= last and master[2] == me for first, last, master, *_ in ranges)
