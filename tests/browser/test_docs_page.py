"""The page /docs in a browser: its search, by keyboard, and what it looks like in both lights on a desk and on a phone."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

from alertd.api.application import OPERATIONS, document
from alertd.api.docs.pages import docs_routes
from alertd.common.errors import CATALOGUE
from tests.browser.desks import AXE
from tests.browser.layout import SCHEMES, TOO_WIDE, Scheme
from tests.sampling import sampled

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

ENTRIES = "[data-entry]:visible"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url() -> AsyncIterator[str]:
    """Where the page is served, with its own headers."""
    app = web.Application()
    app.add_routes(docs_routes(document))
    async with TestServer(app) as server:
        yield str(server.make_url("/docs"))


async def opened(browser: Browser, url: str, width: int = 1360, **options: Any) -> Page:
    context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = await context.new_page()
    await page.goto(url)
    return page


async def test_the_search_filters_by_words_from_the_keyboard(plain: Browser, url: str):
    """A slash leads to the field, each word narrows, the count is announced, and Escape shows everything again."""
    page = await opened(plain, url)
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    everything = await page.locator(ENTRIES).count()
    assert everything > len(OPERATIONS) + len(CATALOGUE) + 200
    found = page.get_by_role("status")
    assert await found.get_attribute("aria-live") == "polite"
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("Webhook")
    more = await page.locator(ENTRIES).count()
    await page.keyboard.type(" secret")
    assert await page.locator(f"{ENTRIES} >> h3").all_text_contents() == [
        "List webhooks",
        "Give a webhook a new secret",
        "WebhookMade",
    ]
    assert await found.text_content() == "2 operations and 1 schema for “Webhook secret”."
    assert 3 < more < everything
    await expect(page.get_by_role("heading", name="Webhooks and events")).to_be_visible()
    await expect(page.get_by_role("heading", name="Submit an alert")).to_be_hidden()
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.textContent") == "List webhooks"
    await page.keyboard.press("/")
    await page.keyboard.type("same-person")
    await expect(found).to_have_text("1 problem type for “same-person”.")
    await page.keyboard.type(" / and")
    await expect(found).to_have_text("Nothing found for “same-person / and”. Try fewer or other words.")
    await page.keyboard.press("Escape")
    await expect(found).to_be_empty()
    assert await page.locator(ENTRIES).count() == everything
    assert wrong == []


async def test_a_link_to_what_the_search_hides_shows_it(plain: Browser, url: str):
    page = await opened(plain, url)
    await page.get_by_role("searchbox").fill("NewWebhook")
    await page.locator("#schema-NewWebhook").get_by_role("link", name="Make a webhook").click()
    await expect(page.locator("#create_webhook")).to_be_in_viewport()
    await expect(page.get_by_role("searchbox")).to_have_value("")


async def test_without_scripts_everything_but_the_search_is_there(plain: Browser, url: str):
    page = await opened(plain, url, java_script_enabled=False)
    await expect(page.locator("#search")).to_be_hidden()
    await expect(page.get_by_role("heading", name="Submit an alert", level=2)).to_be_visible()
    await expect(page.locator("#schema-Child")).to_be_visible()


@pytest.mark.parametrize("width", [1360, 390])
async def test_nothing_is_too_wide(plain: Browser, url: str, width: int):
    """Before and during a search."""
    page = await opened(plain, url, width)
    assert await page.evaluate(TOO_WIDE) == 0
    await page.get_by_role("searchbox").fill("alert")
    assert await page.evaluate(TOO_WIDE) == 0


#: What of the page axe reads, after a search for what: the whole page takes ten times as long as either of its parts.
PAGE, START, FOUND = ("", "html"), ("", "#start"), ("region", "html")


@pytest.mark.parametrize(
    ("width", "scheme", "shown"),
    sampled(
        itertools.product([1360, 390], SCHEMES, [PAGE, START, FOUND]),
        lambda width, scheme, shown: width == 1360 and (scheme, shown) in {("light", START), ("dark", FOUND)},
    ),
)
async def test_axe_finds_nothing(plain: Browser, url: str, width: int, scheme: Scheme, shown: tuple[str, str]):
    """In both lights, before and during a search. What the search leaves has entries of each sort."""
    words, part = shown
    page = await opened(plain, url, width, bypass_csp=True, color_scheme=scheme)
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    await page.get_by_role("searchbox").fill(words)
    await expect(page.get_by_role("status")).to_have_text(re.compile("operations, .* schemas and .* problem type|^$"))
    run = "part => axe.run(part, {resultTypes: ['violations'], preload: false}).then(told => told.violations.map(one => [one.id, one.nodes[0].html]))"
    assert await page.evaluate(run, part) == []
