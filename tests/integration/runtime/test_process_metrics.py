"""`/metrics` of an API with workers of its own: one series for all of them, which falls with none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from alertd.metrics import Metrics
from alertd.runtime.api_site import api_site, reserved, reserved_for_metrics, url_of
from alertd.runtime.installation import Store
from alertd.runtime.processes import StartError
from alertd.runtime.worker_site import metrics_site
from alertd.service.container import Container
from geofences.regions import Library
from tests.clocks import Later

SERIES = 'alertd_duplicates_total{channel="push"} '


@pytest.fixture
def where(tmp_path: Path) -> str:
    """Where a worker shows its series, and the next one that takes its place."""
    return str(tmp_path / "worker-0.sock")


@pytest.fixture
def clock() -> Later:
    """The API's clock: it collects its metrics at most once a second."""
    return Later()


@pytest.fixture
async def ask(parts: Container, library: Library, where: str, clock: Later) -> AsyncIterator[aiohttp.ClientSession]:
    """Asks the metrics port of the API that has this worker."""
    parts = replace(parts, library=library, clock=clock)
    store = Store(url="", keys=None, environment={})  # type: ignore[arg-type]  nothing here opens it
    with reserved("127.0.0.1", 0, "") as address, reserved("127.0.0.1", 0, "") as metrics:
        async with (
            api_site(parts, store, [where], address, metrics),
            aiohttp.ClientSession(url_of(metrics)) as session,
        ):
            yield session


async def test_what_a_worker_counted_stays_when_it_is_gone(
    parts: Container, library: Library, where: str, ask: aiohttp.ClientSession, clock: Later
):
    """While none answers, and when the next begins at nothing: a counter that falls would be a rise to whoever alarms on it."""

    @asynccontextmanager
    async def worker(doubled: int) -> AsyncIterator[None]:
        own = replace(parts, library=library, metrics=Metrics())
        own.metrics.duplicates.labels("push").inc(doubled)
        async with metrics_site(own, f"unix:{where}"):
            yield

    async with worker(3):
        assert await told(ask) == 3
    clock.pass_by(1)
    assert await told(ask) == 3
    clock.pass_by(1)
    async with worker(2):
        assert await told(ask) == 5


async def test_a_port_that_is_taken_is_told_at_start(parts: Container):
    """As by the second worker of a machine, which has the same file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartError, match=r"worker\.metrics"):
            async with metrics_site(parts, where):
                pass


async def test_scrapes_of_one_second_share_one_collection(parts: Container, ask: aiohttp.ClientSession, clock: Later):
    """However many ask: a collection costs the processor time in which alerts are accepted."""
    parts.metrics.duplicates.labels("push").inc(1)
    assert set(await asyncio.gather(*(told(ask) for _ in range(20)))) == {1}
    parts.metrics.duplicates.labels("push").inc(1)
    assert await told(ask) == 1
    clock.pass_by(1)
    assert await told(ask) == 2


async def test_a_metrics_port_that_is_taken_is_named_at_start():
    """One sentence, with the option to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartError, match=r"metrics\.listen"), reserved_for_metrics(where):
            pass


async def told(ask: aiohttp.ClientSession) -> float:
    async with ask.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.removeprefix(SERIES)) for line in lines if line.startswith(SERIES))
