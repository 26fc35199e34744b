"""The console in a real Chromium, before a running `alertd serve --sandbox`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.acceptance.conftest import Served
from tests.browser.desks import launched


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One installation for a whole file; it must end in order."""
    running = Served(tmp_path_factory.mktemp("data"), 2000)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def ana(served: Served) -> str:
    """The key of whoever submits."""
    return served.person("ana@centre.example")


@pytest.fixture(scope="module")
def bea(served: Served) -> str:
    """The key of whoever approves."""
    return served.person("bea@centre.example")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for a whole file; each window in it is somebody else's."""
    async with launched() as started:
        yield started
