"""Measures the service while attackers without a key send compressed bodies, scrape metrics, hold connections and do not read answers.

All attacks run at once, in a process that gets only the processor time that the service leaves, because a real attacker has machines of
their own. Meanwhile one client opens a connection for each `GET /healthz`, and another client opens one for each alert that it submits with
its key. Memory is the resident memory of all processes of the service, before the attack and up to a minute after it.

The run passes if the 99th percentile is at most 250 ms for `/healthz` and at most 2 s for a submission, if at most 1 % of the calls failed,
and if memory grew by at most 100 MB. A call fails without the expected status within 10 s; it counts as one of 10 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import uvloop
from demo import alert, served
from rich.console import Console
from rich.table import Table

Where = tuple[str, int]
Attack = Callable[[Where], Awaitable[None]]

PEOPLE = 2_000
FAILED_S = 10.0
#: Limits of a run that passes.
HEALTHZ_P99_MS, SUBMIT_P99_MS, FAILED_SHARE, SETTLED_MB = 250, 2_000, 0.01, 100
HEALTHZ_EVERY_S, SUBMIT_EVERY_S = 0.05, 0.2
#: Niceness of the attackers.
NICE = 15
BOMB_MB = 1_024
SETTLE_S = 60.0
told = Console(stderr=True)


def bomb() -> bytes:
    """Returns a megabyte of gzip that inflates to a gigabyte."""
    packer, zeros = zlib.compressobj(9, wbits=31), bytes(1024 * 1024)
    return b"".join([*(packer.compress(zeros) for _ in range(BOMB_MB)), packer.flush()])


async def opened(where: Where, received: int = 0) -> socket.socket:
    """Opens a connection. `received`: size in bytes of the client's receive buffer; 0: the system's default."""
    made = socket.socket()
    made.setblocking(False)
    if received:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
    try:
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


async def held(where: Where, start: bytes = b"", drip: bytes = b"") -> None:
    """Sends `start`, then `drip` every second, until the server closes the connection."""
    loop = asyncio.get_running_loop()
    with await opened(where) as connection:
        if start:
            await loop.sock_sendall(connection, start)
        while drip:
            await asyncio.sleep(1)
            await loop.sock_sendall(connection, drip)
        while await loop.sock_recv(connection, 65_536):
            pass


async def silent(where: Where) -> None:
    await held(where)


async def half_head(where: Where) -> None:
    await held(where, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"a")


async def half_body(where: Where) -> None:
    head = b"POST /r/nobody HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
    await held(where, head, b" ")


async def large_half_body(where: Where) -> None:
    head = b"POST /r/nobody HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    await held(where, head + bytes(900_000), b" ")


async def unread(where: Where) -> None:
    """Requests large documents and reads none of them."""
    with await opened(where, received=4_096) as connection:
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\nGET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(connection, asked * 15)
        await asyncio.sleep(10)


async def flood(where: Where) -> None:
    """Keeps one connection full of pipelined requests, and reads the answers."""
    loop, requests = asyncio.get_running_loop(), b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 500
    with await opened(where) as connection:

        async def read() -> None:
            while await loop.sock_recv(connection, 262_144):
                pass

        reading = asyncio.create_task(read())
        try:
            while not reading.done():
                await loop.sock_sendall(connection, requests)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def scrape(where: Where) -> None:
    """Scrapes both pages of metrics in turn, over one connection."""
    reader, writer = await asyncio.open_connection(*where)
    try:
        for path in cycle((b"/metrics", b"/metrics/fleet")):
            writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
    finally:
        writer.close()


def packed(paths: Iterator[str], body: bytes) -> Attack:
    """Returns an attack that posts the compressed body to the next path at each call."""

    async def post(where: Where) -> None:
        head = (
            f"POST {next(paths)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        await held(where, head.encode() + body)

    return post


def attacks(where: Where, metrics: Where, body: bytes) -> Iterator[tuple[Attack, Where, int]]:
    """Yields each attack, its target, and the number of attackers."""
    paths = cycle(("/v1/alerts", "/r/nobody", "/v1/receipts/sandbox-sms/nobody", "/healthz", "/nowhere"))
    yield packed(paths, body), where, 20
    yield scrape, where, 30
    yield scrape, metrics, 10
    yield silent, where, 1_500
    yield half_head, where, 400
    yield half_body, where, 200
    yield large_half_body, where, 50
    yield unread, where, 300
    yield flood, where, 4


async def again(attack: Attack, where: Where, until_s: float) -> None:
    """Repeats an attack until `until_s` (the loop's clock), with a second between."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until_s):
            while True:
                with suppress(OSError, EOFError, ValueError, IndexError):
                    await attack(where)
                await asyncio.sleep(1)


async def besiege(where: Where, metrics: Where, seconds: float) -> None:
    """Waits for a line on standard input, then runs all attacks at once for `seconds`."""
    body = bomb()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    until_s = asyncio.get_running_loop().time() + seconds
    rows = attacks(where, metrics, body)
    await asyncio.gather(*(again(attack, at, until_s) for attack, at, many in rows for _ in range(many)))


@dataclass
class Calls:
    """The calls of clients with a key, and their durations."""

    where: Where
    key: str
    healthz_s: list[float] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    failed: int = 0
    numbers: Iterator[int] = field(default_factory=count)

    async def healthz(self) -> None:
        self.healthz_s.append(
            await self._timed(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200")
        )

    async def submit(self) -> None:
        body = json.dumps({**alert(), "external_id": f"siege-{next(self.numbers)}"}).encode()
        head = (
            f"POST /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.submit_s.append(await self._timed(head.encode() + body, b"202"))

    async def _timed(self, request: bytes, expected: bytes) -> float:
        began = time.monotonic()
        try:
            async with asyncio.timeout(FAILED_S):
                reader, writer = await asyncio.open_connection(*self.where)
                try:
                    writer.write(request)
                    status = (await reader.readline()).split()[1]
                    await reader.read()
                finally:
                    writer.close()
        except (OSError, EOFError, IndexError, TimeoutError):
            status = b""
        if status != expected:
            self.failed += 1
            return FAILED_S
        return time.monotonic() - began

    async def every(self, call: Callable[[], Awaitable[None]], every_s: float, until_s: float) -> None:
        """Repeats a call until `until_s` (the monotonic clock). Waits for the last answer, so that a stall at the end counts."""
        while time.monotonic() < until_s:
            await call()
            await asyncio.sleep(every_s)


def is_held(found: Mapping[str, float]) -> bool:
    """Returns whether a run passes."""
    return (
        found["healthz_p99_ms"] <= HEALTHZ_P99_MS
        and found["submit_p99_ms"] <= SUBMIT_P99_MS
        and found["failed"] <= found["calls"] * FAILED_SHARE
        and found["rss_growth_mb"] <= SETTLED_MB
    )


def rss_mb(pid: int) -> float:
    """Returns the resident memory of a process and its descendants."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + sum(rss_mb(int(child)) for child in children)


async def measure(seconds: float, data: Path) -> dict[str, float]:
    """Serves alertd from an empty directory, attacks it, and returns the figures."""
    arguments = argparse.Namespace(subscribers=PEOPLE, port=0)
    async with served(data, arguments) as (base, token, _, pid, metrics):
        calls = Calls(_place(base), await _key(base, token))
        attackers = await _attackers(base, metrics, seconds)
        await _warm_up(calls, base)
        before_mb = peak_mb = rss_mb(pid)
        assert attackers.stdin is not None
        attackers.stdin.write(b"go\n")
        until_s = time.monotonic() + seconds
        clients = [
            asyncio.create_task(calls.every(calls.healthz, HEALTHZ_EVERY_S, until_s)),
            asyncio.create_task(calls.every(calls.submit, SUBMIT_EVERY_S, until_s)),
        ]
        while time.monotonic() < until_s:
            await asyncio.sleep(0.2)
            peak_mb = max(peak_mb, rss_mb(pid))
        await asyncio.gather(*clients)
        await attackers.wait()
        growth_mb = await _settled(pid, before_mb)
        return {
            "healthz_p50_ms": _quantile_ms(calls.healthz_s, 0.5),
            "healthz_p99_ms": _quantile_ms(calls.healthz_s, 0.99),
            "submit_p50_ms": _quantile_ms(calls.submit_s, 0.5),
            "submit_p99_ms": _quantile_ms(calls.submit_s, 0.99),
            "calls": len(calls.healthz_s) + len(calls.submit_s),
            "failed": calls.failed,
            "rss_peak_growth_mb": round(peak_mb - before_mb),
            "rss_growth_mb": round(growth_mb),
        }


async def _settled(pid: int, before_mb: float) -> float:
    """Waits until memory has shrunk, at most a minute. Returns its growth in MB."""
    until_s = time.monotonic() + SETTLE_S
    while (growth_mb := rss_mb(pid) - before_mb) > SETTLED_MB / 2 and time.monotonic() < until_s:  # noqa: ASYNC110  it happens elsewhere
        await asyncio.sleep(1)
    return max(0.0, growth_mb)


async def _attackers(base: str, metrics: str, seconds: float) -> asyncio.subprocess.Process:
    """Starts the process of the attackers, which waits for a line on its standard input."""
    command = ["nice", "-n", str(NICE), sys.executable, __file__, "--besiege", base, metrics, str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def _warm_up(calls: Calls, base: str) -> None:
    """Makes the first calls, so that caches are filled before memory is measured."""
    async with aiohttp.ClientSession() as session:
        for path in ("/openapi.json", "/docs"):
            await (await session.get(base + path)).read()
    for _ in range(5):
        await calls.submit()
        await calls.healthz()
    if calls.failed:
        raise SystemExit("alertd does not answer without an attack; see its messages above")
    calls.healthz_s, calls.submit_s = [], []


async def _key(base: str, admin: str) -> str:
    """Creates and returns the key of the client that submits."""
    asked = {"subject": "ana@centre.example", "scopes": ["alerts:write"]}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {admin}"}) as session,
        session.post(f"{base}/v1/keys", json=asked) as answer,
    ):
        token: str = (await answer.json())["token"]
        return token


def _place(url: str) -> Where:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def _quantile_ms(seconds: list[float], share: float) -> float:
    return round(1000 * float(np.quantile(seconds, share)), 1) if seconds else 1000 * FAILED_S


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/siege", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="for 8 s instead of 30")
    parser.add_argument("--besiege", nargs=3, metavar=("URL", "METRICS", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if arguments.besiege:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        url, metrics, seconds = arguments.besiege
        asyncio.run(besiege(_place(url), _place(metrics), float(seconds)))
        return 0
    data = Path(tempfile.mkdtemp(prefix="alertd-siege-"))
    try:
        found = uvloop.run(measure(8.0 if arguments.quick else 30.0, data))
    finally:
        shutil.rmtree(data, ignore_errors=True)
        data.with_name(f"{data.name}.tombstones").unlink(missing_ok=True)
    table = Table("what", "figure", title="alertd under siege")
    for name, value in found.items():
        table.add_row(name, f"{value:,}")
    told.print(table)
    print(json.dumps(found))
    return 0 if is_held(found) else 1


if __name__ == "__main__":
    sys.exit(main())
