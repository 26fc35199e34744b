"""A store that is far away, or busy: each of its answers comes late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.store.engine.codec import Codec
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import BEA, register, submitted, working
from tests.integration.conftest import settings_for
from tests.waiting import until

#: More than half of a leave to write: the gate, whom a chunk is for and its domains take a second together.
LATE_S = 0.3


class Line:
    """Between a client and a store: what the store answers arrives later, however much is on the way."""

    def __init__(self, store: str) -> None:
        self.store, self.late_s = store, 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_store, to_store = await asyncio.open_unix_connection(self.store)
        with suppress(OSError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_passed_on(reader, to_store, lambda: 0.0))
                tasks.create_task(_passed_on(from_store, writer, lambda: self.late_s))


async def _passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: Callable[[], float]) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(1 << 16):
        loop.call_later(late_s(), writer.write, data)
    loop.call_later(late_s(), writer.close)


@pytest.fixture
async def line(redis: Redis, valkey_socket: str, tmp_path: Path) -> AsyncIterator[tuple[Line, Redis]]:
    """One, and a client behind it."""
    made = Line(valkey_socket)
    async with await asyncio.start_unix_server(made.serve, tmp_path / "line"):
        client = Redis(unix_socket_path=str(tmp_path / "line"))
        yield made, client
        await client.aclose()


async def test_whoever_is_owed_an_alert_is_told(
    line: tuple[Line, Redis],
    codec: Codec,
    sandbox: Sandbox,
    library: Library,
    renderer: Renderer,
    sample: dict[str, Any],
):
    """On each channel: who is told is read, and domains are asked, after the gate has spoken, and what is stopped is asked all the while."""
    slow, client = line
    async with opened(settings_for(sandbox), client, codec, library=library, renderer=renderer) as parts:
        await register(parts, 40)
        taken = await submitted(parts, sample, channels=["push", "sms", "mail"])
        await parts.approval.approve(taken.record.id, BEA)
        slow.late_s = LATE_S
        carriers = sandbox.push, sandbox.sms, sandbox.mail
        async with working(parts):
            await until(lambda: [one.recorded.total for one in carriers] == [40, 40, 40])
