"""The container of the process, as handlers find it: by its typed key in the application."""

from __future__ import annotations

from aiohttp import web

from alertd.service.container import Container

SERVICES = web.AppKey("services", Container)


def services(request: web.Request) -> Container:
    """Returns the services of this process."""
    return request.app[SERVICES]
