"""The pages of sign-up in a real browser: by keyboard and without JavaScript, on narrow screens, from right to left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from alertd.common.clock import SystemClock
from alertd.model.states import CHANNELS
from alertd.model.subscriber import key_of
from alertd.service.people.sign_up_links import OpenedForm, SignUpLinks
from alertd.store.engine.codec import Codec, Keys
from tests.acceptance.conftest import Served, installed
from tests.browser.desks import desk

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with installed(0, ALERTD_PUBLIC__SIGN_UP="true") as made:
        yield made


def links_of(served: Served) -> SignUpLinks:
    """Makes the links of this installation."""
    return SignUpLinks(Codec(Keys.load_or_make(served.directory)).derived("sign-up"), SystemClock())


@pytest_asyncio.fixture(loop_scope="session")
async def bare(plain: Browser) -> AsyncIterator[Page]:
    """A page without JavaScript."""
    context = await plain.new_context(java_script_enabled=False, locale="en-GB")
    yield await context.new_page()
    await context.close()


async def test_a_person_signs_up_by_keyboard_and_without_javascript(served: Served, bare: Page):
    """The fields come in the order of the page, and the hidden field never has the focus."""
    await bare.goto(f"{served.url}/subscribe")
    links = links_of(served)
    opened = links.make(OpenedForm(made_s=links.now_s() - 10))  # as if the person had taken ten seconds
    keyboard = bare.keyboard
    for typed in ("Santiago", "ana@people.example"):
        await keyboard.press("Tab")
        await keyboard.type(typed)
    await keyboard.press("Tab")  # the language
    await keyboard.press("Tab")  # other warnings
    await keyboard.press("Tab")
    await keyboard.press("Space")
    await expect(bare.locator("[name=consent]")).to_be_checked()
    await bare.locator("[name=form]").evaluate("(field, value) => { field.value = value }", opened)
    await keyboard.press("Tab")
    await expect(bare.get_by_role("button", name="Sign up")).to_be_focused()
    await keyboard.press("Enter")
    await expect(bare.locator("h1")).to_have_text("Which place do you mean?")
    await keyboard.press("Tab")
    await keyboard.press("ArrowDown")
    await keyboard.press("Enter")
    await expect(bare.locator("h1")).to_have_text("Check your email")


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ar", "dark")])
async def test_axe_finds_nothing_and_nothing_is_too_wide(served: Served, plain: Browser, language: str, scheme: str):
    """At 320 px, with and without faults."""
    links, own = links_of(served), []
    for name in (f"web-{language}", f"household-{language}"):  # signed up, and registered by an organisation
        mailbox = f"{name}@people.example"
        registration = {
            "languages": [language], "kinds": ["missing-child"], "places": {"home": {"region": "41091"}},
            "addresses": [{"channel": "mail", "mailbox": mailbox}],
            "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
        }  # fmt: skip
        assert served.call("PUT", f"/v1/subscribers/{name}", registration)[0] == 201
        own.append(f"/me/{links.make_settings(name, key_of(CHANNELS.index('mail'), mailbox))}")
    async with desk(plain, served.url, 422, color_scheme=scheme, viewport={"width": 320, "height": 700}) as window:
        page = window.page
        for path in ("/subscribe", "/subscribe/manage", "/privacy", *own):
            await page.goto(f"{served.url}{path}?lang={language}")
            for _ in range(2):
                await window.check_readable("rtl" if language == "ar" else "ltr")
                assert await page.evaluate("document.documentElement.scrollWidth") <= 320
                if path in {"/privacy", *own}:
                    break
                await page.get_by_role("button").click()
                await expect(page.locator(".fault").first).to_be_visible()
