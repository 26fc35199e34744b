"""Whether a process lives and works: of the API, and of a worker, which has nothing else of it."""

from __future__ import annotations

from aiohttp import web

from alertd.api.http.call import services


async def healthz(_request: web.Request) -> web.Response:
    """The process lives."""
    return web.Response(text="ok\n")


def readiness(*, is_ready: bool) -> web.Response:
    """What /readyz says."""
    if is_ready:
        return web.Response(text="ready\n")
    return web.Response(text="not ready: the store does not answer or takes no writes\n", status=503)


async def readyz(request: web.Request) -> web.Response:
    """The store answers and takes writes."""
    return readiness(is_ready=await services(request).is_ready())


ROUTES = (web.get("/healthz", healthz), web.get("/readyz", readyz))
