"""HTTP servers of a process, which answer what is no HTTP without a word of it; and a worker's, of its metrics and health."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from alertd.api import problems
from alertd.api.health import healthz, readiness
from alertd.app import Parts
from alertd.errors import Problem
from alertd.logs import places_of
from alertd.processes import StartError


class _Handler(RequestHandler):
    """Answers what is no HTTP. aiohttp's own would log and send back what it could not read: a key, a number, a child's name."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 it quotes the request
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionResetError):  # whoever asked has gone: nothing failed
            raise exc
        self.log_exception("a request cannot be read", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun")
        slug = "internal-error" if status >= 500 else "invalid-request"
        problem = Problem(slug, "This is not a request that can be read.", status=status)
        response = problems.answer(problem, secrets.token_hex(16))
        response.headers[hdrs.SERVER] = "alertd"
        response.force_close()
        return response

    def log_exception(self, *_: object, **named: object) -> None:
        error = named.get("exc_info")
        told = (
            {"error": type(error).__qualname__, "places": places_of(error)} if isinstance(error, BaseException) else {}
        )
        structlog.get_logger().warning("request not readable", **told)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


def _without_wishes(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Makes requests without an `Expect` that asks for anything but 100-continue: a server may pass over it (RFC 9110, section
    10.1.1), and aiohttp would send it back as it came.
    """

    def made(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if message.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            headers = message.headers.copy()
            del headers[hdrs.EXPECT]
            message = message._replace(headers=type(message.headers)(headers))
        return make(message, *rest)

    return made


class Runner(web.AppRunner):
    """An application, served with handlers of our own; aiohttp has no setting for it."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        server.request_factory = _without_wishes(server.request_factory)
        return server


#: Tells a worker's series from those of the worker that was there before.
PROCESS_HEADER = "Alertd-Process"
#: Calls that are under way at the end get this long; streams would go on for ever.
LAST_CALLS_S = 5.0


@asynccontextmanager
async def metrics_site(parts: Parts, where: str) -> AsyncIterator[None]:
    """A worker's own series and health, at "unix:PATH" or "HOST:PORT". Raises StartError where it cannot listen there."""
    process = {PROCESS_HEADER: secrets.token_hex(8)}

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=parts.metrics.text(), content_type="text/plain", headers=process)

    async def readyz(_request: web.Request) -> web.Response:
        return readiness(is_ready=await parts.db.takes_writes())

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = Runner(app, access_log=None, shutdown_timeout=LAST_CALLS_S)
    await runner.setup()
    try:
        await _listen(runner, where)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: Runner, where: str) -> None:
    file, (host, _, port) = where.removeprefix("unix:"), where.rpartition(":")
    site = web.UnixSite(runner, file) if file != where else web.TCPSite(runner, host.strip("[]"), int(port))
    try:
        await site.start()
    except OSError as error:
        raise StartError(f"cannot listen on {where}, see worker.metrics: {error.strerror}") from None
