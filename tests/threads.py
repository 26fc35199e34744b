"""Carriers of the sandbox for tests that do not run in an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class Server(Protocol):
    """What starts and stops in an event loop."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


_Server = TypeVar("_Server", bound=Server)


@contextmanager
def in_a_thread(server: _Server) -> Iterator[_Server]:
    """Runs the server in an event loop of its own. Stops it at the end, also if the test fails."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
