"""A listening socket whose connections speak `http_wire`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial

from channels.sandbox.http_wire import Answer, Request, Wire


class Listener:
    def __init__(self, serve: Callable[[Request], Answer], context: ssl.SSLContext | None, latency_s: float) -> None:
        self._connections: set[Wire] = set()
        self._wire = partial(Wire, serve, self._connections, latency_s)
        self._context = context
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one, told by `port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._wire, "127.0.0.1", port, ssl=self._context, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for wire in list(self._connections):
            wire.close()
        await self._server.wait_closed()

    @property
    def open_connections(self) -> int:
        return len(self._connections)
