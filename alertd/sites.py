"""The HTTP servers of a process: the API's, and a worker's own metrics and health."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import structlog
from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from alertd.api import create_app, needs, problems
from alertd.api.system import healthz, readiness
from alertd.app import Parts
from alertd.console import console_routes
from alertd.errors import Problem
from alertd.logs import places_of
from alertd.metrics import Succession, merged_text
from alertd.opening import Store
from alertd.processes import StartError
from alertd.public import public_routes
from alertd.sections import ApiSection


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


@contextmanager
def reserved(section: ApiSection) -> Iterator[socket.socket]:
    """The API's address, taken before anything is started for it, so that all can be told which it is. It listens later.

    Raises StartError.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            section.host, section.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, proto)
    except OSError as error:
        raise _cannot_listen(section, error) from None
    with taken:
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        except OSError as error:
            raise _cannot_listen(section, error) from None
        yield taken


@asynccontextmanager
async def api_site(
    parts: Parts, store: Store, worker_sockets: Sequence[str], address: socket.socket
) -> AsyncIterator[None]:
    """The API, listening. Its metrics are those of this process and of the workers at these sockets."""
    workers = {where: Succession() for where in worker_sockets}

    def has_room() -> bool:
        return store.has_room() and parts.memory.takes_writes

    async def is_ready() -> bool:
        return has_room() and await parts.db.takes_writes()

    async def process_metrics() -> bytes:
        await asyncio.gather(*(_scrape(where, worker) for where, worker in workers.items()))
        texts = [text for worker in workers.values() for text in worker.texts]
        return await asyncio.to_thread(
            merged_text, texts, parts.metrics
        )  # whoever approves meanwhile need not wait for it

    app = create_app(parts.services(is_ready, process_metrics, has_room))
    app.add_routes(console_routes(needs(), parts.carriers.channels))
    app.add_routes(public_routes(parts.publishing, parts.settings.api.reached_at, parts.clock))
    runner = Runner(app, access_log=None, handle_signals=False, shutdown_timeout=LAST_CALLS_S)
    await runner.setup()
    try:
        await web.SockSite(runner, address).start()
        yield
    finally:
        await runner.cleanup()


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


def announce(url: str, key: str | None, sign_in: str | None, minutes: int) -> None:
    """Standard output is for the person at the terminal: where it listens and, once, the administrator's key and sign-in, good for so long."""
    said = [f"alertd listens on {url}"]
    if key:
        said.append(f"The administrator's key, told this once; to use it: export ALERTD_KEY={key}")
    else:
        said.append("The administrator's key was told at the first start of this store, and is told no more.")
    if sign_in:
        said.append(f"To sign in as administrator, once and within {minutes} minutes: {sign_in}")
    try:
        sys.stdout.write("".join(f"{line}\n" for line in said))
        sys.stdout.flush()
    except OSError:  # a full disk, or a reader that is gone, keeps no service from coming back
        if key:
            raise


def _cannot_listen(section: ApiSection, error: OSError) -> StartError:
    return StartError(
        f"cannot listen on {section.host}:{section.port}, see api.host and api.port (ALERTD_API__PORT=9000): {error.strerror}"
    )


async def _scrape(where: str, worker: Succession) -> None:
    """Take a worker's series, unless it does not answer, as while it starts."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(where), timeout=timeout, raise_for_status=True
        ) as session:
            answer = await session.get("http://worker/metrics")
            worker.take(answer.headers[PROCESS_HEADER], await answer.read())
    except (aiohttp.ClientError, OSError, TimeoutError):
        return
