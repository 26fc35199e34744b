"""Commands of many callers travel together, and each caller has its own answer, fault or end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Self

import pytest
import trustme
import uvloop
from redis import Redis as SyncRedis
from redis import exceptions
from redis.asyncio import Redis

from alertd.service.alerts.approval import submit
from alertd.service.container import Container
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.engine.nodes import TOGETHER, CommandPipeline, way_in
from tests.integration.acts import ANA, alert_of, register


class Middle:
    """Stands between client and server, as a proxy or a network does, and can end all connections."""

    def __init__(self, socket_path: str, context: ssl.SSLContext | None) -> None:
        self._path, self._context = socket_path, context
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up(by_reset=False)
        self._server.close()

    @property
    def count(self) -> int:
        return len(self._writers)

    async def hang_up(self, *, by_reset: bool) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if by_reset:
                linger = struct.pack("ii", 1, 0)  # for no time: what is under way is thrown away
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        answers, commands = await asyncio.open_unix_connection(self._path)
        with suppress(ConnectionError):
            await asyncio.gather(_passed(reader, commands), _passed(answers, writer))


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.close()


async def taken(redis: Redis) -> int:
    """How many events of its sockets the server has handled: one for what came in one piece."""
    return int((await redis.info("stats"))["total_reads_processed"])


async def test_what_is_asked_in_one_turn_goes_out_in_few_pieces(store: Connection, redis: Redis):
    """Of a hundred callers at once twenty are one request to the server, and each has its own answer."""

    async def ask(first: int) -> None:
        answers = await asyncio.gather(*(store.execute("HINCRBY", "{x:1}", "n", 1) for _ in range(100)))
        assert sorted(answers) == list(range(first, first + 100))

    await ask(1)  # the connections are there
    before = await taken(redis)
    await ask(101)
    assert await taken(redis) - before <= 100 / TOGETHER + 2  # one may be read in two, and the second question is one


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before Python 3.12 no task begins as it is made")
async def test_a_full_piece_does_not_wait_for_the_turn_to_end(store: Connection, valkey_socket: str):
    """The server works on it while the rest of the turn is still asking."""
    await store.execute("SET", "{x:1}", 0)  # a connection is there
    done = 0

    async def the_rest_of_the_turn() -> None:
        nonlocal done
        until_s = time.monotonic() + 10
        with SyncRedis(unix_socket_path=valkey_socket) as other:
            while done < TOGETHER and time.monotonic() < until_s:
                done = int(other.get("{x:1}"))  # the loop stands still meanwhile

    await asyncio.gather(*(store.execute("INCR", "{x:1}") for _ in range(TOGETHER)), the_rest_of_the_turn())
    assert done == TOGETHER


async def test_who_asks_right_after_the_server_hung_up_is_answered(redis: Redis, valkey_socket: str):
    """The event loop did not look since, and does not before a full piece is written: its connection is made anew all the same."""
    lines = CommandPipeline(redis)
    for _ in range(2):
        await asyncio.gather(*(lines.ask([("PING",)]) for _ in range(2 * TOGETHER)))  # two connections are kept
        with SyncRedis(unix_socket_path=valkey_socket) as other:
            other.client_kill_filter(_type="normal", skipme=True)
        answers = await asyncio.gather(*(lines.ask([("ECHO", i)]) for i in range(2 * TOGETHER)))
        assert answers == [[str(i).encode()] for i in range(2 * TOGETHER)]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("end", ["reset", "closed", "closed within TLS"])
def test_who_asks_after_a_connection_ended_is_answered(run: Any, end: str, valkey_socket: str):
    """However it ended, and whether the event loop has seen it by then: none is tried twice."""

    async def ended() -> None:
        authority = trustme.CA()
        trust, own = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.configure_trust(trust)
        authority.issue_cert("127.0.0.1").configure_cert(own)
        within = "TLS" in end
        async with Middle(valkey_socket, own if within else None) as middle:
            how = {"ssl": True, "ssl_ca_data": authority.cert_pem.bytes().decode()} if within else {}
            async with Redis(host="127.0.0.1", port=middle.port, **how) as client:
                lines = CommandPipeline(client)
                for seen_by_the_loop in (True, False, True):
                    await asyncio.gather(*(lines.ask([("PING",)]) for _ in range(2 * TOGETHER)))
                    assert middle.count >= 2
                    await middle.hang_up(by_reset=end == "reset")
                    for _ in range(50 if seen_by_the_loop else 0):
                        await asyncio.sleep(0.001)
                    answers = await asyncio.gather(*(lines.ask([("ECHO", i)]) for i in range(2 * TOGETHER)))
                    assert answers == [[str(i).encode()] for i in range(2 * TOGETHER)]

    run(ended())


async def test_a_submission_asks_the_store_few_times(parts: Container, sample: dict[str, Any], redis: Redis):
    """What it is measured against, its external id as it is and as older versions stored it, its case with its lists, and the alert itself."""
    await register(parts, 30)
    asked = []
    for i in range(5):  # of which one at least shares the look of the one before
        before = await taken(redis)
        await submit(parts.intake, parts.approval, alert_of(sample, external_id=f"a{i}"), ANA)
        asked.append(await taken(redis) - before - 1)  # the second question is one
    assert min(asked) == 5


async def test_one_caller_s_fault_is_not_another_s(store: Connection):
    """A command that the server refuses, and one that cannot even be written, are their callers' own."""
    wrong, unwritten, right = await asyncio.gather(
        store.execute("HGET", "{x:1}"), store.execute("SET", "{x:1}", object()), store.execute("SET", "{x:1}", "there"),  # type: ignore[arg-type]
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(wrong, exceptions.ResponseError)
    assert isinstance(unwritten, TypeError)
    assert right
    assert await store.execute("GET", "{x:1}") == b"there"


async def test_what_waits_for_the_disk_is_confirmed_to_each(store: Connection):
    """Several durable writes share one confirmation, and a read beside them does not wait for it."""
    calls = [store.run_durably("idempotency", [f"{{i:{i}}}"], "digest", f"id{i}", 1000, 1000, 0) for i in range(20)]
    answers = await asyncio.gather(*calls, store.execute("EXISTS", "{x:1}"))
    assert [answer[1] for answer in answers[:20]] == [f"id{i}".encode() for i in range(20)]


async def test_a_caller_who_leaves_takes_no_answer_along(store: Connection):
    """One of two in the same turn is cancelled: the other is answered."""
    leaving, staying = [asyncio.ensure_future(store.execute("INCR", "{x:1}")) for _ in range(2)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_without_a_server_every_caller_is_told(codec):
    """Nobody is left waiting."""
    gone = Connection(Redis(unix_socket_path="/nowhere/server.sock"), codec)
    outcomes = await asyncio.gather(*(gone.execute("PING") for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in outcomes] == [StoreUnavailableError] * 3


async def test_a_server_that_stalls_keeps_its_callers_waiting(store: Connection, redis: Redis):
    """As it does while it forks: whoever asks meanwhile, however many and one after the other, is answered when it goes on."""
    server = int((await redis.info("server"))["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        asked = []
        for _ in range(200):
            asked += [asyncio.create_task(store.execute("HINCRBY", "{x:1}", "n", 1))]
            asked += [asyncio.create_task(store.run_durably("process_lease", ["{x:2}"], "me", 60_000))]
            await _next_turn()
    finally:
        os.kill(server, signal.SIGCONT)
    answers = await asyncio.gather(*asked)
    assert sorted(answers[::2]) == list(range(1, 201))
    assert answers[1::2] == [1] * 200


async def test_an_answer_that_comes_too_late_is_nobody_else_s(redis: Redis):
    """Whoever asks after others who did not wait for it has the answer to what they asked themselves."""
    async with Redis(unix_socket_path=way_in(redis)["path"], socket_timeout=0.2) as client:
        lines, server = CommandPipeline(client), int((await redis.info("server"))["process_id"])
        assert await lines.ask([("INCR", "{x:1}")]) == [1]
        os.kill(server, signal.SIGSTOP)
        try:
            late, left = [lines.ask([("INCRBY", "{x:2}", 100)]) for _ in range(2)]
            await _next_turn()
            left.cancel()
            with pytest.raises(exceptions.TimeoutError):
                await late
        finally:
            os.kill(server, signal.SIGCONT)
        assert [await lines.ask([("INCR", "{x:1}")]) for _ in range(3)] == [[2], [3], [4]]


@pytest.mark.parametrize("most", [4, 20])
async def test_a_burst_leaves_connections_to_others(most: int, redis: Redis, codec: Codec):
    """Few stay with it, however few the client may have: another who asks by the same client is answered, and so is what the client asks by itself."""
    async with Redis(unix_socket_path=way_in(redis)["path"], max_connections=most) as client:
        for one in (Connection(client, codec), Connection(client, codec)):
            await asyncio.gather(*(one.execute("INCR", "{x:1}") for _ in range(100)), return_exceptions=True)
            before = int(await redis.get("{x:1}"))
            assert await one.execute("INCR", "{x:1}") == before + 1
        assert await client.incr("{x:1}") == before + 2


async def _next_turn() -> None:
    """What was asked has gone out by then, or waits for a line."""
    for _ in range(3):
        await asyncio.sleep(0)
