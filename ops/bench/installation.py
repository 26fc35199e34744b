"""One installation as in production: local carriers in separate processes, and an `alertd serve` that restarts when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from alertd.runtime.sandbox import sandbox_carriers
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection

#: Restart delay, as in ops/alertd.service.
RESTART_S = 2.0
START_S = 900.0  # loading many sample people takes most of it
LOOK_EVERY_S = 0.02
ALERTD = (sys.executable, "-m", "alertd")


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


@dataclass(kw_only=True)
class Installation:
    """alertd on one directory. Its carriers survive every kill, so their records show every sent message."""

    directory: Path
    environment: Mapping[str, str]
    url: str
    metrics: str  # the URL of its metrics port
    key: str
    ends: dict[str, Any]  # the carriers' endpoints
    session: aiohttp.ClientSession
    starts: int = 0
    process: asyncio.subprocess.Process | None = None
    store: Connection = field(init=False)

    def __post_init__(self) -> None:
        # A separate connection to the store for the bench. It does not retry, like that of alertd.
        client = Redis(unix_socket_path=str(self.directory / "server.sock"), retry=Retry(NoBackoff(), 0))
        self.store = Connection(client, Codec(Keys.load_or_make(self.directory)))

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def run(self) -> None:
        """Keeps alertd running until it is cancelled; then stops it cleanly."""
        try:
            while True:
                self.process = await self._start()
                await self.process.wait()
                await asyncio.sleep(RESTART_S)
        finally:
            await self._stop()

    async def _start(self) -> asyncio.subprocess.Process:
        self.starts += 1
        with (self.directory.parent / "alertd.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *ALERTD, "serve", env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    async def _stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await self.process.wait()

    def workers(self) -> list[int]:
        """Returns the processes of its workers."""
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
        except OSError:  # one ended meanwhile
            return []
        return [pid for pid, line in lines.items() if b"worker" in line.split(b"\0")]

    def server(self) -> int:
        """Returns the store's process id from its lock file."""
        return int((self.directory / "server.lock").read_text())

    async def ready(self) -> bool:
        try:
            async with self.session.get(f"{self.url}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def fleet(self) -> dict[str, dict[str, int]] | None:
        """Returns references by channel and state from `/metrics/fleet`, including `targeted`; None without an answer."""
        try:
            async with self.session.get(f"{self.metrics}/metrics/fleet") as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        if response.status != 200:
            return None
        found: dict[str, dict[str, int]] = {}
        for channel, state, value in re.findall(r'alertd_references\{channel="(\w+)",state="(\w+)"\} (\S+)', text):
            found.setdefault(channel, {})[state] = int(float(value))
        for channel, value in re.findall(r'alertd_targeted\{channel="(\w+)"\} (\S+)', text):
            found.setdefault(channel, {})["targeted"] = int(float(value))
        return found

    async def control(self, channel: str, order: dict[str, Any]) -> None:
        """Sets the behaviour of a carrier."""
        async with self.session.post(self._control(channel, "control"), json=order, ssl=self._trust()) as response:
            assert response.status == 200, await response.text()

    async def recorded(self, channel: str) -> list[dict[str, Any]]:
        """Returns a carrier's record by address: count, first and last time."""
        async with self.session.get(self._control(channel, "recorded"), ssl=self._trust()) as response:
            return [json.loads(line) for line in (await response.read()).splitlines()]

    def _control(self, channel: str, call: str) -> str:
        return f"{self.ends['control'][channel]}/{call}"

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ends["push"]["ca_file"])


@asynccontextmanager
async def installed(
    data: Path,
    people: int,
    rates: Mapping[str, float],
    settings: Mapping[str, str],
    carriers_of: Callable[[dict[str, Any]], dict[str, Any]] = sandbox_carriers,
) -> AsyncIterator[Installation]:
    """Runs an installation with sample people. `rates`: the carriers' rates by channel (none: no limit); `carriers_of` makes their
    settings from the carriers' endpoints.
    """
    directory = data / "alertd"
    port, metrics_port = free_port(), free_port()
    environment = {
        **os.environ,
        **settings,
        "ALERTD_STORE__DIRECTORY": str(directory),
        "ALERTD_API__PORT": str(port),
        "ALERTD_METRICS__LISTEN": f"127.0.0.1:{metrics_port}",
        "ALERTD_API__REACH_PER_MIN": "0",
        "ALERTD_LOG_LEVEL": "info",
    }
    key = await _with_people(environment, people)
    async with AsyncExitStack() as stack:
        ends = await stack.enter_async_context(carriers(data / "carriers"))
        environment["ALERTD_CARRIERS"] = json.dumps(with_rates(rates, carriers_of(ends)))
        environment["ALERTD_STORE__SANDBOX"] = "true"
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        made = Installation(
            directory=directory,
            environment=environment,
            url=f"http://127.0.0.1:{port}",
            metrics=f"http://127.0.0.1:{metrics_port}",
            key=key,
            ends=ends,
            session=session,
        )
        keeper = asyncio.create_task(made.run())
        stack.push_async_callback(_cancelled, keeper)
        await until("alertd starts", made.ready)
        yield made
        await made.store.nodes.close()


async def until(what: str, is_so: Any, within_s: float = 120.0, every_s: float = LOOK_EVERY_S) -> None:
    """Polls a coroutine function until it is true. Raises BenchError that names `what` did not happen."""
    try:
        async with asyncio.timeout(within_s):
            while not await is_so():  # noqa: ASYNC110  what is looked at happens in other processes
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise BenchError(f"not within {within_s:.0f} s: {what}") from None


def free_port() -> int:
    """Returns a port that stays the same after a restart, because carriers report to it.

    It lies below the system's ephemeral ports (32768 and up), so that no other program gets it while alertd is down, and outside the
    tests' range (20000 and up).
    """
    for port in random.SystemRandom().sample(range(10_000, 20_000), 1_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise BenchError("no port is free")


def with_rates(rates: Mapping[str, float], settings: dict[str, Any]) -> dict[str, Any]:
    """Returns carriers' settings with their limits by channel, in force from the first message on."""
    for channel, rate in rates.items():
        settings[f"sandbox-{channel}"] |= {"rate": rate, "ramp_s": 0}
    return settings


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Runs a process and stops it cleanly at the end."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _with_people(environment: Mapping[str, str], people: int) -> str:
    """Registers sample people, like `alertd serve --sandbox`. Returns the administrator's key."""
    process = await asyncio.create_subprocess_exec(
        *ALERTD, "serve", "--sandbox", "--people", str(people),
        env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    async with ended(process), asyncio.timeout(START_S):
        return await key_of(process)


async def key_of(process: asyncio.subprocess.Process) -> str:
    """Returns the administrator's key from the file that the first start names. Raises BenchError."""
    assert process.stdout is not None
    async for line in process.stdout:
        if found := re.search(r"first sign-in are in (.+), which", line.decode()):
            text = await asyncio.to_thread(Path(found[1]).read_text, encoding="utf-8")
            return text.splitlines()[0].partition("=")[2]
    raise BenchError("alertd did not start; its messages are above")


@asynccontextmanager
async def carriers(directory: Path) -> AsyncIterator[dict[str, Any]]:
    """Runs the local carriers."""
    process = await asyncio.create_subprocess_exec(
        *ALERTD, "sandbox", "--directory", str(directory), start_new_session=True
    )
    ready = directory / "sandbox.json"

    async def is_there() -> bool:
        return await asyncio.to_thread(ready.exists)

    async with ended(process):
        await until("the carriers start", is_there)
        yield json.loads(await asyncio.to_thread(ready.read_text, encoding="utf-8"))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
