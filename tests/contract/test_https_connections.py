"""A server that accepts fewer connections than configured: messages wait for the open ones, and none fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from channels.base import NOT_CONNECTED, Answer
from tests.outcomes import without_words
from tests.waiting import until

FEW = 4


class Gate:
    """A TCP proxy that resets every connection beyond `most`, as a firewall with a connection limit does."""

    def __init__(self, port: int, most: int) -> None:
        self.most, self.refused, self.writers = most, 0, set()
        self._port = port

    async def serve(self, reader, writer):
        if len(self.writers) >= self.most:
            self.refused += 1
            writer.transport.abort()
            return
        self.writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            await asyncio.gather(pump(reader, back), pump(there, writer))
        finally:
            self.writers.discard(writer)


async def pump(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def gate(port: int, most: int = FEW):
    made = Gate(port, most)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in list(made.writers):
            writer.transport.abort()


@pytest.fixture
async def sms(sandbox, open_party):
    """An SMS gateway over HTTP/1.1 for which alertd may use 32 connections, behind a gate that lets a few through."""
    async with gate(urlsplit(sandbox.endpoints["sms"]["endpoint"]).port) as made:
        party = await open_party("sms", endpoint=f"https://127.0.0.1:{made.port}", connections=32)
        party.gate = made
        yield party


async def test_messages_wait_for_the_connections_that_the_server_accepts(sms):
    """A refused extra connection is no failure of a message. The server is not asked again for each message."""
    outcomes = await sms.send(sms.recipients(200))
    assert {one.answer for one in outcomes} == {Answer.ACCEPTED}
    assert [sms.count(one) for one in sms.recipients(200)] == [1] * 200
    asked = sms.gate.refused
    assert 0 < asked <= 32 - FEW
    assert {one.answer for one in await sms.send(sms.recipients(200, 200))} == {Answer.ACCEPTED}
    assert sms.gate.refused <= asked + 1


async def test_a_server_that_accepts_no_connection_fails_the_messages(sms):
    """There is no open connection to wait for. As soon as the server accepts connections again, messages go out."""
    sms.gate.most = 0
    assert set(without_words(await sms.send(sms.recipients(40)))) == {NOT_CONNECTED}
    sms.gate.most = FEW
    assert {one.answer for one in await sms.send(sms.recipients(40))} == {Answer.ACCEPTED}


async def test_messages_fail_if_the_open_connections_are_lost_while_they_wait(sms):
    """Otherwise they would wait for ever."""
    sms.tell("stall")
    sending = asyncio.create_task(sms.send(sms.recipients(40)))
    await until(lambda: sms.gate.refused > 0 and len(sms.gate.writers) == FEW)
    sms.gate.most = 0
    for writer in list(sms.gate.writers):
        writer.transport.abort()
    answers = [one.answer for one in await sending]
    assert answers.count(Answer.RETRY) == 40 - answers.count(Answer.UNKNOWN) > 0


async def test_a_server_that_accepts_more_again_gets_more(sms):
    """One more connection is tried after a second, and the next as soon as that one is open."""
    await sms.send(sms.recipients(40))
    sms.gate.most = 32

    async def is_used() -> bool:
        await sms.send(sms.recipients(100))
        return len(sms.gate.writers) > 2 * FEW

    await until(is_used)
