"""Metrics over HTTP, on a port of their own: `/metrics` of this process and its workers, `/metrics/fleet` from the
store.

A collection costs processor time and round trips to the store. So alertd collects each page at most once a second, and
concurrent requests share the result. Only a key with `metrics:read` sees the number of subscribers and of alerts by
state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from alertd.api.http.middleware import Recognise, by_key, guarded
from alertd.api.http.problems import Explain
from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.repetition import Shared
from alertd.metrics import FleetText
from alertd.service.access import Credential

COLLECTED_EVERY_S = 1.0
SCOPE = "metrics:read"


def metrics_app(
    process: Callable[[], Awaitable[bytes]],
    fleet: Callable[[], Awaitable[FleetText]],
    recognise: Recognise,
    check_scope: Callable[[Credential, str], None],
    check_stop: Callable[[Credential], Awaitable[None]],
    explain: Explain,
    clock: Clock,
) -> web.Application:
    """Returns the application of the metrics port. `process` and `fleet` collect the text of the two pages.
    `check_scope` raises Problem if the key's organisation does not run the service, and `check_stop` if the key is
    stopped.
    """
    of_process, of_fleet = Shared(process, COLLECTED_EVERY_S, clock), Shared(fleet, COLLECTED_EVERY_S, clock)

    async def show_process(_request: web.Request) -> web.Response:
        return _prometheus(await of_process.get())

    async def show_fleet(request: web.Request) -> web.Response:
        with_counts = hdrs.AUTHORIZATION in request.headers
        if with_counts:
            who = await by_key(request, recognise)
            if not who.may(SCOPE):
                raise Problem("not-allowed", f"This key lacks the scope {SCOPE}.", scope=SCOPE)
            check_scope(who, SCOPE)
            await check_stop(who)
        text = await of_fleet.get()
        return _prometheus(text.whole if with_counts else text.work)

    app = web.Application(middlewares=[guarded(explain)])
    app.add_routes([web.get("/metrics", show_process), web.get("/metrics/fleet", show_fleet)])
    return app


def _prometheus(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
