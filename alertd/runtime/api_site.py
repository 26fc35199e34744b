"""The HTTP servers of the API: the public port with the parts that its handlers need, and the metrics port."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from alertd.api.application import create_app, explain, needs
from alertd.api.metrics import metrics_app
from alertd.console import console_routes
from alertd.metrics import Succession, merged_text
from alertd.public import public_routes
from alertd.runtime.http_server import Bounds, Runner, connections_within, listening
from alertd.runtime.installation import Store
from alertd.runtime.processes import StartError
from alertd.runtime.worker_site import LAST_CALLS_S, PROCESS_HEADER
from alertd.service.container import Container

#: Bytes of the kernel's send buffer of each connection, for answers that a client does not read. The default is up to 4
#: MB.
SENDING_BYTES = 256 * 1024
API_OPTIONS = "api.host and api.port (ALERTD_API__PORT=9000)"
#: Name of the file in the data directory that gets the administrator's first key and sign-in, if the first start has no terminal.
FIRST_KEY = "first-key"
METRICS_OPTION = "metrics.listen (ALERTD_METRICS__LISTEN=127.0.0.1:9465)"


@contextmanager
def reserved(host: str, port: int, options: str) -> Iterator[socket.socket]:
    """Yields a socket bound to the address. It does not listen yet, so a taken port shows before anything is started.
    Raises StartError, which names the settings in `options`.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, proto)
    except OSError as error:
        raise _cannot_listen(host, port, options, error) from None
    with taken:
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENDING_BYTES)
            taken.bind(address)
        except OSError as error:
            raise _cannot_listen(host, port, options, error) from None
        yield taken


@contextmanager
def reserved_for_metrics(listen: str) -> Iterator[socket.socket | None]:
    """Yields a socket bound to the address in `metrics.listen`, or None if the setting is empty. Raises StartError."""
    if not listen:
        yield None
        return
    host, _, port = listen.rpartition(":")
    with reserved(host.strip("[]"), int(port), METRICS_OPTION) as taken:
        yield taken


@asynccontextmanager
async def api_site(
    parts: Container,
    store: Store,
    worker_sockets: Sequence[str],
    address: socket.socket,
    metrics_address: socket.socket | None = None,
) -> AsyncIterator[None]:
    """Serves the API until the end of the block. `address` and `metrics_address` are bound sockets; None: no metrics
    port. The metrics port shows this process and the workers at the UNIX sockets `worker_sockets`.
    """
    parts.disk = store.disk
    workers = {where: Succession() for where in worker_sockets}

    async def process_metrics() -> bytes:
        """Returns the metrics of this process and of all workers, in Prometheus' text format."""
        await asyncio.gather(*(_scrape(where, worker) for where, worker in workers.items()))
        texts = [text for worker in workers.values() for text in worker.texts]
        return await asyncio.to_thread(
            merged_text, texts, parts.metrics
        )  # an approval in the meantime does not wait for it

    app = create_app(parts)
    app.add_routes(console_routes(needs(), parts.carriers.channels))
    app.add_routes(public_routes(parts, parts.clock))
    metrics = metrics_app(
        process_metrics, parts.fleet.metrics, parts.access.recognise, parts.organisations.check_scope,
        parts.stop_control.check_key, explain, parts.clock,
    )  # fmt: skip
    bounds = Bounds(connections=connections_within(parts.settings.api.connections))
    async with AsyncExitStack() as stack:
        for served, within, at in ((app, bounds, address), (metrics, Bounds(), metrics_address)):
            if at is not None:
                runner = Runner(served, within, handle_signals=False, shutdown_timeout=LAST_CALLS_S)
                await stack.enter_async_context(listening(runner, at))
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstWaysIn:
    """The administrator's first key and sign-in address, made at the first start of a store."""

    key: str
    sign_in: str | None  # one-time sign-in address; None if there are operators already
    minutes: int  # how long the address is valid


def announce(url: str, metrics: str, first: FirstWaysIn | None, directory: Path) -> None:
    """Writes to standard output the URL of alertd and that of its metrics (`metrics` is "" if there are none).

    At the first start (`first`) it also prints the key and the sign-in address if standard output is a terminal.
    Otherwise a journal would keep both: it writes them to a file in `directory`, and prints the file's name.
    """
    said = [f"alertd listens on {url}"]
    if first is None:
        said.append(
            "alertd printed the administrator's key at the first start of this store. If it is lost: alertd keys recover"
        )
    elif sys.stdout.isatty():
        said.append(f"The administrator's key, told this once; to use it: export ALERTD_KEY={first.key}")
        said += [_sign_in(first)] if first.sign_in else []
    else:
        said.append(_filed(first, directory / FIRST_KEY))
    if metrics:
        said.append(f"Metrics are at {metrics}/metrics and {metrics}/metrics/fleet")
    try:
        sys.stdout.write("".join(f"{line}\n" for line in said))
        sys.stdout.flush()
    except OSError:  # a full disk or a closed pipe must not stop the service
        if first:
            raise


def _sign_in(first: FirstWaysIn) -> str:
    """Returns the line that describes how the administrator signs in."""
    return f"To sign in as administrator, once and within {first.minutes} minutes: {first.sign_in}"


def _filed(first: FirstWaysIn, file: Path) -> str:
    """Writes the key and the sign-in to a file of mode 0600, as lines for a shell. Returns the line to print: where the file is, or why it
    could not be written.
    """
    lines = [f"export ALERTD_KEY={first.key}", *([f"# {_sign_in(first)}"] if first.sign_in else [])]
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as taken:
            taken.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        return f"The administrator's key could not be written to {file} ({error.strerror}): run alertd keys recover on this machine"
    return f"The administrator's key and first sign-in are in {file}, which this user alone reads: use them, then delete it"


def url_of(address: socket.socket | None) -> str:
    """Returns the HTTP URL of a bound socket, or "" for None."""
    if address is None:
        return ""
    host, port = address.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _cannot_listen(host: str, port: int, options: str, error: OSError) -> StartError:
    """Returns the error for an address that cannot be used."""
    return StartError(f"cannot listen on {host}:{port}, see {options}: {error.strerror}")


async def _scrape(where: str, worker: Succession) -> None:
    """Fetches a worker's metrics from its UNIX socket `where` into `worker`. Leaves `worker` unchanged if the worker
    does not answer within 2 s, for instance while it starts.
    """
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(where), timeout=timeout, raise_for_status=True
        ) as session:
            answer = await session.get("http://worker/metrics")
            worker.take(answer.headers[PROCESS_HEADER], await answer.read())
    except (aiohttp.ClientError, OSError, TimeoutError):
        return
