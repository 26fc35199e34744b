"""Health checks of a process: of the API, or of a worker, which has no other operations."""

from __future__ import annotations

from aiohttp import web

from alertd.api.http.call import services


async def healthz(_request: web.Request) -> web.Response:
    """Answers 200: the process is running."""
    return web.Response(text="ok\n")


def readiness(*, is_ready: bool) -> web.Response:
    """Returns the response of /readyz: 200 if ready, else 503."""
    if is_ready:
        return web.Response(text="ready\n")
    return web.Response(text="not ready: the store does not answer or takes no writes\n", status=503)


async def readyz(request: web.Request) -> web.Response:
    """Answers 200 if the store answers and takes writes, else 503."""
    return readiness(is_ready=await services(request).is_ready())


ROUTES = (web.get("/healthz", healthz), web.get("/readyz", readyz))
