"""The screen of carriers says of one that cannot log in what was said, and which settings to check."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.carrier_logins import is_known, mistaken, plain_http, running, sandbox
from tests.acceptance.configured import Configured
from tests.browser.desks import desk
from tests.sampling import sampled

__all__ = ["mistaken", "plain_http", "running", "sandbox"]

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("width", sampled([(1360,), (390,)], lambda width: width == 390))
async def test_the_screen_of_carriers_names_the_cause_and_the_settings(running: Configured, plain: Browser, width: int):
    """On a desk and on a phone, in the list and below a test, from left to right and from right to left."""
    running.wait_for(lambda: is_known(running))
    async with desk(plain, running.url) as window:
        page = window.page
        await page.set_viewport_size({"width": width, "height": 860})
        await window.sign_in(running.key)
        await expect(page.locator(".health")).to_contain_text(
            "Cannot send: relay, down-here, centre, texts, and phones"
        )
        await page.goto(f"{running.url}/console#/carriers")
        relay = page.locator(".carrier", has=page.get_by_role("heading", name="relay"))
        await expect(relay).to_contain_text("cannot send")
        await expect(relay).to_contain_text("refused the login: 535 5.7.8 authentication failed.")
        await expect(relay).to_contain_text("Check carriers.relay.user and carriers.relay.password.")
        settings = page.locator(".carrier .setting")
        assert {"carriers.down-here.host", "carriers.down-here.port"} <= {*await settings.all_inner_texts()}
        # None is broken at its hyphen.
        assert await settings.evaluate_all("all => all.every(one => one.getBoundingClientRect().height < 30)")
        await page.get_by_role("button", name="Test it: relay").click()
        await window.fill("A mailbox of your own", "me@centre.example")
        await window.press("Send the test")
        told = relay.locator(".note")
        await expect(told).to_contain_text("The carrier did not accept it.")
        await expect(told).to_contain_text("Check carriers.relay.user and carriers.relay.password.")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await window.check_readable()
        await window.check_readable("rtl")
