"""The HTTP API: one table of operations, from which come the routes, the checks and the documentation."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from alertd import __version__
from alertd.api import alerts, leave, progress, subscribers, system, targets
from alertd.api.docs import docs_routes
from alertd.api.idempotency import Done, Fresh, Mismatch, Running
from alertd.api.middleware import install
from alertd.api.openapi import openapi
from alertd.api.services import SERVICES, Services
from alertd.errors import Problem
from alertd.ids import new_id
from alertd.store.connection import StoreUnavailableError

OPERATIONS = (
    *alerts.OPERATIONS,
    *progress.OPERATIONS,
    *targets.OPERATIONS,
    *subscribers.OPERATIONS,
    *system.OPERATIONS,
)


def create_app(services: Services) -> web.Application:
    """The application over these services."""
    app = web.Application(client_max_size=services.settings.api.body_mb * 1024 * 1024)
    app[SERVICES] = services
    observed = services.metrics.http_request_seconds
    install(
        app,
        OPERATIONS,
        recognise=services.access.recognise,
        idempotency=KeptKeys(services),
        explain=explain,
        observe=lambda route, method, status, seconds: observed.labels(route, method, str(status)).observe(seconds),
    )
    app.middlewares.append(_room_for_writes)
    app.add_routes(system.PLAIN_ROUTES)
    app.add_routes(leave.ROUTES)
    app.add_routes(docs_routes(document()))
    return app


#: Writes that go on when the disk is nearly full: they stop harm or say what is true, and need next to nothing.
ALWAYS = frozenset(
    {"cancel_alert", "forget_subscriber", "take_receipt", "take_ack", "preview_target", "lookup_subscriber"}
)


@web.middleware
async def _room_for_writes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses writes while the disk has no room for them, rather than losing one."""
    reads = request.method in {"GET", "HEAD", "OPTIONS"} or request.match_info.route.name in ALWAYS
    if not reads and not request.app[SERVICES].takes_writes():
        raise Problem("store-unavailable", "The store's disk is nearly full.", headers={"Retry-After": "30"})
    return await handler(request)


def document() -> dict[str, object]:
    """The OpenAPI document."""
    return openapi(
        OPERATIONS,
        title="alertd",
        version=__version__,
        description="Geo-targeted alert distribution: an alert in, everyone who belongs to the place told, and a ledger.",
    )


def explain(error: Exception) -> Problem | None:
    """What the store's failures mean to a caller."""
    if isinstance(error, StoreUnavailableError):
        return Problem("store-unavailable", str(error), headers={"Retry-After": "2"})
    return None


class KeptKeys:
    """Idempotency keys, kept in the store."""

    def __init__(self, services: Services) -> None:
        self._requests = services.requests
        self._clock = services.clock

    async def begin(self, caller: str, key: str, digest: bytes) -> Fresh | Done | Running | Mismatch:
        word, name, number = await self._requests.claim(caller, key, digest.hex(), new_id(self._clock.now_ms()))
        match word:
            case "fresh":
                return Fresh(name)
            case "done":
                return Done(name, number)
            case "running":
                return Running(max(1, number // 1000))
            case _:
                return Mismatch()

    async def finish(self, caller: str, key: str, status: int) -> None:
        await self._requests.finish(caller, key, status)

    async def release(self, caller: str, key: str, *, forget: bool) -> None:
        await self._requests.release(caller, key, forget=forget)
