"""What the console loads, and when: little at first, then what will be needed; a line that is down is waited for."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]

MAP, FORM, ALERT = "maplibre-gl.mjs", "compose.js", "alert.js"
GONE = "ERR_INTERNET_DISCONNECTED"
#: As WebKit does: a call that was given up does not say for which reason.
FORGETS = """const asked = window.fetch;
window.fetch = (path, options = {}) => {
  const line = new AbortController();
  if (options.signal) options.signal.addEventListener("abort", () => line.abort());
  return asked(path, { ...options, signal: line.signal });
};"""


def files(page: Page) -> list[str]:
    """The names of the files that it asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(PurePosixPath(urlsplit(request.url).path).name))
    return asked


async def test_a_form_and_its_map_are_there_before_they_are_asked_for(served: Served, browser: Browser, ana: str):
    """Whoever may write an alert has the form and the map once Now is at rest: then the line may go, and a new alert still opens,
    can be written, and shows its map.
    """
    async with desk(browser, served.url) as author:
        page, asked = author.page, files(author.page)
        await page.goto(f"{served.url}/console")
        await page.get_by_label("Your API key").wait_for()
        assert not {MAP, FORM, ALERT} & {*asked}
        async with page.expect_event("worker"):  # MapLibre's: the last of what is fetched
            await author.sign_in(ana)
        assert {MAP, FORM, ALERT} <= {*asked}
        author.expect(GONE, "The map: ")
        await page.context.set_offline(True)
        await page.get_by_role("link", name="New alert").click()
        await author.fill("Case number", "SE-2026-501")
        await author.press("Continue")
        await page.locator(".map canvas").wait_for()
        await page.context.set_offline(False)
        await page.locator(".map[data-ready=true]").wait_for()


async def test_who_writes_none_loads_no_map(served: Served, browser: Browser):
    """For somebody who only reads, the alert's screen is fetched ahead and neither the form nor the map."""
    key = served.call("POST", "/v1/keys", {"subject": "eva@centre.example", "scopes": ["alerts:read"]})[1]["token"]
    async with desk(browser, served.url) as window:
        asked = files(window.page)
        async with window.page.expect_request(f"**/{ALERT}"):
            await window.sign_in(key)
        await window.page.get_by_role("link", name="Carriers").click()
        await window.page.locator(".carrier").first.wait_for()
        assert not {MAP, FORM} & {*asked}


async def test_a_screen_whose_line_is_down_comes_when_it_is_back(served: Served, plain: Browser, ana: str):
    """It comes by itself, also in a browser that asks for no code twice, and until then the screen says why it is not there."""

    async def down(route: Route) -> None:
        await route.abort("internetdisconnected")

    async with desk(plain, served.url) as window:
        window.expect(GONE)
        await window.sign_in(ana)
        # At once: `set_offline` leaves a connection that is there for a moment. The code of this screen is never fetched ahead.
        await window.page.context.route("**/*", down)
        await window.page.get_by_role("link", name="Carriers").click()
        await expect(window.page.get_by_text("No connection")).to_be_visible()
        await window.page.context.unroute("**/*", down)
        await window.page.locator(".carrier").first.wait_for()


async def test_a_line_over_which_nothing_comes_is_waited_for(served: Served, plain: Browser, ana: str):
    """Whoever has signed in is told so, and not asked for their key; it goes on by itself. Also in a browser that forgets why a call was given up."""
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.add_init_script(FORGETS)
        await window.page.route("**/v1/me", lambda _: None)
        await window.page.clock.install()
        async with window.page.expect_request("**/v1/me"):
            await window.page.reload()
        await window.page.clock.fast_forward(21_000)
        await expect(window.page.get_by_text("No connection")).to_be_visible()
        await window.page.unroute("**/v1/me")
        await window.page.get_by_role("link", name="Carriers").wait_for()


async def test_a_screen_whose_code_never_comes_is_not_asked_for_for_ever(served: Served, plain: Browser, ana: str):
    """The page comes anew once by itself, then at a press."""
    came, comes = 0, False

    def anew(_page: Page) -> None:
        nonlocal came
        came += 1

    async def cut(route: Route) -> None:
        await (route.continue_() if comes else route.abort())

    async with desk(plain, served.url) as window:
        window.expect("ERR_FAILED")
        await window.page.route("**/console/organisation/subscribers.js", cut)
        await window.sign_in(ana)
        window.page.on("domcontentloaded", anew)
        await window.page.get_by_role("link", name="Subscribers").click()
        again = window.page.get_by_role("button", name="Try again")
        await again.wait_for()
        assert came == 1
        comes = True
        await again.click()
        await window.page.get_by_label("Id", exact=True).wait_for()
        assert came == 2


async def test_a_screen_of_another_version_says_so_and_the_page_comes_anew(served: Served, plain: Browser, ana: str):
    """A tab that was open while alertd was brought up to date has old files: what does not fit to them is told, and a press loads all
    of it again.
    """
    async with desk(plain, served.url) as window:
        await window.page.route(
            "**/console/organisation/subscribers.js",
            lambda route: route.fulfill(
                body='import { nothing } from "../parts/parts.js"', content_type="text/javascript"
            ),
        )
        await window.sign_in(ana)
        await window.page.get_by_role("link", name="Subscribers").click()
        again = window.page.get_by_role("button", name="Try again")
        await again.wait_for()
        await window.page.unroute("**/console/organisation/subscribers.js")
        await again.click()
        await window.page.get_by_label("Id", exact=True).wait_for()
