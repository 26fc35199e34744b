"""Health checks of a process: an API process adds them to its operations, a worker has nothing else."""

from __future__ import annotations

from aiohttp import web

from alertd.api.http.call import services


async def healthz(_request: web.Request) -> web.Response:
    """Answers 200 as long as the process runs. Checks nothing else."""
    return web.Response(text="ok\n")


def readiness(*, is_ready: bool) -> web.Response:
    """Returns the response of /readyz: 200 if ready, else 503 with a sentence that names the store."""
    if is_ready:
        return web.Response(text="ready\n")
    return web.Response(text="not ready: the store does not answer or takes no writes\n", status=503)


async def readyz(request: web.Request) -> web.Response:
    """Answers 200 if the store answers and takes writes, else 503."""
    return readiness(is_ready=await services(request).is_ready())


ROUTES = (web.get("/healthz", healthz), web.get("/readyz", readyz))
