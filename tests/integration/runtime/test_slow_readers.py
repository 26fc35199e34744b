"""A reader on a slow line gets the whole answer; a reader that takes next to nothing loses its connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
import uvloop
from aiohttp import web

from alertd.runtime.api_site import reserved
from alertd.runtime.http_server import Bounds, Runner, listening
from tests.waiting import until

STALLED_S, LEAST_RATE = 1.0, 8 * 1024
BOUNDS = Bounds(stalled_s=STALLED_S, least_rate=LEAST_RATE)
#: More than the buffers of the server and its kernel take at once.
ANSWER = bytes(4 * 1024 * 1024)
#: The slow reader takes four times the least rate, for four times as long as a reader may stall.
PIECE, EVERY_S, READ_S = 4 * 1024, 0.125, 4 * STALLED_S


@asynccontextmanager
async def reader() -> AsyncIterator[tuple[socket.socket, Runner]]:
    """A connection that has asked for the answer, and the server. The client's kernel takes a few KB before they are read, as on a slow
    line.
    """

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=ANSWER)

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    with reserved("127.0.0.1", 0, "") as address:
        runner = Runner(app, BOUNDS, shutdown_timeout=0.1)
        async with listening(runner, address):
            with closing(socket.socket()) as made:
                made.setblocking(False)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
                await asyncio.get_running_loop().sock_connect(made, address.getsockname())
                await asyncio.get_running_loop().sock_sendall(made, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                yield made, runner


def is_served(runner: Runner) -> bool:
    assert runner.server is not None
    return bool(runner.server.connections)


async def takes_little() -> None:
    loop, until_s = asyncio.get_running_loop(), time.monotonic() + READ_S
    async with reader() as (connection, runner):
        while time.monotonic() < until_s:
            assert await loop.sock_recv(connection, PIECE)
            assert is_served(runner)
            await asyncio.sleep(EVERY_S)


async def read_to_end(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, PIECE):
        pass


async def takes_nothing() -> None:
    async with reader() as (connection, runner):
        await until(lambda: is_served(runner))
        await until(lambda: not is_served(runner))
        with pytest.raises(ConnectionResetError):  # the kernel keeps nothing for it either
            await read_to_end(connection)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_slow_reader_is_not_dropped(run: Callable[[Coroutine[Any, Any, None]], None]):
    """The kernel takes an answer in steps of 100 KB and more, so the rate is that at which the client takes it."""
    run(takes_little())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_reader_that_takes_nothing_is_dropped(run: Callable[[Coroutine[Any, Any, None]], None]):
    run(takes_nothing())
