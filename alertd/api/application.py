"""The HTTP API. One table of operations defines the routes, the checks and the documentation."""

from __future__ import annotations

import asyncio
from functools import cache

from aiohttp import web

from alertd import __version__
from alertd.api import audit, health
from alertd.api.alerts import (
    alerts,
    break_glass,
    deliveries,
    follow_up,
    messages,
    oncall,
    permissions,
    photos,
    progress,
    results,
    stops,
    targets,
)
from alertd.api.docs.openapi import groups, openapi
from alertd.api.docs.pages import docs_routes
from alertd.api.http.call import GOES_DOWN, SERVICES, STREAMS, Streams, end_streams
from alertd.api.http.cookies import signed_in
from alertd.api.http.idempotency import KeptKeys
from alertd.api.http.middleware import Admission, install
from alertd.api.installation import carriers
from alertd.api.organisations import (
    key_rotation,
    keys,
    operators,
    organisations,
    region_imports,
    regions,
    sign_in,
)
from alertd.api.people import receipts, subscribers, suppressions
from alertd.api.sharing import cap, distributors, events
from alertd.common.errors import Problem
from alertd.service.container import Container
from alertd.store.engine.connection import StoreUnavailableError

OPERATIONS = (
    *cap.OPERATIONS,  # first, because the path of an alert also matches the path of its CAP document
    *alerts.OPERATIONS,
    *break_glass.OPERATIONS,
    *oncall.OPERATIONS,
    *permissions.OPERATIONS,
    *progress.OPERATIONS,
    *results.OPERATIONS,
    *deliveries.OPERATIONS,
    *targets.OPERATIONS,
    *region_imports.OPERATIONS,
    *regions.OPERATIONS,
    *messages.OPERATIONS,
    *photos.OPERATIONS,
    *subscribers.OPERATIONS,
    *suppressions.OPERATIONS,
    *keys.OPERATIONS,
    *key_rotation.OPERATIONS,
    *carriers.OPERATIONS,
    *organisations.OPERATIONS,
    *operators.OPERATIONS,
    *sign_in.OPERATIONS,
    *follow_up.OPERATIONS,
    *stops.OPERATIONS,
    *audit.OPERATIONS,
    *events.OPERATIONS,
    *distributors.OPERATIONS,
    *receipts.OPERATIONS,
)


def needs() -> dict[str, tuple[str, ...]]:
    """Returns the scopes of each audited operation, by the operation's name in the audit. A caller needs one of these
    scopes.
    """
    return {one.act.name: tuple(scope for scope in (one.scope, one.or_scope) if scope) for one in OPERATIONS if one.act}


def create_app(services: Container) -> web.Application:
    """Returns the web application of the API: its operations, health checks, schemas and documentation. Handlers get
    `services`.
    """
    app = web.Application(client_max_size=services.settings.api.body_mb * 1024 * 1024)
    app[SERVICES], app[GOES_DOWN] = services, asyncio.Event()
    app[STREAMS] = Streams(services.settings.api.streams_per_key)
    app.on_shutdown.append(end_streams)
    install(
        app,
        OPERATIONS,
        Admission(
            recognise=services.access.recognise,
            signed_in=signed_in,
            meter=services.access.meter,
            check_scope=services.organisations.check_scope,
            check_stop=services.stop_control.check_key,
            takes_writes=services.takes_writes,
        ),
        idempotency=KeptKeys(services.requests, services.clock),
        recorder=services.audit,
        explain=explain,
        timer=cache(services.metrics.http_request_seconds.labels),
    )
    app.add_routes(health.ROUTES)
    app.add_routes(receipts.ROUTES)
    app.add_routes(receipts.schema_routes())
    app.add_routes(docs_routes(document))
    return app


def document() -> dict[str, object]:
    """Returns the OpenAPI document of all operations, as JSON values."""
    return openapi(
        OPERATIONS,
        groups(),
        title="alertd",
        version=__version__,
        description="Geo-targeted alert distribution: takes an alert, notifies everyone who belongs to the place, and keeps a ledger.",
    )


def explain(error: Exception) -> Problem | None:
    """Returns the problem `store-unavailable` for a StoreUnavailableError; None for any other error."""
    if isinstance(error, StoreUnavailableError):
        return Problem("store-unavailable", str(error), headers={"Retry-After": "2"})
    return None
