"""The page on which whoever gets a mail stops them, as they see it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from alertd.common.ids import TokenPurpose
from tests.acceptance.conftest import Served
from tests.browser.desks import desk

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize(("scheme", "row", "is_dark"), [("light", 3, False), ("dark", 4, True)])
async def test_whoever_left_can_look_whether_it_worked(
    served: Served, plain: Browser, alert: dict[str, Any], scheme: Any, row: int, is_dark: bool
):
    """Opened again the link says that no more is sent, and asks nothing; in the dark the whole page is."""
    alert_id = served.approved({**alert, "channels": ["mail"], "external_id": f"leave-{scheme}"})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    link = f"{served.url}/u/{served.tags().make(alert_id, row, TokenPurpose.LEAVE)}"
    async with desk(plain, served.url, color_scheme=scheme) as window:
        page = window.page
        await page.goto(link)
        await expect(page.locator("h1")).to_have_text("Stop these alerts?")
        await window.check_readable()
        corner = Image.open(io.BytesIO(await page.screenshot())).convert("L").getpixel((2, 2))
        assert (corner < 128) == is_dark  # type: ignore[operator]
        await window.press("Send me no more alerts here")
        for _ in range(2):
            await expect(page.locator("p")).to_have_text("No more alerts are sent to this address.")
            await expect(page.get_by_role("button")).to_have_count(0)
            await page.goto(link)
