"""The wire between a browser and alertd, which a test can cut, or let go dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Wire:
    """Carries bytes both ways until it is cut; then every connection is broken off, and none is taken until it is mended. One that is dead
    carries nothing, and tells nobody.
    """

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        assert there.hostname is not None
        self._there = (there.hostname, there.port)
        self._open: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._alive = asyncio.Event()
        self._alive.set()
        self.url = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def cut(self) -> int:
        """Answers how many connections were broken off."""
        self._cut = True
        broken = list(self._open)
        for writer in broken:
            writer.transport.abort()
        return len(broken)

    def die(self) -> None:
        self._alive.clear()

    def mend(self) -> None:
        self._cut = False
        self._alive.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._there)
        self._open |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}
            writer.close()
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                await self._alive.wait()
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass  # it was cut: the other way ends as well
        finally:
            writer.transport.abort() if reader.exception() else writer.close()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A wire to what is at this address."""
    made = Wire(url)
    async with await made.start():
        yield made
        made.cut()
