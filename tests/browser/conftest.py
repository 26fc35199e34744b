"""The console in a real Chromium, before a running `alertd serve --sandbox`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.acceptance.conftest import alert, ana, bea, radio, served, shared
from tests.browser.desks import WITHOUT_WEBGL, launched

__all__ = ["alert", "ana", "bea", "browser", "pictures", "plain", "radio", "served", "shared"]


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """Where the sheets of the screens are to be kept."""
    folder: Path | None = request.config.getoption("--pictures")
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for a whole file; each window in it is somebody else's."""
    async with launched() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain() -> AsyncIterator[Browser]:
    """One that cannot draw a map, as on old desks: quicker, too, where a test is about no map."""
    async with launched(*WITHOUT_WEBGL) as started:
        yield started
