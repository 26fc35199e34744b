"""What is told before it is too late: a refusal before the last step, and words that are kept while the page changes its language."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]


async def test_what_would_be_refused_is_told_before_the_last_step(served: Served, plain: Browser, ana: str):
    """While the area is chosen the API is asked, and nothing is kept; each fault is a press away, and gone once it is mended. How fast it goes is
    typed in the last step and stands in the alert.
    """
    async with desk(plain, served.url, 400) as window:
        page = window.page
        await window.sign_in(ana)
        await page.get_by_role("link", name="New alert").click()
        await window.fill_case("SE-2026-601")
        await window.fill("Age", "70")
        await window.press("Continue")
        await window.choose_region("Sevilla", "41091")
        refused = page.locator(".would-refuse")
        await expect(refused).to_contain_text("alertd would refuse this alert:")
        await window.check_readable()
        await refused.get_by_role("button", name="Age").click()
        await window.fill("Age", "7")
        await window.press("Continue")
        await window.people()
        await expect(refused).to_have_count(0)
        assert served.call("GET", "/v1/alerts")[1]["alerts"] == []
        await window.press("Continue")
        await window.fill("Messages a minute, at most", "30")
        await window.check_readable("rtl")
        await window.press("Submit for approval")
        await page.get_by_text("another person must approve it").wait_for()
        made = served.call("GET", f"/v1/alerts/{page.url.rpartition('/')[2]}")[1]
        assert made["alert"]["policy"]["pace_per_min"] == 30


async def test_words_of_an_order_outlive_a_change_of_the_language(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """Whoever stands an alert down in a hurry and reads it in another language types nothing twice; once it is done, nothing is left."""
    alert_id = served.approved(alert)
    async with desk(plain, served.url) as window:
        page = window.page
        await window.sign_in(ana)
        await page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await window.press("Stand down")
        await page.locator(".order input").fill("Somebody may have seen her.")
        await page.get_by_label("Language", exact=True).select_option("es")
        await expect(page.locator(".order input")).to_have_value("Somebody may have seen her.")
        await page.locator(".order .button.danger").click()
        await page.locator(".order").wait_for(state="detached")
        kept = await page.evaluate("Object.keys(sessionStorage).filter(key => key.startsWith('alertd.typed'))")
        assert kept == []
