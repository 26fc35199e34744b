"""The console in a real Chromium, before a running `alertd serve --sandbox`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from tests.acceptance.conftest import alert, ana, bea, served
from tests.browser.desks import launched

__all__ = ["alert", "ana", "bea", "browser", "served"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for a whole file; each window in it is somebody else's."""
    async with launched() as started:
        yield started
