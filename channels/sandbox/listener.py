"""A listening socket whose connections speak `http_wire`, or `http2_wire` where the client chose that (ALPN, RFC 7301)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import cast

from channels.sandbox.http2_wire import Http2Wire
from channels.sandbox.http_wire import Answer, Connection, Request, Wire


class _Arrived(asyncio.Protocol):
    """Becomes the connection that the client chose, before the first byte of it is read."""

    def __init__(self, serve: Callable[[Request], Answer], connections: set[Connection], latency_s: float) -> None:
        self._made = serve, connections, latency_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        encrypted = transport.get_extra_info("ssl_object")
        chosen = Http2Wire if encrypted and encrypted.selected_alpn_protocol() == "h2" else Wire
        wire = chosen(*self._made)
        cast("asyncio.Transport", transport).set_protocol(wire)
        wire.connection_made(transport)


class Listener:
    def __init__(self, serve: Callable[[Request], Answer], context: ssl.SSLContext | None, latency_s: float) -> None:
        self._connections: set[Connection] = set()
        self._arrived = partial(_Arrived, serve, self._connections, latency_s)
        self._context = context
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one, told by `port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._arrived, "127.0.0.1", port, ssl=self._context, backlog=1024)
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
