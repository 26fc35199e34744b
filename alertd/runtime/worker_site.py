"""The HTTP server of a worker: its metrics and health."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from alertd.api.health import healthz, readiness
from alertd.runtime.http_server import Runner
from alertd.runtime.processes import StartError
from alertd.service.container import Container

#: Header with a random id of the process, which distinguishes a worker's metrics from those of its predecessor.
PROCESS_HEADER = "Alertd-Process"
#: Seconds that calls in progress get at the end. Streams would otherwise continue for ever.
LAST_CALLS_S = 5.0


@asynccontextmanager
async def metrics_site(parts: Container, where: str) -> AsyncIterator[None]:
    """Serves the metrics and health of a worker until the end of the block. `where` is "unix:PATH" or "HOST:PORT".
    Raises StartError if it cannot listen there.
    """
    process = {PROCESS_HEADER: secrets.token_hex(8)}

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=parts.metrics.text(), content_type="text/plain", headers=process)

    async def readyz(_request: web.Request) -> web.Response:
        return readiness(is_ready=await parts.db.takes_writes())

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = Runner(app, shutdown_timeout=LAST_CALLS_S)
    await runner.setup()
    try:
        await _listen(runner, where)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: Runner, where: str) -> None:
    """Starts to listen at `where`. Raises StartError if that fails."""
    file, (host, _, port) = where.removeprefix("unix:"), where.rpartition(":")
    site = web.UnixSite(runner, file) if file != where else web.TCPSite(runner, host.strip("[]"), int(port))
    try:
        await site.start()
    except OSError as error:
        raise StartError(f"cannot listen on {where}, see worker.metrics: {error.strerror}") from None
