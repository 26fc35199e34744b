"""The container of the process, as handlers find it: by its typed key in the application."""

from __future__ import annotations

from aiohttp import web

from alertd.service.container import Parts

SERVICES = web.AppKey("services", Parts)


def services(request: web.Request) -> Parts:
    """Returns the services of this process."""
    return request.app[SERVICES]
