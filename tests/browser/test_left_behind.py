"""What a browser keeps of a case once somebody has signed out."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.acceptance.conftest import Served
from tests.browser.desks import PATIENCE_MS, WITHOUT_WEBGL, Desk, chromium

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


def offered(profile: Path) -> list[str]:
    """What its browser would offer to whoever types into a field."""
    with closing(sqlite3.connect(profile / "Default" / "Web Data")) as kept:
        return [value for (value,) in kept.execute("SELECT value FROM autofill")]


async def test_the_next_person_is_offered_nothing_that_was_typed(served: Served, tmp_path: Path, ana: str):
    """Browsers keep what is typed into a field for years, whoever signed out meanwhile, and offer it in the field that is called the same."""
    async with async_playwright() as playwright:
        flags = ["--no-sandbox", *WITHOUT_WEBGL]
        profile = await playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=chromium(is_whole=True), args=flags, locale="en-GB"
        )
        profile.set_default_timeout(PATIENCE_MS)
        window = Desk(await profile.new_page(), served.url)
        await window.sign_in(ana)
        await window.page.get_by_role("link", name="New alert").click()
        await window.fill("Name to publish", "Marta")
        await window.fill("Case number", "SE-2026-9")
        await window.page.get_by_role("link", name="Now", exact=True).click()
        await window.press("Sign out")
        await window.press("Sign out: the draft is lost")
        await window.page.get_by_label("Your API key").wait_for()
        assert await window.page.evaluate("Object.keys(sessionStorage).length") == 0
        await profile.close()
    assert await asyncio.to_thread(offered, tmp_path) == []
