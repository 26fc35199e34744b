"""The public pages in a browser: for everyone, on small screens, in both lights, from either side, and without scripts."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, expect

from alertd.common.clock import SystemClock
from alertd.common.resources import templates_dir
from alertd.public import page_routes
from alertd.rendering import THE_ALERT, Renderer
from alertd.service.sharing.public_alerts import PublicAlert
from tests.browser.desks import AXE
from tests.browser.layout import SCHEMES, TOO_WIDE
from tests.unit.alertd.rendering.usual import LONGEST, USUAL, alert_of

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

#: A picture of the largest size in which a photo is shown, in the shape of a portrait.
PHOTO = '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="1600"><rect width="1200" height="1600"/></svg>'
CODE, LONG = "K3V9Q2M7XA", "0123456789"
RUN = "axe.run({resultTypes: ['violations'], preload: false}).then(told => told.violations.map(one => [one.id, one.nodes[0].html]))"


def with_photo() -> dict[str, Any]:
    """The usual alert, with a photo of its child."""
    document = copy.deepcopy(USUAL)
    document["case"]["children"][0]["photos"] = [{"media": "med_0000000000", "alt": {"en": "Inés laughing"}}]
    return document


class Few:
    """Two active alerts, the usual one and the longest."""

    def __init__(self) -> None:
        self.every = {
            code: PublicAlert(
                public_id=code, alert=alert_of({**document, "publish": {"page": True}}), telling=THE_ALERT,
                is_over=False, updated=1_795_000_000_000, countries=("ES",),
            )
            for code, document in ((CODE, with_photo()), (LONG, LONGEST))
        }  # fmt: skip

    async def exists(self, public_id: str) -> bool:
        return public_id in self.every

    async def find(self, public_id: str) -> PublicAlert | None:
        return self.every.get(public_id)

    async def active(self) -> list[PublicAlert]:
        return [*self.every.values()]

    def area(self, found: PublicAlert, language: str) -> str:
        return f"Sevilla ({language}, {found.public_id})"


async def photo(_: web.Request) -> web.Response:
    return web.Response(text=PHOTO, content_type="image/svg+xml")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url() -> AsyncIterator[str]:
    app = web.Application()
    alerts: Any = Few()
    app.add_routes(page_routes(alerts, Renderer(templates_dir(), "https://alerts.example"), SystemClock()))
    app.router.add_get("/m/{photo}", photo)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


@pytest.mark.parametrize(
    "path",
    [
        f"/a/{CODE}?lang=en",
        f"/a/{LONG}?lang=ar",
        f"/a/{CODE}/poster?lang=es&also=ar",
        "/alerts?lang=de",
        "/verify?lang=es",
        "/a/none?lang=en",
    ],
)
async def test_axe_finds_nothing_and_nothing_is_too_wide(plain: Browser, url: str, path: str):
    context = await plain.new_context(viewport={"width": 320, "height": 640}, bypass_csp=True)
    page = await context.new_page()
    await page.goto(url + path)
    if path.startswith("/verify"):
        await page.get_by_role("textbox").fill(f"¿Es verdad? {CODE}")
        await page.get_by_role("button").click()
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    assert await page.evaluate(TOO_WIDE) == 0
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate(RUN) == []


async def test_everything_works_without_scripts(plain: Browser, url: str):
    """From the list to an alert, to another language, and to the check of its code; the style sheet is applied."""
    context = await plain.new_context(viewport={"width": 390, "height": 800}, java_script_enabled=False, locale="en")
    page = await context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    await page.goto(f"{url}/alerts")
    await page.get_by_role("link", name="Inés P.").first.click()
    await expect(page.get_by_text("Do not approach")).to_be_visible()
    call = page.get_by_role("link", name="Call 116000")
    assert ((await call.bounding_box()) or {})["height"] >= 40
    await page.get_by_role("link", name="العربية").click()
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await page.get_by_role("link", name="English").click()
    await page.get_by_role("link", name="Is this alert real?").click()
    await page.get_by_label("Link, code or text").fill(CODE.lower())
    await page.get_by_role("button", name="Check").click()
    await expect(page.get_by_role("status")).to_have_text("Real and active")
    assert wrong == []


async def test_a_poster_with_a_photo_fits_on_one_page(plain: Browser, url: str):
    """A4, with the facts in two languages, of which one runs from right to left."""
    context = await plain.new_context()
    page = await context.new_page()
    await page.goto(f"{url}/a/{CODE}/poster?lang=es&also=ar")
    assert await page.locator(".photos img").count() == 1
    printed = await page.pdf(prefer_css_page_size=True)
    assert printed.count(b"/Type /Page\n") == 1
